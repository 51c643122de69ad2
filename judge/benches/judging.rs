//! How long it takes to judge a history in memory, all of its invariants and the report, by what the history looks like and
//! how long it is. The floor is sorting the same operations once by key and time.
//!
//! Arguments narrow it: `cargo bench -p slotquake-judge --bench judging -- 1000000 hot`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use slotquake_judge::history::{
    Event, EventKind, Explanation, FinalValue, Header, History, Host, NodeInfo, Op, OpParts, Outcome, SCHEMA_VERSION,
};
use slotquake_judge::plan::Plan;
use slotquake_judge::report::Report;
use slotquake_judge::server::{BackendKind, Flavour, Server, Version};
use slotquake_judge::suite::{self, OpKind};
use slotquake_judge::units::Speed;

const ROUNDS: usize = 3;

/// What a history looks like.
struct Shape {
    name: &'static str,
    masters: u16,
    keys: u32,
    /// Whether an operation fails, by its number.
    fails: fn(u32) -> bool,
}

const SHAPES: [Shape; 5] = [
    Shape { name: "none fails", masters: 3, keys: 600, fails: |_| false },
    Shape { name: "2 % fail, scattered", masters: 3, keys: 600, fails: |number| scattered(number) < 2 },
    Shape { name: "40 % fail, scattered", masters: 3, keys: 600, fails: |number| scattered(number) < 40 },
    Shape { name: "one hot key", masters: 3, keys: 1, fails: |number| scattered(number) < 2 },
    Shape { name: "96 nodes", masters: 48, keys: 20_000, fails: |number| scattered(number) < 2 },
];

/// A number below 100 that looks random.
fn scattered(number: u32) -> u32 {
    (number.wrapping_mul(2_654_435_761).rotate_left(13).wrapping_mul(2_246_822_519) >> 16) % 100
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|each| each != "--bench").collect();
    let (sizes, names): (Vec<&String>, Vec<&String>) = arguments.iter().partition(|each| each.parse::<u32>().is_ok());
    let is_named = |shape: &&Shape| names.is_empty() || names.iter().any(|name| shape.name.contains(name.as_str()));
    for shape in SHAPES.iter().filter(is_named) {
        for operations in [100_000, 1_000_000, 10_000_000] {
            if sizes.is_empty() || sizes.contains(&&operations.to_string()) {
                measure(shape, operations);
            }
        }
    }
}

fn measure(shape: &Shape, operations: u32) {
    let history = history(shape, operations);
    let floor = median(|| {
        let began = Instant::now();
        let mut ops = history.ops.clone();
        ops.sort_unstable_by_key(|op| (op.key(), op.invoke_ns()));
        std::hint::black_box(&ops);
        began.elapsed().as_secs_f64()
    });
    // The peak of the memory from here on.
    _ = std::fs::write("/proc/self/clear_refs", "5");
    let judged = median(|| {
        let began = Instant::now();
        std::hint::black_box(Report::of(&history));
        began.elapsed().as_secs_f64()
    });
    println!(
        "{:<22} {operations:>9} operations: {judged:>7.3} s, {:>5.0} ns each, {:>4.1}x the floor, peak {:>5.0} MB",
        shape.name,
        judged * 1e9 / f64::from(operations),
        judged / floor,
        peak_mb().unwrap_or(f64::NAN),
    );
}

/// The peak of the process's memory in megabytes, with the history.
fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? * 1024.0 / 1e6)
}

fn suite_text(shape: &Shape) -> String {
    format!(
        "name: bench
about: A history for the bench.
cluster: {{ server: redis:6.2, masters: {}, replicas-per-master: 1 }}
workload: {{ clients: {}, rate: 10000/s, keys: {}, reads: 50% }}
steps:
  - phase: baseline
  - settle: 2s
invariants:
  - acked-writes: {{ may-lose: 0 }}
  - availability: {{ of: writes, shard: shard-1, max-outage: 2s }}
  - availability: {{ of: reads, shard: shard-1, max-outage: 2s }}
  - availability: {{ of: writes, shard: all, min-served: 10% }}
  - availability: {{ of: reads, shard: all, served: always }}
  - latency: {{ of: all, during: baseline, p99: 1s }}
  - linearizable: {{ }}
  - stale-reads: {{ max-age: 0s }}
  - monotonic-reads: {{ }}
  - read-your-writes: {{ }}
  - monotonic-writes: {{ }}
",
        shape.masters,
        shape.keys.min(4),
        shape.keys
    )
}

