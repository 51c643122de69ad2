//! Discovers the nodes of a cluster, checks that it is healthy, and numbers the nodes as a plan does.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use redis::Value;
use tokio::time::Instant;

use crate::cluster::attach::error::{AttachError, named};
use crate::cluster::control::AskError;
use crate::cluster::watch::Snapshot;
use crate::plan::PlannedNode;
use crate::server::{Flavour, Version};
use crate::slot::{Deal, DealError, ranges};
use crate::topology::{NodeLine, View, parse_info, parse_nodes};
use crate::units::{NodeNo, ShardNo};
use crate::wire::{Caller, Link, command, text};

/// The time limit for connecting to a node, and again for its answer.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// How long to wait for a healthy cluster: an earlier run may just have ended.
const WHOLE_WITHIN: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_millis(200);

/// The nodes of a cluster and their version.
#[derive(Debug, Clone)]
pub struct Topology {
    /// Every node, numbered as in a plan.
    pub nodes: Vec<FoundNode>,
    /// The oldest version that any node runs.
    pub version: Version,
}

/// A node of an attached cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundNode {
    /// Its number, shard, role and slots.
    pub planned: PlannedNode,
    /// The address of its client port, from CLUSTER NODES.
    pub addr: SocketAddr,
    /// The port of its cluster bus.
    pub bus_port: u16,
    /// Its node id, 40 hexadecimal digits.
    pub id: String,
}

/// Sends one command over a new connection.
pub(crate) async fn ask<W: AsRef<str>>(addr: SocketAddr, caller: &Caller, words: &[W]) -> Result<Value, AskError> {
    let mut link = Link::connect(addr, caller, ANSWER_WITHIN).await?;
    link.send(&command(words), Instant::now() + ANSWER_WITHIN).await.map_err(AskError::Command)
}

/// Discovers the cluster of the first seed that answers. Fails unless it is healthy and all nodes agree.
pub async fn discover(seeds: &[String], caller: &Caller) -> Result<Topology, AttachError> {
    let deadline = Instant::now() + WHOLE_WITHIN;
    let nodes = loop {
        let lines = first_answer(seeds, caller).await?;
        match number(&join_all(lines.into_iter().map(|line| own_line(line, caller))).await) {
            // The views differ for a moment when a node has just become a replica.
            Err(AttachError::NotWhole(_)) if Instant::now() < deadline => tokio::time::sleep(POLL).await,
            numbered => break numbered?,
        }
    };
    let versions = try_join_all(nodes.iter().map(|node| version(node, caller))).await?;
    let version = versions.into_iter().min().ok_or_else(|| AttachError::Unfit("it has no nodes".to_owned()))?;
    whole(&nodes, caller).await?;
    Ok(Topology { nodes, version })
}

/// A node's own line, which is newer than those of the others. If it does not answer, the line given.
async fn own_line(line: NodeLine, caller: &Caller) -> NodeLine {
    let Some(addr) = line.addr else { return line };
    let own = seed_answer(&addr.to_string(), caller).await.ok();
    let own = own.into_iter().flatten().find(|own| own.myself && own.id == line.id);
    own.map_or_else(|| line.clone(), |own| NodeLine { addr: line.addr, bus_port: line.bus_port, ..own })
}

async fn first_answer(seeds: &[String], caller: &Caller) -> Result<Vec<NodeLine>, AttachError> {
    let mut failed = Vec::new();
    for seed in seeds {
        match seed_answer(seed, caller).await {
            Ok(lines) => return Ok(lines),
            Err(error) => failed.push(error),
        }
    }
    if let [_] = failed.as_slice() {
        return Err(failed.remove(0));
    }
    // An error that the user can fix is more helpful than that of a node that may be down.
    if let Some(usage) = failed.iter().position(AttachError::is_usage) {
        return Err(failed.remove(usage));
    }
    Err(AttachError::NoSeedAnswers(failed.iter().map(ToString::to_string).collect()))
}

