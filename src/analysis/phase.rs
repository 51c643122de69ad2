//! Phases as spans of time.

use serde::{Deserialize, Serialize};

use super::Window;
use crate::history::History;

/// A phase, from its event to the next phase's or the history's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PhaseSpan {
    /// Its name.
    pub name: String,
    /// When it begins and ends.
    pub window: Window,
}

/// The phases of a history in their order, the harness's own included.
pub fn phases(history: &History) -> Vec<PhaseSpan> {
    let _ = history;
    todo!()
}

/// The time from the first of the suite's phases (from `Booted` where it names none) to `StepsEnded`:
/// what invariants without a phase of their own look at. None when the run never got that far.
pub fn steps_window(history: &History) -> Option<Window> {
    let _ = history;
    todo!()
}
