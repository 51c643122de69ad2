//! Histories of one key by hand, and the words of their witnesses.

use slotquake_judge::consistency::{Effect, Guarantee, NIL, Operation, Register, Witness, kept, linearizable, stale};
use slotquake_judge::units::NodeNo;

use crate::{read, write};

const fn ms(ms: u64) -> u64 {
    ms * 1_000_000
}

fn acked(value: u32, times: (u64, u64)) -> Operation {
    write(1, value, times, Effect::Certain)
}

fn unknown(value: u32, times: (u64, u64)) -> Operation {
    write(1, value, times, Effect::Possible)
}

#[test]
fn small_histories_are_judged_by_hand() {
    let rows: Vec<(&str, Vec<Operation>, bool)> = vec![
        ("nothing", vec![], true),
        ("empty, then written", vec![read(2, NIL, (0, 5)), acked(1, (6, 8)), read(2, 1, (9, 10))], true),
        ("empty after an acknowledged write", vec![acked(1, (0, 2)), read(2, NIL, (3, 4))], false),
        ("empty at the instant of the acknowledgement", vec![acked(1, (0, 3)), read(2, NIL, (3, 4))], true),
        ("a stale read", vec![acked(1, (0, 1)), acked(2, (2, 3)), read(2, 1, (4, 5))], false),
        ("an old value during the write", vec![acked(1, (0, 1)), acked(2, (2, 9)), read(2, 1, (4, 5))], true),
        (
            "new, then old, during the write",
            vec![acked(1, (0, 1)), acked(2, (2, 9)), read(2, 2, (3, 4)), read(3, 1, (5, 6))],
            false,
        ),
        ("a foreign value", vec![acked(1, (0, 1)), read(2, u32::MAX, (2, 3))], false),
        ("a refused write that is read", vec![write(1, 1, (0, 1), Effect::Impossible), read(2, 1, (2, 3))], false),
        ("a read from the future", vec![read(2, 1, (0, 1)), acked(1, (2, 3))], false),
        (
            "an unknown write takes effect late",
            vec![unknown(1, (0, 1)), acked(2, (2, 3)), read(2, 2, (4, 5)), read(2, 1, (6, 7))],
            true,
        ),
        (
            "an unknown write takes effect once",
            vec![unknown(1, (0, 1)), acked(2, (2, 3)), read(2, 1, (4, 5)), read(2, 2, (6, 7)), read(2, 1, (8, 9))],
            false,
        ),
        ("an unknown write never takes effect", vec![acked(1, (0, 1)), unknown(2, (2, 3)), read(2, 1, (8, 9))], true),
    ];
    for (name, ops, expected) in rows {
        let found = linearizable(&Register::new(ops.clone()), |_| true);
        assert_eq!(found.violations == 0, expected, "{name}: {found:#?}");
        assert_eq!(crate::oracle::is_linearizable(&ops), expected, "{name}: the search");
    }
}

#[test]
fn a_value_that_is_written_twice_is_not_judged() {
    let twice = Register::new(vec![acked(1, (0, 1)), acked(1, (2, 3)), read(2, NIL, (4, 5))]);
    let found = linearizable(&twice, |_| true);
    assert!(found.is_ambiguous && found.violations == 0, "{found:#?}");
}

#[test]
fn reads_that_do_not_count_violate_nothing() {
    let ops = vec![acked(1, (0, 2)), Operation { node: NodeNo(4), ..read(2, NIL, (3, 4)) }];
    let found = linearizable(&Register::new(ops), |op| op.node == NodeNo(1));
    assert_eq!((found.violations, found.reads), (0, 0));
}

#[test]
fn a_witness_is_a_sentence() {
    let newer = acked(42, (ms(7900), ms(7954)));
    let stale_read = Operation { node: NodeNo(4), ..read(2, 41, (ms(8120), ms(8121))) };
    let rows = [
        (
            vec![acked(41, (ms(7000), ms(7001))), newer, stale_read],
            "client-2 read version 41 of key-17 from node-4 at 8.120 s, after client-1's write of version 42 had been \
             acknowledged by node-1 at 7.954 s; version 41 is the older one: client-1's write of version 41 had been \
             acknowledged by node-1 at 7.001 s, before client-1 sent version 42 at 7.900 s",
        ),
        (
            vec![newer, read(2, NIL, (ms(8120), ms(8121)))],
            "client-2 read no value of key-17 from node-1 at 8.120 s, after client-1's write of version 42 had been \
             acknowledged by node-1 at 7.954 s",
        ),
        (
            vec![read(2, u32::MAX, (ms(8120), ms(8121)))],
            "client-2 read a foreign value of key-17 from node-1 at 8.120 s, which no client wrote",
        ),
        (
            vec![newer, read(2, 42, (ms(7000), ms(7001)))],
            "client-2 read version 42 of key-17 from node-1 at 7.000 s and had the answer at 7.001 s, before client-1 \
             sent the write of it at 7.900 s",
        ),
    ];
    for (ops, expected) in rows {
        let first = linearizable(&Register::new(ops), |_| true).first.expect("a violation");
        assert_eq!(first.describe("key-17"), expected);
    }
}

