//! The calls on the files of a faulty disk.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The calls of one sort on files of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiskCount {
    /// What they do: `write`, `fsync`, `open`, `rename`, `truncate`, `unlink`.
    pub call: String,
    /// The files: `aof`, `rdb`, `nodes.conf`, `other`, `directory`.
    pub files: String,
    /// How many there were.
    pub calls: u64,
    /// How many of them a fault hit.
    pub hits: u64,
}

/// What a fault hit: `412 of 412 write calls on aof, 3 of 7 open calls on rdb`; `no call` if nothing.
pub fn hits_in_words(calls: &[DiskCount]) -> String {
    let hit = calls.iter().filter(|row| row.hits > 0);
    let rows: Vec<String> =
        hit.map(|row| format!("{} of {} {} calls on {}", row.hits, row.calls, row.call, row.files)).collect();
    if rows.is_empty() { "no call".to_owned() } else { rows.join(", ") }
}
