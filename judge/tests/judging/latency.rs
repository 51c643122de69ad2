//! latency: quantiles of how long operations took, and what makes them uncertain.

use serde_json::{Value, json};
use slotquake_judge::check::Verdict::{self, Fail, Inconclusive, Pass};
use slotquake_judge::history::{EventKind, History};

use crate::expect;
use crate::story::What::{self, Fail as Refused, Info, Ok as Acked, Unsent};
use crate::story::{Story, judged, key_of};

/// 200 writes of shard 1 in phase `a`, each of 1 ms.
fn story(bounds: Value) -> Story {
    let mut settings = json!({"of": "writes", "shard": "shard-1"});
    let Value::Object(bounds) = bounds else { panic!("{bounds} is no mapping") };
    settings.as_object_mut().unwrap().extend(bounds);
    Story::new().invariant(json!({ "latency": settings })).phase(500.0, "a").writes(1, 600.0, 2600.0, 1, Acked)
}

/// Further writes of shard 1 from 4 s on, 10 ms apart.
fn more(story: Story, times: usize, ms: f64, what: What) -> Story {
    (0..times).fold(story, |story, n| {
        let at = 4000.0 + 10.0 * n as f64;
        story.write(key_of(1, 5 + n), (at, at + ms), 1, what)
    })
}

fn slow(bounds: Value, times: usize) -> History {
    more(story(bounds), times, 900.0, Acked).ends(9000.0)
}

#[test]
fn quantiles_have_bounds() {
    let in_phase = |phase: &str| {
        let story = story(json!({"max": "899ms", "during": phase})).phase(3900.0, "b");
        more(story, 1, 900.0, Acked).ends(9000.0)
    };
    let of = |of: &str, shard: &str| {
        let settings = json!({"latency": {"of": of, "shard": shard, "max": "899ms"}});
        let story = Story::new().invariant(settings).phase(500.0, "a").writes(1, 600.0, 2600.0, 1, Acked);
        let story = story.writes(2, 600.0, 2600.0, 2, Acked).writes(3, 600.0, 2600.0, 3, Acked);
        story.read(key_of(1, 0), 1, (3000.0, 3900.0), Acked).ends(9000.0)
    };
    expect(
        "latency",
        vec![
            (
                "all at the bound",
                slow(json!({"p50": "1ms", "p99": "1ms", "max": "1ms"}), 0),
                Pass,
                "200 writes, p50 1 ms",
            ),
            ("all above it", slow(json!({"p50": "999us"}), 0), Fail, "p50 1 ms"),
            ("the slowest at the bound", slow(json!({"max": "900ms"}), 1), Pass, "201 writes, max 900 ms"),
            ("the slowest above it", slow(json!({"max": "899ms"}), 1), Fail, "max 900 ms"),
            ("2 of 202 are more than 1 %, but the 200th is fast", slow(json!({"p99": "1ms"}), 2), Pass, "p99 1 ms"),
            ("3 of 203", slow(json!({"p99": "899ms"}), 3), Fail, "p99 900 ms"),
            ("3 of 203 do not move the median", slow(json!({"p50": "1ms"}), 3), Pass, "p50 1 ms"),
            ("one bound of several", slow(json!({"p50": "1ms", "p99": "1ms", "max": "1ms"}), 1), Fail, "max 900 ms"),
            ("another phase", in_phase("a"), Pass, "200 writes"),
            ("that phase", in_phase("b"), Fail, "1 write, max 900 ms"),
            ("no such phase", in_phase("z"), Inconclusive, "ended before phase"),
            ("a read among writes", of("writes", "all"), Pass, "shard-3: 200 writes"),
            ("a read", of("reads", "shard-1"), Fail, "shard-1: 1 read, max 900 ms"),
            ("reads and writes", of("all", "shard-1"), Fail, "shard-1: 201 operations"),
            ("reads and writes of another shard", of("all", "shard-2"), Pass, "shard-2: 200 operations"),
            ("each shard on its own", of("all", "all"), Fail, "shard-3: 200 operations, max 1 ms"),
            ("nobody read", of("reads", "shard-2"), Inconclusive, "shard-2: no reads were sent"),
        ],
    );
    let judgement = judged(&slow(json!({"p99": "1s", "max": "899ms"}), 3), "latency");
    assert_eq!((judgement.figures["latency_p99_ms"], judgement.figures["latency_max_ms"]), (900.0, 900.0));
    let name = slotquake_judge::history::key_name(key_of(1, 5));
    let told = format!("shard-1: write of {name} by client-1, due at 4.000 s, answered by node-1 after 900 ms");
    assert_eq!(judgement.evidence[0], told);
    assert_eq!(judgement.evidence.len(), 5);
}

