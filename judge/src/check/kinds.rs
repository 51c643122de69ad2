//! What the checks of kinds of data other than registers have in common.

use super::Verdict;
use super::finding::Finding;
use crate::facts::{Account, Example};
use crate::suite::{Allowed, DataKind};
use crate::words::count;

/// A number of writes of a kind: `3 increments`.
pub(super) fn writes(kind: DataKind, number: u64) -> String {
    match kind {
        DataKind::Register | DataKind::Ttl => count(number, "SET"),
        DataKind::Transaction => count(number, "transaction"),
        DataKind::Counter => count(number, "increment"),
        DataKind::List | DataKind::Blocking => count(number, "append"),
        DataKind::Set => count(number, "change"),
        DataKind::Cas => count(number, "comparison"),
        DataKind::Stream => match number {
            1 => "1 entry".to_owned(),
            many => format!("{many} entries"),
        },
        DataKind::Pubsub | DataKind::ShardedPubsub => count(number, "message"),
    }
}

/// Shows violations, `all` of them in number: each in a sentence, the first also as operations.
pub(super) fn show(finding: &mut Finding, all: u64, examples: &[Example]) {
    if all == 0 {
        return;
    }
    finding.witnesses(examples.len() as u64, examples.iter().map(|example| example.witness.clone()));
    for example in examples {
        finding.evidence(example.witness.why.clone());
    }
}

/// Fails if there are more violations than are allowed, and shows them.
pub(super) fn weigh(finding: &mut Finding, may_violate: Allowed, all: u64, examples: &[Example]) {
    if may_violate.is_exceeded_by(all) {
        finding.weigh(Verdict::Fail);
    }
    show(finding, all, examples);
}

/// Tells what of a kind is lost, for `acked-writes`.
pub(super) fn tell_losses(finding: &mut Finding, kind: DataKind, account: &Account) {
    finding.saw(format!(
        "{} of {} acknowledged: {} lost, {} undecided",
        writes(kind, account.acknowledged),
        count(account.keys, kind.word()),
        account.lost,
        account.undecided
    ));
    finding.figure(&format!("lost_{kind}"), account.lost as f64);
    if account.keys_unread > 0 {
        finding.undecided(format!("{} not read back", count(account.keys_unread, kind.word())));
    }
    show(finding, account.lost, &account.losses);
}
