//! The end of a run on a cluster that is not ours: everything is put back, and what could not be is said.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

#[cfg(feature = "docker")]
use super::Way;
use super::{AttachError, Attached, discover, keys, live, way};
use crate::cluster::{Backend, ProcessState};
use crate::history::{EventKind, key_name, probe_name};

/// How long the cluster may take to be whole, after which keys and directives are put back as far as they can be.
const WHOLE_WITHIN: Duration = Duration::from_secs(60);

/// How long removing keys is tried, and then putting directives back.
const UNDO_WITHIN: Duration = Duration::from_secs(20);

/// A write whose answer never came may be carried out late; keys are removed until there are none, so often at most.
const PASSES: usize = 5;

const POLL: Duration = Duration::from_millis(200);

impl Attached {
    /// Undoes what the run did. A second call does nothing.
    pub(super) async fn undo(&self) -> Result<(), AttachError> {
        if self.undone.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let mut left = Vec::new();
        #[cfg(feature = "docker")]
        self.free_links(&mut left).await;
        self.wake_servers(&mut left).await;
        self.put_directives_back(&mut left).await;
        if self.began.load(Ordering::Relaxed) {
            self.remove_keys(&mut left).await;
        }
        if left.is_empty() { Ok(()) } else { Err(AttachError::Left(left)) }
    }

    fn note(&self, text: String) {
        self.tell(EventKind::Note { text });
    }

    /// Lifts every rule and removes the sidecars, also those of a start that was cut short.
    #[cfg(feature = "docker")]
    async fn free_links(&self, left: &mut Vec<String>) {
        let Way::Compose(compose) = self.way() else { return };
        if let Some(links) = &self.links
            && let Err(error) = links.clear().await
        {
            left.push(format!("rules may be in force in the containers' networks: {error} (hint: restart them)"));
        }
        if let Err(error) = compose.remove_sidecars(&self.run).await {
            left.push(error.to_string());
        }
    }

    /// Starts what is ended and wakes what is frozen. The run's own end does that, too; here is what it left.
    async fn wake_servers(&self, left: &mut Vec<String>) {
        let disturbed: Vec<_> = self.disturbed.lock().expect("no holder panics").iter().copied().collect();
        if disturbed.is_empty() {
            return;
        }
        for node in disturbed {
            let done = match self.state(node).await {
                ProcessState::Gone { .. } => self.restore(way::Deed::Start, node).await,
                ProcessState::Paused { .. } => self.restore(way::Deed::Resume, node).await,
                ProcessState::Running { .. } => Ok(()),
            };
            match done {
                Ok(()) => self.note(format!("{node} runs again")),
                Err(error) => {
                    let addr = self.addr(node);
                    left.push(format!("{node} ({addr}) was stopped and does not run: {error} (hint: start it)"));
                }
            }
        }
        let seeds: Vec<String> = self.nodes.iter().map(|node| node.addr.to_string()).collect();
        let deadline = Instant::now() + WHOLE_WITHIN;
        while let Err(error) = discover::discover(&seeds, self.caller()).await {
            if Instant::now() > deadline {
                left.push(error.to_string());
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn put_directives_back(&self, left: &mut Vec<String>) {
        let originals = self.originals.lock().expect("no holder panics").clone();
        let deadline = Instant::now() + UNDO_WITHIN;
        let mut put_back = 0;
        for ((node, name), original) in originals {
            let addr = self.addr(node);
            let done = loop {
                // A server that was restarted has its file's value again.
                let done = match live::get(addr, self.caller(), &name).await {
                    Ok(Some(now)) if live::is_same(&now, &original) => Ok(()),
                    Ok(_) => live::set(node, addr, self.caller(), &name, &original).await,
                    Err(error) => Err(error),
                };
                if done.is_ok() || Instant::now() > deadline {
                    break done;
                }
                tokio::time::sleep(POLL).await;
            };
            match done {
                Ok(()) => put_back += 1,
                Err(error) => left.push(format!(
                    "`{name}` of {node} was `{original}` and is not: {error} (hint: `redis-cli -h {} -p {} CONFIG SET {name} \
                     '{original}'`)",
                    addr.ip(),
                    addr.port()
                )),
            }
        }
        if put_back > 0 {
            self.note(format!("{put_back} directives are what they were"));
        }
    }

    async fn remove_keys(&self, left: &mut Vec<String>) {
        let addrs: Vec<_> = self.nodes.iter().map(|node| node.addr).collect();
        let mut names: Vec<String> = self.written.lock().expect("no holder panics").iter().cloned().collect();
        for key in 0..self.workload_keys {
            names.extend([key_name(key), probe_name(key)].map(|name| self.keys.name(&name)));
        }
        let deadline = Instant::now() + UNDO_WITHIN;
        let (mut removed, mut passes) = (0, 0);
        let remaining = loop {
            let (now, remaining) = keys::remove(&addrs, self.caller(), names.clone()).await;
            removed += now;
            passes += 1;
            let is_done = match &remaining {
                None => now == 0 || passes >= PASSES,
                Some(_) => Instant::now() > deadline,
            };
            if is_done {
                break remaining;
            }
            if remaining.is_some() {
                tokio::time::sleep(POLL).await;
            }
        };
        let prefix = self.keys.prefix().unwrap_or_default();
        self.note(format!("{removed} keys below `{prefix}` are removed"));
        if let Some((names, reason)) = remaining {
            left.push(format!(
                "up to {} keys below `{prefix}` may be left: {reason} (hint: on each master, `redis-cli --scan --pattern \
                 '{prefix}*'`, and UNLINK each)",
                names.len()
            ));
        }
    }

    /// Leaves the servers' logs of this run in its folder, as far as they can be had.
    pub(super) async fn save_logs(&self) {
        for node in &self.nodes {
            let Some(log) = self.way().log(node, None).await else { continue };
            // The report is worth having without them; whoever misses a log sees that it is not there.
            let _ = tokio::fs::create_dir_all(&self.logs).await;
            let _ = tokio::fs::write(self.logs.join(format!("{}.log", node.node)), log).await;
        }
    }
}
