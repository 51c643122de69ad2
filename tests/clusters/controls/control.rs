//! What a negative control is, and how it is run and judged.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use slotquake::check::{Judgement, Verdict, check};
use slotquake::facts::Facts;
use slotquake::history::{Event, EventKind, History};
use slotquake::plan::Plan;
use slotquake::run::{BackendSettings, Notice, Options, run};
use slotquake::server::Server;
use slotquake::suite;

use crate::support::{Places, fetched};

/// What an invariant must come to.
pub enum Must {
    /// It passes.
    Hold,
    /// It fails, and its words and evidence hold each of these.
    Fail(&'static [&'static str]),
    /// It fails, and where the condition holds, its words and evidence hold each of these.
    FailSaying(&'static [&'static str], fn() -> bool),
    /// It is inconclusive, and its words hold each of these.
    StayOpen(&'static [&'static str]),
}
pub use Must::{Fail, FailSaying, Hold, StayOpen};

/// A run and what must be judged of it.
pub struct Control {
    /// Lines of `cluster.config` beside the node timeout.
    pub config: &'static [&'static str],
    /// As YAML: one number, or one a master.
    pub replicas_per_master: &'static str,
    /// The workload, as a YAML mapping.
    pub workload: &'static str,
    /// Whether the invariants stand in the plan although it would refuse them.
    pub unchecked: bool,
    pub steps: &'static [&'static str],
    /// The suite's invariants, each with what it must come to.
    pub invariants: &'static [(&'static str, Must)],
    /// The harness's own that must not pass; the others must.
    pub own: &'static [(&'static str, Must)],
}

/// Every key is written once before the first phase and never again, so that what happens to it
/// behind the harness's back stays. (A plan refuses `acked-writes` where there are no writes at all; of
/// some hundred operations drawn from the one seed of these plans, none is a write.)
pub const ONLY_READS: &str = "{ rate: 100/s, reads: 99.9999% }";
pub const WRITES: &str = "{ rate: 200/s, reads: 0% }";
const BOTH: &str = "{ rate: 200/s, reads: 50% }";

pub const CONTROL: Control = Control {
    config: &[],
    replicas_per_master: "1",
    workload: BOTH,
    unchecked: false,
    steps: &[],
    invariants: &[],
    own: &[],
};

/// The server that every control runs on.
fn server() -> String {
    std::env::var("SLOTQUAKE_CONTROLS_ON").unwrap_or_else(|_| "redis:6.2".to_owned())
}

/// Whether a node that forgets another is alone in that. From Redis 7.2 on, and in Valkey, it tells the other nodes,
/// which forget it, too.
pub fn forgetting_stays() -> bool {
    ["redis:6.2", "redis:7.0"].contains(&server().as_str())
}

impl Control {
    fn yaml(&self) -> String {
        let lines =
            |indent: &str, lines: &[&str]| lines.iter().flat_map(|line| [indent, line, "\n"]).collect::<String>();
        let config = lines("    ", self.config);
        let steps = lines("  - ", self.steps);
        let invariants: Vec<&str> = self.invariants.iter().map(|(invariant, _)| *invariant).collect();
        let invariants = lines("  - ", &invariants);
        format!(
            "name: control\nabout: A cluster that is really broken.\nrecover-within: 3s\ncluster:\n  \
             server: {}\n  replicas-per-master: {}\n  config:\n    cluster-node-timeout: 1000\n{config}workload: {}\n\
             steps:\n{steps}invariants:\n{invariants}",
            server(),
            self.replicas_per_master,
            self.workload
        )
    }

    fn plan(&self) -> Plan {
        if self.unchecked {
            let accepted = Self { replicas_per_master: "1", workload: BOTH, unchecked: false, ..*self }.plan();
            let slots: &[(&str, Must)] = &[("slot-coverage: { at: end }", Hold)];
            return Plan {
                invariants: accepted.invariants,
                ..Self { invariants: slots, unchecked: false, ..*self }.plan()
            };
        }
        let yaml = self.yaml();
        let suite = suite::parse(&yaml, Path::new("control.yaml")).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
        Plan::new(&suite, 7).unwrap_or_else(|errors| panic!("{errors:?}\n{yaml}"))
    }

    /// Runs and judges; fails unless everything comes to what it must.
    pub fn is_caught(&self) -> Vec<Judgement> {
        self.is_caught_while(&|_, _| ())
    }

    /// The same, with somebody who watches and meddles.
    pub fn is_caught_while(&self, meddler: &(dyn Fn(&Server, &Event) + Sync)) -> Vec<Judgement> {
        let mut last = String::new();
        // Where the harness stalled, it says so and judges nothing: that is no failure of
        // the control, and tried again.
        for _ in 0..3 {
            let history = ran(self.plan(), meddler);
            let judgements = check(&Facts::new(&history));
            let wrong = self.wrong(&judgements);
            if wrong.is_empty() {
                return judgements;
            }
            last = format!("{}\n\n{}", wrong.join("\n"), shown(&judgements));
            if !judgements.iter().any(|each| each.verdict == Verdict::Inconclusive && harness_was_slow(each)) {
                break;
            }
            eprintln!("once more, as the harness was too slow to judge:\n{last}");
        }
        panic!("{last}");
    }

