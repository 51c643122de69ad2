//! Undoes the changes of killed runs before another run begins on the same cluster.
//!
//! A ledger belongs to this cluster if they have a node id in common. Addresses do not identify a cluster, because they
//! can be reused; they are compared only where no node answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures_util::future::join_all;

use super::Undo;
use crate::cluster::ProcessState;
use crate::cluster::attach::access::ServerAccess;
use crate::cluster::attach::access::hooks::Emit;
use crate::cluster::attach::error::AttachError;
use crate::cluster::attach::ledger::{Changes, Found, Ledger, Ledgers};
use crate::cluster::attach::links::Links;
use crate::cluster::attach::servers::discover::seed_answer;
use crate::history::EventKind;
use crate::plan::Need;
use crate::topology::NodeLine;
use crate::wire::Caller;

/// What a run needs to settle the ledgers of earlier runs on its cluster.
#[derive(Clone, Copy)]
pub(crate) struct Settlement<'v> {
    pub ledgers: &'v Ledgers,
    pub seeds: &'v [String],
    pub caller: &'v Caller,
    pub servers: &'v ServerAccess,
    /// Receives a line for each change that is undone.
    pub notice: &'v (dyn Fn(&str) + Sync),
}

/// How the nodes of a ledger relate to the nodes that answer.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    /// They belong to one cluster.
    Same,
    /// Other nodes now use all addresses of the ledger's nodes.
    Replaced,
    /// They belong to different clusters.
    Other,
}

fn identity(changes: &Changes, here: &[NodeLine]) -> Identity {
    let nodes = || changes.places.iter().map(|place| &place.node);
    if nodes().any(|node| here.iter().any(|line| line.id == node.id)) {
        Identity::Same
    } else if nodes().all(|node| here.iter().any(|line| line.addr == Some(node.addr))) {
        Identity::Replaced
    } else {
        Identity::Other
    }
}

