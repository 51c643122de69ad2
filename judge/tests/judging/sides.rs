//! `availability` and `latency` by the side of the clients, where a fault of links divides them.

use serde_json::json;
use slotquake_judge::check::Verdict::{Fail, Inconclusive, Pass};
use slotquake_judge::history::{FaultKind, History};
use slotquake_judge::report::Report;
use slotquake_judge::suite::{ClientSet, Only, OpKind};

use crate::expect;
use crate::story::What::{Info, Ok as Acked};
use crate::story::{Cut, Story, key_of};

/// Two clients write to shard-2 each 20 ms for 4 s: client-1 from 0 ms on, client-3 10 ms later. From 2 s to 3 s client-1 gets
/// no answer while the fault is in force, or nobody does.
fn divided(invariant: serde_json::Value, cut: Option<Cut>, hangs: &[u16]) -> History {
    let mut story = Story::new().invariant(invariant).phase(500.0, "a");
    if let Some(cut) = cut {
        story = story.network_fault(1950.0, cut);
    }
    for n in 26..210_u32 {
        for client in [1, 3] {
            let at_ms = f64::from(n) * 20.0 + if client == 1 { 0.0 } else { 10.0 };
            let is_cut = hangs.contains(&client) && (2000.0..3000.0).contains(&at_ms);
            let (answered_ms, what) = if is_cut { (at_ms + 300.0, Info) } else { (at_ms + 1.0, Acked) };
            let key = key_of(2, usize::from(client) * 60 + n as usize % 50);
            story = story.by_client(client).write(key, (at_ms, answered_ms), 2, what);
        }
    }
    if cut.is_some() { story.heal(3000.0, 1) } else { story }.ends(4200.0)
}

fn cut_off(story: serde_json::Value) -> History {
    divided(story, Some(Cut::NODE_1), &[1])
}

#[test]
fn an_outage_of_the_clients_that_are_cut_off_is_not_hidden_by_the_others() {
    let of = |clients: &str, max_outage: &str| json!({"availability": {"of": "writes", "shard": "shard-2", "clients": clients, "max-outage": max_outage}});
    let rejecting = Cut { kind: FaultKind::Refuse, ..Cut::NODE_1 };
    let lossy = Cut { kind: FaultKind::Lossy, ..Cut::NODE_1 };
    let bus = Cut { only: Only::Bus, ..Cut::NODE_1 };
    let halves = Cut { hits: &[1, 2, 3], ..Cut::NODE_1 };
    expect(
        "availability",
        vec![
            ("cut off", cut_off(of("cut-off", "900ms")), Fail, "longest outage 1.001 s from 2.000 s"),
            ("cut off, within", cut_off(of("cut-off", "1100ms")), Pass, "134 of 184 writes served (72.8 %)"),
            ("the rest", cut_off(of("rest", "100ms")), Pass, "184 of 184 writes served (100.0 %), no outage"),
            (
                "all together",
                cut_off(of("all", "100ms")),
                Pass,
                "(operations 10.1 ms apart), 100 ms allowed (of clients on both sides of a fault together",
            ),
            (
                "the rest, also cut off in truth",
                divided(of("rest", "100ms"), Some(Cut::NODE_1), &[1, 3]),
                Fail,
                "longest outage 1.001 s from 2.010 s",
            ),
            ("refused", divided(of("cut-off", "900ms"), Some(rejecting), &[1]), Fail, "1.001 s"),
            ("no fault", divided(of("cut-off", "900ms"), None, &[1]), Inconclusive, "no fault cut off any client"),
            ("lossy", divided(of("cut-off", "900ms"), Some(lossy), &[1]), Inconclusive, "no fault cut off any client"),
            (
                "only the bus",
                divided(of("cut-off", "9s"), Some(bus), &[1]),
                Inconclusive,
                "no fault cut off any client",
            ),
            (
                "halves",
                divided(of("rest", "100ms"), Some(halves), &[1]),
                Inconclusive,
                "both sides of partition cut-1 have as many nodes",
            ),
        ],
    );
}

#[test]
fn latencies_are_those_of_one_side() {
    let of =
        |clients: &str| json!({"latency": {"of": "writes", "shard": "shard-2", "clients": clients, "max": "100ms"}});
    expect(
        "latency",
        vec![
            ("cut off", cut_off(of("cut-off")), Fail, "184 writes, max at least 300 ms"),
            ("the rest", cut_off(of("rest")), Pass, "184 writes, max 1 ms"),
            ("all", cut_off(of("all")), Fail, "368 writes, max at least 300 ms"),
            ("no fault", divided(of("rest"), None, &[]), Pass, "368 writes"),
        ],
    );
}

#[test]
fn a_report_has_the_outages_of_each_side() {
    let judged = |history: &History| {
        let report = Report::of(history);
        let long = report.outages.iter().filter(|outage| outage.length_ms() >= 100.0);
        long.map(|outage| (outage.of, outage.clients, outage.length_ms().round())).collect::<Vec<_>>()
    };
    let any = || json!({"availability": {"of": "writes", "shard": "shard-2", "max-outage": "9s"}});
    assert_eq!(judged(&cut_off(any())), [(OpKind::Writes, ClientSet::CutOff, 1001.0)]);
    assert_eq!(judged(&divided(any(), None, &[1])), [], "others are served meanwhile");
    assert_eq!(judged(&divided(any(), None, &[1, 3])), [(OpKind::Writes, ClientSet::All, 1001.0)]);
}
