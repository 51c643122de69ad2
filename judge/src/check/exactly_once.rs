//! `exactly-once`: every acknowledged write of a counter, a list, a set or a stream took effect, and no write did so twice.

use super::finding::Finding;
use super::{Figure, FigureKind, Judgement, Traits, kinds};
use crate::facts::{Account, Facts};
use crate::suite::{Allowed, DataKind, ExactlyOnce};
use crate::words::count;

pub(super) const TRAITS: Traits = Traits {
    is_telling: true,
    figures: &[
        Figure { name: "repeated", kind: FigureKind::Safety },
        Figure { name: "lost", kind: FigureKind::Safety },
    ],
};

pub(super) fn judge(facts: &Facts<'_>, settings: &ExactlyOnce) -> Judgement {
    let mut finding = Finding::new();
    let accounts = || ExactlyOnce::KINDS.iter().filter_map(|&kind| Some((kind, facts.account(kind)?)));
    for (kind, account) in accounts() {
        look(kind, account, &mut finding);
    }
    let sum = |of: fn(&Account) -> u64| accounts().map(|(_, account)| of(account)).sum::<u64>();
    let (repeated, lost, undecided) = (sum(|each| each.repeated), sum(|each| each.lost), sum(|each| each.undecided));
    if settings.may_repeat.is_exceeded_by(repeated) || settings.may_lose.is_exceeded_by(lost) {
        finding.weigh(super::Verdict::Fail);
    } else if settings.may_lose.is_exceeded_by(lost + undecided) {
        finding.undecided(format!("{} may be lost", count(undecided, "write")));
    }
    finding.figure("repeated", repeated as f64).figure("lost", lost as f64).figure("undecided", undecided as f64);
    let words = format!("may-repeat {}, may-lose {}", settings.may_repeat, settings.may_lose);
    let expected = match (settings.may_repeat, settings.may_lose) {
        (Allowed::AtMost(0), Allowed::AtMost(0)) => "every write takes effect once, and no acknowledged one is lost",
        (Allowed::AtMost(0), _) => "no write takes effect twice",
        (Allowed::AtMost(_), _) => "few writes take effect twice",
        (Allowed::Measured, _) => "writes that take effect twice are counted",
    };
    finding.judge("exactly-once", words, expected)
}

fn look(kind: DataKind, account: &Account, finding: &mut Finding) {
    finding.observed(account.observed).saw(format!(
        "{} of {} acknowledged: {} too many, {} lost, {} undecided",
        kinds::writes(kind, account.acknowledged),
        count(account.keys, kind.word()),
        count(account.repeated, "effect"),
        account.lost,
        account.undecided
    ));
    kinds::show(finding, account.repeated, &account.repetitions);
    kinds::show(finding, account.lost, &account.losses);
}
