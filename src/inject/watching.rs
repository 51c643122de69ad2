//! Faults in force are watched: one whose effect is found gone before the harness undoes it is recorded.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::cluster::{Backend, Control, ProcessState};
use crate::fault::ProcessEffect;
use crate::history::EventKind;
use crate::journal::Journal;
use crate::units::NodeNo;

/// How many looks in a row must not find an effect before it counts as gone: one may go wrong.
const MISSES: u32 = 2;

/// How long to wait between looks at one that is about to be undone and was just missed.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// By what a fault is seen to be in effect.
#[derive(Debug, Clone)]
pub(super) enum Sign {
    /// The state of a node's process.
    Process(NodeNo, ProcessEffect),
    /// The rule of that name is in force.
    Rule(String),
}

/// Watches the faults of one injector. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watching<B> {
    eye: Eye<B>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Eye<B> {
    control: Arc<Control<B>>,
    journal: Arc<Journal>,
    watched: Arc<Mutex<Vec<Watched>>>,
}

#[derive(Debug)]
struct Watched {
    fault: u32,
    sign: Sign,
    /// When it was last seen to be in effect.
    in_effect_ns: u64,
    /// Looks since then.
    misses: u32,
}

impl<B: Backend> Watching<B> {
    /// Nothing is watched yet.
    pub(super) fn begin(control: &Arc<Control<B>>, journal: &Arc<Journal>) -> Self {
        let eye = Eye { control: Arc::clone(control), journal: Arc::clone(journal), watched: Arc::default() };
        let eyes = eye.another();
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(eyes.control.backend().watch_every()).await;
                let faults: Vec<u32> = eyes.watched().iter().map(|watched| watched.fault).collect();
                for fault in faults {
                    eyes.look(fault).await;
                }
            }
        });
        Self { eye, task }
    }

    /// Watches a fault from now on, when it was shown to be in effect.
    pub(super) fn watch(&self, fault: u32, sign: Sign) {
        if let Sign::Rule(_) = sign
            && !self.eye.control.backend().watches_rules()
        {
            return;
        }
        let in_effect_ns = self.eye.journal.now_ns();
        self.eye.watched().push(Watched { fault, sign, in_effect_ns, misses: 0 });
    }

    /// Looks at a fault a last time, and watches it no longer: call this before the harness does anything that ends its
    /// effect.
    pub(super) async fn release(&self, fault: u32) {
        while self.eye.look(fault).await == Some(false) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        self.eye.watched().retain(|watched| watched.fault != fault);
    }
}

impl<B> Drop for Watching<B> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<B: Backend> Eye<B> {
    fn another(&self) -> Self {
        Self {
            control: Arc::clone(&self.control),
            journal: Arc::clone(&self.journal),
            watched: Arc::clone(&self.watched),
        }
    }

    fn watched(&self) -> std::sync::MutexGuard<'_, Vec<Watched>> {
        self.watched.lock().expect("no holder panics")
    }

    /// Whether a fault is in effect; None where it is not watched any more, as when it was just found gone.
    async fn look(&self, fault: u32) -> Option<bool> {
        let sign = self.watched().iter().find(|watched| watched.fault == fault)?.sign.clone();
        let looked_ns = self.journal.now_ns();
        let missing = self.missing(&sign).await;
        // It may have been released meanwhile, and then the harness itself may have ended it.
        let mut all = self.watched();
        let position = all.iter().position(|watched| watched.fault == fault)?;
        let watched = &mut all[position];
        let Some(seen) = missing else {
            (watched.in_effect_ns, watched.misses) = (looked_ns, 0);
            return Some(true);
        };
        watched.misses += 1;
        if watched.misses < MISSES {
            return Some(false);
        }
        let Watched { in_effect_ns, .. } = all.remove(position);
        drop(all);
        self.journal.event(EventKind::FaultEnded { fault, in_effect_ns, seen });
        None
    }

    /// What is seen instead of the effect; None where it is there.
    async fn missing(&self, sign: &Sign) -> Option<String> {
        let backend = self.control.backend();
        match sign {
            Sign::Process(node, effect) => {
                let state = backend.state(*node).await;
                (!shows(*effect, &state)).then(|| format!("its {state}"))
            }
            Sign::Rule(name) => match backend.isolation(name).await {
                Some((true, _)) => None,
                Some((false, seen)) => Some(seen),
                None => backend.counts(name).await.err().map(|error| error.to_string()),
            },
        }
    }
}

/// Whether a process is what a fault made of it.
pub(super) fn shows(effect: ProcessEffect, state: &ProcessState) -> bool {
    match (effect, state) {
        (ProcessEffect::Gone, ProcessState::Gone { .. }) | (ProcessEffect::Frozen, ProcessState::Paused { .. }) => true,
        (ProcessEffect::Gone, ProcessState::Running { .. } | ProcessState::Paused { .. })
        | (ProcessEffect::Frozen, ProcessState::Running { .. } | ProcessState::Gone { .. }) => false,
    }
}