/// The CLUSTER NODES lines of one node.
pub(crate) async fn seed_answer(seed: &str, caller: &Caller) -> Result<Vec<NodeLine>, AttachError> {
    let wrong = |reason: String| AttachError::Seed { seed: seed.to_owned(), reason };
    let mut addresses = tokio::net::lookup_host(seed).await.map_err(|error| wrong(error.to_string()))?;
    let addr = addresses.next().ok_or_else(|| wrong("the name has no address".to_owned()))?;
    let words = ["CLUSTER", "NODES"];
    let answer = ask(addr, caller, &words).await;
    let answer = answer.map_err(|error| AttachError::ask(&seed, &words, &error, caller.access.tls.is_some()))?;
    let mut lines = parse_nodes(&text(&answer)).map_err(|error| unreadable(seed, &error))?;
    lines.retain(|line| !line.handshake);
    for line in &mut lines {
        // A node that has never met another does not know its own address.
        if line.myself && line.addr.is_none() {
            line.addr = Some(addr);
        }
    }
    Ok(lines)
}

fn unreadable(who: &str, error: &dyn std::fmt::Display) -> AttachError {
    AttachError::Answer { who: who.to_owned(), reason: error.to_string() }
}

/// Numbers nodes as a plan does: masters by their lowest slot, then each shard's first replica, then each shard's
/// second. Orders the replicas of a shard by address. Accepts any assignment of the slots, but not slots that are moving.
fn number(lines: &[NodeLine]) -> Result<Vec<FoundNode>, AttachError> {
    let unfit = |what: String| AttachError::Unfit(what);
    let addr = |line: &NodeLine| {
        line.addr.ok_or_else(|| unfit(format!("it does not know the address of its node {}", line.id)))
    };
    if let Some(line) = lines.iter().find(|line| !line.open.is_empty()) {
        let (addr, more) = (addr(line)?, if line.open.len() > 1 { " and more" } else { "" });
        return Err(moving(&format!("{addr} says {}{more}", line.open[0]), addr));
    }
    let mut masters: Vec<&NodeLine> = lines.iter().filter(|line| line.master).collect();
    if let Some(empty) = masters.iter().find(|line| line.slots.is_empty()) {
        return Err(AttachError::NotWhole(format!("its master {} ({}) has no slots", empty.id, addr(empty)?)));
    }
    masters.sort_by_key(|line| line.slots.iter().map(|&(first, _)| first).min());
    let deal = Deal::new(masters.iter().map(|line| &line.slots)).map_err(|error| amiss(&error, &masters))?;
    let mut ranked: Vec<(usize, usize, &NodeLine)> = Vec::new();
    for (shard, master) in masters.iter().enumerate() {
        ranked.push((0, shard, master));
        let mut replicas: Vec<&NodeLine> =
            lines.iter().filter(|line| line.master_id.as_deref() == Some(&master.id)).collect();
        replicas.sort_by_key(|line| line.addr);
        ranked.extend(replicas.into_iter().enumerate().map(|(rank, replica)| (rank + 1, shard, replica)));
    }
    if let Some(stray) = lines.iter().find(|line| !ranked.iter().any(|(_, _, known)| known.id == line.id)) {
        let what = format!("its node {} ({}) is a replica of an unknown master", stray.id, addr(stray)?);
        return Err(AttachError::NotWhole(what));
    }
    ranked.sort_by_key(|&(rank, shard, _)| (rank, shard));
    let node = |(index, &(rank, shard, line)): (usize, &(usize, usize, &NodeLine))| {
        let planned = PlannedNode {
            node: NodeNo::from_index(index),
            shard: ShardNo::from_index(shard),
            replica_of: (rank > 0).then(|| NodeNo::from_index(shard)),
            slots: if rank == 0 { deal.slots(ShardNo::from_index(shard)).to_vec() } else { Vec::new() },
        };
        Ok(FoundNode { planned, addr: addr(line)?, bus_port: line.bus_port, id: line.id.clone() })
    };
    ranked.iter().enumerate().map(node).collect()
}

/// Rejects a cluster during a reshard, because moving slots would distort the verdict.
fn moving(what: &str, addr: SocketAddr) -> AttachError {
    AttachError::Unfit(format!(
        "slots are being moved: {what} (hint: wait for the reshard to end; if it was interrupted, run `redis-cli \
         --cluster fix {addr}`)"
    ))
}

