//! The configuration file of a node, whatever runs it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use crate::plan::Plan;
use crate::server::{Server, harness_options};

/// The text of a node's configuration: what the harness needs, then what the suite says.
pub(super) fn configuration(plan: &Plan, server: &Server, addr: SocketAddr, dir: &Path) -> String {
    let mut text = format!(
        "port {}\ndaemonize no\ndir \"{}\"\ncluster-enabled yes\ncluster-config-file nodes.conf\n",
        addr.port(),
        dir.display()
    );
    for (name, value) in harness_options(server.version, addr.ip()) {
        if !plan.config.contains_key(name) {
            writeln!(text, "{name} {value}").expect("a string takes any text");
        }
    }
    for (name, value) in &plan.config {
        // An empty value has to be quoted to be a word at all; any other stands as it was written,
        // since many directives take several words.
        let value = if value.0.is_empty() { "\"\"" } else { &value.0 };
        writeln!(text, "{name} {value}").expect("a string takes any text");
    }
    text
}
