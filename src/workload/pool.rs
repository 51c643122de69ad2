//! Connections to one node for commands that block their connection (WAIT): each has one under way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::history::{Explanation, Reason};
use crate::wire::Link;

/// As many connections to one node are open at once; who comes when all are in use waits.
const MOST: usize = 16;

#[derive(Debug)]
pub(super) struct Pool {
    idle: Mutex<Vec<Link>>,
    places: Arc<Semaphore>,
    failed: Mutex<Option<(Instant, Explanation)>>,
}

/// A connection in use. Dropping it closes it, unless it is given back.
#[derive(Debug)]
pub(super) struct Lease {
    pub link: Link,
    pool: Arc<Pool>,
    _place: OwnedSemaphorePermit,
}

impl Pool {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { idle: Mutex::default(), places: Arc::new(Semaphore::new(MOST)), failed: Mutex::default() })
    }

    /// An idle connection, or a new one. The error of an attempt to connect holds for `failure_holds`.
    pub async fn lease(
        self: &Arc<Self>,
        until: Instant,
        failure_holds: Duration,
        connect: impl Future<Output = Result<Link, Explanation>>,
    ) -> Result<Lease, Explanation> {
        let place = timeout_at(until, Arc::clone(&self.places).acquire_owned()).await;
        let place = place.map_err(|_| {
            Explanation::new(Reason::NoFreeConnection, format!("all {MOST} connections to the node were in use"))
        })?;
        let place = place.expect("the semaphore is never closed");
        let lease = |link| Lease { link, pool: Arc::clone(self), _place: place };
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
    /// Lets others use the connection. Only when every answer has come: the next command must not
    /// get an earlier one's.
    pub fn give_back(self) {
        self.pool.idle.lock().expect("no holder panics").push(self.link);
    }
}
