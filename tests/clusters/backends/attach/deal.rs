//! A cluster that was resharded: masters with several ranges of slots each, one of them with a single slot.

use std::fs;
use std::path::Path;

use slotquake::history::{EventKind, Op, key_name};
use slotquake::slot::{Deal, key_slot};
use slotquake::suite::OpKind;
use slotquake::units::{NodeNo, ShardNo};

use super::cluster::{Cluster, Kind};
use super::{assert_passes, attach, only_run, out};
use crate::support::{self, Ended, Places, fetched, verdicts};

/// The slot of key-606, and of no key of a lower number.
const ALONE: u16 = 15131;

/// `testkey` has slot 4757: in an even deal it would be shard-2's of four, and `slot:10000` shard-3's.
fn deal() -> Deal {
    let third = [(10001, ALONE - 1), (ALONE + 1, 16383)];
    Deal::new([&[(0, 99), (5000, 9999)][..], &[(100, 4999), (10000, 10000)], &third, &[(ALONE, ALONE)]])
        .expect("a deal")
}

const SUITE: &str = "
name: dealt
about: A failover of the shard of a key, by command.
cluster: { masters: 4 }
workload: { keys: 600 }
steps:
  - phase: baseline
  - expect: { send: SET testkey 7, to: key:testkey/master, is: OK }
  - expect: { send: GET testkey, to: shard-1/master, moved-to: key:testkey/master }
  - expect: { send: GET testkey, to: shard-2/master, is: '7' }
  - settle: 1s
  - phase: failover
  - command: { send: CLUSTER FAILOVER, to: key:testkey/replica }
  - await: { promoted: SHARD, within: 5s }
  # Its old master may not have heard of it yet.
  - await: { converged: all, within: spec }
  - expect: { send: GET testkey, to: slot:10000/master, is: '7' }
  - expect: { send: GET testkey, to: node-2, moved-to: node-6 }
  - settle: 1s
invariants:
  - slot-coverage: { at: end }
  - agreement: { within: spec }
  - promotions: { shard: SHARD, exactly: 1 }
  - promotions: { shard: shard-3, exactly: 0 }
  - role: { node: slot:10000/master, is: master, at: end }
  - role: { node: key:testkey/replica, is: replica-of node-6, at: end }
  - acked-writes: { may-lose: 0 }
  - redirects: { at: end }
  - replica-read-only: { at: end }
";

fn suite(folder: &Path, promoted: &str) -> String {
    let path = folder.join(format!("{promoted}.yaml"));
    fs::write(&path, SUITE.replace("SHARD", promoted)).expect("a suite");
    path.to_str().expect("a plain path").to_owned()
}

fn folder(ended: &Ended) -> String {
    only_run(ended)["report"].as_str().expect("a folder").to_owned()
}

/// What is judged again from the history alone, with the verdicts of the run.
fn assert_judged_alike(ended: &Ended) {
    let again = support::slotquake(&["check", &folder(ended), "--format", "json"]);
    assert_eq!(again.code(), ended.code(), "{}", again.whole());
    assert_eq!(verdicts(&only_run(&again)), verdicts(&only_run(ended)), "{}", again.whole());
}

#[test]
fn runs_on_any_distribution_of_slots() {
    let _places = Places::take(1);
    let server = fetched("redis:6.2");
    let cluster = Cluster::start(&server, &Kind { deal: deal(), ..Kind::default() });
    let before = cluster.write_foreign_keys();
    let (files, out) = out();
    let good = suite(files.path(), "shard-2");
    let ended = attach(&cluster, &out, None, &[&good, "--allow-faults", "--set", "workload.keys=700"]);
    assert_passes(&ended);
    assert_judged_alike(&ended);
    let history = slotquake::history::read(folder(&ended).as_ref()).expect("a history");
    assert_eq!(history.header.plan.deal(), deal());
    let page = fs::read_to_string(Path::new(&folder(&ended)).join("report.html")).expect("a page");
    assert!(page.contains("0-99, 5000-9999") && page.contains(">15131<"), "the slots of the nodes are in the report");
    // Who acknowledged a write owned its slot by the deal, which the servers were expected and not the harness.
    let owner = |op: &Op| deal().shard_of_key(key_name(op.key()).as_bytes());
    let writes = |shard: u16| {
        let of_shard = history.ops.iter().filter(move |op| op.kind() == OpKind::Writes && owner(op) == ShardNo(shard));
        of_shard.map(Op::node).collect::<std::collections::BTreeSet<u16>>()
    };
    assert_eq!([1, 3, 4].map(|shard| writes(shard).into_iter().collect::<Vec<_>>()), [[1], [3], [4]]);
    assert!(writes(2).contains(&2) && writes(2).contains(&6), "{:?}", writes(2));

    // Roles are swapped now. In an even deal the key's shard would be another, and so it would be with this suite.
    let ended = attach(&cluster, &out, None, &[&suite(files.path(), "shard-1"), "--allow-faults"]);
    assert_eq!(ended.code(), Some(1), "{}", ended.whole());
    assert!(ended.whole().contains("`promoted: shard-1` was not met within 5s"), "{}", ended.whole());
    assert!(ended.stderr.contains("none of the workload's 600 keys is in shard-4"), "{}", ended.whole());
    let judged = verdicts(&only_run(&ended));
    for expected in [
        "promotions (shard shard-1, exactly 1): fail",
        "acked-writes (may-lose 0): inconclusive",
        "redirects (at end): pass",
        "replica-read-only (at end): pass",
    ] {
        assert!(judged.iter().any(|verdict| verdict == expected), "{expected}: {judged:?}: {}", ended.whole());
    }
    assert_judged_alike(&ended);
    // A shard without keys of the workload is asked for a key of its own all the same.
    let history = slotquake::history::read(folder(&ended).as_ref()).expect("a history");
    let probed = history.events.iter().filter(|event| match &event.kind {
        EventKind::RedirectProbed { slot, owner, .. } => (*slot, *owner) == (ALONE, NodeNo(4)),
        _ => false,
    });
    assert_eq!(probed.count(), 7);
    assert_eq!(key_slot(b"key-606"), ALONE);
    assert_eq!(cluster.digest(), before, "{}", ended.whole());

    let id = cluster.ask(1, "CLUSTER MYID").expect("an id");
    cluster.ask(3, &format!("CLUSTER SETSLOT 10001 MIGRATING {id}")).expect("it begins");
    let ended = attach(&cluster, &out, None, &["formation"]);
    assert_eq!(ended.code(), Some(2), "{}", ended.whole());
    let expected = format!("slots are being moved: {} says [10001->-{id}]", cluster.seed(3));
    assert!(ended.stderr.contains(&expected) && ended.stderr.contains("--cluster fix"), "{}", ended.whole());
}
