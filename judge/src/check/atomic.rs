//! `atomic`: a transaction on two keys takes effect on both or on none, and nobody sees one half of it.

use super::finding::Finding;
use super::{Figure, FigureKind, Judgement, Traits, kinds};
use crate::facts::Facts;
use crate::suite::{Atomic, DataKind};
use crate::words::count;

pub(super) const TRAITS: Traits =
    Traits { is_telling: true, figures: &[Figure { name: "half_seen", kind: FigureKind::Safety }] };

pub(super) fn judge(facts: &Facts<'_>, settings: &Atomic) -> Judgement {
    let mut finding = Finding::new();
    if let Some(account) = facts.account(DataKind::Transaction) {
        let (reads, pairs) = (count(account.observed, "read"), count(account.keys, "pair"));
        finding
            .observed(account.observed)
            .saw(format!("{} of {reads} of {pairs} of keys saw half of a transaction", account.halves))
            .figure("half_seen", account.halves as f64);
        kinds::weigh(&mut finding, settings.may_violate, account.halves, &account.half_seen);
    }
    let expected = "every read sees both halves of a transaction or none";
    finding.judge("atomic", format!("may-violate {}", settings.may_violate), expected)
}
