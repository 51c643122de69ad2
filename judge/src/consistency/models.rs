//! What counters, lists and compared registers do when their operations come one after another, for [`super::search`].

use super::Model;

/// A number that is replaced only where it is the expected one. It begins as [`super::NIL`].
#[derive(Debug, Clone, Copy)]
pub struct Cas;

/// An operation of [`Cas`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CasOp {
    /// A read that returned this number.
    Read(u32),
    /// The expected number was there, and replaced. An operation of unknown outcome took effect like this, or never.
    Replaced {
        /// The expected number.
        expected: u32,
        /// The new one.
        new: u32,
    },
    /// The expected number was not there.
    Unlike(u32),
}

impl Model for Cas {
    type State = u32;
    type Op = CasOp;

    fn initial(&self) -> u32 {
        super::NIL
    }

    fn step(&self, state: &u32, op: &CasOp) -> Option<u32> {
        match *op {
            CasOp::Read(number) => (*state == number).then_some(number),
            CasOp::Replaced { expected, new } => (*state == expected).then_some(new),
            CasOp::Unlike(expected) => (*state != expected).then_some(*state),
        }
    }

    fn is_read(&self, op: &CasOp) -> bool {
        matches!(op, CasOp::Read(_) | CasOp::Unlike(_))
    }
}

/// A counter that begins at 0.
#[derive(Debug, Clone, Copy)]
pub struct Count;

/// An operation of [`Count`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountOp {
    /// A read that returned this number.
    Read(u32),
    /// An increment that returned this number; None where it had no answer.
    Add(Option<u32>),
}

impl Model for Count {
    type State = u32;
    type Op = CountOp;

    fn initial(&self) -> u32 {
        0
    }

    fn step(&self, state: &u32, op: &CountOp) -> Option<u32> {
        match *op {
            CountOp::Read(number) => (*state == number).then_some(number),
            CountOp::Add(answer) => {
                let after = state.checked_add(1)?;
                answer.is_none_or(|number| number == after).then_some(after)
            }
        }
    }

    fn is_read(&self, op: &CountOp) -> bool {
        matches!(op, CountOp::Read(_))
    }

    fn may_come(&self, state: &u32, read: &CountOp) -> bool {
        // A counter only grows.
        matches!(read, CountOp::Read(number) if number >= state)
    }
}

/// A list to which elements are appended. Its state stands for the elements: their number, and 128 bits that depend on each
/// of them and on their order.
#[derive(Debug, Clone, Copy)]
pub struct Sequence;

/// An operation of [`Sequence`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceOp {
    /// A read of the whole list; see [`Sequence::of`].
    Read((u32, u128)),
    /// An append of this element.
    Append(u32),
}

impl Sequence {
    /// The state of a list with these elements.
    pub fn of(items: &[u32]) -> (u32, u128) {
        items.iter().fold((0, 0), |state, &item| Self::append(state, item))
    }

    fn append((length, digest): (u32, u128), item: u32) -> (u32, u128) {
        // An odd factor and a rotation keep the map of one state to the next without collisions for each element.
        const FACTOR: u128 = 0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3211;
        let mixed = (digest ^ u128::from(item)).wrapping_add(0x9E37_79B9_7F4A_7C15).wrapping_mul(FACTOR);
        (length + 1, mixed.rotate_left(61) ^ mixed)
    }
}

impl Model for Sequence {
    type State = (u32, u128);
    type Op = SequenceOp;

    fn initial(&self) -> (u32, u128) {
        (0, 0)
    }

    fn step(&self, state: &(u32, u128), op: &SequenceOp) -> Option<(u32, u128)> {
        match *op {
            SequenceOp::Read(read) => (*state == read).then_some(read),
            SequenceOp::Append(item) => Some(Self::append(*state, item)),
        }
    }

    fn is_read(&self, op: &SequenceOp) -> bool {
        matches!(op, SequenceOp::Read(_))
    }