fn history(shape: &Shape, operations: u32) -> History {
    let suite = suite::parse(&suite_text(shape), Path::new("bench")).expect("the suite reads");
    let plan = Plan::new(&suite, 1).expect("the suite plans");
    let version = Version { flavour: Flavour::Redis, major: 6, minor: 2, patch: 14 };
    let server = Server {
        asked: "redis:6.2".to_owned(),
        version,
        path: "redis-server".into(),
        origin: String::new(),
        library_path: None,
    };
    let nodes = plan.nodes.iter().map(|node| NodeInfo {
        node: node.node,
        shard: node.shard,
        boots_as_master: node.replica_of.is_none(),
        addr: ([127, 1, 0, node.node.0 as u8], 6379).into(),
        id: format!("{:040x}", node.node.0),
        name: None,
    });
    let end_ns = 1000 + u64::from(operations) * 100_000;
    let mut events = vec![
        Event { at_ns: 0, kind: EventKind::Booted { nodes: nodes.collect(), took_ms: 0.0 } },
        Event { at_ns: 1, kind: EventKind::Phase { name: "baseline".to_owned() } },
        Event { at_ns: end_ns, kind: EventKind::StepsEnded },
    ];
    let (ops, last) = ops(shape, &plan, operations);
    events.extend(last.into_iter().enumerate().map(|(key, value)| {
        let value = if value == 0 { FinalValue::Missing } else { FinalValue::Number(value) };
        Event { at_ns: end_ns, kind: EventKind::FinalRead { key: key as u32, node: None, value } }
    }));
    events.push(Event { at_ns: end_ns + 1, kind: EventKind::End });
    let header = Header {
        schema_version: SCHEMA_VERSION,
        tool_version: String::new(),
        plan,
        server,
        other_servers: BTreeMap::new(),
        host: Host { os: String::new(), cores: 2, backend: BackendKind::Local.into() },
        started_at: String::new(),
        speed: Speed::REAL,
    };
    let reasons = vec![Explanation::of_text("connection refused by 127.1.0.1:6379")];
    History { header, ops, reasons, events, details: Vec::new(), complete: true }
}

/// The operations, and the last number of each key. Each write is followed by a read of its key.
fn ops(shape: &Shape, plan: &Plan, operations: u32) -> (Vec<Op>, Vec<u32>) {
    let (mut last, mut next) = (vec![0_u32; shape.keys as usize], vec![0_u32; shape.keys as usize]);
    let deal = plan.deal();
    let masters: Vec<u16> =
        (0..shape.keys).map(|key| deal.shard_of_key(slotquake_judge::history::key_name(key).as_bytes()).0).collect();
    let op = |number: u32| {
        let key = number / 2 % shape.keys;
        let at = key as usize;
        let fails = (shape.fails)(number);
        let (kind, value) = if number.is_multiple_of(2) {
            next[at] += 1;
            if !fails {
                last[at] = next[at];
            }
            (OpKind::Writes, next[at])
        } else {
            (OpKind::Reads, last[at])
        };
        let at_ns = 1000 + u64::from(number) * 100_000;
        let parts = OpParts {
            due_ns: at_ns,
            invoke_ns: at_ns + 1_000,
            complete_ns: at_ns + 150_000 + u64::from(number % 97) * 1_000,
            key,
            value,
            client: (key % 4) as u16,
            node: masters[at],
            kind,
            redirects: 0,
            outcome: if fails { Outcome::Fail(0) } else { Outcome::Ok },
        };
        parts.try_into().expect("it fits")
    };
    let ops = (0..operations).map(op).collect();
    (ops, last)
}

fn median(mut measure: impl FnMut() -> f64) -> f64 {
    let mut seconds: Vec<f64> = (0..ROUNDS).map(|_| measure()).collect();
    seconds.sort_by(f64::total_cmp);
    seconds[ROUNDS / 2]
}
