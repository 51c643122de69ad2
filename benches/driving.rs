//! How many operations a second the workload drives and records, beside `redis-benchmark --cluster` on the same cluster
//! with the same mix (half SET, half GET, one operation a client in flight); and how late the open loop issues. Rounds are
//! interleaved, medians shown. It needs `redis-benchmark` (Debian's redis-tools).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use slotquake::cluster::form::form;
use slotquake::cluster::local::Local;
use slotquake::cluster::watch::Watch;
use slotquake::cluster::{Backend, Control};
use slotquake::history::{Header, History, Host, SCHEMA_VERSION};
use slotquake::journal::{Journal, Recorder};
use slotquake::plan::Plan;
use slotquake::suite;
use slotquake::units::{NodeNo, Speed};
use slotquake::workload::Workload;

const ROUNDS: usize = 5;
const FOR: Duration = Duration::from_secs(3);
/// Requests of one redis-benchmark command: enough for a second or more.
const REQUESTS: u32 = 150_000;
const KEYS: u32 = 10_000;

fn suite_of(workload: &str) -> Plan {
    let text = format!(
        "name: bench\nabout: Three masters, to measure the workload by.\ncluster: {{ replicas-per-master: 0, config: {{ \
         appendonly: no, save: '' }} }}\nworkload: {{ keys: {KEYS}, reads: 50%, read-from: master, {workload} }}\n\
         steps: [{{ settle: 1s }}]\ninvariants: [{{ acked-writes: {{ may-lose: 0 }} }}]\n"
    );
    let suite = suite::parse(&text, Path::new("bench")).expect("the suite reads");
    Plan::new(&suite, 1).expect("the suite plans")
}

fn main() {
    if Command::new("redis-benchmark").arg("--version").output().is_err() {
        eprintln!("redis-benchmark is not here (hint: apt-get install redis-tools)");
        std::process::exit(2);
    }
    tokio::runtime::Runtime::new().expect("a runtime").block_on(run());
}

async fn run() {
    let plan = suite_of("clients: 16");
    let server = slotquake::server::find(&plan.server, &|notice| eprintln!("{notice}")).expect("a server");
    let folder = tempfile::tempdir().expect("a folder");
    let backend = Arc::new(Local::prepare(&plan, &server, folder.path(), false, None, None).expect("a cluster"));
    let journal = |plan: &Plan| {
        let header = Header {
            schema_version: SCHEMA_VERSION,
            tool_version: String::new(),
            plan: plan.clone(),
            server: server.clone(),
            other_servers: BTreeMap::new(),
            host: Host { os: String::new(), cores: 0, backend: slotquake::server::BackendKind::Local.into() },
            started_at: String::new(),
            speed: Speed::REAL,
        };
        let recorder = Recorder::create(tempfile::tempdir().expect("a folder").path(), header);
        Arc::new(Journal::new(recorder.expect("a history"), Arc::new(|_| {})))
    };
    let control = Arc::new(Control::new(Arc::clone(&backend)));
    let watch = Watch::begin(&control, &journal(&plan));
    form(&plan, &control, &watch).await.expect("the cluster forms");
    drop(watch);

    println!("{:>8}  {:<28} {:>9}  of redis-benchmark, median of {ROUNDS}", "clients", "driven by", "op/s");
    for clients in [16, 50] {
        let plan = suite_of(&format!("clients: {clients}, loop: closed"));
        let (mut own, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let history = drive(&plan, &control, &journal(&plan)).await;
            own.push(rate(&history));
            peer.push(redis_benchmark(
                backend.addr(NodeNo(1)).port(),
                &backend.addr(NodeNo(1)).ip().to_string(),
                clients,
            ));
        }
        let (own, peer) = (median(own), median(peer));
        println!("{clients:>8}  {:<28} {peer:>9.0}  1.00", "redis-benchmark --cluster");
        println!("{clients:>8}  {:<28} {own:>9.0}  {:.2}", "slotquake, closed loop", own / peer);
    }

    println!("\n{:>8}  {:>9}  lateness of the open loop, in ms: p50, p99, p99.9, longest", "rate", "op/s");
    for per_second in [1_000, 5_000, 20_000] {
        let plan = suite_of(&format!("clients: 16, rate: {per_second}/s"));
        let history = drive(&plan, &control, &journal(&plan)).await;
        let late: Vec<f64> = sorted(history.ops.iter().map(|op| op.late_ns() as f64 / 1e6).collect());
        let at = |share: f64| late[((late.len() as f64 * share) as usize).min(late.len() - 1)];
        println!(
            "{per_second:>8}  {:>9.0}  {:.3}  {:.3}  {:.3}  {:.3}",
            rate(&history),
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0)
        );
    }
    backend.tear_down().await.expect("nothing is left behind");
}

/// The operations of a workload of [`FOR`], without the first write of every key.
async fn drive(plan: &Plan, control: &Control<Local>, journal: &Arc<Journal>) -> History {
    let mut workload = Workload::new(plan, control, journal);
    workload.load().await.expect("every key is written");
    let from_ns = journal.now_ns();
    workload.begin();
    tokio::time::sleep(FOR).await;
    workload.end().await;
    let mut history = journal.finish().expect("a history");
    history.ops.retain(|op| op.due_ns() >= from_ns);
    let unserved = history.ops.iter().filter(|op| !op.outcome().is_ok()).count();
    assert_eq!(unserved, 0, "a measure of a cluster that serves everything");
    history
}

fn rate(history: &History) -> f64 {
    let first_ns = history.ops.iter().map(slotquake::history::Op::due_ns).min().expect("operations");
    let last_ns = history.ops.iter().map(slotquake::history::Op::complete_ns).max().expect("operations");
    history.ops.len() as f64 / ((last_ns - first_ns) as f64 / 1e9)
}

/// Operations per second of as many SETs as GETs, one after the other.
fn redis_benchmark(port: u16, host: &str, clients: u16) -> f64 {
    let seconds: f64 = ["set", "get"]
        .map(|test| {
            let args = ["--cluster", "-q", "--csv", "-d", "32", "-r", "10000", "-t", test, "-h", host];
            let output = Command::new("redis-benchmark")
                .args(args)
                .args(["-p", &port.to_string(), "-c", &clients.to_string(), "-n", &REQUESTS.to_string()])
                .output()
                .expect("redis-benchmark");
            let text = String::from_utf8_lossy(&output.stdout);
            let line =
                text.lines().find(|line| line.to_lowercase().starts_with(&format!("\"{test}"))).map(str::to_owned);
            let line = line.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
            let rate: f64 = line.split(',').nth(1).expect("a rate").trim_matches('"').parse().expect("a number");
            f64::from(REQUESTS) / rate
        })
        .iter()
        .sum();
    2.0 * f64::from(REQUESTS) / seconds
}

fn sorted(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers
}

fn median(numbers: Vec<f64>) -> f64 {
    sorted(numbers)[ROUNDS / 2]
}
