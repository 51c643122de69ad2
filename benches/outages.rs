//! How exactly the length of an outage is measured: stalls (DEBUG SLEEP) and freezes (SIGSTOP) of known lengths on a real
//! cluster, against the outages that the judge finds, at two rates. The floor is the time between two operations of the shard.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use slotquake::facts::{Facts, Outage, Whose, Window, outages};
use slotquake::history::EventKind;
use slotquake::plan::Plan;
use slotquake::run::{BackendSettings, Notice, Options, run};
use slotquake::suite::{self, ClientSet, OpKind};
use slotquake::units::ShardNo;

const STALLS: u32 = 50;
const SHORTEST_MS: f64 = 20.0;
const LONGEST_MS: f64 = 2000.0;
const PAUSE: Duration = Duration::from_millis(300);

/// Shorter than the shortest stall, and longer than an answer takes.
const PATIENCE_NS: u64 = 10_000_000;

/// How a master is kept from answering.
#[derive(Debug, Clone, Copy)]
enum Means {
    /// DEBUG SLEEP: the server sleeps between two events.
    Sleep,
    /// SIGSTOP: the kernel stops it anywhere.
    Freeze,
}

fn main() {
    // `cargo bench` passes its own options.
    println!("50 outages from 20 ms to 2 s of one master, redis:6.2, three shards, half of the operations reads");
    println!(
        "{:<8} {:<8} {:<7} {:>6} {:>12} {:>12} {:>16}",
        "rate", "means", "of", "found", "p50 error", "p99 error", "between two ops"
    );
    for rate in [400, 5000] {
        for means in [Means::Sleep, Means::Freeze] {
            measure(rate, means);
        }
    }
}

/// The lengths of the stalls, evenly spread on a logarithmic scale, the long ones between the short ones.
fn lengths() -> Vec<Duration> {
    let step = (LONGEST_MS / SHORTEST_MS).powf(1.0 / f64::from(STALLS - 1));
    let ordered = (0..STALLS).map(|n| Duration::from_secs_f64(SHORTEST_MS * step.powi(n.cast_signed()) / 1000.0));
    let ordered: Vec<Duration> = ordered.collect();
    (0..STALLS as usize).map(|n| ordered[n * 17 % STALLS as usize]).collect()
}

fn plan(rate: u32) -> Plan {
    let total: Duration = lengths().iter().map(|length| *length + PAUSE).sum();
    let text = format!(
        "name: outages\nabout: Stalls of known lengths.\ncluster: {{ server: redis:6.2 }}\n\
         workload: {{ rate: {rate}/s, read-from: master }}\nsteps:\n  - phase: stalls\n  - settle: {}s\n\
         invariants:\n  - acked-writes: {{ may-lose: 0 }}\n",
        total.as_secs() + 3
    );
    Plan::new(&suite::parse(&text, Path::new("outages.yaml")).expect("a suite"), 1).expect("a plan")
}

impl Means {
    /// Keeps a server from answering for so long; returns when it is over.
    fn stall(self, server: &mut TcpStream, pid: Pid, length: Duration) {
        match self {
            Self::Sleep => {
                server.write_all(format!("DEBUG SLEEP {}\r\n", length.as_secs_f64()).as_bytes()).expect("it reads");
                let mut answer = [0; 64];
                assert!(server.read(&mut answer).expect("it answers") > 0);
            }
            Self::Freeze => {
                kill(pid, Signal::SIGSTOP).expect("it runs");
                std::thread::sleep(length);
                kill(pid, Signal::SIGCONT).expect("it is there");
            }
        }
    }
}

/// The process of a server.
fn process(server: &mut TcpStream) -> Pid {
    server.write_all(b"INFO server\r\n").expect("it reads");
    let mut answer = [0; 8192];
    let length = server.read(&mut answer).expect("it answers");
    let text = String::from_utf8_lossy(&answer[..length]);
    let line = text.lines().find_map(|line| line.strip_prefix("process_id:")).expect("a process id");
    Pid::from_raw(line.parse().expect("a number"))
}

