//! How many operations a second the workload drives and records, beside `redis-benchmark --cluster` on the same cluster
//! with the same mix (half SET, half GET, one operation a client in flight); and how late the open loop issues. Rounds are
//! interleaved, medians shown. It needs `redis-benchmark` (Debian's redis-tools).

mod served;

use std::process::Command;
use std::time::Duration;

use slotquake::cluster::Backend;
use slotquake::history::{History, Op};
use slotquake::plan::Plan;
use slotquake::units::NodeNo;
use slotquake::workload::Workload;

use served::Served;

const ROUNDS: usize = 5;
const FOR: Duration = Duration::from_secs(3);
/// Requests of one redis-benchmark command: enough for a second or more.
const REQUESTS: u32 = 150_000;
const KEYS: u32 = 10_000;

fn plan(workload: &str) -> Plan {
    served::plan(&format!("keys: {KEYS}, reads: 50%, read-from: master, {workload}"))
}

fn main() {
    if Command::new("redis-benchmark").arg("--version").output().is_err() {
        eprintln!("redis-benchmark is not here (hint: apt-get install redis-tools)");
        std::process::exit(2);
    }
    tokio::runtime::Runtime::new().expect("a runtime").block_on(run());
}

async fn run() {
    let (cluster, _) = Served::form(&plan("clients: 16")).await;
    let seed = cluster.backend.addr(NodeNo(1));

    println!("{:>8}  {:<28} {:>9}  of redis-benchmark, median of {ROUNDS}", "clients", "driven by", "op/s");
    for clients in [16, 50] {
        let (mut own, mut peer) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            own.push(drive(&plan(&format!("clients: {clients}, loop: closed")), &cluster).await.rate());
            peer.push(redis_benchmark(&seed.ip().to_string(), seed.port(), clients));
        }
        let (own, peer) = (median(own), median(peer));
        println!("{clients:>8}  {:<28} {peer:>9.0}  1.00", "redis-benchmark --cluster");
        println!("{clients:>8}  {:<28} {own:>9.0}  {:.2}", "slotquake, closed loop", own / peer);
    }

    println!(
        "\n{:>8}  {:>9}  {:>8}  lateness of the open loop, in ms: p50, p99, p99.9, longest",
        "rate", "op/s", "unsent"
    );
    for per_second in [1_000, 5_000, 20_000] {
        let driven = drive(&plan(&format!("clients: 16, rate: {per_second}/s")), &cluster).await;
        let late: Vec<f64> = sorted(driven.sent.iter().map(|op| op.late_ns() as f64 / 1e6).collect());
        let at = |share: f64| late[((late.len() as f64 * share) as usize).min(late.len() - 1)];
        println!(
            "{per_second:>8}  {:>9.0}  {:>8}  {:.3}  {:.3}  {:.3}  {:.3}",
            driven.rate(),
            driven.unsent,
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0)
        );
    }
    cluster.tear_down().await;
}

/// What a workload did within [`FOR`], without the first write of every key.
struct Driven {
    sent: Vec<Op>,
    /// Operations whose client had no free key.
    unsent: usize,
}

async fn drive(plan: &Plan, cluster: &Served) -> Driven {
    let journal = cluster.journal(plan);
    let mut workload = Workload::new(plan, &cluster.control, &journal);
    workload.load().await.expect("every key is written");
    let from_ns = journal.now_ns();
    workload.begin();
    tokio::time::sleep(FOR).await;
    workload.end().await;
    let History { ops, .. } = journal.finish().expect("a history");
    let (sent, unsent): (Vec<Op>, Vec<Op>) =
        ops.into_iter().filter(|op| op.due_ns() >= from_ns).partition(|op| op.outcome().was_tried());
    assert!(sent.iter().all(|op| op.outcome().is_ok()), "a measure of a cluster that serves everything");
    Driven { sent, unsent: unsent.len() }
}

impl Driven {
    /// Operations per second.
    fn rate(&self) -> f64 {
        let first_ns = self.sent.iter().map(Op::due_ns).min().expect("operations");
        let last_ns = self.sent.iter().map(Op::complete_ns).max().expect("operations");
        self.sent.len() as f64 / ((last_ns - first_ns) as f64 / 1e9)
    }
}

/// Operations per second of as many SETs as GETs, one after the other.
fn redis_benchmark(host: &str, port: u16, clients: u16) -> f64 {
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
