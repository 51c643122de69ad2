//! Reads, compares and sets the directives of running servers.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures_util::future::try_join_all;

use super::discover::{FoundNode, ask};
use crate::cluster::attach::error::{AttachError, named};
use crate::units::{Directive, NodeNo};
use crate::wire::{Caller, text};

/// The directives whose live values a plan takes over, where its suite sets none.
const PLANNED: [&str; 5] = [
    "cluster-node-timeout",
    "appendonly",
    "cluster-require-full-coverage",
    "cluster-allow-reads-when-down",
    "protected-mode",
];

/// A directive whose live value differs from the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Different {
    pub(crate) node: NodeNo,
    pub(crate) name: String,
    pub(crate) wanted: String,
    pub(crate) live: String,
}

/// The value of a directive. None if the server has no such directive.
pub(crate) async fn get(addr: SocketAddr, caller: &Caller, name: &str) -> Result<Option<String>, AttachError> {
    let words = ["CONFIG", "GET", name];
    let answer = ask(addr, caller, &words).await;
    let answer = answer.map_err(|error| AttachError::ask(&addr, &words, &error, caller.access.tls.is_some()))?;
    let answer = text(&answer);
    Ok(answer.split_once('\n').map(|(_, value)| value.to_owned()))
}

/// Sets a directive and reads it back.
pub(crate) async fn set(
    node: NodeNo,
    addr: SocketAddr,
    caller: &Caller,
    name: &str,
    value: &str,
) -> Result<(), AttachError> {
    let refused = |reason: String| AttachError::Config { node, name: name.to_owned(), value: value.to_owned(), reason };
    ask(addr, caller, &["CONFIG", "SET", name, value]).await.map_err(|error| refused(error.to_string()))?;
    match get(addr, caller, name).await? {
        Some(now) if is_same(&now, value) => Ok(()),
        now => Err(refused(format!("its value afterwards is `{}`", now.unwrap_or_default()))),
    }
}

/// The planned directives on which all nodes agree.
pub(crate) async fn common(nodes: &[FoundNode], caller: &Caller) -> Result<BTreeMap<String, Directive>, AttachError> {
    let mut common = BTreeMap::new();
    for name in PLANNED {
        let values = try_join_all(nodes.iter().map(|node| get(node.addr, caller, name))).await?;
        if let Some(Some(first)) = values.first()
            && values.iter().all(|value| value.as_ref() == Some(first))
        {
            common.insert(name.to_owned(), Directive(first.clone()));
        }
    }
    Ok(common)
}

/// Checks that redirections name nodes by their addresses in CLUSTER NODES, which the harness can follow. Servers from
/// redis 7.0 on can use host names instead (redis.conf, `cluster-preferred-endpoint-type`).
pub(crate) async fn redirect_by_address(nodes: &[FoundNode], caller: &Caller) -> Result<(), AttachError> {
    const NAME: &str = "cluster-preferred-endpoint-type";
    let values = try_join_all(nodes.iter().map(|node| get(node.addr, caller, NAME))).await?;
    let odd = nodes.iter().zip(values).find_map(|(node, value)| Some((node, value.filter(|value| value != "ip")?)));
    odd.map_or(Ok(()), |(node, value)| {
        Err(AttachError::Unfit(format!(
            "{} has `{NAME} {value}`, but only redirections to IP addresses are supported (hint: run `CONFIG SET {NAME} \
             ip` on every node during the test)",
            named(node.planned.node, node.addr)
        )))
    })
}

/// The live values that differ from the plan. Fails if a server has no such directive.
pub(crate) async fn different(
    nodes: &[FoundNode],
    caller: &Caller,
    wanted: &BTreeMap<String, Directive>,
) -> Result<Vec<Different>, AttachError> {
    let mut different = Vec::new();
    for (name, Directive(value)) in wanted {
        let values = try_join_all(nodes.iter().map(|node| get(node.addr, caller, name))).await?;
        for (node, live) in nodes.iter().zip(values) {
            let node_no = node.planned.node;
            let Some(live) = live else {
                let who = named(node_no, node.addr);
                return Err(AttachError::Unfit(format!("{who} has no directive `{name}`, which the suite sets")));
            };
            if !is_same(&live, value) {
                different.push(Different { node: node_no, name: name.clone(), wanted: value.clone(), live });
            }
        }
    }
    Ok(different)
}

/// Why one of the directives cannot be changed: the server refuses to set it even to its current value.
pub(crate) async fn unchangeable(
    nodes: &[FoundNode],
    caller: &Caller,
    different: &[Different],
) -> Result<Option<String>, AttachError> {
    for one in different {
        let addr = nodes[one.node.index()].addr;
        if let Err(error) = set(one.node, addr, caller, &one.name, &one.live).await {
            return Ok(Some(format!(
                "its suite sets `{} {}`, but {} has `{}` and cannot change it: {error}",
                one.name, one.wanted, one.node, one.live
            )));
        }
    }
    Ok(None)
}

/// Whether two values are equal: servers print amounts of memory in bytes.
pub(crate) fn is_same(live: &str, wanted: &str) -> bool {
    let plain = |text: &str| text.trim().trim_matches('"').to_ascii_lowercase();
    let (live, wanted) = (plain(live), plain(wanted));
    live == wanted || bytes(&live).is_some_and(|bytes_live| Some(bytes_live) == bytes(&wanted))
}

/// An amount in bytes, as servers parse it: `1k` is 1000 bytes, `1kb` 1024 (redis.conf).
fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_values_by_meaning() {
        for (live, wanted, expected) in [
            ("1000", "1000", true),
            ("1000", "5000", false),
            ("yes", "Yes", true),
            ("", "\"\"", true),
            ("104857600", "100mb", true),
            ("100000000", "100mb", false),
            ("3600 1 300 100", "3600 1 300 100", true),
        ] {
            assert_eq!(is_same(live, wanted), expected, "{live} {wanted}");
        }
    }
}
