//! `servers`: no server crashed, ended or restarted, and none changed its directives, without the plan. A crash is a
//! failure of the server, and so is an exit with an error. Where somebody else ended, restarted or configured a server,
//! the plan does not explain what the run shows.

use super::finding::Finding;
use super::{Judgement, Traits};
use crate::facts::{Explained, Facts, ServerEnd, SettingChange};
use crate::history::Exit;
use crate::spec::FAILOVER_SETTINGS;
use crate::words::{at, count};

pub(super) const TRAITS: Traits = Traits::PLAIN;

/// None if the history does not tell of the servers' processes.
pub(super) fn judge(facts: &Facts<'_>) -> Option<Judgement> {
    let servers = facts.servers.as_ref()?;
    let mut finding = Finding::new();
    finding.observed(servers.seen.len() as u64);
    let explained = servers.ends.iter().filter(|end| weigh(end, &mut finding)).count();
    for change in &servers.changes {
        account(change, &mut finding);
    }
    let seen = count(servers.seen.len() as u64, "server");
    finding.saw(match explained {
        0 => format!("{seen} watched"),
        ends => format!("{seen} watched, {} by the plan", count(ends as u64, "end")),
    });
    let expected = "no server crashes, ends, restarts or changes its directives without the plan";
    Some(finding.judge("servers", "", expected))
}

/// Judges one end of a server. Returns whether the plan explains it.
fn weigh(end: &ServerEnd, finding: &mut Finding) -> bool {
    let what = format!("{} at {}", end.words(), at(end.at_ns));
    let back = end.restarted_ns.map_or_else(String::new, |ns| format!(", and another process answered at {}", at(ns)));
    match &end.explained {
        Some(Explained::Fault(fault) | Explained::Disk(fault)) if end.is_crash() => {
            finding.fail(format!("{what}{back}; {fault} does not explain a crash"));
        }
        Some(Explained::Start) if end.is_crash() => {
            finding.fail(format!("{what}{back}; a start that may fail does not explain a crash"));
        }
        Some(Explained::Fault(_) | Explained::Command(_) | Explained::Start) => return true,
        Some(Explained::Disk(fault)) if end.exit.as_ref().is_some_and(Exit::is_error) => {
            finding.evidence(format!("{what}{back}; {fault} was in force"));
            return true;
        }
        Some(Explained::Disk(_)) => {
            finding.undecided(format!("{what}{back}; no fault explains it: somebody else did it"));
        }
        None if end.is_crash() || end.exit.as_ref().is_some_and(Exit::is_error) => {
            finding.fail(format!("{what}{back}; no fault explains it"));
        }
        None => _ = finding.undecided(format!("{what}{back}; no fault explains it: somebody else did it")),
    }
    if let Some(exit) = &end.exit {
        finding.evidence(format!("{}: the system reports {}", end.node, exit.how));
    }
    for line in &end.report {
        finding.evidence(format!("{}: {line}", end.node));
    }
    false
}

fn account(change: &SettingChange, finding: &mut Finding) {
    let SettingChange { node, at_ns, name, expected, found } = change;
    let decides = FAILOVER_SETTINGS.iter().find(|setting| setting.name == name);
    let decides = decides.map_or_else(String::new, |setting| format!("; it decides {}", setting.decides));
    finding.undecided(format!(
        "{node} has `{name} {found}` at {}, not {expected}, and no step set it{decides}",
        at(*at_ns)
    ));
}