impl Settlement<'_> {
    /// Undoes what killed runs left on this cluster. Fails if another run is active there, or if something cannot be
    /// undone.
    pub async fn settle(&self) -> Result<(), AttachError> {
        let mut all = self.ledgers.all()?;
        if all.is_empty() {
            return Ok(());
        }
        // Undo the latest change first.
        all.sort_by(|a, b| b.changes.began_at().cmp(a.changes.began_at()));
        let here = node_lines(self.seeds, self.caller).await?;
        for Found { changes, path, is_alive } in all {
            let identity =
                if here.is_empty() { self.compare_silent(&changes).await? } else { identity(&changes, &here) };
            match identity {
                Identity::Other => {}
                Identity::Same if is_alive => return Err(AttachError::Busy { whose: changes.whose() }),
                Identity::Replaced if is_alive => {}
                Identity::Same | Identity::Replaced => match Ledger::adopt(&path)? {
                    Some(ledger) if identity == Identity::Same => self.undo(&ledger).await?,
                    Some(ledger) => self.abandon_ledger(&ledger),
                    None if path.exists() => return Err(AttachError::Busy { whose: changes.whose() }),
                    None => {}
                },
            }
        }
        Ok(())
    }

    /// Fails if another run is active on this cluster. The caller has written its ledger already, so of two runs that
    /// begin at the same time at least one sees the other.
    pub fn is_alone(&self, own: &Ledger) -> Result<(), AttachError> {
        let Changes { run, places, .. } = own.changes();
        let is_ours = |changes: &Changes| {
            changes.places.iter().any(|place| places.iter().any(|own| own.node.id == place.node.id))
        };
        let mut others = self.ledgers.all()?.into_iter().filter(|found| found.is_alive && found.changes.run != run);
        match others.find(|found| is_ours(&found.changes)) {
            Some(other) => Err(AttachError::Busy { whose: other.changes.whose() }),
            None => Ok(()),
        }
    }

    /// [`compare`] where no seed answers: the killed run may have stopped them.
    async fn compare_silent(&self, changes: &Changes) -> Result<Identity, AttachError> {
        let mut is_meant = false;
        for seed in self.seeds {
            let addrs: Vec<SocketAddr> = tokio::net::lookup_host(seed).await.map(Iterator::collect).unwrap_or_default();
            is_meant |= changes.places.iter().any(|place| addrs.contains(&place.node.addr));
        }
        if !is_meant {
            return Ok(Identity::Other);
        }
        let here = node_lines(&changes.addrs(), self.caller).await?;
        Ok(if here.is_empty() { Identity::Same } else { identity(changes, &here) })
    }

    async fn undo(&self, ledger: &Ledger) -> Result<(), AttachError> {
        let changes = ledger.changes();
        let whose = changes.whose();
        let emit = |event: EventKind| {
            if let EventKind::Note { text } = event {
                (self.notice)(&format!("  {text}"));
            }
        };
        if self.needs_other_access(&changes, &emit).await {
            return Err(AttachError::Pending(changes.pending()));
        }
        (self.notice)(&format!("{whose} was killed: undoing its changes first"));
        let links = Links::left(self.servers, ledger);
        let undo = Undo { ledger, caller: self.caller, servers: self.servers, links: &links, emit: &emit };
        let mut left = undo.heal_links().await;
        let wrong = undo.set_hosts_right(&changes).await;
        let asleep = undo.wake_servers(&changes).await;
        if !left.is_empty() && links.forget_healed(&emit).await {
            left.clear();
            emit(EventKind::Note {
                text: "links that `heal` failed on are intact: test connections came through".to_owned(),
            });
        }
        left.extend(wrong);
        left.extend(asleep);
        let here = node_lines(&changes.addrs(), self.caller).await?;
        if !here.is_empty() && identity(&changes, &here) != Identity::Same {
            self.abandon_ledger(ledger);
            return Ok(());
        }
        if !here.is_empty() {
            follow(ledger, &here).await;
        }
        left.extend(undo.put_directives_back().await);
        left.extend(undo.remove_keys().await);
        if left.is_empty() {
            ledger.close();
            return Ok(());
        }
        ledger.leave();
        Err(AttachError::StillLeft { whose, left, ledger: ledger.path() })
    }

    /// Whether the undo requires an access to servers that this run does not have.
    async fn needs_other_access(&self, changes: &Changes, emit: Emit<'_>) -> bool {
        if !changes.cuts.is_empty() && !matches!(self.servers, ServerAccess::Hooks(_)) {
            return true;
        }
        let lacks = self.servers.lacks();
        let hosts = [(Need::Clocks, changes.clocks.is_empty()), (Need::Disks, changes.disks.is_empty())];
        if hosts.iter().any(|(need, is_right)| !is_right && lacks.contains_key(need)) {
            return true;
        }
        for &node in &changes.disturbed {
            let need = match self.servers.state(changes.node(node), self.caller, emit).await {
                ProcessState::Running { .. } | ProcessState::Unknown { .. } => continue,
                ProcessState::Gone { .. } => Need::Start,
                ProcessState::Paused { .. } => Need::Freeze,
            };
            if lacks.contains_key(&need) {
                return true;
            }
        }
        false
    }

    /// Gives up a ledger whose cluster no longer exists. Cuts by hooks may still be in force on the hosts, so a ledger
    /// with cuts stays.
    fn abandon_ledger(&self, ledger: &Ledger) {
        let changes = ledger.changes();
        let whose = changes.whose();
        let what = format!("{whose} was killed, and its cluster is gone: other nodes use its addresses");
        if changes.cuts.is_empty() {
            (self.notice)(&format!("{what}; they are left as they are"));
            ledger.close();
        } else {
            let path = ledger.path();
            (self.notice)(&format!(
                "{what}; {} (hint: check the hosts, then remove `{}`)",
                changes.summary(),
                path.display()
            ));
            ledger.leave();
        }
    }
}

