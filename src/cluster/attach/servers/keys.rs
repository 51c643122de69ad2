//! The keys of a run on an attached cluster: puts the keys of a suite's commands under the run's prefix, and removes all
//! keys at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use redis::Value;
use tokio::time::Instant;

use super::discover::{ANSWER_WITHIN, ask};
use crate::cluster::Keyspace;
use crate::cluster::control::AskError;
use crate::history::{kind_of, probe_name, sample_keys, stored_names, workload_keys};
use crate::plan::Plan;
use crate::slot::key_slot;
use crate::suite::DataKind;
use crate::topology::{NodeLine, parse_nodes};
use crate::wire::{Caller, CommandError, Link, command, text};

/// Replaces an argument to find out whether the server treats it as a key.
const MARK: &str = "slotquake-is-this-a-key";

/// The number of keys to remove in one round trip.
const BATCH: usize = 200;

/// Puts the keys of a command, as the server reports them, under the prefix. Returns the new command and the new names.
pub(crate) async fn rename(
    keys: &Keyspace,
    addr: SocketAddr,
    caller: &Caller,
    mut words: Vec<String>,
) -> Result<(Vec<String>, Vec<String>), String> {
    let named = named_keys(addr, caller, &words).await?;
    let mut names = Vec::new();
    for position in 1..words.len() {
        if !named.contains(&words[position]) {
            continue;
        }
        // An argument that equals a key is not always one: `SET a a` has one key.
        let mut marked = words.clone();
        MARK.clone_into(&mut marked[position]);
        if named_keys(addr, caller, &marked).await?.iter().any(|key| key == MARK) {
            let name = keys.name_any(&words[position]).ok_or_else(|| {
                format!("no key below the run's prefix has the slot of `{}` (hint: use another key)", words[position])
            })?;
            names.push(name.clone());
            words[position] = name;
        }
    }
    Ok((words, names))
}

/// The keys of a command. None if the server would reject the command.
async fn named_keys(addr: SocketAddr, caller: &Caller, words: &[String]) -> Result<Vec<String>, String> {
    let asked: Vec<&str> = ["COMMAND", "GETKEYS"].into_iter().chain(words.iter().map(String::as_str)).collect();
    match ask(addr, caller, &asked).await {
        Ok(Value::Array(keys)) => Ok(keys.iter().map(text).collect()),
        Ok(other) => Err(format!("unexpected answer to `COMMAND GETKEYS`: {other:?}")),
        // The command has no keys, or the server would reject it.
        Err(AskError::Command(CommandError::Reply(reply)))
            if reply.contains("no key arguments") || reply.contains("Invalid") =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(format!("cannot determine its keys: `COMMAND GETKEYS`: {error}")),
    }
}

/// The keys beside the registers of the workload, with the prefix: those of other kinds of data, and those that the end of a
/// run tries to write on replicas. A replica that has become a master accepts them.
pub(crate) fn probed_beyond_workload(plan: &Plan, keys: &Keyspace) -> BTreeSet<String> {
    let probed = sample_keys(&plan.deal()).into_iter().filter(|&key| key >= plan.workload.keys());
    let of_kinds = workload_keys(&plan.workload).filter(|&key| kind_of(key).0 != DataKind::Register);
    probed.map(probe_name).chain(of_kinds.flat_map(stored_names)).map(|name| keys.name(&name)).collect()
}

/// Removes keys at the masters that own them, according to the first node that answers. Returns the number of keys that
/// existed, and the keys that could not be removed with the last reason.
pub(crate) async fn remove(
    nodes: &[SocketAddr],
    caller: &Caller,
    names: Vec<String>,
) -> (u64, Option<(Vec<String>, String)>) {
    let mut by_owner: BTreeMap<Option<SocketAddr>, Vec<String>> = BTreeMap::new();
    let lines = lines(nodes, caller).await;
    for name in names {
        let slot = key_slot(name.as_bytes());
        let owns = |line: &&NodeLine| line.slots.iter().any(|&(first, last)| (first..=last).contains(&slot));
        by_owner.entry(lines.iter().find(owns).and_then(|line| line.addr)).or_default().push(name);
    }
    let (mut removed, mut left, mut last) = (0, Vec::new(), String::new());
    for (owner, names) in by_owner {
        for batch in names.chunks(BATCH) {
            let done = match owner {
                Some(owner) => remove_at(owner, caller, batch).await,
                None => Err("no node reports their master".to_owned()),
            };
            match done {
                Ok(count) => removed += count,
                Err(reason) => {
                    left.extend_from_slice(batch);
                    last = reason;
                }
            }
        }
    }
    (removed, (!left.is_empty()).then_some((left, last)))
}

async fn remove_at(owner: SocketAddr, caller: &Caller, names: &[String]) -> Result<u64, String> {
    let mut link = Link::connect(owner, caller, ANSWER_WITHIN).await.map_err(|error| error.to_string())?;
    let mut pipeline = redis::pipe();
    for name in names {
        pipeline.add_command(command(&["UNLINK", name]));
    }
    let answers = link.send_all(&pipeline, names.len(), Instant::now() + ANSWER_WITHIN).await;
    let answers = answers.map_err(|error| format!("{owner}: {error}"))?;
    Ok(answers.iter().map(|answer| if let Value::Int(count) = answer { *count as u64 } else { 0 }).sum())
}

async fn lines(nodes: &[SocketAddr], caller: &Caller) -> Vec<NodeLine> {
    for &addr in nodes {
        if let Ok(answer) = ask(addr, caller, &["CLUSTER", "NODES"]).await
            && let Ok(lines) = parse_nodes(&text(&answer))
        {
            return lines;
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite;

    #[test]
    fn lists_probe_keys_of_shards_without_workload_keys() {
        let mut plan = Plan::new(&suite::load("formation").expect("a suite"), 1).expect("a plan");
        let run = Keyspace::of_run("3f");
        assert_eq!(probed_beyond_workload(&plan, &run), BTreeSet::new());
        // 15131 is the slot of key-606, and of no other of the first 700.
        let slots = [vec![(0, 15130)], vec![(15131, 15131)], vec![(15132, 16383)]];
        for (node, slots) in plan.nodes.iter_mut().zip(slots) {
            node.slots = slots;
        }
        plan.workload.keys = Some(600);
        assert_eq!(probed_beyond_workload(&plan, &run), ["slotquake:3f:{key-606}:probe".to_owned()].into());
        plan.workload.keys = Some(607);
        assert_eq!(probed_beyond_workload(&plan, &run), BTreeSet::new());
    }
}
