//! Watches faults in force. A fault whose effect is gone before the harness undoes it is recorded. A look that fails
//! shows nothing, so it ends no fault.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::cluster::pace::{self, Sighted};
use crate::cluster::{Backend, BackendError, Control, DiskReading, ProcessState};
use crate::fault::ProcessEffect;
use crate::history::EventKind;
use crate::journal::Journal;
use crate::network::{Counts, NetworkError};
use crate::units::NodeNo;

/// How many looks in a row must find the effect gone before the fault counts as ended.
const MISSES: u32 = 2;

/// How long to wait before the second look at a fault that is about to be undone.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What shows that a fault is in effect.
#[derive(Debug, Clone)]
pub(super) enum Sign {
    /// The state of a node's process.
    Process(NodeNo, ProcessEffect),
    /// The rule of that name is in force.
    Rule(String),
    /// A clock of a node differs as its host's should.
    Clock(NodeNo),
    /// The disk of a node is as the fault made it, and its server goes by it.
    Disk(NodeNo),
}

/// What one look at a fault showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sight {
    /// It is in effect.
    InEffect,
    /// Its effect is certainly gone; what was seen instead.
    Gone(String),
    /// The look failed, for that reason.
    Unknown(String),
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
    /// How many looks in a row found it gone.
    misses: u32,
    /// Whether a look succeeded since the fault was proven.
    was_seen: bool,
    /// Why the last look failed, if it did.
    unseen: Option<String>,
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
        self.eye.watched().push(Watched { fault, sign, in_effect_ns, misses: 0, was_seen: false, unseen: None });
    }

    /// Looks at a fault once more and stops watching it. Call this before the harness does anything that ends its
    /// effect. If every look at it failed, returns the reason of the last.
    pub(super) async fn release(&self, fault: u32) -> Option<String> {
        while let Some(Sight::Gone(_)) = self.eye.look(fault).await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        let mut all = self.eye.watched();
        let position = all.iter().position(|watched| watched.fault == fault)?;
        let Watched { was_seen, unseen, .. } = all.remove(position);
        if was_seen { None } else { unseen }
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

    /// Looks at a fault once. None if it is not watched any more, as when this look found it ended.
    async fn look(&self, fault: u32) -> Option<Sight> {
        let sign = self.watched().iter().find(|watched| watched.fault == fault)?.sign.clone();
        let looked_ns = self.journal.now_ns();
        let sight = self.sight(&sign).await;
        // The fault may have been released meanwhile. Then the harness itself may have ended it.
        let mut all = self.watched();
        let position = all.iter().position(|watched| watched.fault == fault)?;
        if let Some(seen) = all[position].note(&sight, looked_ns) {
            let Watched { in_effect_ns, .. } = all.remove(position);
            drop(all);
            self.journal.event(EventKind::FaultEnded { fault, in_effect_ns, seen });
            return None;
        }
        Some(sight)
    }

    async fn sight(&self, sign: &Sign) -> Sight {
        let backend = self.control.backend();
        match sign {
            Sign::Process(node, effect) => process_sight(*effect, &backend.state(*node).await),
            Sign::Rule(name) => match backend.isolation(name).await {
                Some(Ok((true, _))) => Sight::InEffect,
                Some(Ok((false, seen))) => Sight::Gone(seen),
                Some(Err(error)) => Sight::Unknown(error.to_string()),
                None => rule_sight(backend.counts(name).await),
            },
            Sign::Clock(node) => {
                let skew = backend.clock(*node);
                clock_sight(pace::look(&self.control, *node, skew.of().unwrap_or_default(), skew).await)
            }
            Sign::Disk(node) => disk_sight(backend.disk(*node).await, &backend.state(*node).await),
        }
    }
}

impl Watched {
    /// Takes note of a look. Returns what was seen if the fault has ended.
    fn note(&mut self, sight: &Sight, looked_ns: u64) -> Option<String> {
        match sight {
            Sight::InEffect => {
                (self.in_effect_ns, self.misses, self.was_seen, self.unseen) = (looked_ns, 0, true, None);
                None
            }
            Sight::Gone(seen) => {
                self.misses += 1;
                (self.was_seen, self.unseen) = (true, None);
                (self.misses >= MISSES).then(|| seen.clone())
            }
            Sight::Unknown(reason) => {
                self.unseen = Some(reason.clone());
                None
            }
        }
    }
}

/// What the counters of a rule show: only a rule that is missing is gone.
fn rule_sight(counted: Result<Counts, NetworkError>) -> Sight {
    match counted {
        Ok(_) => Sight::InEffect,
        Err(error @ NetworkError::Gone(_)) => Sight::Gone(error.to_string()),
        Err(error) => Sight::Unknown(error.to_string()),
    }
}

