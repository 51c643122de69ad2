//! Hash slots: the slot of a key, and the shard of a slot.

use std::fmt;
use std::sync::Arc;

use crate::units::ShardNo;

/// The number of hash slots of every Redis Cluster (cluster specification, "Key distribution model").
pub const SLOTS: u16 = 16384;

/// The slot of a key: CRC16 (XMODEM) of its hash tag, or of the whole key if it has no tag, modulo
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

/// Writes slot ranges: `0-99, 5000`.
pub fn ranges(ranges: &[(u16, u16)]) -> String {
    let range = |&(first, last): &(u16, u16)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.iter().map(range).collect::<Vec<_>>().join(", ")
}

/// The slots that each shard has when a run begins. Every slot belongs to exactly one shard, and every shard has at
/// least one slot. Clones share one table.
#[derive(Clone, PartialEq, Eq)]
pub struct Deal(Arc<Table>);

#[derive(PartialEq, Eq)]
struct Table {
    /// All ranges in ascending order: the last slot of each, and its shard.
    ends: Vec<(u16, ShardNo)>,
    /// The ranges of each shard, in ascending order. No two of them touch.
    slots: Vec<Vec<(u16, u16)>>,
}

/// Slots that cannot be assigned to shards in this way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DealError {
    /// The list of shards is empty.
    #[error("there are no shards")]
    NoShards,
    /// There are more shards than slots.
    #[error("{0} shards are too many (hint: at most {SLOTS})")]
    TooMany(usize),
    /// A shard gets no slots.
    #[error("{0} has no slots")]
    Empty(ShardNo),
    /// The range ends before it begins, or beyond the last slot.
    #[error("{first}-{last} of {shard} is not a slot range")]
    NoRange {
        /// The shard that has the range.
        shard: ShardNo,
        /// The first slot of the range.
        first: u16,
        /// The last slot of the range.
        last: u16,
    },
    /// A slot is assigned twice.
    #[error("slot {slot} is assigned to both {one} and {other}")]
    Twice {
        /// The slot.
        slot: u16,
        /// The shard that has the slot.
        one: ShardNo,
        /// The other shard that gets the slot.
        other: ShardNo,
    },
    /// Some slots belong to no shard.
    #[error("slots {} belong to no shard", ranges(.0))]
    Missing(Vec<(u16, u16)>),
}

impl Deal {
    /// Builds the table from the slot ranges (first and last slot) of every shard, in the order of the shards.
    ///
    /// # Errors
    /// If a slot belongs to no shard or to two, a shard has no slots, or a range is not one.
    pub fn new<R: AsRef<[(u16, u16)]>>(shards: impl IntoIterator<Item = R>) -> Result<Self, DealError> {
        let dealt: Vec<R> = shards.into_iter().collect();
        match dealt.len() {
            0 => return Err(DealError::NoShards),
            count if count > usize::from(SLOTS) => return Err(DealError::TooMany(count)),
            _ => {}
        }
        let mut all: Vec<(u16, u16, ShardNo)> = Vec::new();
        for (index, dealt) in dealt.iter().enumerate() {
            let shard = ShardNo::from_index(index);
            if dealt.as_ref().is_empty() {
                return Err(DealError::Empty(shard));
            }
            for &(first, last) in dealt.as_ref() {
                if first > last || last >= SLOTS {
                    return Err(DealError::NoRange { shard, first, last });
                }
                all.push((first, last, shard));
            }
        }
        all.sort_unstable();
        let mut slots: Vec<Vec<(u16, u16)>> = vec![Vec::new(); dealt.len()];
        let mut ends: Vec<(u16, ShardNo)> = Vec::new();
        let (mut missing, mut next) = (Vec::new(), 0);
        for &(first, last, shard) in &all {
            match ends.last() {
                Some(&(_, one)) if first < next => return Err(DealError::Twice { slot: first, one, other: shard }),
                _ if first > next => missing.push((next, first - 1)),
                _ => {}
            }
            match slots[shard.index()].last_mut() {
                Some((_, end)) if *end + 1 == first => *end = last,
                _ => slots[shard.index()].push((first, last)),
            }
            match ends.last_mut() {
                Some((end, before)) if *before == shard => *end = last,
                _ => ends.push((last, shard)),
            }
            next = last + 1;
        }
        if next < SLOTS {
            missing.push((next, SLOTS - 1));
        }
        if missing.is_empty() { Ok(Self(Arc::new(Table { ends, slots }))) } else { Err(DealError::Missing(missing)) }
    }

    /// Assigns one range of equal size to each shard, as `redis-cli --cluster create` does (0-5460, 5461-10922,
    /// 10923-16383 for three shards).
    ///
    /// # Panics
    /// If there are no shards, or more shards than slots.
    pub fn even(shards: u16) -> Self {
        let edge = |index: u16| (f64::from(index) * f64::from(SLOTS) / f64::from(shards)).round() as u16;
        Self::new((0..shards).map(|index| [(edge(index), edge(index + 1) - 1)])).expect("1 to 16384 shards")
    }

    /// The number of shards.
    pub fn count(&self) -> u16 {
        self.0.slots.len() as u16
    }

    /// The shards, in order.
    pub fn shards(&self) -> impl Iterator<Item = ShardNo> + use<> {
        (1..=self.count()).map(ShardNo)
    }

    /// The slot ranges of a shard, in ascending order; empty if the shard does not exist.
    pub fn slots(&self, shard: ShardNo) -> &[(u16, u16)] {
        usize::from(shard.0).checked_sub(1).and_then(|index| self.0.slots.get(index)).map_or(&[], Vec::as_slice)
    }

