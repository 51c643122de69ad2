//! The processes of containers on this machine, and how long they have waited for a processor.

use std::collections::HashMap;
use std::fs;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use testcontainers::bollard::Docker as Client;
use testcontainers::bollard::query_parameters::InspectContainerOptions;
use tokio::time::Instant;

use crate::cluster::waited_for_processor;

/// How long to wait before the engine is asked again for the process of a container that had none.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// The processes that are known, by the name of their container. Without one: when the engine was asked.
#[derive(Debug, Default)]
pub(super) struct Processes(Mutex<HashMap<String, Result<u32, Instant>>>);

impl Processes {
    /// The process of a container, and for how long it has waited for a processor, in real time. None if it does not run, or
    /// if this machine does not show it.
    pub(super) async fn waited(&self, client: &Client, container: &str) -> Option<(u32, Duration)> {
        let known = self.known().get(container).copied();
        match known {
            Some(Ok(pid)) if let Some(waited) = waited_for_processor(pid) => return Some((pid, waited)),
            Some(Err(asked)) if asked.elapsed() < ASK_EVERY => return None,
            _ => {}
        }
        let found = Self::find(client, container).await;
        self.known().insert(container.to_owned(), found.ok_or_else(Instant::now));
        let pid = found?;
        Some((pid, waited_for_processor(pid)?))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Result<u32, Instant>>> {
        self.0.lock().expect("no holder panics")
    }

    async fn find(client: &Client, container: &str) -> Option<u32> {
        let inspected = client.inspect_container(container, None::<InspectContainerOptions>).await.ok()?;
        let pid = u32::try_from(inspected.state?.pid?).ok().filter(|&pid| pid > 0)?;
        // The number is the engine's: here, another process may have it.
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        groups.contains(&inspected.id?).then_some(pid)
    }
}
