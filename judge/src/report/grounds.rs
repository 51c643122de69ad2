//! A judgement as text: the name of the invariant, and the grounds for the verdict.

use std::fmt::Write;

use super::layout::wrapped;
use crate::check::Judgement;
use crate::words::count;

/// What was expected, what was seen, the evidence, and the number of observations.
pub(super) fn grounds(judgement: &Judgement, width: Option<usize>) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "  expected  {}", wrapped(&judgement.expected, 12, width));
    let _ = writeln!(text, "  seen      {}", wrapped(&judgement.seen, 12, width));
    for (index, line) in judgement.evidence.iter().enumerate() {
        let head = if index == 0 { "evidence" } else { "" };
        let _ = writeln!(text, "  {head:8}  {}", wrapped(line, 12, width));
    }
    let _ = writeln!(text, "  rests on  {}", count(judgement.observations, "observation"));
    text
}

/// `acked-writes (may-lose 0)`.
pub(super) fn invariant_text(judgement: &Judgement) -> String {
    invariant_name(&judgement.invariant, &judgement.settings)
}

pub(super) fn invariant_name(invariant: &str, settings: &str) -> String {
    if settings.is_empty() { invariant.to_owned() } else { format!("{invariant} ({settings})") }
}