#[test]
fn an_operation_that_is_not_served_makes_no_latency_better() {
    let with = |bounds: Value, times, ms, what| more(story(bounds), times, ms, what).ends(9000.0);
    expect(
        "latency",
        vec![
            (
                "unanswered for longer than the bound",
                with(json!({"max": "1s"}), 1, 5000.0, Info),
                Fail,
                "at least 5.000 s",
            ),
            ("unanswered until then", with(json!({"max": "5s"}), 1, 5000.0, Info), Inconclusive, "1 write not served"),
            ("refused at once", with(json!({"max": "1s"}), 1, 1.0, Refused), Inconclusive, "1 write not served"),
            ("refused, but few", with(json!({"p99": "1s"}), 2, 1.0, Refused), Pass, "p99 1 ms"),
            ("too many are refused", with(json!({"p99": "1s"}), 3, 1.0, Refused), Inconclusive, "3 writes not served"),
            ("most are refused", with(json!({"p50": "1s"}), 201, 1.0, Refused), Inconclusive, "201 writes not served"),
            ("not sent", with(json!({"max": "1s"}), 1, 0.0, Unsent), Inconclusive, "1 write not sent"),
            ("few are not sent", with(json!({"p99": "1s"}), 2, 0.0, Unsent), Pass, "200 writes, p99 1 ms"),
            ("too many are not sent", with(json!({"p99": "1s"}), 3, 0.0, Unsent), Inconclusive, "3 writes not sent"),
            (
                "those not sent do not excuse the others",
                with(json!({"p50": "999us"}), 3, 0.0, Unsent),
                Fail,
                "p50 1 ms",
            ),
        ],
    );
}

#[test]
fn the_harness_s_own_lateness_fails_no_cluster() {
    // Issued 100 ms late, and answered after 1 ms.
    let late = |max: &str| more(story(json!({ "max": max })), 1, 1.0, Acked).issued_late(100.0).ends(9000.0);
    // One of 900 ms; half a second later the harness is 100 ms late.
    let busy = |max: &str, at: f64| {
        let slow = more(story(json!({ "max": max })), 1, 900.0, Acked);
        slow.write(key_of(1, 0), (at, at + 1.0), 1, Acked).issued_late(100.0).ends(9000.0)
    };
    let stalled = |max: &str, at: f64| {
        let slow = more(story(json!({ "max": max })), 1, 900.0, Acked);
        slow.event(at, EventKind::Stalled { by_ms: 600.0 }).ends(9000.0)
    };
    let very_late = |times: usize| {
        let story = more(story(json!({"max": "899ms"})), 1, 900.0, Acked);
        let late = |story: Story, n: usize| {
            let at = 7500.0 + 10.0 * n as f64;
            story.write(key_of(1, n), (at, at + 1.0), 1, Acked).issued_late(1001.0)
        };
        (0..times).fold(story, late).ends(9000.0)
    };
    expect(
        "latency",
        vec![
            ("late, but within the bound", late("101ms"), Pass, "max 101 ms"),
            ("only late", late("100ms"), Inconclusive, "1 write while the harness itself was late by up to 100 ms"),
            ("slow on a busy machine", busy("499ms", 5400.0), Fail, "max 900 ms"),
            ("slow, perhaps by the machine", busy("500ms", 5400.0), Inconclusive, "late by up to 100 ms"),
            ("busy long after", busy("899ms", 7000.0), Fail, "max 900 ms"),
            ("stalled meanwhile, and slow beside that", stalled("299ms", 4800.0), Fail, "max 900 ms"),
            ("slow, perhaps by the stall", stalled("300ms", 4800.0), Inconclusive, "late by up to 600 ms"),
            ("stalled before", stalled("899ms", 4000.0), Fail, "max 900 ms"),
            ("two of 203 over a second late", very_late(2), Fail, "max 1.002 s"),
            ("three of 204", very_late(3), Inconclusive, "were issued over 1 s late"),
        ],
    );
}

