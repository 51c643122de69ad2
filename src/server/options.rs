//! The options that the harness itself needs, by version.

use std::net::IpAddr;

use super::{Flavour, Version};

/// Directives that make a node use `addr` for all its connections, sync its replicas at once and accept the
/// commands that faults use. Put them before the suite's directives, so that a suite can override them.
///
/// - `bind`: in 6.2 it is also the source address of connections to the bus and to the master.
/// - `bind-source-addr` (Redis 7.0, Valkey): without it the kernel chooses the source address, which is
///   127.0.0.1 for every node of this machine, and a one-way MEET never completes.
/// - `cluster-announce-ip`: keeps a node from guessing its own address from a connection.
/// - `repl-diskless-sync-delay`: by default a replica waits 5 s for others before it syncs. Diskless sync is
///   the default from 7.0 on; 6.2 has the directive too, for suites that enable diskless sync.
/// - `enable-debug-command` (Redis 7.0, Valkey): earlier versions always allow DEBUG.
pub fn harness_options(version: Version, addr: IpAddr) -> Vec<(&'static str, String)> {
    let mut options = vec![
        ("bind", addr.to_string()),
        ("cluster-announce-ip", addr.to_string()),
        ("repl-diskless-sync-delay", "0".to_owned()),
    ];
    // Valkey is a fork of Redis 7.2, so every version has the options of 7.0.
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
    fn options_depend_on_the_version() {
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
    fn allows_remote_debug_only_outside_loopback() {
        let version = Version { flavour: Flavour::Valkey, major: 9, minor: 1, patch: 2 };
        for (addr, expected) in [([127, 1, 0, 2], "local"), ([172, 20, 0, 2], "yes")] {
            let options = harness_options(version, addr.into());
            assert!(options.contains(&("enable-debug-command", expected.to_owned())), "{addr:?}: {options:?}");
            assert!(options.contains(&("bind-source-addr", IpAddr::from(addr).to_string())));
        }
    }
}