#[test]
fn a_witness_says_why_without_the_name_of_the_rule() {
    let newer = acked(42, (ms(7900), ms(7954)));
    let rows = [
        (
            vec![acked(41, (ms(7000), ms(7001))), newer, read(2, 41, (ms(8120), ms(8121)))],
            "key-17 was set to 42, which was acknowledged at 7.954 s. client-2 asked 166 ms later and got 41 again, which \
             is older and was written only once.",
            3,
        ),
        (
            vec![newer, read(2, NIL, (ms(8120), ms(8121)))],
            "key-17 was set to 42, which was acknowledged at 7.954 s. client-2 asked 166 ms later and got nothing, though \
             no client removes a key.",
            2,
        ),
        (
            vec![read(2, u32::MAX, (ms(8120), ms(8121)))],
            "client-2 asked for key-17 and got a value that no client wrote.",
            1,
        ),
        (
            vec![newer, read(2, 42, (ms(7000), ms(7001)))],
            "client-2 got 42 from key-17 899 ms before client-1 sent the write of it.",
            2,
        ),
        (
            vec![write(1, 42, (ms(1), ms(2)), Effect::Impossible), read(2, 42, (ms(3), ms(4)))],
            "client-2 got 42 from key-17, but client-1's write of it had been refused, so it should never have been there.",
            2,
        ),
        // Two clients write at the same time: which of them was last?
        (
            vec![
                write(1, 1, (ms(0), ms(5)), Effect::Certain),
                write(2, 2, (ms(0), ms(5)), Effect::Certain),
                read(3, 2, (ms(10), ms(11))),
                read(4, 1, (ms(20), ms(21))),
            ],
            "Each value is written only once, so key-17 holds it for one stretch of time. It held 2 from 0.005 s or \
             earlier until 0.010 s or later, and 1 from 0.005 s or earlier until 0.020 s or later: both at once.",
            4,
        ),
        (
            vec![
                write(1, 1, (ms(0), ms(90)), Effect::Certain),
                write(2, 2, (ms(0), ms(90)), Effect::Certain),
                read(3, 2, (ms(5), ms(10))),
                read(3, 1, (ms(20), ms(30))),
                read(3, 2, (ms(40), ms(50))),
            ],
            "key-17 was read as 1 by 0.030 s. client-3 asked 10 ms later and got 2 again, which is older and was written \
             only once.",
            3,
        ),
    ];
    for (ops, why, shown) in rows {
        let first = linearizable(&Register::new(ops), |_| true).first.expect("a violation");
        let witness = Witness::new("key-17", &first);
        assert_eq!((witness.why.as_str(), witness.ops.len()), (why, shown), "{witness:#?}");
        assert_eq!(witness.ops.iter().filter(|op| op.contradicts).count(), 1, "{witness:#?}");
    }
}

#[test]
fn sessions_are_those_of_clients_and_of_nodes() {
    let two = vec![acked(1, (0, 1)), acked(2, (2, 3))];
    let with = |reads: &[Operation]| Register::new([two.as_slice(), reads].concat());
    let of = |node: u16, op: Operation| Operation { node: NodeNo(node), ..op };
    let rows = [
        ("back in one client", with(&[read(2, 2, (4, 5)), read(2, 1, (6, 7))]), [1, 0, 1]),
        ("back between clients", with(&[read(2, 2, (4, 5)), read(3, 1, (6, 7))]), [0, 0, 1]),
        ("back between nodes", with(&[read(2, 2, (4, 5)), of(4, read(3, 1, (6, 7)))]), [0, 0, 0]),
        ("the writer reads the old value", with(&[of(4, read(1, 1, (6, 7)))]), [0, 1, 0]),
        ("the writer reads nothing", with(&[of(4, read(1, NIL, (6, 7)))]), [0, 1, 0]),
        ("concurrent reads", with(&[read(2, 2, (4, 6)), read(2, 1, (6, 7))]), [0, 0, 0]),
    ];
    for (name, register, expected) in rows {
        let guarantees = [Guarantee::MonotonicReads, Guarantee::ReadYourWrites, Guarantee::MonotonicWrites];
        let found = guarantees.map(|guarantee| kept(&register, guarantee, |_| true).violations);
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn the_oldest_missed_write_gives_the_age() {
    let ops = vec![acked(1, (0, 1)), acked(2, (2, 3)), acked(3, (4, 5)), acked(4, (6, 20)), read(2, 1, (10, 11))];
    let (found, compared) = stale(&Register::new(ops), |_| true);
    assert_eq!((found.len(), compared), (1, 1));
    assert_eq!((found[0].age_ns(), found[0].versions, found[0].missed.value), (7, 2, 2));
}
