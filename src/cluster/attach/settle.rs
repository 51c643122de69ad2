//! What runs that were killed have changed on a cluster is undone before another begins there.
//!
//! A ledger is about this cluster if they have a node in common, by its id: addresses are given anew. Only where
//! nobody answers at all do addresses have to do.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures_util::future::join_all;

use super::discover::seed_answer;
use super::error::AttachError;
use super::hooks::Tell;
use super::ledger::{Changes, Found, Ledger, Ledgers};
use super::links::Links;
use super::undo::Undo;
use super::way::Way;
use crate::cluster::ProcessState;
use crate::history::EventKind;
use crate::plan::Need;
use crate::topology::NodeLine;
use crate::wire::Caller;

/// Who comes to a cluster, and how.
#[derive(Clone, Copy)]
pub(super) struct Visit<'v> {
    pub ledgers: &'v Ledgers,
    pub seeds: &'v [String],
    pub caller: &'v Caller,
    pub way: &'v Way,
    /// Is told what was undone, a line each.
    pub notice: &'v (dyn Fn(&str) + Sync),
}

/// What the nodes of a ledger are to those that are here.
#[derive(Debug, PartialEq, Eq)]
enum Kin {
    /// Nodes of one cluster.
    Same,
    /// Nodes that were where others are now, each of them.
    Replaced,
    /// Strangers.
    Other,
}

fn kin(changes: &Changes, here: &[NodeLine]) -> Kin {
    let nodes = || changes.places.iter().map(|place| &place.node);
    if nodes().any(|node| here.iter().any(|line| line.id == node.id)) {
        Kin::Same
    } else if nodes().all(|node| here.iter().any(|line| line.addr == Some(node.addr))) {
        Kin::Replaced
    } else {
        Kin::Other
    }
}

