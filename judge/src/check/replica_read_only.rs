//! `replica-read-only`: a replica refuses writes.

use super::finding::Finding;
use super::{Judgement, Traits};
use crate::facts::Facts;
use crate::history::{EventKind, ReadOnly};
use crate::suite::ReplicaReadOnly;
use crate::words::{at, count};

pub(super) const TRAITS: Traits = Traits::PLAIN;

pub(super) fn judge(facts: &Facts<'_>, _settings: &ReplicaReadOnly) -> Judgement {
    let mut finding = Finding::new();
    let mut refused = 0;
    for event in &facts.history.events {
        let EventKind::ReplicaWriteProbed { node, reply, accepted, read_only } = &event.kind else { continue };
        let said = match read_only {
            Some(ReadOnly::Yes) => ", with `replica-read-only yes`",
            Some(ReadOnly::No) => ", with `replica-read-only no`",
            Some(ReadOnly::Unknown) | None => "",
        };
        let line = format!("at {}: {node} answered `{reply}`{said}", at(event.at_ns));
        if *accepted {
            finding.observed(1).fail(format!("{node} accepted a write")).evidence(line);
        } else if is_refusal(reply) {
            finding.observed(1).evidence(line);
            match read_only {
                Some(ReadOnly::No) => {
                    finding.fail(format!(
                        "{node} has `replica-read-only no`: it redirects writes of keys, but takes those without a key, as \
                         FLUSHALL"
                    ));
                }
                Some(ReadOnly::Unknown) => {
                    finding
                        .undecided(format!("{node} redirected the write, but did not state its `replica-read-only`"));
                }
                Some(ReadOnly::Yes) | None => refused += 1,
            }
        } else {
            finding.undecided(format!("{node} neither accepted nor refused the write: `{reply}`"));
        }
    }
    if refused > 0 {
        finding.saw(format!("{} refused", count(refused, "write")));
    }
    finding.judge("replica-read-only", "at end", "replicas refuse every write and have `replica-read-only yes`")
}

/// Whether a reply means that the replica takes no writes. A connection error or LOADING does not.
fn is_refusal(reply: &str) -> bool {
    let reply = reply.to_ascii_uppercase();
    ["MOVED", "READONLY", "READ ONLY"].iter().any(|word| reply.contains(word))
}