/// Reports masters, in the order of their shards, that do not cover the slots exactly once.
fn amiss(error: &DealError, masters: &[&NodeLine]) -> AttachError {
    let master = |(index, line): (usize, &&NodeLine)| {
        let addr = line.addr.map_or_else(|| line.id.clone(), |addr| addr.to_string());
        format!("{} is {addr} with slots {}", ShardNo::from_index(index), ranges(&line.slots))
    };
    let masters: Vec<String> = masters.iter().enumerate().map(master).collect();
    AttachError::NotWhole(format!("{error} ({})", masters.join("; ")))
}

async fn version(node: &FoundNode, caller: &Caller) -> Result<Version, AttachError> {
    let words = ["INFO", "server"];
    let who = named(node.planned.node, node.addr);
    let answer = ask(node.addr, caller, &words).await;
    let answer = answer.map_err(|error| AttachError::ask(&who, &words, &error, caller.access.tls.is_some()))?;
    let answer = text(&answer);
    let info = parse_info(&answer);
    let (flavour, version) = match info.get("valkey_version") {
        Some(version) => (Flavour::Valkey, version),
        None => (Flavour::Redis, info.get("redis_version").ok_or_else(|| unreadable(&who, &"INFO without a version"))?),
    };
    Version::numbered(flavour, version).ok_or_else(|| unreadable(&who, &format!("a version `{version}`")))
}

