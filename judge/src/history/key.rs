//! The keys of a workload by number. The upper byte of a number is the position of the kind of data, so that keys of
//! all kinds have numbers and names of their own.

use crate::suite::{DataKind, WorkloadSpec};

/// The bits of a key's number within its kind.
const NUMBER_BITS: u32 = 24;

/// The number of a key of a kind, from its number within the kind.
pub fn key_of(kind: DataKind, number: u32) -> u32 {
    let position = DataKind::ALL.iter().position(|&each| each == kind).unwrap_or_default() as u32;
    position << NUMBER_BITS | number
}

/// The kind of a key, and its number within the kind. A number that belongs to no kind is that of a register.
#[inline]
pub fn kind_of(key: u32) -> (DataKind, u32) {
    match DataKind::ALL.get((key >> NUMBER_BITS) as usize) {
        Some(&kind) => (kind, key & ((1 << NUMBER_BITS) - 1)),
        None => (DataKind::Register, key),
    }
}

/// The keys of every kind of data of a workload.
pub fn workload_keys(workload: &WorkloadSpec) -> impl Iterator<Item = u32> + '_ {
    let of_kind = |&kind: &DataKind| (0..workload.keys_of(kind)).map(move |number| key_of(kind, number));
    DataKind::ALL.iter().flat_map(of_kind)
}

/// The name of key number `key`: `key-17`, `counter-17`. Its hash gives its slot.
pub fn key_name(key: u32) -> String {
    let (kind, number) = kind_of(key);
    format!("{}-{number}", kind.prefix())
}

/// The names of the keys of key number `key`: one, or the two of a transaction, which have its slot.
pub fn stored_names(key: u32) -> Vec<String> {
    let name = key_name(key);
    match kind_of(key).0 {
        DataKind::Register
        | DataKind::Counter
        | DataKind::List
        | DataKind::Ttl
        | DataKind::Pubsub
        | DataKind::ShardedPubsub
        | DataKind::Blocking
        | DataKind::Set
        | DataKind::Cas
        | DataKind::Stream => vec![name],
        DataKind::Transaction => vec![format!("{{{name}}}:a"), format!("{{{name}}}:b")],
    }
}

/// The name of the key that is written to a replica at the end. It has the slot of key number `key`.
pub fn probe_name(key: u32) -> String {
    format!("{{{}}}:probe", key_name(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_all_kinds_have_names_of_their_own() {
        for (key, expected) in [
            (key_of(DataKind::Register, 17), "key-17"),
            (17, "key-17"),
            (key_of(DataKind::Counter, 0), "counter-0"),
            (key_of(DataKind::Counter, 17), "counter-17"),
            (u32::MAX, "key-4294967295"),
        ] {
            assert_eq!(key_name(key), expected);
        }
        for &kind in DataKind::ALL {
            assert_eq!(kind_of(key_of(kind, 99)), (kind, 99));
        }
    }
}
