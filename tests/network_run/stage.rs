//! Running one suite, and what its history tells.

use std::path::Path;
use std::sync::Arc;

use slotquake::history::{EventKind, History, Hit, Op, Outcome, StepProblem};
use slotquake::network::Network;
use slotquake::plan::Plan;
use slotquake::run::{BackendSettings, Options, run};
use slotquake::sandbox::Inside;
use slotquake::server::Server;
use slotquake::suite::{self, OpKind, Step};
use slotquake::units::NodeNo;

pub struct Stage {
    pub inside: Inside,
    pub network: Network,
    pub server: Server,
}

pub struct Case {
    pub name: &'static str,
    pub suite: &'static str,
    pub judge: fn(&Told),
}

const COMMON: &str = "
name: network
about: A network fault.
cluster: { server: redis:6.2, config: { save: '' } }
invariants: [{ acked-writes: { may-lose: measured } }]
";

/// A history with the questions that cases ask of it.
pub struct Told {
    pub history: History,
}

impl Stage {
    /// Runs a suite and hands its history to the judge, who panics when it is not right.
    pub async fn play(self: Arc<Self>, suite: &'static str, judge: fn(&Told)) {
        let is_flapping = suite == crate::cases::FLAPPING;
        let mut suite = suite::parse(&format!("{COMMON}{suite}"), Path::new("network")).expect("the suite reads");
        // A plan refuses beforehand what some cases want to see refused by the run.
        let steps = std::mem::replace(&mut suite.steps, vec![Step::Phase("x".to_owned())]);
        let mut plan = Plan::new(&suite, 1).expect("the suite plans");
        plan.steps = steps;
        let timeout_ms = if is_flapping { "5000" } else { "1000" };
        plan.config.insert("cluster-node-timeout".to_owned(), timeout_ms.into());
        let folder = tempfile::tempdir_in(self.inside.scratch()).expect("a folder");
        let (_stop, stopped) = tokio::sync::watch::channel(None);
        let options = Options {
            folder: folder.path().to_owned(),
            keep: false,
            backend: BackendSettings::Local {
                scratch: Some(self.inside.scratch().to_owned()),
                network: Some(self.network.clone()),
            },
            other_servers: std::collections::BTreeMap::new(),
            stop: stopped,
            watcher: Arc::new(|_| {}),
        };
        let history = run(plan, self.server.clone(), options).await.expect("a history");
        let told = Told { history };
        if std::env::var_os("NETWORK_RUN_TELL").is_some() {
            told.tell();
        }
        judge(&told);
    }
}

impl Told {
    fn tell(&self) {
        for event in &self.history.events {
            if !matches!(
                event.kind,
                EventKind::Viewed { .. }
                    | EventKind::Lag { .. }
                    | EventKind::FinalRead { .. }
                    | EventKind::RedirectProbed { .. }
                    | EventKind::ReplicaWriteProbed { .. }
            ) {
                println!("{:8.3} {:?}", event.at_ns as f64 / 1e9, event.kind);
            }
        }
        let mut outcomes = std::collections::BTreeMap::<_, usize>::new();
        for op in &self.history.ops {
            *outcomes
                .entry((
                    op.node(),
                    format!("{:?}", op.kind()),
                    self.history.explanation(op.outcome()).map(|why| &why.text),
                ))
                .or_default() += 1;
        }
        println!("{outcomes:#?}");
    }

    /// The problems of steps, in their order.
    pub fn problems(&self) -> Vec<&StepProblem> {
        let ended = self.history.events.iter().filter_map(|event| match &event.kind {
            EventKind::StepEnded { problem, .. } => problem.as_ref(),
            _ => None,
        });
        ended.collect()
    }

    /// Every step was done, every fault was proven, healed, and that was proven; the cluster was whole
    /// in the end.
    pub fn assert_sound(&self) {
        assert_eq!(self.problems(), Vec::<&StepProblem>::new());
        let (mut injected, mut proven, mut healed) = (0, 0, 0);
        for event in &self.history.events {
            match &event.kind {
                EventKind::NetworkFaultInjected { .. } => injected += 1,
                EventKind::FaultProven { in_effect, proof, .. } => {
                    assert!(in_effect, "{proof}");
                    proven += 1;
                }
                EventKind::HealProven { healed: is_healed, proof, .. } => {
                    assert!(is_healed, "{proof}");
                    healed += 1;
                }
                EventKind::Recovered { recovered, last, .. } => assert!(recovered, "{last}"),
                _ => {}
            }
        }
        assert!(injected > 0 && proven == injected && healed == injected, "{injected} {proven} {healed}");
    }

    pub fn hits(&self) -> Vec<Vec<Hit>> {
        self.history.events.iter().filter_map(|event| event.kind.injected()).map(|(_, _, hits)| hits).collect()
    }

    /// When the faults were injected.
    pub fn injected_ns(&self) -> Vec<u64> {
        self.times(|kind| kind.injected().is_some())
    }

    /// When they were proven.
    pub fn proven_ns(&self) -> Vec<u64> {
        self.times(|kind| matches!(kind, EventKind::FaultProven { .. }))
    }

    /// When their lifting began.
    pub fn healed_ns(&self) -> Vec<u64> {
        self.times(|kind| matches!(kind, EventKind::FaultHealed { .. }))
    }

    pub fn times(&self, wanted: impl Fn(&EventKind) -> bool) -> Vec<u64> {
        self.history.events.iter().filter(|event| wanted(&event.kind)).map(|event| event.at_ns).collect()
    }

    pub fn writes(&self) -> impl Iterator<Item = &Op> {
        self.history.ops.iter().filter(|op| op.kind() == OpKind::Writes)
    }

    pub fn acknowledged_by(&self, node: u16) -> impl Iterator<Item = &Op> {
        self.writes().filter(move |op| op.outcome() == Outcome::Ok && op.node() == node)
    }

    /// How many operations ended for such a reason.
    pub fn unserved(&self, part: &str) -> usize {
        self.history
            .ops
            .iter()
            .filter(|op| self.history.explanation(op.outcome()).is_some_and(|why| why.text.contains(part)))
            .count()
    }

    pub fn has_unknown(&self) -> bool {
        self.history.ops.iter().any(|op| matches!(op.outcome(), Outcome::Info(_)))
    }

    /// Whether a node ever said of itself that it owns slots.
    pub fn owned_slots(&self, node: u16) -> bool {
        self.history.events.iter().any(|event| match &event.kind {
            EventKind::Viewed { node: by, view } if *by == NodeNo(node) => {
                view.peers.get(by).is_some_and(|own| !own.slots.is_empty())
            }
            _ => false,
        })
    }

    pub fn epochs(&self) -> std::collections::BTreeSet<u64> {
        let from = self.injected_ns()[0];
        let views =
            self.history.events.iter().filter(|event| event.at_ns >= from).filter_map(|event| match &event.kind {
                EventKind::Viewed { view, .. } => Some(view.current_epoch),
                _ => None,
            });
        views.collect()
    }

    /// The highest lag of a replica in a window.
    pub fn lag(&self, of: u16, from_ns: u64, to_ns: u64) -> u64 {
        let lags = self.history.events.iter().filter(|event| (from_ns..to_ns).contains(&event.at_ns));
        lags.filter_map(|event| match event.kind {
            EventKind::Lag { replica, bytes, .. } if replica == NodeNo(of) => Some(bytes),
            _ => None,
        })
        .max()
        .unwrap_or(0)
    }
}
