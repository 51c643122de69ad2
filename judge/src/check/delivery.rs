//! `delivery`: every subscriber gets every acknowledged message of a channel, and only once.

use super::finding::Finding;
use super::{Figure, FigureKind, Judgement, Traits, Verdict, kinds};
use crate::facts::{Account, Facts};
use crate::suite::{Allowed, DataKind, Delivery};
use crate::words::{count, length_ns};

pub(super) const TRAITS: Traits = Traits {
    is_telling: true,
    figures: &[
        Figure { name: "missed", kind: FigureKind::Safety },
        Figure { name: "missed_while_subscribed", kind: FigureKind::Safety },
        Figure { name: "delivered_again", kind: FigureKind::Safety },
        Figure { name: "longest_gap_ms", kind: FigureKind::Time },
    ],
};

pub(super) fn judge(facts: &Facts<'_>, settings: &Delivery) -> Judgement {
    let mut finding = Finding::new();
    let accounts = || Delivery::KINDS.iter().filter_map(|&kind| Some((kind, facts.account(kind)?)));
    for (kind, account) in accounts() {
        look(kind, account, &mut finding);
    }
    let sum = |of: fn(&Account) -> u64| accounts().map(|(_, account)| of(account)).sum::<u64>();
    let (missed, repeated) = (sum(|each| each.lost), sum(|each| each.repeated));
    if settings.may_miss.is_exceeded_by(missed) || settings.may_repeat.is_exceeded_by(repeated) {
        finding.weigh(Verdict::Fail);
    }
    let longest_ns = accounts().map(|(_, account)| account.longest_gap_ns).max().unwrap_or(0);
    finding
        .figure("missed", missed as f64)
        .figure("missed_while_subscribed", sum(|each| each.lost_while_subscribed) as f64)
        .figure("delivered_again", repeated as f64)
        .figure("longest_gap_ms", longest_ns as f64 / 1e6);
    let words = format!("may-miss {}, may-repeat {}", settings.may_miss, settings.may_repeat);
    let expected = match settings.may_miss {
        Allowed::AtMost(0) => "every subscriber gets every acknowledged message once".to_owned(),
        Allowed::AtMost(most) => format!("subscribers miss at most {}", count(most, "acknowledged message")),
        Allowed::Measured => "messages that subscribers miss are counted".to_owned(),
    };
    finding.judge("delivery", words, expected)
}

fn look(kind: DataKind, account: &Account, finding: &mut Finding) {
    let gap = match account.longest_gap_ns {
        0 => String::new(),
        longest_ns => format!(", the longest gap {}", length_ns(longest_ns)),
    };
    finding.observed(account.observed).saw(format!(
        "{} of {} of {kind} acknowledged, {} to {}: {} missed ({} while subscribed{gap}), {} again",
        count(account.acknowledged, "message"),
        count(account.keys, "channel"),
        account.observed,
        count(account.subscribers, "subscriber"),
        account.lost,
        account.lost_while_subscribed,
        account.repeated
    ));
    kinds::show(finding, account.lost, &account.losses);
    kinds::show(finding, account.repeated, &account.repetitions);
}
