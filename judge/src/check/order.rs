//! `order`: a list shows its elements in the order in which they were appended, and always in the same.

use super::finding::Finding;
use super::{Figure, FigureKind, Judgement, Traits, kinds};
use crate::facts::Facts;
use crate::suite::{DataKind, Order};
use crate::words::count;

pub(super) const TRAITS: Traits =
    Traits { is_telling: true, figures: &[Figure { name: "disordered", kind: FigureKind::Safety }] };

pub(super) fn judge(facts: &Facts<'_>, settings: &Order) -> Judgement {
    let mut finding = Finding::new();
    if let Some(account) = facts.account(DataKind::List) {
        let (reads, lists) = (count(account.observed, "read"), count(account.keys, "list"));
        finding
            .observed(account.observed)
            .saw(format!("{} of {reads} of {lists} show another order", account.disordered))
            .figure("disordered", account.disordered as f64);
        kinds::weigh(&mut finding, settings.may_violate, account.disordered, &account.disorders);
    }
    let expected = "every read of a list shows its elements in the order of their appends";
    finding.judge("order", format!("may-violate {}", settings.may_violate), expected)
}
