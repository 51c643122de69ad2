//! Undoes the changes in a ledger, and reports those that it cannot undo.

pub(crate) mod settle;

use std::time::Duration;

use tokio::time::Instant;

use crate::cluster::ProcessState;
use crate::cluster::attach::access::ServerAccess;
use crate::cluster::attach::access::hooks::Emit;
use crate::cluster::attach::error::named;
use crate::cluster::attach::ledger::{Changes, Ledger, Original};
use crate::cluster::attach::links::Links;
use crate::cluster::attach::servers::{directives, discover, keys};
use crate::fault::Action;
use crate::history::{EventKind, key_name, probe_name};
use crate::speed::clock::Skew;
use crate::wire::Caller;

/// The longest wait for a healthy cluster. After it, the undo restores what it can.
const WHOLE_WITHIN: Duration = Duration::from_secs(60);

/// The time limit for restoring directives, and again for removing keys.
const UNDO_WITHIN: Duration = Duration::from_secs(20);

/// A write without an answer may still execute late, so removing keys repeats until it finds none, at most this often.
const PASSES: usize = 5;

const POLL: Duration = Duration::from_millis(200);

/// Undoes a ledger. Each step removes from the ledger what it has undone, and returns the rest with a hint how to undo
/// it by hand.
#[derive(Clone, Copy)]
pub(crate) struct Undo<'u> {
    pub ledger: &'u Ledger,
    pub caller: &'u Caller,
    pub servers: &'u ServerAccess,
    pub links: &'u Links,
    pub emit: Emit<'u>,
}

impl Undo<'_> {
    fn note(&self, text: String) {
        (self.emit)(EventKind::Note { text });
    }

    pub async fn heal_links(&self) -> Vec<String> {
        self.links.clear(self.emit).await
    }

    /// Sets the clocks and the disks of hosts right.
    pub async fn set_hosts_right(&self, changes: &Changes) -> Vec<String> {
        let mut left = Vec::new();
        for (&node, &of) in &changes.clocks {
            let info = changes.node(node);
            match self.servers.set_clock(info, of, Skew::NONE, self.emit).await {
                Ok(()) => self.ledger.forget(move |changes| _ = changes.clocks.remove(&node)).await,
                Err(error) => {
                    left.push(format!("the clock of {}: {error} (hint: set it right)", named(node, info.addr)));
                }
            }
        }
        for &node in &changes.disks {
            let info = changes.node(node);
            match self.servers.set_disk(info, None, self.emit).await {
                Ok(()) => self.ledger.forget(move |changes| _ = changes.disks.remove(&node)).await,
                Err(error) => {
                    left.push(format!("the disk of {}: {error} (hint: make it whole)", named(node, info.addr)));
                }
            }
        }
        left
    }

    /// Starts and resumes servers, then waits for a healthy cluster. `changes` are those from before links were healed.
    pub async fn wake_servers(&self, changes: &Changes) -> Vec<String> {
        let mut left = Vec::new();
        for &node in &changes.disturbed {
            let info = changes.node(node);
            let done = match self.servers.state(info, self.caller, self.emit).await {
                ProcessState::Gone { .. } => self.servers.act(Action::Start, info, self.emit).await,
                ProcessState::Paused { .. } => self.servers.act(Action::Resume, info, self.emit).await,
                ProcessState::Running { .. } => Ok(()),
                state @ ProcessState::Unknown { .. } => {
                    let node = named(node, info.addr);
                    left.push(format!("{node} was stopped or frozen, and its {state} (hint: start it if it is down)"));
                    continue;
                }
            };
            match done {
                Ok(()) => {
                    self.ledger.forget(move |changes| changes.disturbed.retain(|&left| left != node)).await;
                    self.note(format!("{} is running again", named(node, info.addr)));
                }
                Err(error) => left.push(format!(
                    "{} was stopped and is not running: {error} (hint: start it)",
                    named(node, info.addr)
                )),
            }
        }
        let is_healed = !changes.cuts.is_empty() && self.ledger.changes().cuts.is_empty();
        if changes.disturbed.is_empty() && !is_healed {
            return left;
        }
        let seeds = changes.addrs();
        let deadline = Instant::now() + WHOLE_WITHIN;
        while let Err(error) = discover::discover(&seeds, self.caller).await {
            if Instant::now() > deadline {
                left.push(error.to_string());
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        left
    }

    /// Sets directives to their original values.
    pub async fn put_directives_back(&self) -> Vec<String> {
        let changes = self.ledger.changes();
        let (mut left, mut kept) = (Vec::new(), Vec::new());
        let deadline = Instant::now() + UNDO_WITHIN;
        let mut put_back = 0;
        for one in &changes.originals {
            let Original { node, name, value: original } = one;
            let (node, addr) = (*node, changes.node(*node).addr);
            let done = loop {
                // A restart may already have restored the value from the server's file.
                let done = match directives::get(addr, self.caller, name).await {
                    Ok(Some(now)) if directives::is_same(&now, original) => Ok(()),
                    Ok(_) => directives::set(node, addr, self.caller, name, original).await,
                    Err(error) => Err(error),
                };
                if done.is_ok() || Instant::now() > deadline {
                    break done;
                }
                tokio::time::sleep(POLL).await;
            };
            match done {
                Ok(()) => put_back += 1,
                Err(error) => {
                    left.push(format!(
                        "`{name}` of {node} cannot be set back to `{original}`: {error} (hint: `redis-cli -h {} -p {} \
                         CONFIG SET {name} '{original}'`)",
                        addr.ip(),
                        addr.port()
                    ));
                    kept.push(one.clone());
                }
            }
        }
        self.ledger.forget(|changes| changes.originals = kept).await;
        if put_back > 0 {
            self.note(format!("{put_back} directives restored"));
        }
        left
    }

    /// Removes every key that the run may have written.
    pub async fn remove_keys(&self) -> Option<String> {
        let changes = self.ledger.changes();
        let keys = changes.keys();
        let addrs: Vec<_> = changes.places.iter().map(|place| place.node.addr).collect();
        let mut names: Vec<String> = changes.written.into_iter().collect();
        for key in 0..changes.workload_keys {
            names.extend([key_name(key), probe_name(key)].map(|name| keys.name(&name)));
        }
        let deadline = Instant::now() + UNDO_WITHIN;
        let (mut removed, mut passes) = (0, 0);
        let remaining = loop {
            let (now, remaining) = keys::remove(&addrs, self.caller, names.clone()).await;
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
        let prefix = keys.prefix().unwrap_or_default();
        self.note(format!("{removed} keys below `{prefix}` removed"));
        let (names, reason) = remaining?;
        Some(format!(
            "up to {} keys below `{prefix}` may be left: {reason} (hint: on each master, run `redis-cli --scan \
             --pattern '{prefix}*'` and `UNLINK` each key)",
            names.len()
        ))
    }
}
