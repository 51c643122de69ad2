//! Operations as columns: what operations have in common is next to each other, so that it takes few bytes and little time.
//!
//! A block has up to [`BLOCK_OPS`] operations. Each column holds one number for each of them, in planes of one byte: first the
//! highest byte of all, last the lowest. A plane is either alike all along, which zstd shrinks to nothing, or as good as
//! random, which it copies. A column has as many planes as its largest number has bytes, and none if all are 0.
//!
//! | column | number |
//! |---|---|
//! | reason | the position of the reason; 0 for an acknowledged operation |
//! | redirects | the redirections |
//! | value | the value, less the one that is expected of the key |
//! | node and sort | the node, XOR the one that is expected of the key; the kind and the class of the outcome in the lowest 3 bits |
//! | client | the client |
//! | due | the due time, less the one before of the same client, divided by the step of the block |
//! | key | the key |
//! | late | the time from due to issue |
//! | took | the time from issue to completion |
//!
//! A difference has its sign in its lowest bit. What is expected depends on all blocks before.

use std::ops::Range;

use super::op::{LAST_INVOKE_NS, Op, Packed, Sort};

/// The most operations in a block. Planes that begin at multiples of 4096 bytes would take half as long again to read,
/// because a processor confuses their addresses with those of what it writes.
pub const BLOCK_OPS: usize = 2000;

/// So many operations are read at once: their columns fit into the fastest cache.
const BATCH_OPS: usize = 256;

/// The number of columns.
const COLUMNS: usize = 9;

/// The most bytes of a number of each column.
const WIDEST: [usize; COLUMNS] = [2, 1, 4, 3, 2, 8, 4, 5, 5];

/// The numbers of a column.
type Column = Vec<u64>;

/// What is expected of operations, from those before. Writer and reader learn the same.
#[derive(Debug)]
pub struct Expected {
    keys: Vec<KeySeen>,
    /// The latest due time of each client, in nanoseconds.
    due_ns: Vec<u64>,
}

/// What the last operation on a key saw.
#[derive(Debug, Clone, Copy, Default)]
struct KeySeen {
    value: u32,
    /// The nodes that served the last read and the last write.
    nodes: [u16; 2],
}

impl Default for Expected {
    fn default() -> Self {
        Self { keys: vec![KeySeen::default(); 1 << 16], due_ns: vec![0; 1 << 16] }
    }
}

impl Expected {
    /// What was seen of a key. Keys whose lower 16 bits agree share it, so its size is bounded.
    #[inline]
    fn key(&mut self, key: u32) -> &mut KeySeen {
        &mut self.keys[usize::from(key as u16)]
    }
}

impl KeySeen {
    #[inline]
    fn value(self, sort: Sort) -> u32 {
        if sort.is_blank() { 0 } else { self.value.wrapping_add(u32::from(sort.kind())) }
    }

    #[inline]
    fn node(self, sort: Sort) -> u16 {
        self.nodes[usize::from(sort.kind() & 1)]
    }

    #[inline]
    fn learn(&mut self, sort: Sort, value: u32, node: u16) {
        if !sort.is_blank() {
            self.value = value;
        }
        if node != 0 {
            self.nodes[usize::from(sort.kind() & 1)] = node;
        }
    }
}

/// The parts of a block, in order: its head, then each plane. [`Frames::frame`](super::Frames::frame) takes them.
///
/// # Panics
/// If there are more than [`BLOCK_OPS`] operations.
pub fn encode(ops: &[Op], expected: &mut Expected) -> Vec<Vec<u8>> {
    assert!(ops.len() <= BLOCK_OPS, "a block of {} operations", ops.len());
    let mut head = Vec::new();
    write_number(&mut head, ops.len() as u64);
    let mut parts = vec![head];
    if ops.is_empty() {
        return parts;
    }
    let (columns, step_ns) = columns(ops, expected);
    write_number(&mut parts[0], step_ns);
    for column in &columns {
        let largest = column.iter().fold(0, |all, number| all | number);
        let width = (u64::BITS - largest.leading_zeros()).div_ceil(8);
        parts[0].push(width as u8);
        for plane in (0..width).rev() {
            parts.push(column.iter().map(|number| (number >> (8 * plane)) as u8).collect());
        }
    }
    parts
}

