//! Proves that a rate is limited: the rule has dropped packets beyond it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Across, LOSS_PROVEN_WITHIN, POLL};
use crate::cluster::Backend;
use crate::history::StepProblem;
use crate::network::Counts;
use crate::speed;
use crate::suite::Only;
use crate::units::ByteRate;

/// If the workload has not filled the link after this time, the harness fills it.
const FILL_AFTER: Duration = Duration::from_secs(1);

/// The harness never fills a bus link, because a node accepts only its own protocol there.
pub(super) async fn prove<B: Backend>(
    across: &Across<'_, B>,
    only: Only,
    rate: ByteRate,
) -> Result<(bool, String), StepProblem> {
    let began = Instant::now();
    let mut filling: Option<JoinHandle<()>> = None;
    let result = loop {
        let Counts { seen, hit } = across.counts().await?;
        if hit.packets > 0 || began.elapsed() > LOSS_PROVEN_WITHIN {
            let by = if filling.is_some() { ", filled by the harness" } else { "" };
            break (hit.packets > 0, format!("{} of {} bytes held up{by}", hit.bytes, seen.bytes));
        }
        if filling.is_none()
            && began.elapsed() > FILL_AFTER
            && only != Only::Bus
            && let Some(&knock) = across.knocks.first()
        {
            // The bucket holds the bytes of one real second and 64 KiB, and refills meanwhile.
            let control = Arc::clone(across.control);
            let bytes = rate.bytes_per_second * u64::from(speed::current().factor()) * 4 + 1_000_000;
            filling = Some(tokio::spawn(async move { control.backend().fill(knock, bytes).await }));
        }
        tokio::time::sleep(POLL).await;
    };
    if let Some(filling) = filling {
        filling.abort();
    }
    Ok(result)
}
