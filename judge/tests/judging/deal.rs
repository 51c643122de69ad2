//! Clusters with an uneven distribution of slots: the shards of keys, and shards with few keys or none.

use serde_json::json;
use slotquake_judge::check::Verdict::{Fail, Inconclusive, Pass};
use slotquake_judge::facts::{KeyShards, Ownership};
use slotquake_judge::history::{EventKind, History, key_name, sample_keys};
use slotquake_judge::slot::{Deal, key_slot};
use slotquake_judge::topology::View;
use slotquake_judge::units::{NodeNo, ShardNo};

use crate::expect;
use crate::story::What::{Fail as Refused, Info, Ok as Acked, Unsent};
use crate::story::{Story, key_of};
use crate::views::{healthy, taken_over};

/// The ranges of three shards.
type Ranges = [&'static [(u16, u16)]; 3];

/// As after resharding: `testkey`, with slot 4757, belongs to shard-2.
const RESHARDED: Ranges = [&[(0, 99), (5000, 9999)], &[(100, 4999), (10000, 10000)], &[(10001, 16383)]];

/// shard-2 has one slot, without any of the 600 keys of the workload.
const TINY: Ranges = [&[(0, 5459)], &[(5460, 5460)], &[(5461, 16383)]];

/// The same history on a cluster with another distribution of slots, in plan and views.
fn dealt(mut history: History, ranges: Ranges) -> History {
    let even = Deal::even(3);
    let other = |slots: &[(u16, u16)]| {
        let shard = even.shards().find(|&shard| even.slots(shard) == slots);
        shard.map_or(slots.to_vec(), |shard| ranges[shard.index()].to_vec())
    };
    for planned in &mut history.header.plan.nodes {
        planned.slots = other(&planned.slots);
    }
    for event in &mut history.events {
        if let EventKind::Viewed { view, .. } = &mut event.kind {
            view.peers.values_mut().for_each(|peer| peer.slots = other(&peer.slots));
        }
    }
    history
}

/// The first key that belongs to one shard by `deal` and to another by an even distribution.
fn key_between(ranges: Ranges, shard: u16, even_shard: u16) -> u32 {
    let deal = Deal::new(ranges).unwrap();
    let shards =
        |key: u32| (deal.shard_of_key(key_name(key).as_bytes()), Deal::even(3).shard_of_key(key_name(key).as_bytes()));
    (0..600).find(|&key| shards(key) == (ShardNo(shard), ShardNo(even_shard))).unwrap()
}

#[test]
fn the_plan_assigns_keys_to_shards() {
    let availability = |shard: &str| json!({"availability": {"of": "writes", "shard": shard, "max-outage": "0s"}});
    // One key with a refused write: shard-1's after the reshard, shard-2's in an even deal.
    let moved = key_between(RESHARDED, 1, 2);
    let refused = |shard: &str| {
        let story = Story::new().invariant(availability(shard)).phase(500.0, "a").writes(3, 600.0, 2000.0, 3, Acked);
        let story = (0..100).fold(story, |story, n| {
            let at_ms = 600.0 + 14.0 * f64::from(n);
            let both = story.write(key_between(RESHARDED, 2, 1), (at_ms, at_ms + 1.0), 2, Acked);
            both.write(moved, (at_ms, at_ms + 1.0), 1, if n == 50 { Refused } else { Acked })
        });
        story.ends(2000.0)
    };
    expect(
        "availability",
        vec![
            ("its own", dealt(refused("shard-1"), RESHARDED), Fail, "shard-1: 99 of 100 writes served"),
            ("another's", dealt(refused("shard-2"), RESHARDED), Pass, "shard-2: 100 of 100 writes served"),
            ("dealt evenly", refused("shard-1"), Pass, "shard-1: 100 of 100"),
            ("dealt evenly, the other", refused("shard-2"), Fail, "shard-2: 99 of 100"),
        ],
    );
    let role = |target: &str| {
        let story = Story::new().invariant(json!({"role": {"node": target, "is": "replica-of node-2", "at": "end"}}));
        story.phase(500.0, "a").ends(2000.0)
    };
    expect(
        "role",
        vec![
            ("of a key", dealt(role("key:testkey/replica"), RESHARDED), Pass, "node-5 is a replica of node-2"),
            ("of a slot", dealt(role("slot:10000/replica"), RESHARDED), Pass, "node-5 is a replica of node-2"),
            ("of a slot that is not", dealt(role("slot:99/replica"), RESHARDED), Fail, "node-4 is a replica of node-1"),
            ("dealt evenly", role("key:testkey/replica"), Fail, "node-4 is a replica of node-1"),
        ],
    );
    let history = dealt(role("slot:1/master"), RESHARDED);
    let (shards, deal) = (KeyShards::new(&history.header.plan), Deal::new(RESHARDED).unwrap());
    assert!((0..700).all(|key| shards.of(key) == deal.shard_of(key_slot(key_name(key).as_bytes()))));
    assert_eq!(shards.without_keys(), []);
}

#[test]
fn a_promotion_takes_all_ranges_of_the_shard() {
    let promotions = || {
        let story = Story::new().invariant(json!({"promotions": {"shard": "shard-1", "exactly": 1}})).phase(500.0, "a");
        story.failover_of_node_1().node_1_back_as_replica()
    };
    // node-4 says that it has the first range, and nobody the second.
    let mut halved = dealt(promotions().ends(9000.0), RESHARDED);
    for event in &mut halved.events {
        if let EventKind::Viewed { view, .. } = &mut event.kind {
            view.peers.get_mut(&NodeNo(4)).unwrap().slots.truncate(1);
        }
    }
    let whole = dealt(promotions().ends(9000.0), RESHARDED);
    assert_eq!(Ownership::new(&whole).owner(ShardNo(1), 5_000_000_000), Some(NodeNo(4)));
    expect(
        "promotions",
        vec![
            ("all of them", whole, Pass, "shard-1: 1 promotion"),
            ("one of two", halved, Fail, "shard-1: 0 promotions"),
        ],
    );
}

/// In its plan a master has one range, as a pair, and a replica has null.
#[test]
fn reads_histories_and_reports_of_earlier_versions() {
    let text = include_bytes!("../../../fuzz/seeds/history/master-crash.jsonl");
    let history = slotquake_judge::history::parse(text, false, "master-crash.jsonl").unwrap();
    assert!(String::from_utf8_lossy(text).contains(r#""slots":[0,5460]"#), "it is of an earlier version");
    assert_eq!(history.header.plan.deal(), Deal::even(3));
    let text = include_bytes!("../../../fuzz/seeds/report/master-crash.json");
    let report = slotquake_judge::report::parse(text, "master-crash.json").unwrap();
    assert_eq!(report.header.plan, history.header.plan);
    let slots: Vec<usize> = report.header.plan.nodes.iter().map(|node| node.slots.len()).collect();
    assert_eq!(slots, [1, 1, 1, 0, 0, 0]);
}

/// A shard whose first range belonged to another one: 0-99 of shard-2. A check of one slot alone would be wrong.
#[test]
fn slots_of_another_shard_do_not_count() {
    let mut view: View = taken_over(healthy(), 1, 4, 7);
    view.peers.get_mut(&NodeNo(4)).unwrap().slots = vec![(0, 99)];
    let story = Story::new().invariant(json!({"promotions": {"shard": "all", "exactly": 0}})).phase(500.0, "a");
    let history = dealt(story.views(3000.0, 1..=6, &view).ends(4000.0), RESHARDED);
    expect("promotions", vec![("a part", history, Pass, "shard-1: 0 promotions; shard-2: 0 promotions")]);
}

#[test]
fn a_shard_without_keys_is_inconclusive() {
    let deal = Deal::new(TINY).unwrap();
    let sample = sample_keys(&deal);
    assert_eq!(sample.iter().filter(|&&key| key < 600).count(), 2, "the third is beyond the workload's: {sample:?}");
    let by_shard: Vec<u16> = sample.iter().map(|&key| deal.shard_of_key(key_name(key).as_bytes()).0).collect();
    assert!(by_shard.contains(&1) && by_shard[2] == 2, "{by_shard:?}");
    assert_eq!(KeyShards::new(&dealt(Story::new().ends(900.0), TINY).header.plan).without_keys(), [ShardNo(2)]);
    let run = |invariant| {
        let story = Story::new().invariant(invariant).phase(500.0, "a");
        dealt(story.writes(1, 600.0, 2000.0, 1, Acked).writes(3, 600.0, 2000.0, 3, Acked).ends(2000.0), TINY)
    };
    let why = "none of the workload's 600 keys is in shard-2; hint: raise `workload.keys`";
    expect("acked-writes", vec![("one", run(json!({"acked-writes": {"may-lose": 0}})), Inconclusive, why)]);
    let availability = |settings: &str, shard: &str| {
        let mut of =
            serde_json::Map::from_iter([("of".to_owned(), json!("writes")), ("shard".to_owned(), json!(shard))]);
        let (name, value) = settings.split_once(' ').unwrap();
        of.insert(name.to_owned(), json!(value));
        run(json!({ "availability": of }))
    };
    expect(
        "availability",
        vec![
            ("all shards", availability("max-outage 0s", "all"), Inconclusive, why),
            ("a share", availability("min-served 99%", "shard-2"), Inconclusive, why),
            ("never", availability("served never", "shard-2"), Inconclusive, why),
            ("another shard", availability("max-outage 0s", "shard-1"), Pass, "no outage"),
        ],
    );
    expect(
        "split-brain",
        vec![("one", run(json!({"split-brain": {"may-last": "0s"}})), Inconclusive, "shard-2: no write")],
    );
}

#[test]
fn a_low_rate_leaves_the_length_of_an_outage_open() {
    // Writes of shard-1 each three seconds, those from one moment to another refused.
    let sparse = |bound: &str, from_ms: f64, to_ms: f64| {
        let invariant = json!({"availability": {"of": "writes", "shard": "shard-1", "max-outage": bound}});
        let story = Story::new().invariant(invariant).phase(500.0, "a");
        let story = (0..10).fold(story, |story, n| {
            let at_ms = 1000.0 + 3000.0 * f64::from(n);
            let what = if (from_ms..to_ms).contains(&at_ms) { Refused } else { Acked };
            story.write(key_of(1, 0), (at_ms, at_ms + 1.0), 1, what)
        });
        story.ends(30_000.0)
    };
    expect(
        "availability",
        vec![
            ("surely shorter", sparse("10s", 9000.0, 12_000.0), Pass, "longest outage 3.001 s"),
            // Between the last write before, at 7.001 s, and the first after, at 13.001 s.
            ("just surely shorter", sparse("6s", 9000.0, 12_000.0), Pass, "longest outage 3.001 s"),
            ("maybe longer", sparse("5s", 9000.0, 12_000.0), Inconclusive, "may have begun up to 2.999 s earlier"),
            ("maybe shorter", sparse("2999ms", 9000.0, 12_000.0), Inconclusive, "may have ended by 12.999 s"),
            ("surely longer", sparse("3s", 9000.0, 15_000.0), Fail, "longest outage 6.001 s"),
            ("nobody looked", sparse("2s", 0.0, 0.0), Inconclusive, "no writes were sent from 1.001 s to 4.000 s"),
            ("every one of them", sparse("0s", 0.0, 0.0), Inconclusive, "10 of 10"),
        ],
    );
    // node-4 is promoted at 4.5 s; one write each second at most.
    let first = |bound: &str, refused_ms: f64, served_ms: f64| {
        let story = Story::new()
            .invariant(json!({"failover-time": {"shard": "shard-1", "to": "first-write", "within": bound}}));
        let story = story.phase(500.0, "a").failover_of_node_1().write(key_of(1, 0), (1900.0, 1901.0), 1, Acked);
        let story = story.write(key_of(1, 0), (refused_ms, refused_ms + 1.0), 1, Refused);
        story.write(key_of(1, 0), (served_ms, served_ms + 1.0), 4, Acked).ends(9000.0)
    };
    expect(
        "failover-time",
        vec![
            ("in time", first("5s", 4000.0, 6000.0), Pass, "first write after 4.001 s"),
            ("nobody tried in time", first("3s", 4000.0, 6000.0), Inconclusive, "no write was tried at 5.000 s"),
            ("tried in vain", first("3s", 5500.0, 6000.0), Fail, "first write after 4.001 s (limit 3.000 s)"),
        ],
    );
}

#[test]
fn too_few_keys_are_no_outage() {
    let run = |settings: serde_json::Value, more: fn(Story) -> Story| {
        let story = Story::new().invariant(json!({ "availability": settings })).phase(500.0, "a");
        let story = story.writes(1, 600.0, 2000.0, 1, Acked).writes(1, 2300.0, 4000.0, 1, Acked);
        // The only key's write takes 90 ms, and others were due meanwhile.
        let story = story.write(key_of(1, 0), (2000.0, 2090.0), 1, Acked);
        let story = (0..3).fold(story, |story, n| {
            let at_ms = 2020.0 + 20.0 * f64::from(n);
            story.write(key_of(1, 0), (at_ms, at_ms), 0, Unsent)
        });
        more(story).ends(4000.0)
    };
    let of = |name: &str, value: &str| json!({"of": "writes", "shard": "shard-1", name: value});
    let alone: fn(Story) -> Story = |story| story;
    let refused: fn(Story) -> Story = |story| story.write(key_of(1, 1), (2100.0, 2101.0), 1, Refused);
    let hung: fn(Story) -> Story = |story| story.write(key_of(1, 1), (2100.0, 3200.0), 1, Acked);
    let unanswered: fn(Story) -> Story = |story| story.write(key_of(1, 1), (2100.0, 3200.0), 1, Info);
    let why = "shard-1: 3 operations not sent: too few keys (hint: raise `workload.keys`)";
    expect(
        "availability",
        vec![
            ("no outage", run(of("max-outage", "0s"), alone), Pass, "3 not sent, no outage"),
            ("always", run(of("served", "always"), alone), Inconclusive, why),
            ("a share", run(of("min-served", "100%"), alone), Inconclusive, why),
            ("a share that they do not touch", run(of("min-served", "90%"), alone), Pass, "served"),
            ("for a while", run(of("max-outage", "60ms"), alone), Inconclusive, "no writes were sent from"),
            ("one was refused", run(of("max-outage", "0s"), refused), Fail, "served"),
            ("one was refused, always", run(of("served", "always"), refused), Fail, "served"),
            ("one was refused, a share", run(of("min-served", "100%"), refused), Fail, "served"),
            ("one hung", run(of("max-outage", "0s"), hung), Fail, "served"),
            ("one had no answer", run(of("max-outage", "0s"), unanswered), Fail, "served"),
        ],
    );
}
