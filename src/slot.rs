//! Hash slots: which slot a key has, and which shard got it at boot.

use crate::units::ShardNo;

/// The number of hash slots of every Redis Cluster (cluster specification, "Key distribution model").
pub const SLOTS: u16 = 16384;

/// The slot of a key: CRC16 (XMODEM) of its hash tag, or of the whole key where it has none, modulo
/// 16384 (cluster specification, "Hash tags": the bytes between the first `{` and the first `}`
/// after it, unless that is empty).
pub fn key_slot(key: &[u8]) -> u16 {
    let tag = key
        .iter()
        .position(|&byte| byte == b'{')
        .and_then(|open| {
            let rest = &key[open + 1..];
            rest.iter().position(|&byte| byte == b'}').filter(|&length| length > 0).map(|length| &rest[..length])
        })
        .unwrap_or(key);
    crc16(tag) % SLOTS
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, &byte| {
        (0..8).fold(
            crc ^ (u16::from(byte) << 8),
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            },
        )
    })
}

/// The slots, first and last, that shard `shard` of `shards` gets at boot: dealt evenly, as
/// `redis-cli --cluster create` does (0-5460, 5461-10922, 10923-16383 for three).
pub fn boot_slots(shard: ShardNo, shards: u16) -> (u16, u16) {
    let edge = |index: usize| {
        let cut = (index as f64 * f64::from(SLOTS) / f64::from(shards)).round() as u16;
        cut.min(SLOTS)
    };
    (edge(shard.index()), edge(shard.index() + 1) - 1)
}

/// The shard that got a slot at boot, with `shards` masters.
pub fn boot_shard(slot: u16, shards: u16) -> ShardNo {
    (0..usize::from(shards))
        .map(ShardNo::from_index)
        .find(|&shard| slot <= boot_slots(shard, shards).1)
        .expect("the last shard ends with the last slot")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_that_the_server_computes() {
        // CLUSTER KEYSLOT of a redis 6.2 server.
        for (key, slot) in [("key", 12539), ("testkey", 4757), ("key1", 9189), ("hello", 866), ("foo", 12182), ("", 0)]
        {
            assert_eq!(key_slot(key.as_bytes()), slot, "{key}");
        }
    }

    #[test]
    fn a_hash_tag_decides_alone() {
        for (key, same_as) in
            [("{user1}.a", "user1"), ("a{b}c{d}", "b"), ("{}x", "{}x"), ("a{b", "a{b"), ("foo{{bar}}", "{bar")]
        {
            let tag_only = crc16(same_as.as_bytes()) % SLOTS;
            assert_eq!(key_slot(key.as_bytes()), tag_only, "{key}");
        }
    }

    #[test]
    fn boot_ranges_cover_every_slot_once() {
        assert_eq!(
            (1..=3).map(|n| boot_slots(ShardNo(n), 3)).collect::<Vec<_>>(),
            [(0, 5460), (5461, 10922), (10923, 16383)]
        );
        for shards in 3..=40 {
            let mut next = 0;
            for n in 1..=shards {
                let (first, last) = boot_slots(ShardNo(n), shards);
                assert_eq!(first, next, "shard {n} of {shards}");
                assert_eq!(boot_shard(first, shards), ShardNo(n));
                assert_eq!(boot_shard(last, shards), ShardNo(n));
                next = last + 1;
            }
            assert_eq!(next, SLOTS);
        }
    }
}
