//! Kinds of data beside registers.

use serde_json::json;
use slotquake_judge::check::Verdict::{self, Fail, Inconclusive, Pass};
use slotquake_judge::history::{
    self, Detail, EventKind, FILE_NAME, FOREIGN, FinalValue, History, Message, WaitEnd, key_name, key_of,
};
use slotquake_judge::suite::DataKind;
use slotquake_judge::units::{ClientNo, NodeNo, ShardNo};

use super::expect;
use super::story::{Story, What, healthy, judged, taken_over};

/// The first key of a kind in shard-1.
fn first(kind: DataKind) -> u32 {
    let deal = slotquake_judge::slot::Deal::even(3);
    let all = (0..).map(|number| key_of(kind, number));
    all.into_iter().find(|key| deal.shard_of_key(key_name(*key).as_bytes()) == ShardNo(1)).unwrap()
}

/// A write or a read of the one key, from a time on for 1 ms.
enum Does {
    /// An INCR that returned a number, or an RPUSH of one.
    Add(u32),
    /// The same, without an answer.
    Lost(u32),
    /// An INCR that was sent so many times, and returned a number.
    Repeated(u8, u32),
    Read(u32),
    List(&'static [u32]),
    /// A read that saw these halves of a transaction.
    Half(&'static [u32]),
}
use Does::{Add, Half, List, Lost, Read, Repeated};

fn history(kind: DataKind, invariant: serde_json::Value, does: &[Does], last: FinalValue) -> History {
    let key = first(kind);
    let story = Story::new().invariant(invariant).phase(500.0, "busy");
    let mut details = Vec::new();
    let story = does.iter().enumerate().fold(story, |story, (at, does)| {
        let times = (1000.0 + 10.0 * at as f64, 1001.0 + 10.0 * at as f64);
        let mut detail = |detail| details.push(Detail { of: at as u32, ..detail });
        match does {
            Add(number) => story.written(key, *number, times, What::Ok),
            Lost(number) => story.written(key, *number, times, What::Info),
            Repeated(tries, number) => {
                detail(Detail { tries: *tries, ..Detail::default() });
                story.written(key, *number, times, What::Ok)
            }
            Read(number) => story.read(key, *number, times, What::Ok),
            Half(items) => {
                detail(Detail { items: items.to_vec(), ..Detail::default() });
                story.read(key, FOREIGN, times, What::Ok)
            }
            List(items) => {
                detail(Detail { items: items.to_vec(), ..Detail::default() });
                story.read(key, items.len() as u32, times, What::Ok)
            }
        }
    });
    let mut history = story.holds(key, last).ends(3000.0);
    history.details = details;
    history
}

#[test]
fn a_counter_takes_every_increment_once() {
    let counter = |does: &[Does], last| history(DataKind::Counter, json!({"exactly-once": {}}), does, last);
    let number = FinalValue::Number;
    let rows: Vec<(&str, History, Verdict, &str)> = vec![
        ("plain", counter(&[Add(1), Add(2), Read(2), Add(3)], number(3)), Pass, "3 increments of 1 counter"),
        ("unknown and applied", counter(&[Add(1), Lost(0), Add(3)], number(3)), Pass, "0 effects too many"),
        ("unknown and not applied", counter(&[Add(1), Lost(0), Add(2)], number(2)), Pass, "0 lost"),
        (
            "unknown and applied late",
            counter(&[Add(1), Lost(0), Add(2), Add(4)], number(4)),
            Pass,
            "0 effects too many",
        ),
        ("unknown, and used up", counter(&[Add(1), Lost(0), Add(3), Add(5)], number(5)), Fail, "1 effect"),
        ("repeated", counter(&[Add(1), Repeated(3, 4)], number(4)), Fail, "2 effects too many"),
        ("read too much", counter(&[Add(1), Read(2)], number(2)), Fail, "1 effect"),
        ("too much in the end", counter(&[Add(1)], number(2)), Fail, "1 effect"),
        ("lost in the end", counter(&[Add(1), Add(2), Add(3)], number(1)), Fail, "2 lost"),
        ("lost in between", counter(&[Add(1), Add(2), Add(1), Add(2)], number(2)), Fail, "2 lost"),
        ("gone", counter(&[Add(1), Add(2)], FinalValue::Missing), Fail, "2 lost"),
        ("lost or never there", counter(&[Add(1), Lost(0), Read(2)], number(1)), Inconclusive, "1 undecided"),
        (
            "not read back",
            counter(&[Add(1)], FinalValue::Unreadable("no answer".to_owned())),
            Pass,
            "1 increment of 1 counter acknowledged",
        ),
    ];
    expect("exactly-once", rows);
}

#[test]
fn a_repeated_increment_says_how_often_it_was_sent() {
    let invariant = json!({"exactly-once": {}});
    let history = history(DataKind::Counter, invariant, &[Add(1), Repeated(3, 4)], FinalValue::Number(4));
    let judgement = judged(&history, "exactly-once");
    assert_eq!(judgement.witnesses.len(), 1);
    let witness = &judgement.witnesses[0];
    assert!(witness.why.contains("It rose by 3, and only 1 increment can have taken effect"), "{}", witness.why);
    let name = key_name(first(DataKind::Counter));
    assert_eq!(witness.commands, [format!("INCR {name} -> 1"), format!("INCR {name} -> 4 (sent 3 times)")]);
}

#[test]
fn acked_writes_counts_increments_and_appends() {
    let lost = json!({"acked-writes": {"may-lose": 0}});
    let some = json!({"acked-writes": {"may-lose": 1}});
    let numbers = |items: &[u32]| FinalValue::Numbers(items.to_vec());
    let rows: Vec<(&str, History, Verdict, &str)> = vec![
        (
            "kept",
            history(DataKind::Counter, lost.clone(), &[Add(1)], FinalValue::Number(1)),
            Pass,
            "1 increment of 1 counter",
        ),
        ("lost", history(DataKind::Counter, lost.clone(), &[Add(1)], FinalValue::Missing), Fail, "1 lost"),
        ("within the bound", history(DataKind::Counter, some, &[Add(1)], FinalValue::Missing), Pass, "1 lost"),
        (
            "list",
            history(DataKind::List, lost.clone(), &[Add(1), Add(2)], numbers(&[1, 2])),
            Pass,
            "2 appends of 1 list",
        ),
        ("element lost", history(DataKind::List, lost.clone(), &[Add(1), Add(2)], numbers(&[1])), Fail, "1 lost"),
        (
            "unread",
            history(DataKind::List, lost, &[Add(1)], FinalValue::Unreadable("no answer".to_owned())),
            Inconclusive,
            "1 list not read back",
        ),
    ];
    expect("acked-writes", rows);
}

#[test]
fn a_list_has_every_element_once_and_in_order() {
    let numbers = |items: &[u32]| FinalValue::Numbers(items.to_vec());
    let once = |does: &[Does], last| history(DataKind::List, json!({"exactly-once": {}}), does, last);
    expect(
        "exactly-once",
        vec![
            ("plain", once(&[Add(1), Add(2), List(&[1, 2])], numbers(&[1, 2])), Pass, "0 effects too many"),
            ("unknown", once(&[Add(1), Lost(2), Add(3)], numbers(&[1, 3])), Pass, "0 lost"),
            ("twice", once(&[Add(1), Add(2), List(&[1, 2, 2])], numbers(&[1, 2, 2])), Fail, "1 effect"),
            ("lost", once(&[Add(1), Add(2), List(&[1, 2])], numbers(&[1])), Fail, "1 lost"),
        ],
    );
    let order = |does: &[Does], last| history(DataKind::List, json!({"order": {}}), does, last);
    expect(
        "order",
        vec![
            ("plain", order(&[Add(1), Add(2), List(&[1, 2])], numbers(&[1, 2])), Pass, "0 of 2 reads"),
            ("late", order(&[Add(1), Lost(2), Add(3), List(&[1, 3])], numbers(&[1, 3, 2])), Pass, "0 of 2 reads"),
            ("swapped", order(&[Add(1), Add(2), List(&[2, 1])], numbers(&[2, 1])), Fail, "2 of 2 reads"),
            ("swapped for a time", order(&[Add(1), Add(2), List(&[2, 1])], numbers(&[1, 2])), Fail, "1 of 2 reads"),
        ],
    );
    let swapped = order(&[Add(1), Add(2), List(&[2, 1])], numbers(&[2, 1]));
    let why = &judged(&swapped, "order").witnesses[0].why;
    assert!(why.contains("shows 2 before 1, but 1 was in the list at"), "{why}");
}

#[test]
fn a_transaction_is_never_half_seen() {
    let number = FinalValue::Number;
    let atomic = |does: &[Does], last| history(DataKind::Transaction, json!({"atomic": {}}), does, last);
    expect(
        "atomic",
        vec![
            ("plain", atomic(&[Add(1), Read(1), Add(2), Read(2)], number(2)), Pass, "0 of 3 reads"),
            ("half", atomic(&[Add(1), Add(2), Half(&[2, 1])], number(2)), Fail, "1 of 2 reads"),
            ("half in the end", atomic(&[Add(1)], FinalValue::Numbers(vec![1, 0])), Fail, "1 of 1 read"),
            ("no read", atomic(&[Add(1)], FinalValue::Unreadable("no answer".to_owned())), Inconclusive, "0 of 0"),
        ],
    );
    let half = atomic(&[Add(1), Add(2), Half(&[2, 1])], number(2));
    let witness = &judged(&half, "atomic").witnesses[0];
    assert!(witness.why.contains(":b 1 at 1.021 s (read of client-1, answered by node-1): half"), "{}", witness.why);
    assert_eq!(witness.commands.len(), 3, "{:?}", witness.commands);
    let lost = json!({"acked-writes": {"may-lose": 0}});
    expect(
        "acked-writes",
        vec![
            ("kept", history(DataKind::Transaction, lost.clone(), &[Add(1)], number(1)), Pass, "1 write acknowledged"),
            ("lost", history(DataKind::Transaction, lost, &[Add(1)], FinalValue::Missing), Fail, "1 lost"),
        ],
    );
}

#[test]
fn details_are_stored_before_their_operations_and_read_back() {
    let history = history(
        DataKind::List,
        json!({"order": {}}),
        &[Add(1), List(&[1]), Repeated(2, 2), List(&[1, 2])],
        FinalValue::Numbers(vec![1, 2]),
    );
    let mut text = Vec::new();
    history::write_lines(&history, &mut text).expect("memory");
    let of_lines = history::parse(&text, false, "history").expect("it reads");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join(FILE_NAME), super::stored::frames(&history, 3).concat()).expect("written");
    let of_columns = history::read(folder.path()).expect("it reads");
    for read in [of_lines, of_columns] {
        assert_eq!(read.details, history.details);
        assert_eq!(read, history);
    }
}

/// A key that lives for 2 s, set to 1 at 1 s and answered by node-1, then reads of (value, node, time in ms).
#[expect(clippy::needless_pass_by_value, reason = "the rows below are easier to read so")]
fn expiring(settings: serde_json::Value, reads: &[(u32, u16, f64)], last: FinalValue) -> History {
    let key = first(DataKind::Ttl);
    let story = Story::new().invariant(json!({ "expiry": settings })).phase(500.0, "busy");
    let story = story.written(key, 1, (1000.0, 1001.0), What::Ok);
    let read = |story: Story, &(value, node, at): &(u32, u16, f64)| story.read_from(node, key, value, (at, at + 1.0));
    reads.iter().fold(story, read).holds(key, last).ends(9000.0)
}

#[test]
fn a_key_is_there_until_its_time_ends_and_gone_soon_after() {
    let strict = || json!({});
    let gone = FinalValue::Missing;
    let rows: Vec<(&str, History, Verdict, &str)> = vec![
        ("plain", expiring(strict(), &[(1, 1, 2500.0), (0, 1, 4100.0)], gone.clone()), Pass, "1 read of 1 key before"),
        (
            "within the bound",
            expiring(strict(), &[(1, 1, 2500.0), (1, 1, 3900.0)], gone.clone()),
            Pass,
            "0 found the key",
        ),
        ("early", expiring(strict(), &[(0, 1, 2500.0)], gone.clone()), Fail, "1 found nothing"),
        ("late", expiring(strict(), &[(1, 1, 2500.0), (1, 1, 4100.0)], gone.clone()), Fail, "1 found the key"),
        (
            "late, and allowed",
            expiring(json!({"late": "2s"}), &[(1, 1, 2500.0), (1, 1, 4100.0)], gone.clone()),
            Pass,
            "0 found the key",
        ),
        (
            "measured",
            expiring(json!({"may-violate": "measured"}), &[(0, 1, 2500.0)], gone.clone()),
            Pass,
            "1 found nothing",
        ),
        ("late in the end", expiring(strict(), &[(1, 1, 2500.0)], FinalValue::Number(1)), Fail, "1 found the key"),
        (
            "never after its time",
            expiring(json!({"during": "busy"}), &[(1, 1, 2500.0)], gone.clone()),
            Inconclusive,
            "no key was read more than",
        ),
        ("never before", expiring(strict(), &[(0, 1, 4100.0)], gone.clone()), Inconclusive, "no key was read while"),
        // A replica may not have it yet; one that showed it had it.
        (
            "not on a replica",
            expiring(strict(), &[(1, 1, 1500.0), (0, 4, 1600.0)], gone.clone()),
            Pass,
            "0 found nothing",
        ),
        (
            "early on a replica",
            expiring(strict(), &[(1, 4, 1500.0), (0, 4, 1600.0)], gone.clone()),
            Fail,
            "1 found nothing",
        ),
    ];
    expect("expiry", rows);
    let early = expiring(strict(), &[(0, 1, 2500.0)], gone);
    let witness = &judged(&early, "expiry").witnesses[0];
    let name = key_name(first(DataKind::Ttl));
    assert_eq!(witness.commands, [format!("SET {name} 1 PX 2000"), format!("GET {name} -> nothing")]);
    assert!(witness.why.contains("for 2s, which node-1 acknowledged at 1.001 s."), "{}", witness.why);
    assert!(witness.why.contains("at least 499"), "{}", witness.why);
}

#[test]
fn a_key_that_is_gone_after_a_failover_is_lost_or_expired_early() {
    let key = first(DataKind::Ttl);
    let story = |settings: serde_json::Value| {
        let story = Story::new().invariant(json!({ "expiry": settings })).phase(500.0, "busy");
        let story = story.written(key, 1, (1000.0, 1001.0), What::Ok);
        let story = story.read_from(1, key, 1, (1100.0, 1101.0)).views(1500.0, 1..=6, &taken_over(healthy(), 1, 4, 7));
        story.read_from(4, key, 0, (2000.0, 2001.0)).read_from(4, key, 0, (7000.0, 7001.0)).ends(9000.0)
    };
    expect(
        "expiry",
        vec![
            ("none allowed", story(json!({})), Inconclusive, "1 key may have expired early"),
            ("one allowed", story(json!({"may-lose": 1})), Pass, "1 key gone early on a master that took over"),
        ],
    );
}

/// Six messages, one each 100 ms from 1 s on. A subscriber is connected in these spans of time and gets these messages, each
/// 50 ms after its publication.
#[expect(clippy::needless_pass_by_value, reason = "the rows below are easier to read so")]
fn heard(settings: serde_json::Value, spans: &[(f64, f64)], got: &[u32]) -> History {
    let key = first(DataKind::Pubsub);
    let story = Story::new().invariant(json!({ "delivery": settings })).phase(500.0, "busy");
    let sent = |number: u32| 900.0 + 100.0 * f64::from(number);
    let story =
        (1..=6).fold(story, |story, number| story.written(key, number, (sent(number), sent(number) + 1.0), What::Ok));
    let (subscriber, node, channels) = (ClientNo(2), NodeNo(1), vec![key]);
    let story = spans.iter().fold(story, |story, &(from, to)| {
        let (began, ended) = (channels.clone(), channels.clone());
        let why = "its connection was closed".to_owned();
        story
            .event(from, EventKind::Subscribed { subscriber, node, channels: began })
            .event(to, EventKind::Unsubscribed { subscriber, node, channels: ended, why })
    });
    let messages: Vec<Message> =
        got.iter().map(|&number| Message(key, number, super::story::ns(sent(number) + 50.0))).collect();
    story.event(2000.0, EventKind::Delivered { subscriber, node, messages }).ends(3000.0)
}

#[test]
fn every_subscriber_gets_every_message_once() {
    let all = &[1, 2, 3, 4, 5, 6];
    let strict = || json!({});
    let whole = &[(800.0, 1900.0)][..];
    let broken = &[(800.0, 1150.0), (1450.0, 1900.0)][..];
    let rows: Vec<(&str, History, Verdict, &str)> = vec![
        ("plain", heard(strict(), whole, all), Pass, "6 to 1 subscriber: 0 missed"),
        ("one missed", heard(strict(), whole, &[1, 2, 4, 5, 6]), Fail, "1 missed (1 while subscribed"),
        ("between two subscriptions", heard(strict(), broken, &[1, 2, 6]), Fail, "3 missed (0 while subscribed"),
        ("as many as allowed", heard(json!({"may-miss": 3}), broken, &[1, 2, 6]), Pass, "3 missed"),
        ("more than allowed", heard(json!({"may-miss": 2}), broken, &[1, 2, 6]), Fail, "3 missed"),
        ("measured", heard(json!({"may-miss": "measured"}), broken, &[1, 2, 6]), Pass, "3 missed"),
        (
            "before it subscribed",
            heard(strict(), &[(1150.0, 1900.0)], &[3, 4, 5, 6]),
            Pass,
            "4 to 1 subscriber: 0 missed",
        ),
        ("twice", heard(strict(), whole, &[1, 2, 3, 3, 4, 5, 6]), Fail, "1 again"),
        ("twice, and allowed", heard(json!({"may-repeat": 1}), whole, &[1, 2, 3, 3, 4, 5, 6]), Pass, "1 again"),
        ("nobody subscribed", heard(strict(), &[], &[]), Inconclusive, "nothing was observed"),
    ];
    expect("delivery", rows);
    // A missed message is no lost write.
    let mut missed = heard(strict(), broken, &[1, 2, 6]);
    let lost = serde_json::from_value(json!({"acked-writes": {"may-lose": 0}})).expect("an invariant");
    missed.header.plan.invariants.push(lost);
    assert_ne!(judged(&missed, "acked-writes").verdict, Fail, "{:?}", judged(&missed, "acked-writes"));
    let witness = &judged(&heard(strict(), broken, &[1, 2, 6]), "delivery").witnesses[0];
    let name = key_name(first(DataKind::Pubsub));
    let expected = [
        format!("client-2 gets 2 of {name}"),
        format!("PUBLISH {name} 3"),
        format!("PUBLISH {name} 5"),
        format!("client-2 gets 6 of {name}"),
    ];
    assert_eq!(witness.commands, expected);
    assert!(witness.why.contains("3 messages of") && witness.why.contains("in a row (3 to 5)"), "{}", witness.why);
    assert!(
        witness.why.contains("had ended at 1.150 s (its connection was closed); it subscribed again"),
        "{}",
        witness.why
    );
}

#[test]
fn a_client_that_waits_is_woken() {
    let key = first(DataKind::Blocking);
    let waited = |settings: serde_json::Value, waits: &[(f64, f64, WaitEnd)], last: &[u32]| {
        let story = Story::new().invariant(json!({ "woken": settings })).phase(500.0, "busy");
        let story = story.written(key, 1, (2000.0, 2001.0), What::Ok);
        let story = waits.iter().fold(story, |story, (from, to, end)| {
            let (sent_ns, end) = (super::story::ns(*from), end.clone());
            story.event(*to, EventKind::Waited { client: ClientNo(3), key, node: NodeNo(1), sent_ns, end })
        });
        story.holds(key, FinalValue::Numbers(last.to_vec())).ends(9000.0)
    };
    let strict = || json!({});
    let moved = || WaitEnd::Refused("UNBLOCKED force unblock from blocking operation".to_owned());
    let rows: Vec<(&str, History, Verdict, &str)> = vec![
        ("plain", waited(strict(), &[(1000.0, 2002.0, WaitEnd::Popped(1))], &[]), Pass, "0 of 1 wait for 1 queue"),
        ("late", waited(strict(), &[(1000.0, 5000.0, WaitEnd::Popped(1))], &[]), Fail, "1 of 1 wait"),
        (
            "late, and allowed",
            waited(json!({"within": "5s"}), &[(1000.0, 5000.0, WaitEnd::Popped(1))], &[]),
            Pass,
            "0 of 1",
        ),
        ("never", waited(strict(), &[(1000.0, 8000.0, WaitEnd::Open)], &[1]), Fail, "1 of 1 wait"),
        (
            "measured",
            waited(json!({"may-violate": "measured"}), &[(1000.0, 8000.0, WaitEnd::Open)], &[1]),
            Pass,
            "1 of 1",
        ),
        ("nothing was there", waited(strict(), &[(1000.0, 8000.0, WaitEnd::Open)], &[]), Pass, "1 got by nobody"),
        (
            "redirected",
            waited(strict(), &[(1000.0, 1500.0, moved()), (1600.0, 2002.0, WaitEnd::Popped(1))], &[]),
            Pass,
            "0 of 2 waits",
        ),
        ("nobody waited", waited(strict(), &[], &[1]), Inconclusive, "nothing was observed"),
    ];
    expect("woken", rows);
    let never = waited(strict(), &[(1000.0, 8000.0, WaitEnd::Open)], &[1]);
    let witness = &judged(&never, "woken").witnesses[0];
    let name = key_name(key);
    assert_eq!(witness.commands, [format!("BLPOP {name} 0 -> never answered"), format!("RPUSH {name} 1")]);
    assert!(witness.why.contains("nobody woke it until the end of the workload"), "{}", witness.why);
}
