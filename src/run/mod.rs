//! Running a plan: boot, steps, heal, recover, read back, tear down. The only writer of a history.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use crate::history::{Event, History};
use crate::plan::Plan;
use crate::server::Server;

/// What a run needs beside its plan.
pub struct Options {
    /// The report's folder; it exists. History and logs go there.
    pub folder: PathBuf,
    /// Whether data directories are kept, under `folder/data`.
    pub keep: bool,
    /// Becomes `Some("SIGINT")` and the like when the run is to end; it then heals, reads back,
    /// tears down and returns what it has.
    pub stop: watch::Receiver<Option<String>>,
    /// Is shown everything as it happens. It must return at once.
    pub watcher: Arc<dyn Fn(Notice<'_>) + Send + Sync>,
}

/// What a watcher is shown.
#[derive(Debug, Clone, Copy)]
pub enum Notice<'a> {
    /// An event was recorded.
    Event(&'a Event),
    /// How far the workload is, several times a second.
    Progress {
        /// Nanoseconds from the start of the run.
        at_ns: u64,
        /// Operations completed.
        completed: u64,
        /// Of these, acknowledged.
        acknowledged: u64,
    },
}

/// Why a run gave no history, or an unfinished one.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The cluster could not be formed; the message holds the last state and the node's log.
    #[error("{0}")]
    Boot(String),
    /// A directive that the server refused, in its own words.
    #[error("{0}")]
    Config(String),
    /// The history could not be written.
    #[error(transparent)]
    History(#[from] crate::history::HistoryError),
}

/// Runs a plan on a server. What went wrong in a step is in the history, not in the error.
pub async fn run(plan: Plan, server: Server, options: Options) -> Result<History, RunError> {
    let _ = (plan, server, options);
    todo!()
}
