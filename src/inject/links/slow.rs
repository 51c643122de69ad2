//! Proves that packets are delayed: PING takes at least twice the latency.

use std::time::Duration;

use super::Across;
use crate::cluster::Backend;
use crate::history::StepProblem;
use crate::network::knock::round_trip;
use crate::units::Span;

/// PING and its answer are each delayed once. The first node that answers decides.
pub(super) async fn prove<B: Backend>(
    across: &Across<'_, B>,
    Span(latency): Span,
    Span(jitter): Span,
) -> Result<(bool, String), StepProblem> {
    let backend = across.control.backend();
    let at_least = (latency.saturating_sub(jitter) * 2).max(Duration::from_micros(1));
    let mut measured = Err("no connection could be tried across".to_owned());
    for knock in across.knocks.iter().filter(|knock| backend.announced(knock.node).port() == knock.to.port()) {
        measured = round_trip(knock, (latency + jitter) * 4 + Duration::from_secs(1)).await;
        if measured.is_ok() {
            break;
        }
    }
    let hit = across.counts().await?.hit.packets;
    let in_effect = hit > 0 && measured.as_ref().is_ok_and(|took| *took >= at_least);
    let measured = measured.map_or_else(|error| error, |took| format!("PING is answered after {took:.1?}"));
    Ok((in_effect, format!("{measured}; {hit} packets delayed")))
}