/// The columns of a block, and its step: the greatest common divisor of the differences of its due times.
fn columns(ops: &[Op], expected: &mut Expected) -> ([Column; COLUMNS], u64) {
    let mut columns: [Column; COLUMNS] = std::array::from_fn(|_| Vec::with_capacity(ops.len()));
    let mut step_ns = 0;
    for op in ops {
        let (sort, value, node) = (op.sort(), op.value(), op.node());
        let seen = expected.key(op.key());
        let (other_value, other_node) = (value.wrapping_sub(seen.value(sort)), node ^ seen.node(sort));
        seen.learn(sort, value, node);
        let last_due_ns = std::mem::replace(&mut expected.due_ns[usize::from(op.client())], op.due_ns());
        let waited_ns = op.due_ns().cast_signed() - last_due_ns.cast_signed();
        step_ns = greatest_common_divisor(step_ns, waited_ns.unsigned_abs());
        let numbers = [
            u64::from(op.reason()),
            u64::from(op.redirects()),
            with_sign_last(i64::from(other_value.cast_signed())),
            u64::from(other_node) << 3 | u64::from(sort.0),
            u64::from(op.client()),
            waited_ns.cast_unsigned(),
            u64::from(op.key()),
            op.late_ns(),
            op.took_ns(),
        ];
        for (column, number) in columns.iter_mut().zip(numbers) {
            column.push(number);
        }
    }
    let step_ns = step_ns.max(1);
    for waited_ns in &mut columns[5] {
        *waited_ns = with_sign_last(waited_ns.cast_signed() / step_ns.cast_signed());
    }
    (columns, step_ns)
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Makes numbers near 0 small, whatever their sign.
fn with_sign_last(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

#[inline]
fn with_sign_first(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Appends a number, 7 bits a byte, the lowest first; each byte but the last has its highest bit set.
pub fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Takes a number of [`write_number`] from the front. None if there is none, or if it has more than 64 bits.
pub fn read_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first()?;
        let bits = u64::from(byte & 0x7F);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Reads blocks. It keeps its memory from one to the next.
#[derive(Debug, Default)]
pub struct Decoder {
    expected: Expected,
    columns: [Column; COLUMNS],
}

impl Decoder {
    /// Appends the operations of a block to `ops`, which may hold `most` in all. `reasons` is the number of reasons so far.
    ///
    /// # Errors
    /// It is not a block, or an operation is impossible. Then the decoder is of no more use.
    pub fn decode(&mut self, mut bytes: &[u8], reasons: usize, ops: &mut Vec<Op>) -> Result<(), String> {
        let cut = || "the block of operations is incomplete".to_owned();
        let count = count(bytes)?;
        read_number(&mut bytes).ok_or_else(cut)?;
        if count == 0 {
            return if bytes.is_empty() { Ok(()) } else { Err("bytes follow the events".to_owned()) };
        }
        let step_ns = read_number(&mut bytes).ok_or_else(cut)?;
        let widths = bytes.split_off(..COLUMNS).ok_or_else(cut)?;
        if let Some(at) = (0..COLUMNS).find(|&at| usize::from(widths[at]) > WIDEST[at]) {
            return Err(format!("column {} has numbers of {} bytes", at + 1, widths[at]));
        }
        let expected: usize = widths.iter().map(|&width| usize::from(width) * count).sum();
        if bytes.len() != expected {
            return Err(format!("{} bytes of {count} operations, not {expected}", bytes.len()));
        }
        let columns: [&[u8]; COLUMNS] = {
            let mut widths = widths.iter();
            std::array::from_fn(|_| {
                let width = widths.next().map_or(0, |&width| usize::from(width));
                bytes.split_off(..width * count).unwrap_or_default()
            })
        };
        ops.reserve(count);
        for from in (0..count).step_by(BATCH_OPS) {
            let rows = from..count.min(from + BATCH_OPS);
            for (column, planes) in self.columns.iter_mut().zip(columns) {
                join(planes, count, rows.clone(), column);
            }
            self.append(step_ns, reasons, ops)?;
        }
        Ok(())
    }

    /// Appends the operations of the rows that [`Decoder::columns`] holds.
    fn append(&mut self, step_ns: u64, reasons: usize, ops: &mut Vec<Op>) -> Result<(), String> {
        let [reason, redirects, value, node, client, due, key, late, took] = &self.columns;
        let before = ops.len();
        let rows = reason.iter().zip(redirects).zip(value).zip(node).zip(client).zip(due).zip(key).zip(late).zip(took);
        let mut latest_ns = 0;
        let mut is_possible = true;
        ops.extend(rows.map(|((((((((reason, redirects), value), node), client), due), key), late), took)| {
            let (client, key, reason) = (*client as u16, *key as u32, *reason as u16);
            let sort = Sort(*node as u8 & (Sort::COUNT - 1));
            let seen = self.expected.key(key);
            let value = seen.value(sort).wrapping_add(with_sign_first(*value) as u32);
            let node = seen.node(sort) ^ (*node >> 3) as u16;
            seen.learn(sort, value, node);
            let due_ns = &mut self.expected.due_ns[usize::from(client)];
            *due_ns = due_ns.wrapping_add(step_ns.wrapping_mul(with_sign_first(*due).cast_unsigned()));
            let invoke_ns = due_ns.saturating_add(*late);
            latest_ns = latest_ns.max(invoke_ns);
            let has_reason = usize::from(reason) < reasons;
            is_possible &= if sort.is_ok() { reason == 0 } else { has_reason };
            let (late_ns, took_ns, redirects) = (*late, *took, *redirects as u8);
            Packed { invoke_ns, late_ns, took_ns, key, value, client, node, redirects, sort, reason }.op()
        }));
        if latest_ns > LAST_INVOKE_NS {
            return Err(format!("an operation issued at {latest_ns} ns, more than 78 hours after the start"));
        }
        if !is_possible {
            return Err(format!("an operation among {} to {} has no such reason", before + 1, ops.len()));
        }
        Ok(())
    }
}

/// How many operations a block has.
///
/// # Errors
/// It has none of a block's bytes, or too many operations.
pub fn count(mut block: &[u8]) -> Result<usize, String> {
    let count = read_number(&mut block).ok_or("the number of operations is missing")?;
    match usize::try_from(count) {
        Ok(count) if count <= BLOCK_OPS => Ok(count),
        _ => Err(format!("a block of {count} operations, more than {BLOCK_OPS}")),
    }
}

/// Joins the planes of a column of `count` numbers, for some rows of it.
fn join(planes: &[u8], count: usize, rows: Range<usize>, column: &mut Column) {
    column.clear();
    let mut planes = planes.chunks_exact(count).map(|plane| &plane[rows.clone()]);
    match planes.next() {
        None => column.resize(rows.len(), 0),
        Some(highest) => column.extend(highest.iter().map(|&byte| u64::from(byte))),
    }
    for plane in planes {
        for (number, &byte) in column.iter_mut().zip(plane) {
            *number = *number << 8 | u64::from(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::history::{OpParts, Outcome};
    use crate::suite::OpKind;

    const REASONS: usize = 300;

    fn decoded(blocks: &[Vec<u8>]) -> Result<Vec<Op>, String> {
        let (mut decoder, mut ops) = (Decoder::default(), Vec::new());
        for block in blocks {
            decoder.decode(block, REASONS, &mut ops)?;
        }
        Ok(ops)
    }

    fn encoded(blocks: &[Vec<Op>]) -> Vec<Vec<u8>> {
        let mut expected = Expected::default();
        blocks.iter().map(|ops| encode(ops, &mut expected).concat()).collect()
    }

    fn outcomes() -> impl Strategy<Value = Outcome> {
        let reason = || 0..REASONS as u16;
        prop_oneof![
            4 => Just(Outcome::Ok),
            1 => reason().prop_map(Outcome::Fail),
            1 => reason().prop_map(Outcome::Info),
            1 => reason().prop_map(Outcome::Unsent),
        ]
    }

    /// A number that is small, or anything up to `most`.
    fn small_or(most: u64) -> impl Strategy<Value = u64> {
        prop_oneof![3 => 0..100_u64.min(most), 1 => 0..=most]
    }

    fn ops() -> impl Strategy<Value = Op> {
        let times = (small_or((1 << 47) - 1), small_or((1 << 40) - 1), small_or((1 << 40) - 1));
        let most = |most: u32| small_or(most.into()).prop_map(|number| number as u32);
        let numbers = (most(u32::MAX), most(u32::MAX), most(u16::MAX.into()), most(u16::MAX.into()), any::<u8>());
        (times, numbers, any::<bool>(), outcomes()).prop_map(|(times, numbers, is_read, outcome)| {
            let ((due_ns, late_ns, took_ns), (key, value, client, node, redirects)) = (times, numbers);
            let (invoke_ns, complete_ns) = (due_ns + late_ns, due_ns + late_ns + took_ns);
            let kind = if is_read { OpKind::Reads } else { OpKind::Writes };
            let (client, node) = (client as u16, node as u16);
            let parts = OpParts { due_ns, invoke_ns, complete_ns, key, value, client, node, kind, redirects, outcome };
            Op::try_from(parts).expect("it fits")
        })
    }

    proptest! {
        #[test]
        fn every_operation_survives(blocks in prop::collection::vec(prop::collection::vec(ops(), 0..20), 0..5)) {
            prop_assert_eq!(decoded(&encoded(&blocks)), Ok(blocks.concat()));
        }

        #[test]
        fn numbers_survive(number in prop_oneof![any::<u64>(), 0..1000_u64], signed in any::<i64>()) {
            let mut bytes = Vec::new();
            write_number(&mut bytes, number);
            bytes.push(7);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(read_number(&mut rest), Some(number));
            prop_assert_eq!(rest, &[7]);
            prop_assert_eq!(with_sign_first(with_sign_last(signed)), signed);
        }
    }

    /// Reads by 4 clients in turn, each answered after the same time.
    fn regular(count: u64) -> Vec<Op> {
        let op = |number: u64| {
            let due_ns = 5_000_000 + number * 2_500_000;
            let parts = OpParts {
                due_ns,
                invoke_ns: due_ns + 100,
                complete_ns: due_ns + 200,
                key: 3,
                value: 1,
                client: (number % 4) as u16,
                node: 2,
                kind: OpKind::Reads,
                redirects: 0,
                outcome: Outcome::Ok,
            };
            Op::try_from(parts).expect("it fits")
        };
        (0..count).map(op).collect()
    }

    #[test]
    fn what_is_expected_takes_no_bytes() {
        let ops = regular(1000);
        let blocks = encoded(&[ops[..20].to_vec(), ops[20..].to_vec()]);
        // The sort, the client, the due time, the key, the times: a byte each. Value and node are those of the key.
        let head = 2 + 4 + COLUMNS;
        assert!((6 * 980 - 980..=6 * 980 + head).contains(&blocks[1].len()), "{} bytes", blocks[1].len());
        assert_eq!(decoded(&blocks).expect("they are blocks"), ops);
    }

    /// A block of one operation with these widths of its columns and these bytes.
    fn block(count: u64, step: u64, widths: [u8; COLUMNS], bytes: &[u8]) -> Vec<u8> {
        let mut block = Vec::new();
        write_number(&mut block, count);
        write_number(&mut block, step);
        [&block[..], &widths, bytes].concat()
    }

    #[test]
    fn absurd_blocks_are_refused() {
        let (wide, narrow) = ([0, 0, 0, 0, 0, 8, 0, 0, 0], [0; COLUMNS]);
        let late = [0xFF; 8];
        for (block, expected) in [
            (vec![], "the number of operations is missing"),
            (vec![0x80; 11], "the number of operations is missing"),
            (vec![0, 1], "bytes follow the events"),
            (vec![1], "incomplete"),
            (vec![1, 1, 0, 0], "incomplete"),
            (block(BLOCK_OPS as u64 + 1, 1, narrow, &[]), "a block of 2001 operations, more than 2000"),
            (block(u64::MAX, 1, narrow, &[]), "more than 2000"),
            (block(1, 1, [3, 0, 0, 0, 0, 0, 0, 0, 0], &[0; 3]), "column 1 has numbers of 3 bytes"),
            (block(1, 1, [0, 0, 0, 0, 0, 0, 0, 0, 255], &[0; 255]), "column 9 has numbers of 255 bytes"),
            (block(2, 1, wide, &[0; 15]), "15 bytes of 2 operations, not 16"),
            (block(1, 1, wide, &[0; 9]), "9 bytes of 1 operations, not 8"),
            (block(1, u64::MAX, wide, &late), "more than 78 hours after the start"),
            (block(1, 1, wide, &[0, 0, 0, 0, 0, 0, 0, 1]), "more than 78 hours after the start"),
            (block(1, 1, [2, 0, 0, 1, 0, 0, 0, 0, 0], &[1, 44, 1]), "an operation among 1 to 1 has no such reason"),
            (block(1, 1, [2, 0, 0, 1, 0, 0, 0, 0, 0], &[0, 1, 0]), "an operation among 1 to 1 has no such reason"),
        ] {
            let error = decoded(std::slice::from_ref(&block)).expect_err(expected);
            assert!(error.contains(expected), "{expected}: {error}");
        }
        for block in [vec![0], block(1, 1, narrow, &[]), block(1, 1, [2, 0, 0, 1, 0, 0, 0, 0, 0], &[1, 43, 1])] {
            decoded(std::slice::from_ref(&block)).expect("it is a block");
        }
    }
}