    fn wrong(&self, judgements: &[Judgement]) -> Vec<String> {
        let mut wrong = Vec::new();
        let (suites, own) = judgements.split_at(self.invariants.len());
        for (judgement, (written, must)) in suites.iter().zip(self.invariants) {
            wrong.extend(must.differs(judgement).map(|how| format!("{written}: {how}")));
        }
        for judgement in own {
            let must = self.own.iter().find(|(name, _)| *name == judgement.invariant).map_or(&Hold, |(_, must)| must);
            wrong.extend(must.differs(judgement).map(|how| format!("{}: {how}", judgement.invariant)));
        }
        for (name, _) in self.own {
            assert!(own.iter().any(|judgement| judgement.invariant == *name), "nothing is judged as {name}");
        }
        wrong
    }
}

impl Must {
    fn differs(&self, judgement: &Judgement) -> Option<String> {
        let (verdict, words): (_, &[&str]) = match self {
            Hold => (Verdict::Pass, &[]),
            Fail(words) => (Verdict::Fail, words),
            FailSaying(words, must_say) => (Verdict::Fail, if must_say() { words } else { &[] }),
            StayOpen(words) => (Verdict::Inconclusive, words),
        };
        if judgement.verdict != verdict {
            return Some(format!("came to {}, not {}", judgement.verdict.word(), verdict.word()));
        }
        let told = format!("{}\n{}", judgement.seen, judgement.evidence.join("\n"));
        words.iter().find(|word| !told.contains(**word)).map(|word| format!("does not say `{word}`"))
    }
}

fn harness_was_slow(judgement: &Judgement) -> bool {
    judgement.seen.contains("the harness stalled")
        || judgement.seen.contains("waited for a processor")
        || judgement.seen.contains("the harness itself was late")
        || judgement.seen.contains("were issued over 1 s late")
}

pub fn shown(judgements: &[Judgement]) -> String {
    let mut lines = Vec::new();
    for Judgement { invariant, settings, verdict, seen, observations, evidence, .. } in judgements {
        lines.push(format!("{} {invariant} ({settings}): {seen}; {observations} observations", verdict.word()));
        lines.extend(evidence.iter().map(|line| format!("    {line}")));
    }
    lines.join("\n")
}

/// Runs a plan on its server; the meddler is told every event as it happens.
fn ran(plan: Plan, meddler: &(dyn Fn(&Server, &Event) + Sync)) -> History {
    let server = fetched(&plan.server);
    let others = plan.servers().into_iter().filter(|name| *name != plan.server);
    let others = others.map(|name| (name.to_owned(), fetched(name))).collect();
    let folder = tempfile::tempdir().expect("a temporary directory");
    let _place = Places::take(1);
    let (told, events) = std::sync::mpsc::channel();
    let told = Mutex::new(told);
    let (_keep_running, stop) = tokio::sync::watch::channel(None);
    let options = Options {
        folder: folder.path().to_owned(),
        keep: false,
        backend: BackendSettings::Local { scratch: None, network: None },
        other_servers: others,
        stop,
        watcher: Arc::new(move |notice| {
            if let Notice::Event(event) = notice {
                // When the run is over nobody listens any more.
                let _ = told.lock().expect("no holder panics").send(event.clone());
            }
        }),
    };
    let watched = server.clone();
    let history = std::thread::scope(|scope| {
        scope.spawn(move || events.iter().for_each(|event| meddler(&watched, &event)));
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(run(plan, server, options)).unwrap_or_else(|error| panic!("{error}"))
    });
    assert!(history.complete, "the history has no end");
    history
}

pub fn one<'a>(judgements: &'a [Judgement], invariant: &str) -> &'a Judgement {
    judgements.iter().find(|each| each.invariant == invariant).expect("it was judged")
}

/// Once a fault is in effect, writes zeros into a file of a node as another program might: the one file of that path, in the
/// directory of a run of this process, that holds the sign. `span` is the number of zeros, and where they begin.
pub fn zeroed_in_effect(file: &'static str, sign: [u8; 8], span: (usize, u64)) -> impl Fn(&Server, &Event) + Sync {
    let (count, at) = span;
    move |_, event| {
        if !matches!(event.kind, EventKind::FaultProven { in_effect: true, .. }) {
            return;
        }
        let ours = format!("slotquake-run-{}-", std::process::id());
        let folders = std::fs::read_dir(std::env::temp_dir()).expect("the temporary directory").flatten();
        let of_this_run = folders.filter(|folder| folder.file_name().to_string_lossy().starts_with(&ours));
        let has_sign = |bytes: &[u8]| bytes.windows(sign.len()).any(|window| window == sign);
        let files = of_this_run.map(|folder| folder.path().join(file));
        let files: Vec<_> = files.filter(|file| std::fs::read(file).is_ok_and(|bytes| has_sign(&bytes))).collect();
        let [file] = files.as_slice() else { panic!("one file, and not {files:?}") };
        let file = std::fs::File::options().write(true).open(file).expect("it is ours");
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(600));
            file.write_all_at(&vec![0; count], at).expect("it can be written");
        });
    }
}
