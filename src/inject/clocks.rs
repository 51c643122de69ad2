//! Proofs of faults of clocks: a clock of a node's host is read.

use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::pace::{self, Sighted};
use crate::cluster::{Backend, Control, ProcessState};
use crate::fault::{ClockChange, ClockOf, FaultKind};
use crate::history::StepProblem;
use crate::speed::clock::{Skew, up};
use crate::units::{NodeNo, Span};

/// The time limit for a change to show, beside the time that a drift takes.
const SHOWS_WITHIN: Duration = Duration::from_secs(30);

const POLL: Duration = Duration::from_millis(20);

/// Whether the clock of a node cannot be made wrong so now.
pub(super) async fn refuse<B: Backend>(
    control: &Control<B>,
    kind: FaultKind,
    node: NodeNo,
    of: ClockOf,
    change: ClockChange,
) -> Result<(), StepProblem> {
    let backend = control.backend();
    let state = backend.state(node).await;
    if let ProcessState::Gone { .. } | ProcessState::Paused { .. } = state {
        return Err(StepProblem::Suite(format!(
            "{kind}: {node} cannot tell its clock: its {state} (hint: change its clock first: it stays wrong when the \
             server is stopped or started)"
        )));
    }
    if let Some(obstacle) = backend.clock_obstacle(node).await {
        return Err(StepProblem::Suite(format!("{kind}: {node}: {obstacle}")));
    }
    match of {
        ClockOf::Wall => Ok(()),
        ClockOf::Monotonic => {
            let back_ns = [change.ahead_ns(0), 0].into_iter().min().unwrap_or_default().unsigned_abs();
            if Duration::from_nanos(back_ns) >= up() {
                return Err(StepProblem::Suite(format!(
                    "{kind}: the monotonic clock of {node} cannot be set back by {}: it shows only {}",
                    Span(Duration::from_nanos(back_ns)),
                    Span(Duration::from_secs(up().as_secs()))
                )));
            }
            match pace::no_monotonic_clock(control, node).await {
                None => Ok(()),
                Some(why) => Err(StepProblem::Suite(format!("{kind}: {node} has no monotonic clock: {why}"))),
            }
        }
    }
}

/// Looks at the clock until it is wrong as it should be; one that strobes, until it was right after that.
pub(super) async fn prove<B: Backend>(control: &Control<B>, node: NodeNo, skew: Skew) -> (bool, String) {
    let (tolerance, answers) = pace::tolerance(skew);
    let drift_ppm = match skew.change() {
        Some(ClockChange::Drift(drift)) => drift.ppm().unsigned_abs(),
        Some(ClockChange::Jump(_) | ClockChange::Strobe(_)) | None => 0,
    };
    let shows_after = tolerance * 2 * 1_000_000_u32.checked_div(drift_ppm).unwrap_or_default();
    let deadline = Instant::now() + SHOWS_WITHIN + shows_after;
    let strobes = skew.change().is_some_and(|change| change.lasts().is_some());
    let (mut wrong, mut was_wrong) = (0, None);
    loop {
        let seen = match pace::look(control, node, skew.of().unwrap_or_default(), skew).await {
            Ok(Sighted { as_asked: true, is_right: false, seen }) => {
                wrong += 1;
                if wrong >= answers && !strobes {
                    return (true, seen);
                }
                was_wrong = Some(seen.clone());
                seen
            }
            Ok(Sighted { as_asked: true, is_right: true, seen }) => {
                if let Some(was_wrong) = was_wrong.filter(|_| strobes) {
                    return (true, format!("{was_wrong}, and then it agrees with it"));
                }
                (wrong, was_wrong) = (0, None);
                seen
            }
            Ok(Sighted { as_asked: false, is_right: true, seen }) => {
                (wrong, was_wrong) = (0, None);
                seen
            }
            Ok(Sighted { as_asked: false, is_right: false, seen }) => return (false, seen),
            Err(unknown) => unknown,
        };
        if Instant::now() > deadline {
            return (false, seen);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Looks at the clock until it agrees with slotquake's. A server that does not run has no clock that could be wrong: it
/// will read the right one when it is started.
pub(super) async fn prove_right<B: Backend>(control: &Control<B>, node: NodeNo, of: ClockOf) -> (bool, String) {
    let deadline = Instant::now() + SHOWS_WITHIN;
    loop {
        let seen = match pace::look(control, node, of, Skew::NONE).await {
            Ok(Sighted { is_right: true, seen, .. }) => return (true, seen),
            Ok(Sighted { is_right: false, seen, .. }) => seen,
            Err(unknown) => match control.backend().state(node).await {
                state @ ProcessState::Gone { .. } => {
                    return (true, format!("its {state}, so no server has a wrong clock"));
                }
                ProcessState::Running { .. } | ProcessState::Paused { .. } | ProcessState::Unknown { .. } => unknown,
            },
        };
        if Instant::now() > deadline {
            return (false, seen);
        }
        tokio::time::sleep(POLL).await;
    }
}
