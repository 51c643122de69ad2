//! The exit code of one or more runs.

use std::process::ExitCode;

use crate::check::Verdict;
use crate::history::StepProblem;
use crate::report::Report;

/// The outcome of a command, in ascending order: the greatest of several runs wins. A failed invariant is the greatest, so
/// that no other problem masks it. Problems that make results worthless (a broken harness, a wrong suite) come before
/// those that only make them incomplete. What the user can mend is [`Exit::Usage`], and what the machine, the servers or the
/// cluster did not allow is [`Exit::Unavailable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Everything requested was done, and every invariant holds.
    Pass,
    /// Too little was observed for a verdict, or everything was skipped.
    Inconclusive,
    /// A signal ended the command.
    Interrupted,
    /// Wrong usage, or a suite that cannot be run.
    Usage,
    /// The machine, the servers or the cluster did not let slotquake do its work: no network, no container engine, a disk that
    /// is full, a cluster that cannot be reached, a server that does not stop.
    Unavailable,
    /// Slotquake has a bug, or left something behind.
    Harness,
    /// An invariant failed, or a comparison found a regression.
    Failed,
}

impl Exit {
    /// The number for the system.
    pub fn number(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Inconclusive => 3,
            Self::Unavailable => 69,
            Self::Harness => 70,
            Self::Interrupted => 130,
        }
    }

    /// The exit code as a value for `main` to return.
    pub fn code(self) -> ExitCode {
        self.number().into()
    }

    /// The exit code of one report. In addition to the verdict, it depends on why a run is inconclusive (an impossible
    /// suite, a machine or a cluster that did not allow a step, or a signal) and on whether the run left anything behind.
    pub fn of(report: &Report) -> Self {
        let verdict = match report.verdict {
            Verdict::Pass => Self::Pass,
            Verdict::Inconclusive => Self::Inconclusive,
            Verdict::Fail => Self::Failed,
        };
        let problems = report.step_problems().filter_map(|problem| match problem {
            StepProblem::Suite(_) => Some(Self::Usage),
            StepProblem::Harness(_) => Some(Self::Unavailable),
            // The verdict covers these.
            StepProblem::Unmet(_) => None,
        });
        let interrupted = report.interrupted_by().is_some_and(|by| by.starts_with("SIG")).then_some(Self::Interrupted);
        let left_behind = report.left_behind().map(|_| Self::Harness);
        problems.chain(interrupted).chain(left_behind).fold(verdict, Self::max)
    }

    /// The outcome of several runs. Without any run, it is inconclusive.
    pub fn worst(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().max().unwrap_or(Self::Inconclusive)
    }
}

#[cfg(test)]
mod tests {
    use super::Exit::{Failed, Harness, Inconclusive, Interrupted, Pass, Unavailable, Usage};
    use super::*;

    #[test]
    fn never_masks_a_failure_nor_passes_an_empty_batch() {
        for (all, expected) in [
            (vec![Pass, Pass], 0),
            (vec![Pass, Inconclusive], 3),
            (vec![Interrupted, Inconclusive, Pass], 130),
            (vec![Usage, Interrupted], 2),
            (vec![Usage, Harness, Unavailable], 70),
            (vec![Usage, Unavailable, Interrupted], 69),
            (vec![Harness, Failed, Interrupted, Usage], 1),
            (vec![], 3),
        ] {
            assert_eq!(Exit::worst(all.clone()).number(), expected, "{all:?}");
        }
    }
}