    /// Whether the owner of these slots is the master of the shard. The first slot of the shard decides, because
    /// the slots of a shard stay together.
    pub fn is_owned_by(&self, shard: ShardNo, slots: &[(u16, u16)]) -> bool {
        let first_slot = self.slots(shard).first().map(|&(first, _)| first);
        first_slot.is_some_and(|slot| slots.iter().any(|&(first, last)| (first..=last).contains(&slot)))
    }

    /// The shard of a slot.
    ///
    /// # Panics
    /// If the slot does not exist.
    pub fn shard_of(&self, slot: u16) -> ShardNo {
        let range = self.0.ends.partition_point(|&(last, _)| last < slot);
        self.0.ends[range].1
    }

    /// The shard of a key.
    pub fn shard_of_key(&self, key: &[u8]) -> ShardNo {
        self.shard_of(key_slot(key))
    }
}

impl fmt::Debug for Deal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0.slots).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computes_the_same_slots_as_the_server() {
        // CLUSTER KEYSLOT of a redis 6.2 server.
        for (key, slot) in [("key", 12539), ("testkey", 4757), ("key1", 9189), ("hello", 866), ("foo", 12182), ("", 0)]
        {
            assert_eq!(key_slot(key.as_bytes()), slot, "{key}");
        }
    }

    #[test]
    fn hashes_only_the_hash_tag() {
        for (key, same_as) in
            [("{user1}.a", "user1"), ("a{b}c{d}", "b"), ("{}x", "{}x"), ("a{b", "a{b"), ("foo{{bar}}", "{bar")]
        {
            let tag_only = crc16(same_as.as_bytes()) % SLOTS;
            assert_eq!(key_slot(key.as_bytes()), tag_only, "{key}");
        }
    }

    #[test]
    fn even_deal_assigns_every_slot_once_and_evenly() {
        let three = Deal::even(3);
        assert_eq!(
            three.shards().map(|shard| three.slots(shard).to_vec()).collect::<Vec<_>>(),
            [[(0, 5460)], [(5461, 10922)], [(10923, 16383)]]
        );
        for shards in [1, 2, 3, 7, 64, 1000, SLOTS] {
            let deal = Deal::even(shards);
            assert_eq!((deal.count(), deal.shards().count()), (shards, usize::from(shards)));
            let sizes: Vec<u16> = deal.shards().map(|shard| deal.slots(shard)[0]).map(|(from, to)| to - from).collect();
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{shards}");
        }
    }

    #[test]
    fn accepts_several_ranges_for_a_shard() {
        let deal = Deal::new([
            &[(5000, 9999), (0, 99)][..],
            &[(100, 4999), (10000, 10000)],
            &[(10002, 16383), (10001, 10001)],
        ])
        .unwrap();
        assert_eq!(deal.slots(ShardNo(1)), [(0, 99), (5000, 9999)]);
        assert_eq!(deal.slots(ShardNo(2)), [(100, 4999), (10000, 10000)]);
        assert_eq!(deal.slots(ShardNo(3)), [(10001, 16383)], "adjacent ranges are joined");
        for (slots, expected) in [(&[(0, 99)][..], [1, 0, 0]), (&[(100, 10000)], [0, 1, 0]), (&[(0, 16383)], [1, 1, 1])]
        {
            let owned = deal.shards().map(|shard| u16::from(deal.is_owned_by(shard, slots)));
            assert_eq!(owned.collect::<Vec<_>>(), expected, "{slots:?}");
        }
        for shard in [0, 4] {
            assert!(deal.slots(ShardNo(shard)).is_empty(), "there is no shard-{shard}");
        }
        for (slot, shard) in [(0, 1), (99, 1), (100, 2), (4999, 2), (5000, 1), (9999, 1), (10000, 2), (10001, 3)] {
            assert_eq!(deal.shard_of(slot), ShardNo(shard), "{slot}");
        }
        assert_eq!(deal.shard_of(SLOTS - 1), ShardNo(3));
        // Slots 4757 and 9189; an even deal would give both to another shard.
        assert_eq!([&b"testkey"[..], b"key1"].map(|key| deal.shard_of_key(key).0), [2, 1]);
        assert_eq!(Deal::even(3), Deal::new([[(0, 5460)], [(5461, 10922)], [(10923, 16383)]]).unwrap());
    }

    #[test]
    fn rejects_an_invalid_deal_with_the_reason() {
        for (shards, expected) in [
            (&[][..], "there are no shards"),
            (&[&[(0, 16383)][..], &[]], "shard-2 has no slots"),
            (&[&[(0, 16384)]], "0-16384 of shard-1 is not a slot range"),
            (&[&[(0, 16383)], &[(9, 8)]], "9-8 of shard-2 is not a slot range"),
            (&[&[(0, 99)], &[(99, 16383)]], "slot 99 is assigned to both shard-1 and shard-2"),
            (&[&[(0, 16383), (7, 7)]], "slot 7 is assigned to both shard-1 and shard-1"),
            (&[&[(1, 99)], &[(101, 16380)]], "slots 0, 100, 16381-16383 belong to no shard"),
        ] {
            assert_eq!(Deal::new(shards).unwrap_err().to_string(), expected);
        }
        assert_eq!(Deal::new(vec![[(0, 0)]; 16385]), Err(DealError::TooMany(16385)));
    }
}
