//! A server that is asked to end with SIGTERM, as `systemctl stop` or `docker stop` would.

use super::{Action, Drawn, FaultSpec, Nature, Need, ProcessEffect, ProcessFault};

pub(super) const SPEC: FaultSpec = FaultSpec {
    word: "stop",
    past: "was stopped",
    needs: &[Need::Stop],
    drawn: Drawn::Down,
    nature: Nature::Process(ProcessFault {
        inject: Action::Stop,
        undo: Action::Start,
        effect: ProcessEffect::Gone,
        loses_unsynced: false,
    }),
};