#[test]
fn a_quantile_needs_operations() {
    let writes = |count: u32, bounds: Value| {
        let settings = json!({"of": "writes", "shard": "shard-1"});
        let mut settings = settings.as_object().unwrap().clone();
        settings.extend(bounds.as_object().unwrap().clone());
        let story = Story::new().invariant(json!({ "latency": settings })).phase(500.0, "a");
        story.writes(1, 600.0, 600.0 + 10.0 * f64::from(count), 1, Acked).ends(20_000.0)
    };
    expect(
        "latency",
        vec![
            ("one has no median", writes(1, json!({"p50": "1s"})), Inconclusive, "p50 needs 2 writes of shard-1"),
            ("two have", writes(2, json!({"p50": "1s"})), Pass, "2 writes, p50"),
            ("99", writes(99, json!({"p99": "1s"})), Inconclusive, "p99 needs 100 writes"),
            ("99 that are too slow", writes(99, json!({"p99": "1us"})), Inconclusive, "p99 needs 100 writes"),
            ("100", writes(100, json!({"p99": "1s"})), Pass, "100 writes, p99"),
            ("999", writes(999, json!({"p999": "1s"})), Inconclusive, "p999 needs 1000 writes"),
            ("1000", writes(1000, json!({"p999": "1s"})), Pass, "1000 writes, p999"),
            ("one has a maximum", writes(1, json!({"max": "1s"})), Pass, "1 write, max"),
            (
                "a maximum that is exceeded beside one that is missing",
                writes(9, json!({"p99": "1s", "max": "1us"})),
                Fail,
                "p99 needs",
            ),
            ("nothing", writes(0, json!({"max": "1s"})), Inconclusive, "no writes were sent"),
            ("no bound", writes(9, json!({})), Inconclusive, "there is nothing to judge"),
        ],
    );
}

#[test]
fn a_run_that_was_cut_short_proves_only_what_it_saw() {
    let cut = |bounds: Value, times| more(story(bounds), times, 900.0, Acked).breaks_off();
    expect(
        "latency",
        vec![
            ("all fast so far", cut(json!({"max": "1s"}), 1), Inconclusive, "the harness died"),
            ("the longest stays", cut(json!({"max": "899ms"}), 1), Fail, "max 900 ms"),
            ("a share may fall", cut(json!({"p99": "899ms"}), 3), Inconclusive, "the harness died"),
        ],
    );
}

#[test]
fn a_larger_bound_is_never_judged_worse() {
    let mixed = |key: &str, bound_ms: u32| {
        let bound = format!("{bound_ms}ms");
        let story = more(story(json!({ key: bound })), 3, 700.0, Info);
        let story = story.write(key_of(1, 0), (6000.0, 6300.0), 1, Acked).issued_late(60.0);
        judged(&story.write(key_of(1, 1), (6500.0, 6501.0), 1, Refused).ends(9000.0), "latency").verdict
    };
    for key in ["p50", "p99", "max"] {
        let verdicts: Vec<Verdict> = (1..100).map(|step| mixed(key, step * 10)).collect();
        assert!(verdicts.is_sorted_by(|smaller, larger| smaller >= larger), "{key}: {verdicts:?}");
    }
    assert_eq!(mixed("max", 300), Fail);
    assert_eq!(mixed("max", 5000), Inconclusive);
}
