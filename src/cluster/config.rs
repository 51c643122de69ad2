//! The configuration file of a node, for every backend.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use crate::server::{Server, harness_options};
use crate::units::Directive;

/// The name of the file in which a server keeps what it knows of the cluster.
pub(super) const NODES_CONF: &str = "nodes.conf";

/// The text of a node's configuration: the directives that the harness needs, then those of the suite.
pub(super) fn configuration(
    config: &BTreeMap<String, Directive>,
    server: &Server,
    addr: SocketAddr,
    dir: &Path,
) -> String {
    let mut text = format!(
        "port {}\ndaemonize no\ndir \"{}\"\ncluster-enabled yes\ncluster-config-file {NODES_CONF}\n",
        addr.port(),
        dir.display()
    );
    for (name, value) in harness_options(server.version, addr.ip()) {
        if !config.contains_key(name) {
            writeln!(text, "{name} {value}").expect("a string takes any text");
        }
    }
    for (name, value) in config {
        // Only an empty value needs quotes: many directives take several words, so other values are written as they are.
        let value = if value.0.is_empty() { "\"\"" } else { &value.0 };
        writeln!(text, "{name} {value}").expect("a string takes any text");
    }
    text
}
