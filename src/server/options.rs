//! The options that the harness itself needs, by version: a table, not a trial.

use std::net::IpAddr;

use super::{Flavour, Version};

/// Directives that make a node at `addr` be that address to everyone, sync its replicas at once and
/// take the commands that faults use. They belong before a suite's own, which so may override them.
///
/// - `bind`: 6.2 also connects to the bus and to its master from the first of these addresses.
/// - `bind-source-addr` (Redis 7.0, Valkey): from 7.0 on the kernel would choose the source, 127.0.0.1
///   for every node of this machine, and a one-way MEET would never complete.
/// - `cluster-announce-ip`: with it a node never guesses its own address from a connection.
/// - `repl-diskless-sync-delay`: a replica would wait 5 s for others before it syncs. Diskless is the
///   default from 7.0 on, but 6.2 has the directive too, for a suite that turns it on.
/// - `enable-debug-command` (Redis 7.0, Valkey): before, DEBUG was always allowed.
pub fn harness_options(version: Version, addr: IpAddr) -> Vec<(&'static str, String)> {
    let mut options = vec![
        ("bind", addr.to_string()),
        ("cluster-announce-ip", addr.to_string()),
        ("repl-diskless-sync-delay", "0".to_owned()),
    ];
    // Valkey began as a copy of Redis 7.2, so each of its versions has what 7.0 brought.
    if version.flavour == Flavour::Valkey || version.is_redis_at_least(7, 0) {
        let debug = if addr.is_loopback() { "local" } else { "yes" };
        options.push(("bind-source-addr", addr.to_string()));
        options.push(("enable-debug-command", debug.to_owned()));
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_gets_what_it_knows() {
        use Flavour::{Redis, Valkey};
        const OLD: [&str; 3] = ["bind", "cluster-announce-ip", "repl-diskless-sync-delay"];
        const NEW: [&str; 5] =
            ["bind", "cluster-announce-ip", "repl-diskless-sync-delay", "bind-source-addr", "enable-debug-command"];
        for (flavour, major, minor, expected) in [
            (Redis, 5, 0, &OLD[..]),
            (Redis, 6, 2, &OLD[..]),
            (Redis, 7, 0, &NEW[..]),
            (Redis, 8, 2, &NEW[..]),
            (Valkey, 7, 2, &NEW[..]),
            (Valkey, 9, 1, &NEW[..]),
        ] {
            let version = Version { flavour, major, minor, patch: 0 };
            let names: Vec<_> = harness_options(version, [127, 1, 0, 2].into()).iter().map(|(name, _)| *name).collect();
            assert_eq!(names, expected, "{version}");
        }
    }

    #[test]
    fn debug_is_open_to_others_only_where_the_node_is_not_on_loopback() {
        let version = Version { flavour: Flavour::Valkey, major: 9, minor: 1, patch: 2 };
        for (addr, expected) in [([127, 1, 0, 2], "local"), ([172, 20, 0, 2], "yes")] {
            let options = harness_options(version, addr.into());
            assert!(options.contains(&("enable-debug-command", expected.to_owned())), "{addr:?}: {options:?}");
            assert!(options.contains(&("bind-source-addr", IpAddr::from(addr).to_string())));
        }
    }
}
