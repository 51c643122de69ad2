//! `linearizable`: each key behaves as if every operation on it took effect at one moment between its invocation and
//! its response.

use super::finding::Finding;
use super::searched::searched;
use super::{Figure, FigureKind, Judgement, Traits, Verdict, kinds, reads};
use crate::consistency::linearizable;
use crate::facts::{Facts, Window};
use crate::suite::{Allowed, Keys, Linearizable};
use crate::words::count;

pub(super) const TRAITS: Traits =
    Traits { is_telling: true, figures: &[Figure { name: "keys_not_linearizable", kind: FigureKind::Safety }] };

pub(super) fn judge(facts: &Facts<'_>, settings: &Linearizable) -> Judgement {
    let mut finding = Finding::new();
    match facts.window(settings.during.as_deref()) {
        Ok(window) => look(facts, settings, window, &mut finding),
        Err(why) => _ = finding.undecided(why),
    }
    let expected = match settings.may_violate {
        Allowed::AtMost(0) => "every key is linearizable".to_owned(),
        Allowed::AtMost(most) => format!("at most {} not linearizable", count(most, "key")),
        Allowed::Measured => "keys are judged, so that those that are not linearizable are counted".to_owned(),
    };
    let words = vec![format!("keys {}", settings.keys), format!("reads-from {}", settings.reads_from.word())];
    let line = reads::settings(words, settings.during.as_deref(), settings.may_violate);
    finding.judge("linearizable", line, expected)
}

fn look(facts: &Facts<'_>, settings: &Linearizable, window: Window, finding: &mut Finding) {
    let is_judged = |key: u32| match settings.keys {
        Keys::All => true,
        Keys::First(most) => u64::from(key) < most,
    };
    let (mut keys, mut observed, mut violations, mut ambiguous) = (0, 0, 0, 0);
    let mut shown = Vec::new();
    for (key, register) in facts.registers.iter().filter(|(key, _)| is_judged(*key)) {
        let found = linearizable(register, reads::counting(facts, key, window, settings.reads_from));
        ambiguous += u64::from(found.is_ambiguous);
        if found.is_ambiguous || found.reads == 0 {
            continue;
        }
        keys += 1;
        observed += found.reads;
        violations += found.violations;
        shown.extend(found.first.map(|first| (key, first)));
    }
    let searched = searched(facts, settings, window);
    keys += searched.keys;
    observed += searched.answers;
    violations += searched.violated;
    let violated = shown.len() as u64 + searched.violated;
    finding
        .observed(observed)
        .figure("keys_judged", keys as f64)
        .figure("keys_not_linearizable", violated as f64)
        .figure("violations", violations as f64);
    if observed > 0 {
        let what = if searched.answers > 0 { "answer" } else { "read" };
        let (of, reads) = (count(keys, "key"), count(observed, what));
        let are = if violated == 1 { "is" } else { "are" };
        finding.saw(format!("{violated} of {of} {are} not linearizable ({reads}, {})", count(violations, "violation")));
    }
    if ambiguous > 0 {
        finding
            .undecided(format!("{} got one value twice, so nobody can tell what reads saw", count(ambiguous, "key")));
    }
    if searched.undecided > 0 {
        let keys = count(searched.undecided, "key");
        finding.saw(format!("the search for an order of the operations on {keys} was given up"));
    }
    if settings.may_violate.is_exceeded_by(violated) {
        finding.weigh(Verdict::Fail);
    } else if settings.may_violate.is_exceeded_by(violated + searched.undecided) {
        finding.weigh(Verdict::Inconclusive);
    }
    reads::show(finding, shown);
    kinds::show(finding, searched.violated, &searched.examples);
}
