//! What the engine is making for us: a container that it has not told of yet would outlive a removal.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedRwLockWriteGuard, RwLock};
use tokio::time::timeout;

/// How long is waited for what the engine is making.
const MADE_WITHIN: Duration = Duration::from_secs(10);

/// What is being made. Clones are handles of the same.
#[derive(Debug, Clone, Default)]
pub(in crate::cluster) struct Making(Arc<RwLock<()>>);

impl Making {
    /// Comes to its end also when nobody waits for it any more, as when a run is ended.
    pub async fn to_its_end<T: Send + 'static>(&self, made: impl Future<Output = T> + Send + 'static) -> T {
        let making = Arc::clone(&self.0).read_owned().await;
        let made = tokio::spawn(async move {
            let _making = making;
            made.await
        });
        // Nobody aborts the task, so it can only have panicked.
        made.await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
    }

    /// Waits until nothing is being made, and lets nothing begin while the result lives. None says that it took too
    /// long.
    pub async fn ended(&self) -> Option<OwnedRwLockWriteGuard<()>> {
        timeout(MADE_WITHIN, Arc::clone(&self.0).write_owned()).await.ok()
    }
}
