//! `slotquake doctor`.

use std::fmt::Write;

use slotquake::doctor::{Capability, examine};
use slotquake::report::wrapped;

use super::exit::{Exit, Trouble};
use super::{Format, screen};

/// Check what this machine supports: servers, addresses, Docker, packet filters, namespaces
///
/// Every line shows what was found and, if something is missing, how to fix it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:  slotquake doctor")]
pub struct Args {
    /// The format of the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Probes the machine and prints the result.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    let capabilities = examine();
    match args.format {
        Format::Table => screen::print(&table(&capabilities, screen::style(false).width))?,
        Format::Json => screen::print(&serde_json::to_string_pretty(&capabilities).map_err(Trouble::harness)?)?,
    }
    Ok(Exit::Pass)
}

fn table(capabilities: &[Capability], width: Option<usize>) -> String {
    let longest = capabilities.iter().map(|capability| capability.name.len()).max().unwrap_or(0);
    // Name, two spaces, the longest state, two spaces.
    let indent = longest + 2 + "limited".len() + 2;
    let mut text = String::new();
    for Capability { name, state, detail, hint } in capabilities {
        let state = state.to_string();
        let _ = writeln!(text, "{name:longest$}  {state:7}  {}", wrapped(detail, indent, width));
        if let Some(hint) = hint {
            let hint = wrapped(&format!("hint: {hint}"), indent, width);
            let _ = writeln!(text, "{}{hint}", " ".repeat(indent));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use slotquake::doctor::State;

    use super::*;

    #[test]
    fn prints_a_hint_for_missing_capabilities() {
        let there = Capability {
            name: "addresses".to_owned(),
            state: State::Ok,
            detail: "127.1.0.1 to 127.1.0.6".to_owned(),
            hint: None,
        };
        let missing = Capability {
            name: "nft".to_owned(),
            state: State::Missing,
            detail: "no program of that name on PATH or in /usr/sbin".to_owned(),
            hint: Some("apt-get install nftables".to_owned()),
        };
        assert_eq!(
            table(&[there, missing], Some(50)),
            "\
addresses  ok       127.1.0.1 to 127.1.0.6
nft        missing  no program of that name on
                    PATH or in /usr/sbin
                    hint: apt-get install nftables
"
        );
    }
}
