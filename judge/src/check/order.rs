//! `order`: a list or a stream shows its elements in the order in which they were appended, and always in the same.

use super::finding::Finding;
use super::{Figure, FigureKind, Judgement, Traits, kinds};
use crate::facts::Facts;
use crate::suite::Order;
use crate::words::count;

pub(super) const TRAITS: Traits =
    Traits { is_telling: true, figures: &[Figure { name: "disordered", kind: FigureKind::Safety }] };

pub(super) fn judge(facts: &Facts<'_>, settings: &Order) -> Judgement {
    let mut finding = Finding::new();
    let (mut disordered, mut examples) = (0, Vec::new());
    for (kind, account) in Order::KINDS.iter().filter_map(|&kind| Some((kind, facts.account(kind)?))) {
        let (reads, keys) = (count(account.observed, "read"), count(account.keys, kind.word()));
        finding
            .observed(account.observed)
            .saw(format!("{} of {reads} of {keys} show another order", account.disordered));
        disordered += account.disordered;
        examples.extend_from_slice(&account.disorders);
    }
    finding.figure("disordered", disordered as f64);
    kinds::weigh(&mut finding, settings.may_violate, disordered, &examples);
    let expected = "every read of a list or a stream shows its elements in the order of their appends";
    finding.judge("order", format!("may-violate {}", settings.may_violate), expected)
}