/// The CLUSTER NODES lines of all addresses that answer. Fails if none answers and the user can fix the cause.
async fn node_lines(at: &[String], caller: &Caller) -> Result<Vec<NodeLine>, AttachError> {
    let answers = join_all(at.iter().map(|addr| seed_answer(addr, caller))).await;
    let (lines, failed): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    if lines.is_empty()
        && let Some(Err(error)) = failed.into_iter().find(|failed| failed.as_ref().is_err_and(AttachError::is_usage))
    {
        return Err(error);
    }
    Ok(lines.into_iter().flatten().flatten().collect())
}

/// Updates the addresses of nodes that have moved, by their ids, and drops the directives of nodes that have left the
/// cluster.
async fn follow(ledger: &Ledger, here: &[NodeLine]) {
    let now: BTreeMap<String, Option<SocketAddr>> = here.iter().map(|line| (line.id.clone(), line.addr)).collect();
    ledger
        .forget(move |changes| {
            let mut gone = Vec::new();
            for place in &mut changes.places {
                match now.get(&place.node.id) {
                    Some(addr) => place.node.addr = addr.unwrap_or(place.node.addr),
                    None => gone.push(place.node.node),
                }
            }
            changes.originals.retain(|original| !gone.contains(&original.node));
        })
        .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::attach::ledger::tests::changes;
    use crate::topology::parse_nodes;

    fn here(nodes: &[(u16, u16)]) -> Vec<NodeLine> {
        let line = |(id, at): &(u16, u16)| format!("{id:040} 10.0.0.{at}:6379@16379 master - 0 0 1 connected");
        parse_nodes(&nodes.iter().map(line).collect::<Vec<_>>().join("\n")).expect("lines")
    }

    #[test]
    fn identifies_a_cluster_by_its_node_ids() {
        for (nodes, expected) in [
            (&[(1, 1), (2, 2), (3, 3)][..], Identity::Same),
            (&[(1, 7), (8, 2), (9, 3)], Identity::Same),
            (&[(7, 1), (8, 2), (9, 3)], Identity::Replaced),
            (&[(7, 1), (8, 2), (9, 4)], Identity::Other),
            (&[(7, 7), (8, 8)], Identity::Other),
        ] {
            assert_eq!(identity(&changes("3f"), &here(nodes)), expected, "{nodes:?}");
        }
    }

    #[tokio::test]
    async fn rejects_the_later_of_two_concurrent_runs() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let ledgers = Ledgers::open(folder.path().to_owned()).expect("a folder");
        let (seeds, caller) = (["127.99.0.1:1".to_owned()], Caller::default());
        let settlement = Settlement {
            ledgers: &ledgers,
            seeds: &seeds,
            caller: &caller,
            servers: &ServerAccess::Ports,
            notice: &|line| panic!("{line}"),
        };
        let first = ledgers.begin(changes("a")).expect("a ledger");
        settlement.is_alone(&first).expect("nobody else is here");
        let second = ledgers.begin(changes("b")).expect("a ledger");
        let busy = settlement.is_alone(&second).expect_err("two are one too many").to_string();
        assert!(busy.contains("run a (suite \"role-swap\""), "{busy}");
        settlement.settle().await.expect("these are none of the seeds");
        first.leave();
        settlement.is_alone(&second).expect("the other is dead");
    }

    #[tokio::test]
    async fn updates_the_addresses_of_moved_nodes() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let ledger =
            Ledgers::open(folder.path().to_owned()).and_then(|all| all.begin(changes("3f"))).expect("a ledger");
        ledger
            .forget(|changes| {
                for node in [1, 3] {
                    changes.add_original(crate::units::NodeNo(node), "maxmemory", "0");
                }
            })
            .await;
        follow(&ledger, &here(&[(1, 7), (2, 2), (9, 3)])).await;
        let changes = ledger.changes();
        assert_eq!(changes.addrs(), ["10.0.0.7:6379", "10.0.0.2:6379", "10.0.0.3:6379"]);
        assert_eq!(changes.originals.iter().map(|original| original.node.0).collect::<Vec<_>>(), [1]);
    }
}
