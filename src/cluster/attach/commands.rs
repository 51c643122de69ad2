//! What a suite may send to a cluster that is not ours.

/// What a command would do to somebody else's cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It touches the keys that it names, or nothing.
    Harmless,
    /// It disturbs the cluster, and what it does passes or can be put back.
    Fault,
    /// It destroys or changes what is not ours, for good.
    Refused,
}

/// Commands whose effect nobody could undo.
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

/// Of these commands, the harmless subcommands and those that are faults; any other is refused.
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

/// Directives that hold secrets, or that would lock us or others out.
const KEPT: [&str; 11] = [
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

/// What a command is. Of a command that is not known it is taken that it touches the keys that the server says it
/// names.
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
    let sets_kept = name == "CONFIG" && directives(words).any(|name| is_kept(&name));
    match () {
        () if harmless.contains(&sub.as_str()) => Standing::Harmless,
        () if faults.contains(&sub.as_str()) && !sets_kept => Standing::Fault,
        () => Standing::Refused,
    }
}

/// Whether a directive is left as it is in any case.
pub fn is_kept(directive: &str) -> bool {
    KEPT.iter().any(|kept| kept.eq_ignore_ascii_case(directive))
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
    fn what_nobody_could_undo_is_refused() {
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
