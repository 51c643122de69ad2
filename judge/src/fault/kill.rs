//! A server that is ended with SIGKILL: a crash.

use super::{Action, Drawn, FaultSpec, Nature, Need, ProcessEffect, ProcessFault};

pub(super) const SPEC: FaultSpec = FaultSpec {
    word: "kill",
    past: "was killed",
    needs: &[Need::Kill],
    drawn: Drawn::Down,
    nature: Nature::Process(ProcessFault {
        inject: Action::Kill,
        undo: Action::Start,
        effect: ProcessEffect::Gone,
        loses_unsynced: false,
    }),
};
