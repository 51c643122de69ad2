//! The limits of a cluster and a workload, and the directives that a suite may set.

use super::{Problems, Shape};
use crate::suite::{ClusterSpec, Kinds, ReplicasPerMaster, Suite, WorkloadSpec};
use crate::units::{Directive, ShardNo};
use crate::words::count;

/// Limits of one machine. 127.k.0.0/24 has no addresses for more nodes.
const MASTERS_MAX: u16 = 64;
const REPLICAS_MAX: u16 = 5;
const NODES_MAX: u16 = 250;
const RATE_MAX: u32 = 100_000;
const CLIENTS_MAX: u16 = 256;
pub(super) const KEYS_MAX: u32 = 1_000_000;
const RETRIES_MAX: u64 = 20;
const TTL_MAX_MS: u64 = 600_000;
const VALUE_SIZE_MAX: u32 = 1 << 20;
const NODE_TIMEOUT_MS: std::ops::RangeInclusive<u64> = 100..=120_000;

pub(super) const NO_SERVER: &str = "the server is empty (hint: `redis:6.2`, `valkey:9.1` or the path of a binary)";

/// Names that a phase cannot have, because the harness uses them.
const RESERVED_PHASES: [&str; 5] = ["boot", "recovery", "final", "end", "throughout"];

/// The directives that only the harness sets, by reason.
const OWNED: [(&str, &[&str]); 6] = [
    (
        "the harness assigns the addresses",
        &[
            "port",
            "bind",
            "bind-source-addr",
            "cluster-port",
            "cluster-announce-ip",
            "cluster-announce-port",
            "cluster-announce-bus-port",
            "cluster-announce-tls-port",
            "unixsocket",
            "unixsocketperm",
        ],
    ),
    (
        "the harness reads the files of each node in a directory per node",
        &["dir", "logfile", "pidfile", "cluster-config-file", "include"],
    ),
    ("the harness starts and stops the processes", &["daemonize", "supervised"]),
    ("the harness forms the cluster", &["cluster-enabled", "replicaof", "slaveof"]),
    ("the harness connects over plain TCP", &["tls-port", "tls-cluster", "tls-replication"]),
    (
        "the harness's clients do not authenticate",
        &["requirepass", "masterauth", "masteruser", "primaryauth", "primaryuser", "aclfile", "user"],
    ),
];

/// The nodes of the cluster; None if their number is out of bounds.
pub(super) fn shape(cluster: &ClusterSpec, problems: &mut Problems) -> Option<Shape> {
    let (masters, replicas) = (cluster.masters, &cluster.replicas_per_master);
    let found = problems.count();
    if !(3..=MASTERS_MAX).contains(&masters) {
        let message = format!("{masters} masters are out of bounds (hint: 3 to {MASTERS_MAX})");
        problems.add("cluster.masters", message);
    }
    let at = "cluster.replicas-per-master";
    let mut limit = |at: String, number: u16| {
        if number > REPLICAS_MAX {
            problems.add(at, format!("{number} replicas per master are too many (hint: 0 to {REPLICAS_MAX})"));
        }
    };
    match replicas {
        ReplicasPerMaster::Each(number) => limit(at.to_owned(), *number),
        ReplicasPerMaster::Listed(numbers) => {
            numbers.iter().enumerate().for_each(|(index, number)| limit(format!("{at}[{index}]"), *number));
            if numbers.len() != usize::from(masters) {
                let message = format!(
                    "{} of replicas for {masters} masters (hint: one number a master, or one for all)",
                    count(numbers.len() as u64, "number")
                );
                problems.add(at, message);
            }
        }
    }
    if problems.count() > found {
        return None;
    }
    let shape = Shape::planned(&replicas.of_each(masters));
    if shape.node_count() > NODES_MAX {
        let message = format!("{} nodes are too many for one machine (hint: at most {NODES_MAX})", shape.node_count());
        problems.add("cluster.masters", message);
    }
    (problems.count() == found).then_some(shape)
}

pub(super) fn config(cluster: &ClusterSpec, problems: &mut Problems) {
    if cluster.server.trim().is_empty() {
        problems.add("cluster.server", NO_SERVER);
    }
    if cluster.upgrade_to.as_ref().is_some_and(|server| server.trim().is_empty()) {
        problems.add("cluster.upgrade-to", NO_SERVER);
    }
    for (name, value) in &cluster.config {
        let at = format!("cluster.config.{name}");
        if let Some(message) = directive(name, value) {
            problems.add(at, message);
        }
    }
}

pub(super) fn directive(name: &str, Directive(value): &Directive) -> Option<String> {
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c)) {
        return Some(format!(
            "\"{name}\" is not the name of a directive (hint: lowercase, such as `cluster-node-timeout`)"
        ));
    }
    if let Some((why, _)) = OWNED.iter().find(|(_, names)| names.contains(&name)) {
        return Some(format!("a suite cannot set `{name}`: {why}"));
    }
    if value.contains(['\n', '\r', '\0']) {
        return Some(format!("the value of `{name}` has more than one line"));
    }
    if name == "cluster-node-timeout" && !value.parse().is_ok_and(|ms| NODE_TIMEOUT_MS.contains(&ms)) {
        let (least, most) = (NODE_TIMEOUT_MS.start(), NODE_TIMEOUT_MS.end());
        return Some(format!("\"{value}\" is not a node timeout (hint: milliseconds, from {least} to {most})"));
    }
    None
}

