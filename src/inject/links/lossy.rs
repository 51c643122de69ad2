//! Proves that some packets are lost and others pass.

use tokio::time::Instant;

use super::{Across, LOSS_PROVEN_WITHIN, POLL};
use crate::cluster::Backend;
use crate::history::StepProblem;
use crate::network::Counts;
use crate::units::Percent;

/// Tries connections until one packet was lost and one passed.
pub(super) async fn prove<B: Backend>(across: &Across<'_, B>, percent: Percent) -> Result<(bool, String), StepProblem> {
    let loses_all = percent.fraction() >= 1.0;
    let deadline = Instant::now() + LOSS_PROVEN_WITHIN;
    loop {
        let Counts { seen, hit } = across.counts().await?;
        let in_effect = hit.packets > 0 && (loses_all || seen.packets > hit.packets);
        if in_effect || Instant::now() > deadline {
            return Ok((in_effect, format!("{} of {} packets lost", hit.packets, seen.packets)));
        }
        across.control.backend().knock(across.knocks, POLL).await;
    }
}
