//! Connections to one node for commands that block their connection (WAIT). Each carries one command at a time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::history::{Explanation, Reason};
use crate::wire::Link;

/// The maximum number of connections to one node. When all are in use, callers wait.
const MOST: usize = 16;

#[derive(Debug)]
pub(super) struct Pool {
    idle: Mutex<Vec<Link>>,
    permits: Arc<Semaphore>,
    failed: Mutex<Option<(Instant, Explanation)>>,
}

/// A connection in use. Dropping it closes the connection; [`Lease::give_back`] keeps it open.
#[derive(Debug)]
pub(super) struct Lease {
    pub link: Link,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { idle: Mutex::default(), permits: Arc::new(Semaphore::new(MOST)), failed: Mutex::default() })
    }

    /// An idle connection, or a new one. After a failed attempt to connect, its error is returned at once for
    /// `failure_holds`.
    pub async fn lease(
        self: &Arc<Self>,
        until: Instant,
        failure_holds: Duration,
        connect: impl Future<Output = Result<Link, Explanation>>,
    ) -> Result<Lease, Explanation> {
        let permit = timeout_at(until, Arc::clone(&self.permits).acquire_owned()).await;
        let permit = permit.map_err(|_| {
            Explanation::new(Reason::NoFreeConnection, format!("all {MOST} connections to the node were in use"))
        })?;
        let permit = permit.expect("the semaphore is never closed");
        let lease = |link| Lease { link, pool: Arc::clone(self), _permit: permit };
        while let Some(link) = self.pop() {
            if !link.is_ended() {
                return Ok(lease(link));
            }
        }
        if let Some((at, reason)) = &*self.failed.lock().expect("no holder panics")
            && at.elapsed() < failure_holds
        {
            return Err(reason.clone());
        }
        let connected = connect.await;
        *self.failed.lock().expect("no holder panics") =
            connected.as_ref().err().map(|reason| (Instant::now(), reason.clone()));
        connected.map(lease)
    }

    fn pop(&self) -> Option<Link> {
        self.idle.lock().expect("no holder panics").pop()
    }
}

impl Lease {
    /// Returns the connection to the pool. Call it only after every reply has arrived, or the next command gets
    /// the reply of an earlier one.
    pub fn give_back(self) {
        self.pool.idle.lock().expect("no holder panics").push(self.link);
    }
}
