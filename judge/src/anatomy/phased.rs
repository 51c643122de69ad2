//! Which lines of a log tell of a phase of a failover.

use super::LogEvent;
use crate::suite::Phased;

/// Whether a line tells that this happened to a node: to the one with one of these ids, or to the writer if it `is_one` of
/// them.
pub fn tells(phase: Phased, event: &LogEvent, ids: &[String], is_one: bool) -> bool {
    let names = |id: &String| ids.contains(id);
    match event {
        LogEvent::Pfail(about) => phase == Phased::Pfail && names(about),
        LogEvent::Quorum(about) | LogEvent::FailReceived { about, .. } => phase == Phased::Fail && names(about),
        LogEvent::Granted { to, .. } => phase == Phased::VoteGranted && names(to),
        LogEvent::Began(_) => phase == Phased::ElectionStarted && is_one,
        LogEvent::Won | LogEvent::TakenOver => phase == Phased::Promoted && is_one,
        LogEvent::SyncStarted => phase == Phased::SyncStarted && is_one,
        LogEvent::SyncFinished | LogEvent::PartialSync => phase == Phased::SyncFinished && is_one,
        LogEvent::Demoted => phase == Phased::Demoted && is_one,
        LogEvent::Starting
        | LogEvent::Delayed { .. }
        | LogEvent::Denied { .. }
        | LogEvent::Blocked(_)
        | LogEvent::ManualAccepted
        | LogEvent::ManualRequested(_)
        | LogEvent::ManualOffset
        | LogEvent::ManualReady
        | LogEvent::Epoch(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anatomy::parse;

    #[test]
    fn a_line_tells_of_the_node_that_it_is_about() {
        const A: &str = "a808684ad574329a72c7d52e0cbd8b2219e6b465";
        for (text, phase) in [
            (format!("*** NODE {A} possibly failing"), Phased::Pfail),
            (format!("Marking node {A} () as failing (quorum reached)."), Phased::Fail),
            (format!("Failover auth granted to {A} for epoch 7"), Phased::VoteGranted),
            ("Starting a failover election for epoch 7.".to_owned(), Phased::ElectionStarted),
            ("Failover election won: I'm the new master.".to_owned(), Phased::Promoted),
            ("PRIMARY <-> REPLICA sync started".to_owned(), Phased::SyncStarted),
            ("MASTER <-> REPLICA sync: Finished with success".to_owned(), Phased::SyncFinished),
            ("Successful partial resynchronization with master.".to_owned(), Phased::SyncFinished),
            (format!("Configuration change detected. Reconfiguring myself as a replica of {A}"), Phased::Demoted),
        ] {
            let line = parse(&format!("17172:S 22 Nov 2026 13:29:55.519 # {text}")).expect("a line");
            let is_named = text.contains(A) && phase != Phased::Demoted;
            let ids = [A.to_owned()];
            assert!(tells(phase, &line.event, if is_named { &ids } else { &[] }, !is_named), "{text}");
            assert!(!tells(phase, &line.event, &[], false), "{text}");
            let other = if phase == Phased::Fail { Phased::Pfail } else { Phased::Fail };
            assert!(!tells(other, &line.event, &ids, true), "{text}");
        }
    }
}