    fn may_come(&self, state: &(u32, u128), read: &SequenceOp) -> bool {
        // A list only grows.
        matches!(read, SequenceOp::Read(read) if read.0 > state.0 || read == state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consistency::{Budget, Call, Found, search};

    fn calls<O: Copy>(ops: &[(u64, Option<u64>, O)]) -> Vec<Call<O>> {
        ops.iter().map(|&(invoke_ns, complete_ns, op)| Call { invoke_ns, complete_ns, op }).collect()
    }

    fn holds<M: Model>(model: &M, ops: &[Call<M::Op>]) -> bool {
        matches!(search(model, ops, Budget::default()), Found::Linearizable(_))
    }

    #[test]
    fn a_number_is_replaced_only_where_it_is_the_expected_one() {
        use CasOp::{Read, Replaced, Unlike};
        let to = |expected, new| Replaced { expected, new };
        for (ops, expected) in [
            (&[(0, Some(1), to(0, 1)), (2, Some(3), to(1, 2)), (4, Some(5), Read(2))][..], true),
            // Two that replaced the same number.
            (&[(0, Some(1), to(0, 1)), (2, Some(5), to(1, 2)), (3, Some(6), to(1, 3))], false),
            (&[(0, Some(1), to(0, 1)), (2, Some(5), to(1, 2)), (3, Some(6), Unlike(1))], true),
            (&[(0, Some(1), to(0, 1)), (2, Some(3), Unlike(1))], false),
            (&[(0, Some(1), to(0, 1)), (2, None, to(1, 2)), (4, Some(5), Read(2))], true),
            (&[(0, Some(1), to(0, 1)), (2, None, to(1, 2)), (4, Some(5), Read(1))], true),
            (&[(0, Some(1), to(0, 1)), (2, None, to(1, 2)), (4, Some(5), Read(2)), (6, Some(7), Read(1))], false),
        ] {
            assert_eq!(holds(&Cas, &calls(ops)), expected, "{ops:?}");
        }
    }

    #[test]
    fn a_counter_returns_each_number_once() {
        use CountOp::{Add, Read};
        for (ops, expected) in [
            (&[(0, Some(1), Add(Some(1))), (2, Some(5), Add(Some(3))), (3, Some(6), Add(Some(2)))][..], true),
            (&[(0, Some(1), Add(Some(1))), (2, Some(3), Add(Some(3)))], false),
            (&[(0, Some(1), Add(Some(1))), (2, None, Add(None)), (4, Some(5), Add(Some(3)))], true),
            (&[(0, Some(1), Add(Some(1))), (2, Some(3), Add(Some(1)))], false),
            (&[(0, Some(1), Add(Some(1))), (2, Some(3), Read(0))], false),
        ] {
            assert_eq!(holds(&Count, &calls(ops)), expected, "{ops:?}");
        }
    }

    #[test]
    fn a_list_grows_at_its_end() {
        use SequenceOp::Append;
        let read = |items: &[u32]| SequenceOp::Read(Sequence::of(items));
        for (ops, expected) in [
            (vec![(0, Some(1), Append(1)), (2, Some(5), Append(2)), (3, Some(6), read(&[1, 2]))], true),
            (vec![(0, Some(1), Append(1)), (2, Some(5), Append(2)), (3, Some(6), read(&[1]))], true),
            (vec![(0, Some(1), Append(1)), (2, Some(3), Append(2)), (4, Some(6), read(&[1]))], false),
            (vec![(0, Some(1), Append(1)), (2, Some(3), Append(2)), (4, Some(6), read(&[2, 1]))], false),
            (
                vec![
                    (0, Some(1), Append(1)),
                    (2, None, Append(2)),
                    (4, Some(6), read(&[1])),
                    (7, Some(8), read(&[1, 2])),
                ],
                true,
            ),
        ] {
            assert_eq!(holds(&Sequence, &calls(&ops)), expected, "{ops:?}");
        }
        assert_ne!(Sequence::of(&[1, 2]), Sequence::of(&[2, 1]));
        assert_ne!(Sequence::of(&[0]), Sequence::of(&[0, 0]));
    }
}