impl Visit<'_> {
    /// Undoes what dead runs left on this cluster. The error says why nothing must be begun there: a run is under way,
    /// or what one left cannot be undone.
    pub async fn settle(&self) -> Result<(), AttachError> {
        let mut all = self.ledgers.all()?;
        if all.is_empty() {
            return Ok(());
        }
        // What was changed last is undone first.
        all.sort_by(|a, b| b.changes.began_at().cmp(a.changes.began_at()));
        let here = said(self.seeds, self.caller).await?;
        for Found { changes, path, is_alive } in all {
            let kin = if here.is_empty() { self.kin_of_the_silent(&changes).await? } else { kin(&changes, &here) };
            match kin {
                Kin::Other => {}
                Kin::Same if is_alive => return Err(AttachError::Busy { whose: changes.whose() }),
                Kin::Replaced if is_alive => {}
                Kin::Same | Kin::Replaced => match Ledger::adopt(&path)? {
                    Some(ledger) if kin == Kin::Same => self.undo(&ledger).await?,
                    Some(ledger) => self.give_up(&ledger),
                    None if path.exists() => return Err(AttachError::Busy { whose: changes.whose() }),
                    None => {}
                },
            }
        }
        Ok(())
    }

    /// Whether no other run is under way on this cluster. Whoever asks has a ledger already, so of two that begin at
    /// the same time at least one is told of the other.
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

    /// The same where none of the seeds answers: they may be what the dead run has stopped.
    async fn kin_of_the_silent(&self, changes: &Changes) -> Result<Kin, AttachError> {
        let mut is_meant = false;
        for seed in self.seeds {
            let addrs: Vec<SocketAddr> = tokio::net::lookup_host(seed).await.map(Iterator::collect).unwrap_or_default();
            is_meant |= changes.places.iter().any(|place| addrs.contains(&place.node.addr));
        }
        if !is_meant {
            return Ok(Kin::Other);
        }
        let here = said(&changes.addrs(), self.caller).await?;
        Ok(if here.is_empty() { Kin::Same } else { kin(changes, &here) })
    }

    async fn undo(&self, ledger: &Ledger) -> Result<(), AttachError> {
        let changes = ledger.changes();
        let whose = changes.whose();
        let tell = |event: EventKind| {
            if let EventKind::Note { text } = event {
                (self.notice)(&format!("  {text}"));
            }
        };
        if self.is_owed(&changes, &tell).await {
            return Err(AttachError::Owed(changes.owed()));
        }
        (self.notice)(&format!("{whose} was killed: what it changed is put back first"));
        let links = Links::left(self.way, ledger);
        let undo = Undo { ledger, caller: self.caller, way: self.way, links: &links, tell: &tell };
        let mut left = undo.heal_links().await;
        let asleep = undo.wake_servers(&changes).await;
        if !left.is_empty() && links.forget_healed(&tell).await {
            left.clear();
            tell(EventKind::Note { text: "links that could not be healed are whole, by connections tried".to_owned() });
        }
        left.extend(asleep);
        let here = said(&changes.addrs(), self.caller).await?;
        if !here.is_empty() && kin(&changes, &here) != Kin::Same {
            self.give_up(ledger);
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

    /// Whether undoing needs a way to servers that there is not.
    async fn is_owed(&self, changes: &Changes, tell: Tell<'_>) -> bool {
        if !changes.cuts.is_empty() && !matches!(self.way, Way::Hooks(_)) {
            return true;
        }
        let lacks = self.way.lacks();
        for &node in &changes.disturbed {
            let need = match self.way.state(changes.node(node), self.caller, tell).await {
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

    /// The cluster of a ledger is no more. What hooks have cut may be on other machines' hosts still.
    fn give_up(&self, ledger: &Ledger) {
        let changes = ledger.changes();
        let whose = changes.whose();
        let what = format!("{whose} was killed, and its cluster is gone: others are at its addresses");
        if changes.cuts.is_empty() {
            (self.notice)(&format!("{what}, and nothing is done to them"));
            ledger.close();
        } else {
            let path = ledger.path();
            (self.notice)(&format!("{what}; {} (hint: look, then remove `{}`)", changes.told(), path.display()));
            ledger.leave();
        }
    }
}

/// What those of these addresses that answer say of their cluster; an error if all fail and the user can mend it.
async fn said(at: &[String], caller: &Caller) -> Result<Vec<NodeLine>, AttachError> {
    let answers = join_all(at.iter().map(|addr| seed_answer(addr, caller))).await;
    let (said, failed): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    if said.is_empty()
        && let Some(Err(error)) = failed.into_iter().find(|failed| failed.as_ref().is_err_and(AttachError::is_usage))
    {
        return Err(error);
    }
    Ok(said.into_iter().flatten().flatten().collect())
}

/// Nodes are known by their ids: one that has moved is where it is now, and what was changed on one that is none of the
/// cluster's any more is let be.
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
    use super::super::ledger::tests::changes;
    use super::*;
    use crate::topology::parse_nodes;

    fn here(nodes: &[(u16, u16)]) -> Vec<NodeLine> {
        let line = |(id, at): &(u16, u16)| format!("{id:040} 10.0.0.{at}:6379@16379 master - 0 0 1 connected");
        parse_nodes(&nodes.iter().map(line).collect::<Vec<_>>().join("\n")).expect("lines")
    }

    #[test]
    fn clusters_are_told_apart_by_the_ids_of_their_nodes() {
        for (nodes, expected) in [
            (&[(1, 1), (2, 2), (3, 3)][..], Kin::Same),
            (&[(1, 7), (8, 2), (9, 3)], Kin::Same),
            (&[(7, 1), (8, 2), (9, 3)], Kin::Replaced),
            (&[(7, 1), (8, 2), (9, 4)], Kin::Other),
            (&[(7, 7), (8, 8)], Kin::Other),
        ] {
            assert_eq!(kin(&changes("3f"), &here(nodes)), expected, "{nodes:?}");
        }
    }

    #[tokio::test]
    async fn of_two_that_begin_at_once_the_later_is_told_of_the_other() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let ledgers = Ledgers::open(folder.path().to_owned()).expect("a folder");
        let (seeds, caller) = (["127.99.0.1:1".to_owned()], Caller::default());
        let visit = Visit {
            ledgers: &ledgers,
            seeds: &seeds,
            caller: &caller,
            way: &Way::Ports,
            notice: &|line| panic!("{line}"),
        };
        let first = ledgers.begin(changes("a")).expect("a ledger");
        visit.is_alone(&first).expect("nobody else is here");
        let second = ledgers.begin(changes("b")).expect("a ledger");
        let busy = visit.is_alone(&second).expect_err("two are one too many").to_string();
        assert!(busy.contains("run a (suite `role-swap`"), "{busy}");
        visit.settle().await.expect("these are none of the seeds");
        first.leave();
        visit.is_alone(&second).expect("the other is dead");
    }

    #[tokio::test]
    async fn nodes_are_followed_to_where_they_are_now() {
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
