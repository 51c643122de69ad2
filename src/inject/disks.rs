//! Proofs of faults of disks: what the library between a server and its files has seen and counted, and what the server says.

use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::{Backend, Control, ProcessState};
use crate::history::{EventKind, hits_in_words};
use crate::journal::Journal;
use crate::speed::disk::Counts;
use crate::topology::parse_info;
use crate::units::NodeNo;
use crate::wire::text;

/// The time limit for a server to take a change. It looks whenever it waits for events, and at every call on a file.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// How long to wait for the first call that is hit, which is as good as a proof gets. Where none comes, later ones count.
const HIT_WITHIN: Duration = Duration::from_millis(250);

/// How long a server may take to say what it thinks of its disk. One that the disk holds says nothing.
const SAYS_WITHIN: Duration = Duration::from_millis(500);

const POLL: Duration = Duration::from_millis(10);

/// What a server says about its files (INFO persistence): how the last writes went, whether an fsync is under way, and how
/// often writing was put off for one.
const SAYS: [&str; 5] = [
    "aof_last_write_status",
    "aof_last_bgrewrite_status",
    "rdb_last_bgsave_status",
    "aof_pending_bio_fsync",
    "aof_delayed_fsync",
];

/// Looks until the server goes by the fault of its disk.
pub(super) async fn prove<B: Backend>(control: &Control<B>, node: NodeNo, before: &Counts) -> (bool, String) {
    let (taken, seen) = settled(control, node).await;
    if !taken {
        return (false, seen);
    }
    let deadline = Instant::now() + HIT_WITHIN;
    while Instant::now() < deadline {
        match control.backend().disk(node).await {
            Ok(disk) if disk.counts.since(before).hits() > 0 => {
                return (true, format!("{seen}; it has hit {}", hits_in_words(&disk.counts.since(before).rows())));
            }
            Ok(_) => {}
            Err(error) => return (false, error.to_string()),
        }
        tokio::time::sleep(POLL).await;
    }
    (true, format!("{seen}; it has hit no call yet"))
}

/// Looks until the server goes by its disk as it was set right.
pub(super) async fn prove_right<B: Backend>(control: &Control<B>, node: NodeNo) -> (bool, String) {
    settled(control, node).await
}

/// Looks until the server has taken the last change of its disk.
async fn settled<B: Backend>(control: &Control<B>, node: NodeNo) -> (bool, String) {
    let deadline = Instant::now() + TAKEN_WITHIN;
    loop {
        let seen = match (control.backend().disk(node).await, control.backend().state(node).await) {
            (Err(error), _) => return (false, error.to_string()),
            (Ok(disk), _) if !disk.stands => return (false, "something else has changed its disk".to_owned()),
            (Ok(disk), _) if disk.taken == Some(true) => return (true, disk.shown_by.to_owned()),
            (Ok(_), state @ ProcessState::Gone { .. }) => {
                return (true, format!("its {state}, and the next server will have this disk"));
            }
            // The library reads the rule at each call.
            (Ok(_), state @ ProcessState::Paused { .. }) => {
                return (true, format!("its {state}, and its next call on a file goes by it"));
            }
            (Ok(_), state @ (ProcessState::Running { .. } | ProcessState::Unknown { .. })) => {
                format!("its {state}, and has not looked at its disk")
            }
        };
        if Instant::now() > deadline {
            return (false, seen);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Records the calls since a fault was injected, and what the server says about its files.
pub(super) async fn tell<B: Backend>(
    control: &Control<B>,
    journal: &Journal,
    fault: u32,
    node: NodeNo,
    before: &Counts,
) {
    let Ok(disk) = control.backend().disk(node).await else { return };
    let calls = disk.counts.since(before).rows();
    let said = match control.ask(node, &["INFO", "persistence"], SAYS_WITHIN).await {
        Ok(answer) => {
            let info = text(&answer);
            let values = parse_info(&info);
            let said = SAYS.iter().filter_map(|name| Some(format!("{name}:{}", values.get(*name)?)));
            said.collect::<Vec<_>>().join(", ")
        }
        Err(error) => format!("nothing: {error}"),
    };
    journal.event(EventKind::DiskCounted { fault, calls, said });
}