/// Waits until every node answers, agrees with the others and reports a healthy cluster.
async fn whole(nodes: &[FoundNode], caller: &Caller) -> Result<(), AttachError> {
    let shards = nodes.iter().filter(|node| node.planned.replica_of.is_none()).count() as u16;
    let deadline = Instant::now() + WHOLE_WITHIN;
    loop {
        let looks = join_all(nodes.iter().map(|node| view(node, nodes, caller))).await;
        let mut now = Snapshot::default();
        for (node, view) in nodes.iter().zip(looks) {
            match view {
                Ok(view) => drop(now.views.insert(node.planned.node, Arc::new(view))),
                Err(reason) => drop(now.silent.insert(node.planned.node, format!("{} {reason}", node.addr))),
            }
        }
        match now.whole(nodes.len(), shards) {
            Ok(()) => return still_dealt_so(nodes, &now),
            Err(missing) if Instant::now() > deadline => return Err(AttachError::NotWhole(missing)),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// Checks that no slots have moved meanwhile: between two slots of a reshard, none is open.
fn still_dealt_so(nodes: &[FoundNode], now: &Snapshot) -> Result<(), AttachError> {
    let slots =
        |node: &FoundNode| now.views.get(&node.planned.node)?.peers.get(&node.planned.node).map(|own| &own.slots);
    match nodes.iter().find(|node| slots(node) != Some(&node.planned.slots)) {
        None => Ok(()),
        Some(node) => Err(moving(&format!("{} has other slots than before", node.addr), node.addr)),
    }
}

async fn view(node: &FoundNode, nodes: &[FoundNode], caller: &Caller) -> Result<View, String> {
    let mut answers = Vec::new();
    for words in [["CLUSTER", "NODES"], ["CLUSTER", "INFO"], ["INFO", "replication"]] {
        answers.push(text(&ask(node.addr, caller, &words).await.map_err(|error| error.to_string())?));
    }
    let numbers: BTreeMap<&str, NodeNo> = nodes.iter().map(|node| (node.id.as_str(), node.planned.node)).collect();
    let lines = parse_nodes(&answers[0]).map_err(|error| error.to_string())?;
    View::from_answers(&lines, &answers[1], &answers[2], |line| numbers.get(line.id.as_str()).copied())
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::fixture::healthy;

    fn line(port: u16, master: Option<u16>, slots: &str) -> String {
        let role = master.map_or_else(|| "master -".to_owned(), |master| format!("slave {master:040}"));
        format!("{port:040} 10.0.0.1:{port}@1{port} {role} 0 0 1 connected {slots}")
    }

    /// Node, shard, master and port of each.
    type Row = (u16, u16, Option<u16>, u16);

    fn numbered(lines: &[String]) -> Result<Vec<Row>, String> {
        let found = number(&parse_nodes(&lines.join("\n")).expect("lines")).map_err(|error| error.to_string())?;
        let row = |node: &FoundNode| {
            let planned = &node.planned;
            (planned.node.0, planned.shard.0, planned.replica_of.map(|master| master.0), node.addr.port())
        };
        Ok(found.iter().map(row).collect())
    }

    #[test]
    fn nodes_are_numbered_as_a_plan_numbers_them() {
        let (low, high) = ("0-8191", "8192-16383");
        let even = [
            line(7006, Some(7002), ""),
            line(7002, None, low),
            line(7001, None, high),
            line(7005, Some(7001), ""),
            line(7004, Some(7002), ""),
            line(7003, Some(7001), ""),
        ];
        let expected = [
            (1, 1, None, 7002),
            (2, 2, None, 7001),
            (3, 1, Some(1), 7004),
            (4, 2, Some(2), 7003),
            (5, 1, Some(1), 7006),
            (6, 2, Some(2), 7005),
        ];
        assert_eq!(numbered(&even).unwrap(), expected);
        let uneven = [line(7001, None, low), line(7002, None, high), line(7003, Some(7002), "")];
        assert_eq!(numbered(&uneven).unwrap()[2], (3, 2, Some(2), 7003));
    }

    #[test]
    fn accepts_any_assignment_of_slots() {
        let lines = [
            line(7004, Some(7003), ""),
            line(7001, None, "100-4999 10000"),
            line(7002, None, "10001-16383"),
            line(7003, None, "0-99 5000-9999"),
        ];
        let found = number(&parse_nodes(&lines.join("\n")).expect("lines")).expect("a cluster");
        let slots: Vec<_> = found.iter().map(|node| (node.addr.port(), ranges(&node.planned.slots))).collect();
        let expected = [(7003, "0-99, 5000-9999"), (7001, "100-4999, 10000"), (7002, "10001-16383"), (7004, "")];
        assert_eq!(slots, expected.map(|(port, slots)| (port, slots.to_owned())));
    }

    #[test]
    fn rejects_slots_that_move_meanwhile() {
        let lines = [
            line(7001, None, "0-8191"),
            line(7002, None, "8192-16383"),
            line(7003, Some(7001), ""),
            line(7004, Some(7002), ""),
        ];
        let nodes = number(&parse_nodes(&lines.join("\n")).expect("lines")).expect("a cluster");
        let mut now = Snapshot::default();
        now.views.extend((1..=4).map(|node| (NodeNo(node), Arc::new(healthy(2)))));
        assert!(still_dealt_so(&nodes, &now).is_ok());
        let own = now
            .views
            .get_mut(&NodeNo(2))
            .and_then(|view| Arc::make_mut(view).peers.get_mut(&NodeNo(2)))
            .expect("a node");
        own.slots = vec![(8193, 16383)];
        let message = still_dealt_so(&nodes, &now).unwrap_err().to_string();
        assert!(message.contains("slots are being moved: 10.0.0.1:7002 has other slots than before"), "{message}");
    }

    #[test]
    fn rejects_an_unfit_cluster_with_the_reason() {
        let (half, twice) = ([line(7001, None, "0-8191")], [line(7001, None, "0-99"), line(7002, None, "99-16383")]);
        let importing = format!("0-99 [5-<-{:040}]", 7002);
        let moving = [line(7001, None, &importing), line(7002, None, "100-16383")];
        let drained = [line(7001, None, "0-16383 [16383->-7002]"), line(7002, None, "")];
        let stray = [line(7001, None, "0-16383"), line(7002, Some(7009), "")];
        let empty = [line(7001, None, "0-16383"), line(7002, None, "")];
        for (lines, expected) in [
            (&half[..], "slots 8192-16383 belong to no shard (shard-1 is 10.0.0.1:7001 with slots 0-8191)"),
            (
                &twice,
                "slot 99 is assigned to both shard-1 and shard-2 (shard-1 is 10.0.0.1:7001 with slots 0-99; shard-2",
            ),
            (&moving, "slots are being moved: 10.0.0.1:7001 says [5-<-0"),
            (
                &drained,
                "(hint: wait for the reshard to end; if it was interrupted, run `redis-cli --cluster fix 10.0.0.1:7001`)",
            ),
            (&stray, "is a replica of an unknown master"),
            (&empty, "has no slots"),
        ] {
            let message = numbered(lines).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }
}
