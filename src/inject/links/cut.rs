//! Proves that no packet passes: every connection across hears what it should, and the rule has hit packets.

use std::time::Duration;

use tokio::time::Instant;

use super::{Across, POLL, SILENCE};
use crate::cluster::Backend;
use crate::history::StepProblem;
use crate::network::knock::{Heard, Knock};

/// The time limit for a rule to count a packet. The connections tried are counted too.
const HIT_WITHIN: Duration = Duration::from_secs(2);

/// `before` is what the connections heard before the cut, where the backend counts no packets.
pub(super) async fn prove<B: Backend>(
    across: &Across<'_, B>,
    before: Option<&[Heard]>,
    expected: &Heard,
) -> Result<(bool, String), StepProblem> {
    let Across { control, rule, knocks } = *across;
    let heard = control.backend().knock(knocks, SILENCE).await;
    let (shows, seen) = match (control.backend().isolation(rule).await, before) {
        (Some(Ok(isolation)), _) => isolation,
        (Some(Err(error)), _) => (false, error.to_string()),
        (None, Some(before)) => was_open(knocks, before),
        (None, None) => hits_packets(across).await?,
    };
    let connections = match knocks.iter().zip(&heard).find(|(_, heard)| *heard != expected) {
        Some((knock, heard)) => Err(format!("a connection {knock} {heard}")),
        None if knocks.is_empty() => Err("no connection could be tried across".to_owned()),
        None => Ok(format!("each of {} connections across {expected}, such as {}", knocks.len(), knocks[0])),
    };
    let in_effect = connections.is_ok() && shows;
    let connections = connections.unwrap_or_else(|seen| seen);
    Ok((in_effect, format!("{connections}; {seen}")))
}

async fn hits_packets<B: Backend>(across: &Across<'_, B>) -> Result<(bool, String), StepProblem> {
    let deadline = Instant::now() + HIT_WITHIN;
    loop {
        let hit = across.counts().await?.hit.packets;
        if hit > 0 || Instant::now() > deadline {
            return Ok((hit > 0, format!("{hit} packets hit")));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Whether each connection heard something before the cut. Only then does silence prove the cut.
fn was_open(knocks: &[Knock], before: &[Heard]) -> (bool, String) {
    match knocks.iter().zip(before).find(|(_, heard)| !matches!(heard, Heard::Open | Heard::Refused)) {
        Some((knock, heard)) => (false, format!("before the cut, too, a connection {knock} {heard}")),
        None => (true, "none of them was before the cut".to_owned()),
    }
}
