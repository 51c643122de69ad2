//! How the harness connects to containers.

use std::str::FromStr;

/// How the harness connects to the nodes of the docker backend. The nodes always use their containers' addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// By address if the engine runs on this machine's kernel and is not rootless, else by ports.
    #[default]
    Auto,
    /// By the container's address on the cluster's network.
    Address,
    /// By a port of 127.0.0.1 that the engine publishes for each node. All clients then share one address.
    Ports,
}

impl Reach {
    /// The words on the command line.
    pub const WORDS: [(&'static str, Self); 3] =
        [("auto", Self::Auto), ("address", Self::Address), ("ports", Self::Ports)];
}

impl FromStr for Reach {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::WORDS.iter().find(|(word, _)| *word == text);
        known
            .map(|(_, reach)| *reach)
            .ok_or_else(|| format!("unknown value \"{text}\" (hint: `auto`, `address` or `ports`)"))
    }
}
