//! What the invariants about reads have in common: which reads count, and how violations are shown.

use super::finding::Finding;
use super::{Figure, Judgement, Traits, Verdict};
use crate::consistency::{Guarantee, Operation, Violation, Witness, kept};
use crate::facts::{Answerer, Facts, Window};
use crate::history::key_name;
use crate::suite::{Allowed, ReadsFrom};
use crate::words::count;

/// The traits of a session guarantee, whose violations comparisons use.
pub(super) const fn session_traits(figures: &'static [Figure]) -> Traits {
    Traits { is_telling: true, figures }
}

/// Whether a read of a key counts: when it was sent, and who answered.
pub(super) fn counting<'a>(
    facts: &'a Facts<'_>,
    key: u32,
    window: Window,
    from: ReadsFrom,
) -> impl Fn(&Operation) -> bool + 'a {
    let answerers = facts.answerers().of_key(key);
    move |read| {
        window.contains(read.invoke_ns)
            && match from {
                ReadsFrom::Any => true,
                ReadsFrom::Master => match answerers.of(read) {
                    Answerer::Master | Answerer::Deposed => true,
                    Answerer::Replica => false,
                },
            }
    }
}

/// The settings of a judgement in one line, without those that have their default.
pub(super) fn settings(mut words: Vec<String>, during: Option<&str>, may_violate: Allowed) -> String {
    words.extend(during.map(|phase| format!("during {phase}")));
    words.push(format!("may-violate {may_violate}"));
    words.join(", ")
}

/// Violations, one a key: each in a sentence, the first also as operations, in the order of their reads.
pub(super) fn show(finding: &mut Finding, mut violations: Vec<(u32, Violation)>) {
    violations.sort_by_key(|(key, violation)| (violation.read().invoke_ns, *key));
    let witnesses = violations.iter().map(|(key, violation)| Witness::new(&key_name(*key), violation));
    finding.witnesses(violations.len() as u64, witnesses);
    for (key, violation) in violations {
        finding.evidence(violation.describe(&key_name(key)));
    }
}

/// A session guarantee and its settings.
pub(super) struct Guaranteed<'a> {
    pub invariant: &'static str,
    /// The figure that counts its violations.
    pub figure: &'static str,
    pub guarantee: Guarantee,
    pub expected: &'static str,
    pub during: Option<&'a str>,
    pub reads_from: ReadsFrom,
    pub may_violate: Allowed,
}

impl Guaranteed<'_> {
    pub(super) fn judge(&self, facts: &Facts<'_>) -> Judgement {
        let mut finding = Finding::new();
        match facts.window(self.during) {
            Ok(window) => self.look(facts, window, &mut finding),
            Err(why) => _ = finding.undecided(why),
        }
        let expected = match self.may_violate {
            Allowed::AtMost(0) => self.expected.to_owned(),
            Allowed::AtMost(most) => format!("{}, but for at most {}", self.expected, count(most, "read")),
            Allowed::Measured => format!("reads are compared, so that violations are counted: {}", self.expected),
        };
        let words = vec![format!("reads-from {}", self.reads_from.word())];
        finding.judge(self.invariant, settings(words, self.during, self.may_violate), expected)
    }

    fn look(&self, facts: &Facts<'_>, window: Window, finding: &mut Finding) {
        let (mut compared, mut violations, mut shown) = (0, 0, Vec::new());
        for (key, register) in facts.registers.iter() {
            let of_key = kept(register, self.guarantee, counting(facts, key, window, self.reads_from));
            compared += of_key.reads;
            violations += of_key.violations;
            shown.extend(of_key.first.map(|first| (key, first)));
        }
        finding.observed(compared).figure(self.figure, violations as f64);
        if compared > 0 {
            let keys = shown.len() as u64;
            let of_keys = if violations > 0 { format!(" (of {})", count(keys, "key")) } else { String::new() };
            finding.saw(format!("{violations} of {} violate it{of_keys}", count(compared, "read")));
        }
        if self.may_violate.is_exceeded_by(violations) {
            finding.weigh(Verdict::Fail);
        }
        show(finding, shown);
    }
}
