//! The commands that a suite may send to an attached cluster.

/// How much a command can change on an attached cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It changes nothing but the keys that it names.
    Harmless,
    /// It disturbs the cluster, but its effect ends by itself or can be undone.
    Fault,
    /// It destroys or changes something for good.
    Refused,
}

/// Commands whose effect cannot be undone.
const REFUSED: [&str; 25] = [
    "ACL",
    "BGREWRITEAOF",
    "BGSAVE",
    "DEBUG",
    "FAILOVER",
    "FLUSHALL",
    "FLUSHDB",
    "FUNCTION",
    "LATENCY",
    "MIGRATE",
    "MODULE",
    "MONITOR",
    "MOVE",
    "PFDEBUG",
    "PSUBSCRIBE",
    "PSYNC",
    "QUIT",
    "REPLICAOF",
    "RESET",
    "SAVE",
    "SHUTDOWN",
    "SLAVEOF",
    "SUBSCRIBE",
    "SWAPDB",
    "SYNC",
];

/// For each of these commands, the harmless subcommands and those that are faults. All others are refused.
const SUBCOMMANDS: [(&str, &[&str], &[&str]); 6] = [
    (
        "CLUSTER",
        &[
            "COUNT-FAILURE-REPORTS",
            "COUNTKEYSINSLOT",
            "GETKEYSINSLOT",
            "HELP",
            "INFO",
            "KEYSLOT",
            "LINKS",
            "MYID",
            "MYSHARDID",
            "NODES",
            "REPLICAS",
            "SHARDS",
            "SLAVES",
            "SLOT-STATS",
            "SLOTS",
        ],
        &["FAILOVER"],
    ),
    ("CONFIG", &["GET", "HELP"], &["SET"]),
    ("CLIENT", &["GETNAME", "HELP", "ID", "INFO", "LIST", "SETNAME"], &["PAUSE", "UNPAUSE"]),
    ("SCRIPT", &["EXISTS", "HELP", "LOAD"], &[]),
    ("MEMORY", &["DOCTOR", "HELP", "MALLOC-STATS", "STATS", "USAGE"], &[]),
    ("SLOWLOG", &["GET", "HELP", "LEN"], &[]),
];

/// Directives that hold secrets, or that could lock clients out.
const PROTECTED: [&str; 11] = [
    "requirepass",
    "masterauth",
    "masteruser",
    "primaryauth",
    "primaryuser",
    "aclfile",
    "tls-key-file-pass",
    "tls-client-key-file-pass",
    "port",
    "tls-port",
    "bind",
];

/// Classifies a command. An unknown command counts as harmless: it changes the keys that the server says it names.
pub fn standing(words: &[String]) -> Standing {
    let word = |index: usize| words.get(index).map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    let name = word(0);
    if REFUSED.contains(&name.as_str()) {
        return Standing::Refused;
    }
    let Some((_, harmless, faults)) = SUBCOMMANDS.iter().find(|(container, ..)| *container == name) else {
        return Standing::Harmless;
    };
    let sub = word(1);
    let sets_protected = name == "CONFIG" && directives(words).any(|name| is_protected(&name));
    match () {
        () if harmless.contains(&sub.as_str()) => Standing::Harmless,
        () if faults.contains(&sub.as_str()) && !sets_protected => Standing::Fault,
        () => Standing::Refused,
    }
}

/// Whether a run must never set a directive.
pub fn is_protected(directive: &str) -> bool {
    PROTECTED.iter().any(|kept| kept.eq_ignore_ascii_case(directive))
}

/// The directives that `CONFIG SET` sets.
pub fn directives(words: &[String]) -> impl Iterator<Item = String> + '_ {
    let is_set = words.len() > 3 && words[0].eq_ignore_ascii_case("CONFIG") && words[1].eq_ignore_ascii_case("SET");
    words.iter().skip(if is_set { 2 } else { words.len() }).step_by(2).map(|name| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_commands_that_cannot_be_undone() {
        use Standing::{Fault, Harmless, Refused};
        for (line, expected) in [
            ("SET testkey value", Harmless),
            ("cluster info", Harmless),
            ("INFO replication", Harmless),
            ("CLUSTER FAILOVER", Fault),
            ("CLUSTER FAILOVER TAKEOVER", Fault),
            ("CLUSTER RESET HARD", Refused),
            ("CLUSTER", Refused),
            ("flushall", Refused),
            ("SHUTDOWN NOSAVE", Refused),
            ("SCRIPT FLUSH", Refused),
            ("DEBUG SLEEP 1", Refused),
            ("CONFIG GET appendonly", Harmless),
            ("CONFIG SET appendonly no", Fault),
            ("CONFIG SET appendonly no requirepass x", Refused),
            ("CONFIG REWRITE", Refused),
            ("CONFIG RESETSTAT", Refused),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(standing(&words), expected, "{line}");
        }
    }
}