pub(super) fn workload(workload: &WorkloadSpec, problems: &mut Problems) {
    let mut within = |key: &str, value: u64, least: u64, most: u64| {
        if !(least..=most).contains(&value) {
            problems.add(format!("workload.{key}"), format!("{value} is out of bounds (hint: {least} to {most})"));
        }
    };
    within("clients", workload.clients.into(), 1, CLIENTS_MAX.into());
    within("rate", workload.rate.per_second.into(), 1, RATE_MAX.into());
    within("keys", workload.keys().into(), 1, KEYS_MAX.into());
    within("value-size", workload.value_size.into(), 1, VALUE_SIZE_MAX.into());
    within("ttl", workload.ttl().0.as_millis() as u64, 1, TTL_MAX_MS);
    within("retries", workload.retries.into(), 0, RETRIES_MAX);
    if workload.writers == 0 || workload.writers > workload.clients {
        let (writers, clients) = (workload.writers, workload.clients);
        let message = format!(
            "a key cannot have {} of {} (hint: each writer of a key is another client: 1 to {clients})",
            count(writers.into(), "writer"),
            count(clients.into(), "client"),
        );
        problems.add("workload.writers", message);
    }
    if workload.keys() < u32::from(workload.clients) {
        let message = format!(
            "{} keys are too few for {} clients (hint: each client writes its own keys)",
            workload.keys(),
            workload.clients
        );
        problems.add("workload.keys", message);
    }
    if let Some(message) = workload.kinds.as_ref().and_then(Kinds::refuse) {
        problems.add("workload.kinds", format!("{message} (hint: `{{ register: 60%, counter: 40% }}`)"));
    }
    for (key, span) in [
        ("timeout", workload.timeout),
        ("connect-timeout", workload.connect_timeout),
        ("refresh-every", workload.refresh_every),
    ] {
        if span.0.is_zero() {
            problems.add(format!("workload.{key}"), format!("\"{span}\" is too short (hint: more than 0s)"));
        }
    }
}

/// Checks that `workload.wait` is possible.
pub(super) fn wait(workload: &WorkloadSpec, shape: &Shape, problems: &mut Problems) {
    let Some(wait) = workload.wait else { return };
    let fewest = shape.deal.shards().map(|shard| (shape.replicas_of(shard), shard)).min();
    let (fewest, shard) = fewest.unwrap_or((0, ShardNo(1)));
    if wait.replicas == 0 || usize::from(wait.replicas) > fewest {
        let hint = match fewest {
            _ if fewest < usize::from(shape.replicas) => {
                format!("hint: {shard} has {}", count(fewest as u64, "replica"))
            }
            0 => "hint: `replicas-per-master` is 0".to_owned(),
            1 => "hint: `replicas-per-master` is 1, so 1".to_owned(),
            most => format!("hint: `replicas-per-master` is {most}, so 1 to {most}"),
        };
        problems.add("workload.wait.replicas", format!("cannot wait for {} replicas ({hint})", wait.replicas));
    }
    if wait.timeout.0.is_zero() {
        problems.add("workload.wait.timeout", "WAIT with a timeout of 0s never times out (hint: `100ms`)");
    } else if wait.timeout >= workload.timeout {
        let message = format!(
            "the timeout of WAIT, {}, is not shorter than `workload.timeout`, {}",
            wait.timeout, workload.timeout
        );
        problems.add("workload.wait.timeout", message);
    }
}

/// Checks the name, the description, the durations and the lists of a suite.
pub(super) fn suite(suite: &Suite, problems: &mut Problems) {
    if let Some(message) = bad_name(&suite.name) {
        problems.add("name", message);
    }
    if suite.about.trim().is_empty() {
        problems.add("about", "the description is empty (hint: what the suite does, and what you expect)");
    }
    for (key, span) in [("recover-within", suite.recover_within), ("max-duration", suite.max_duration)] {
        if span.0.is_zero() {
            problems.add(key, format!("\"{span}\" is too short (hint: more than 0s)"));
        }
    }
    if suite.steps.is_empty() {
        problems.add("steps", "a suite needs at least one step (hint: `- settle: 10s` runs the workload alone)");
    }
}

/// The problem of a phase's name, given the names of the phases before it.
pub(super) fn bad_phase(name: &str, earlier: &[&str]) -> Option<String> {
    if RESERVED_PHASES.contains(&name) {
        return Some(format!("a phase cannot be named \"{name}\": the harness uses this name"));
    }
    if earlier.contains(&name) {
        return Some(format!("duplicate phase \"{name}\""));
    }
    bad_name(name)
}

fn bad_name(name: &str) -> Option<String> {
    let fine = !name.is_empty()
        && name.len() <= 64
        && !name.starts_with('-')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    (!fine).then(|| format!("\"{name}\" is not a name (hint: lowercase letters, digits and dashes, at most 64)"))
}