/// Stalls the server again and again. Returns when each stall was, in the time of the run. The phase began at `phase_ns`,
/// which is now.
fn stall(addr: SocketAddr, phase_ns: u64, means: Means) -> Vec<Window> {
    let phase = Instant::now();
    let mut stream = TcpStream::connect(addr).expect("the master accepts connections");
    let pid = process(&mut stream);
    let mut took = Vec::new();
    for length in lengths() {
        std::thread::sleep(PAUSE);
        let began = Instant::now();
        means.stall(&mut stream, pid, length);
        let at = |moment: Instant| phase_ns + moment.duration_since(phase).as_nanos() as u64;
        took.push(Window { from_ns: at(began), to_ns: at(Instant::now()) });
    }
    took
}

fn measure(rate: u32, means: Means) {
    let server = slotquake::server::find("redis:6.2", &|_| ()).expect("a server");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (_keep_running, stop) = tokio::sync::watch::channel(None);
    let master = Mutex::new(None);
    let stalling = Arc::new(Mutex::new(None));
    let begun = Arc::clone(&stalling);
    let options = Options {
        folder: folder.path().to_owned(),
        keep: false,
        backend: BackendSettings::Local { scratch: None, network: None },
        other_servers: std::collections::BTreeMap::new(),
        stop,
        watcher: Arc::new(move |notice| {
            let Notice::Event(event) = notice else { return };
            match &event.kind {
                EventKind::Booted { nodes, .. } => {
                    let first = nodes.iter().find(|node| node.boots_as_master && node.shard == ShardNo(1));
                    *master.lock().expect("no holder panics") = first.map(|node| node.addr);
                }
                EventKind::Phase { name } if name == "stalls" => {
                    let addr = master.lock().expect("no holder panics").expect("it booted");
                    let phase_ns = event.at_ns;
                    *begun.lock().expect("no holder panics") =
                        Some(std::thread::spawn(move || stall(addr, phase_ns, means)));
                }
                _ => {}
            }
        }),
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let history = runtime.block_on(run(plan(rate), server, options)).expect("a history");
    let thread = stalling.lock().expect("no holder panics").take().expect("stalls");
    let took = thread.join().expect("every stall ends");
    let facts = Facts::new(&history);
    let window = facts.steps.expect("steps");
    for of in [OpKind::Writes, OpKind::Reads] {
        let whose = Whose { of, shard: ShardNo(1), clients: ClientSet::All };
        let issued = facts.issued(whose.of, whose.shard, whose.clients, window);
        let found = outages(&issued, whose, window, PATIENCE_NS);
        report(rate, means, of, &took, &found, window.length_ns() as f64 / 1e6 / issued.len() as f64);
    }
}

/// A stall is found by the longest outage that overlaps it.
fn report(rate: u32, means: Means, of: OpKind, took: &[Window], outages: &[Outage], between_ms: f64) {
    let error_ms = |stall: &Window| {
        let overlapping = outages.iter().filter(|outage| outage.window().overlap_ns(*stall) > 0);
        let longest = overlapping.max_by_key(|outage| outage.length_ns())?;
        Some(longest.length_ms() - stall.length_ns() as f64 / 1e6)
    };
    let mut errors: Vec<f64> = took.iter().filter_map(error_ms).collect();
    let found = errors.len();
    errors.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let at = |quantile: f64| errors.get(((errors.len() as f64 * quantile).ceil() as usize).saturating_sub(1)).copied();
    let cell = |error: Option<f64>| error.map_or("-".to_owned(), |error| format!("{error:+.1} ms"));
    println!(
        "{:<8} {:<8} {:<7} {:>3}/{} {:>12} {:>12} {:>13.1} ms",
        format!("{rate}/s"),
        format!("{means:?}").to_lowercase(),
        of.to_string(),
        found,
        took.len(),
        cell(at(0.5)),
        cell(at(0.99)),
        between_ms
    );
}
