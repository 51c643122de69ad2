//! How long histories take to write, to read back and to judge, by their length and by how many operations fail. The
//! floor is copying the same bytes through zstd without understanding them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use slotquake::history::{
    self, Event, EventKind, Explanation, FILE_NAME, FinalValue, Header, Host, NodeInfo, OpParts, Outcome,
    SCHEMA_VERSION,
};
use slotquake::journal::Recorder;
use slotquake::plan::Plan;
use slotquake::report::Report;
use slotquake::server::{Flavour, Server, Version};
use slotquake::suite::{self, OpKind};
use slotquake::units::Speed;

const ROUNDS: usize = 3;

/// A kind of history: which of the operations fail, by their number.
type Kind = (&'static str, fn(u32) -> bool);

const KINDS: [Kind; 3] = [
    ("none fails", |_| false),
    ("2 % fail, scattered", |number| number % 50 == 0),
    ("40 % fail, scattered", |number| number % 5 < 2),
];

fn main() {
    let text = suite::shipped().iter().find(|(name, _)| *name == "role-swap").expect("it is shipped").1;
    let suite = suite::parse(text, Path::new("role-swap")).expect("the suite reads");
    let plan = Plan::new(&suite, 1).expect("the suite plans");
    for operations in [100_000, 1_000_000] {
        for kind in KINDS {
            measure(&plan, operations, kind);
        }
    }
}

fn measure(plan: &Plan, operations: u32, (name, fails): Kind) {
    let folder = tempfile::tempdir().expect("a folder");
    let written = median(|| timed(|| write(plan, folder.path(), operations, fails)));
    let mut read_back = None;
    let read = median(|| timed(|| read_back = Some(history::read(folder.path()).expect("the history reads"))));
    let history = read_back.expect("it was read");
    let judged = median(|| timed(|| drop(Report::of(&history))));
    let bytes = std::fs::read(folder.path().join(FILE_NAME)).expect("the file reads");
    let copied = median(|| {
        timed(|| {
            let plain = zstd::decode_all(bytes.as_slice()).expect("zstd reads");
            drop(zstd::bulk::compress(&plain, 1).expect("zstd writes"));
        })
    });

    println!("{operations} operations, {name}: {:.1} MB on disk, median of {ROUNDS} rounds", bytes.len() as f64 / 1e6);
    for (what, seconds) in
        [("zstd alone (floor)", copied), ("write", written), ("read back", read), ("judge and report", judged)]
    {
        let each_ns = seconds * 1e9 / f64::from(operations);
        println!("  {what:<20} {seconds:>7.3} s  {each_ns:>6.0} ns an operation  {:>5.1}x the floor", seconds / copied);
    }
}

fn write(plan: &Plan, folder: &Path, operations: u32, fails: fn(u32) -> bool) {
    let version = Version { flavour: Flavour::Redis, major: 6, minor: 2, patch: 14 };
    let server = Server {
        asked: "redis:6.2".to_owned(),
        version,
        path: "redis-server".into(),
        origin: String::new(),
        library_path: None,
    };
    let header = Header {
        schema_version: SCHEMA_VERSION,
        tool_version: String::new(),
        plan: plan.clone(),
        server,
        other_servers: BTreeMap::new(),
        host: Host { os: String::new(), cores: 2, backend: slotquake::server::BackendKind::Local.into() },
        started_at: String::new(),
        speed: Speed::REAL,
    };
    let mut recorder = Recorder::create(folder, header).expect("a history begins");
    let nodes = plan.nodes.iter().map(|node| NodeInfo {
        node: node.node,
        shard: node.shard,
        boots_as_master: node.replica_of.is_none(),
        addr: ([127, 1, 0, node.node.0 as u8], 6379).into(),
        id: format!("{:040x}", node.node.0),
        name: None,
    });
    recorder.event(Event { at_ns: 0, kind: EventKind::Booted { nodes: nodes.collect(), took_ms: 0.0 } });
    recorder.event(Event { at_ns: 1, kind: EventKind::Phase { name: "baseline".to_owned() } });
    let unserved = recorder.explanation(&Explanation::of_text("connection refused by 127.1.0.1:6379"));
    let keys = plan.workload.keys();
    for number in 0..operations {
        let at_ns = 1000 + u64::from(number) * 100_000;
        let kind = if number % 2 == 0 { OpKind::Writes } else { OpKind::Reads };
        recorder.op(OpParts {
            due_ns: at_ns,
            invoke_ns: at_ns + 1_000,
            complete_ns: at_ns + 150_000 + u64::from(number % 97) * 1_000,
            key: number / 2 % keys,
            value: number / 2 / keys + 1,
            client: (number % 4) as u16,
            node: (number % 3 + 1) as u16,
            kind,
            redirects: 0,
            outcome: if fails(number) { Outcome::Fail(unserved) } else { Outcome::Ok },
        });
    }
    let end_ns = 1000 + u64::from(operations) * 100_000;
    recorder.event(Event { at_ns: end_ns, kind: EventKind::StepsEnded });
    for key in 0..keys {
        let value = FinalValue::Number((operations / 2 - 1 - key) / keys + 1);
        recorder.event(Event { at_ns: end_ns, kind: EventKind::FinalRead { key, node: None, value } });
    }
    recorder.finish(end_ns + 1).expect("the history ends");
}

fn timed(work: impl FnOnce()) -> f64 {
    let began = Instant::now();
    work();
    began.elapsed().as_secs_f64()
}

fn median(mut measure: impl FnMut() -> f64) -> f64 {
    let mut seconds: Vec<f64> = (0..ROUNDS).map(|_| measure()).collect();
    seconds.sort_by(f64::total_cmp);
    seconds[ROUNDS / 2]
}
