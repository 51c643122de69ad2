//! The elections of a failover, from the logs of the nodes.

use std::collections::BTreeMap;

use super::Election;
use super::line::{LogEvent, Timed};
use crate::units::NodeNo;

/// Collects the elections of the candidates. `lines` have times in milliseconds since the start of the
/// failover, and `id` returns the server's id of a node. An election that began after `until_ms` belongs to
/// another failover.
pub(super) fn elections<'a>(
    lines: &[(f64, &Timed<'_>)],
    is_candidate: impl Fn(NodeNo) -> bool,
    id: impl Fn(NodeNo) -> Option<&'a str>,
    until_ms: f64,
) -> Vec<Election> {
    let mut elections: Vec<Election> = Vec::new();
    let mut announced: BTreeMap<NodeNo, (u64, u32)> = BTreeMap::new();
    for &(after_ms, line) in lines.iter().filter(|(_, line)| is_candidate(line.node)) {
        match line.event {
            LogEvent::Delayed { delay_ms, rank } => _ = announced.insert(line.node, (*delay_ms, *rank)),
            LogEvent::Began(epoch) if after_ms - line.error_ms <= until_ms => {
                let announced = announced.remove(&line.node);
                elections.push(Election {
                    candidate: line.node,
                    epoch: *epoch,
                    delay_ms: announced.map(|(delay_ms, _)| delay_ms),
                    rank: announced.map(|(_, rank)| rank),
                    began_ms: after_ms,
                    granted: BTreeMap::new(),
                    denied: BTreeMap::new(),
                    won_ms: None,
                });
            }
            LogEvent::Won => {
                if let Some(last) = elections.iter_mut().rev().find(|election| election.candidate == line.node) {
                    last.won_ms.get_or_insert(after_ms);
                }
            }
            _ => {}
        }
    }
    for &(after_ms, line) in lines {
        match line.event {
            LogEvent::Granted { to, epoch } => {
                let election = elections
                    .iter_mut()
                    .find(|election| election.epoch == *epoch && id(election.candidate) == Some(to.as_str()));
                if let Some(election) = election {
                    election.granted.insert(line.node, after_ms);
                }
            }
            LogEvent::Denied { to, reason } => {
                // The line of a denied vote has no epoch. It belongs to the candidate's latest election at that time.
                let election = elections.iter_mut().rev().find(|election| {
                    id(election.candidate) == Some(to.as_str()) && election.began_ms <= after_ms + line.error_ms + 1.0
                });
                if let Some(election) = election {
                    election.denied.insert(line.node, reason.clone());
                }
            }
            _ => {}
        }
    }
    elections
}
