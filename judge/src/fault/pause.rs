//! A server that is frozen with SIGSTOP: it keeps its connections and answers nothing.

use super::{Action, Drawn, FaultSpec, Nature, Need, ProcessEffect, ProcessFault};

pub(super) const SPEC: FaultSpec = FaultSpec {
    word: "pause",
    past: "was frozen",
    needs: &[Need::Freeze],
    drawn: Drawn::Paused,
    nature: Nature::Process(ProcessFault {
        inject: Action::Pause,
        undo: Action::Resume,
        effect: ProcessEffect::Frozen,
        loses_unsynced: false,
    }),
};
