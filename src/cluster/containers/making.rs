//! Tracks creations in progress: a container that the engine has not yet reported would outlive a removal.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedRwLockWriteGuard, RwLock};
use tokio::time::timeout;

/// How long to wait for creations in progress.
const MADE_WITHIN: Duration = Duration::from_secs(10);

/// The creations in progress. Clones share them.
#[derive(Debug, Clone, Default)]
pub(in crate::cluster) struct Making(Arc<RwLock<()>>);

impl Making {
    /// Runs a creation to its end, even if the caller stops waiting.
    pub async fn to_its_end<T: Send + 'static>(&self, made: impl Future<Output = T> + Send + 'static) -> T {
        let making = Arc::clone(&self.0).read_owned().await;
        let made = tokio::spawn(async move {
            let _making = making;
            made.await
        });
        // Nothing aborts the task, so it can only have panicked.
        made.await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
    }

    /// Waits for the creations in progress, and blocks new ones while the result exists. None if the wait exceeded the
    /// limit.
    pub async fn ended(&self) -> Option<OwnedRwLockWriteGuard<()>> {
        timeout(crate::speed::real_span(MADE_WITHIN), Arc::clone(&self.0).write_owned()).await.ok()
    }
}
