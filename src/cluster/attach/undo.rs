//! The end of a run on a cluster that is not ours: everything is put back, and what could not be is said.

use std::time::Duration;

use tokio::time::Instant;

use super::error::named;
use super::hooks::Tell;
use super::ledger::{Changes, Ledger, Original};
use super::links::Links;
use super::way::Way;
use super::{discover, keys, live};
use crate::cluster::ProcessState;
use crate::fault::Action;
use crate::history::{EventKind, key_name, probe_name};
use crate::wire::Caller;

/// How long the cluster may take to be whole, after which keys and directives are put back as far as they can be.
const WHOLE_WITHIN: Duration = Duration::from_secs(60);

/// How long removing keys is tried, and then putting directives back.
const UNDO_WITHIN: Duration = Duration::from_secs(20);

/// A write whose answer never came may be carried out late; keys are removed until there are none, so often at most.
const PASSES: usize = 5;

const POLL: Duration = Duration::from_millis(200);

/// What it takes to undo what is in a ledger. What has been put back is forgotten there, and what could not be is
/// returned, each with a way to do it by hand.
#[derive(Clone, Copy)]
pub(super) struct Undo<'u> {
    pub ledger: &'u Ledger,
    pub caller: &'u Caller,
    pub way: &'u Way,
    pub links: &'u Links,
    pub tell: Tell<'u>,
}

impl Undo<'_> {
    fn note(&self, text: String) {
        (self.tell)(EventKind::Note { text });
    }

    /// Heals links. The run's own end does that, too; here is what it left.
    pub async fn heal_links(&self) -> Vec<String> {
        self.links.clear(self.tell).await
    }

    /// Starts and wakes servers, of the changes as they were before links were healed, and waits for the cluster to
    /// be whole.
    pub async fn wake_servers(&self, changes: &Changes) -> Vec<String> {
        let mut left = Vec::new();
        for &node in &changes.disturbed {
            let info = changes.node(node);
            let done = match self.way.state(info, self.caller, self.tell).await {
                ProcessState::Gone { .. } => self.way.act(Action::Start, info, self.tell).await,
                ProcessState::Paused { .. } => self.way.act(Action::Resume, info, self.tell).await,
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
                    self.note(format!("{} runs again", named(node, info.addr)));
                }
                Err(error) => left
                    .push(format!("{} was stopped and does not run: {error} (hint: start it)", named(node, info.addr))),
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

    /// Puts directives back.
    pub async fn put_directives_back(&self) -> Vec<String> {
        let changes = self.ledger.changes();
        let (mut left, mut kept) = (Vec::new(), Vec::new());
        let deadline = Instant::now() + UNDO_WITHIN;
        let mut put_back = 0;
        for one in &changes.originals {
            let Original { node, name, value: original } = one;
            let (node, addr) = (*node, changes.node(*node).addr);
            let done = loop {
                // A server that was restarted has its file's value again.
                let done = match live::get(addr, self.caller, name).await {
                    Ok(Some(now)) if live::is_same(&now, original) => Ok(()),
                    Ok(_) => live::set(node, addr, self.caller, name, original).await,
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
                        "`{name}` of {node} was `{original}` and is not: {error} (hint: `redis-cli -h {} -p {} CONFIG SET \
                         {name} '{original}'`)",
                        addr.ip(),
                        addr.port()
                    ));
                    kept.push(one.clone());
                }
            }
        }
        self.ledger.forget(|changes| changes.originals = kept).await;
        if put_back > 0 {
            self.note(format!("{put_back} directives are what they were"));
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
        self.note(format!("{removed} keys below `{prefix}` are removed"));
        let (names, reason) = remaining?;
        Some(format!(
            "up to {} keys below `{prefix}` may be left: {reason} (hint: on each master, `redis-cli --scan --pattern \
             '{prefix}*'`, and UNLINK each)",
            names.len()
        ))
    }
}