/// Whether a clock differs as it should. One that is right by turns shows nothing then.
fn clock_sight(looked: Result<Sighted, String>) -> Sight {
    match looked {
        Ok(Sighted { as_asked: true, is_right: false, .. }) => Sight::InEffect,
        Ok(Sighted { as_asked: true, is_right: true, seen }) => Sight::Unknown(seen),
        Ok(Sighted { as_asked: false, seen, .. }) => Sight::Gone(seen),
        Err(unknown) => Sight::Unknown(unknown),
    }
}

/// What a disk shows. A server that was just started may not have looked at it; while none runs, it awaits the next.
fn disk_sight(reading: Result<DiskReading, BackendError>, state: &ProcessState) -> Sight {
    match reading {
        Ok(DiskReading { stands: false, .. }) => Sight::Gone("something else has changed its disk".to_owned()),
        Ok(DiskReading { taken: None | Some(true), .. }) => Sight::InEffect,
        Ok(DiskReading { taken: Some(false), .. }) => {
            Sight::Unknown(format!("its {state}, and has not looked at its disk"))
        }
        Err(error) => Sight::Unknown(error.to_string()),
    }
}

/// Whether the state of a process is what a fault makes of it.
pub(super) fn process_sight(effect: ProcessEffect, state: &ProcessState) -> Sight {
    match (effect, state) {
        (ProcessEffect::Gone, ProcessState::Gone { .. }) | (ProcessEffect::Frozen, ProcessState::Paused { .. }) => {
            Sight::InEffect
        }
        (ProcessEffect::Gone, ProcessState::Running { .. } | ProcessState::Paused { .. })
        | (ProcessEffect::Frozen, ProcessState::Running { .. } | ProcessState::Gone { .. }) => {
            Sight::Gone(format!("its {state}"))
        }
        (ProcessEffect::Gone | ProcessEffect::Frozen, ProcessState::Unknown { .. }) => {
            Sight::Unknown(state.to_string())
        }
    }
}

/// The proof that a fault was undone, and that nothing showed its effect meanwhile, if so.
pub(super) fn with_unseen(proof: String, unseen: Option<&str>) -> String {
    match unseen {
        None => proof,
        Some(reason) => format!("{proof}; while it was in force, no look at it succeeded: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each look by one letter: `e` in effect, `g` gone, `u` failed. Returns whether the fault ended.
    fn ends(looks: &str) -> bool {
        let sign = Sign::Rule("cut".to_owned());
        let mut watched = Watched { fault: 1, sign, in_effect_ns: 0, misses: 0, was_seen: false, unseen: None };
        looks.chars().any(|look| {
            let sight = match look {
                'e' => rule_sight(Ok(Counts::default())),
                'g' => rule_sight(Err(NetworkError::Gone("cut".to_owned()))),
                'u' => rule_sight(Err(NetworkError::Container("no answer".to_owned()))),
                other => panic!("no look is {other}"),
            };
            watched.note(&sight, 1).is_some()
        })
    }

    #[test]
    fn only_a_rule_that_is_certainly_missing_ends_a_fault() {
        for (looks, expected) in
            [("eee", false), ("uuuu", false), ("geg", false), ("gug", true), ("gg", true), ("eugg", true), ("g", false)]
        {
            assert_eq!(ends(looks), expected, "{looks}");
        }
    }

    /// A strobe is right half of the time, which neither shows that it is in effect nor that it is not.
    #[test]
    fn a_clock_shows_its_fault_only_while_it_is_wrong() {
        let sight = |as_asked, is_right| clock_sight(Ok(Sighted { as_asked, is_right, seen: "seen".to_owned() }));
        let (gone, unknown) = (Sight::Gone("seen".to_owned()), Sight::Unknown("seen".to_owned()));
        for (as_asked, is_right, expected) in
            [(true, false, &Sight::InEffect), (true, true, &unknown), (false, true, &gone), (false, false, &gone)]
        {
            assert_eq!(sight(as_asked, is_right), *expected, "{as_asked} {is_right}");
        }
        assert_eq!(clock_sight(Err("seen".to_owned())), unknown);
    }

    #[test]
    fn a_state_that_nobody_knows_ends_no_fault() {
        let state = ProcessState::Unknown { how: "the engine does not answer".to_owned() };
        for effect in [ProcessEffect::Gone, ProcessEffect::Frozen] {
            assert!(matches!(process_sight(effect, &state), Sight::Unknown(_)), "{effect:?}");
        }
    }
}
