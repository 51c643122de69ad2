//! The verdicts of two sides as Markdown: a row for each suite, two columns for each server.

use crate::words::{count, list};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::compare::{Comparison, Pair};
use super::markdown::escaped;
use super::run::short_server;

/// The verdicts of a comparison. `sides` are the names of base and new side. Verdicts that differ are bold, and the invariants
/// that differ are listed below the table.
pub fn render_verdicts(comparison: &Comparison, sides: [&str; 2]) -> String {
    let servers: BTreeSet<String> = comparison.pairs.iter().map(|pair| short_server(&pair.server)).collect();
    let mut by_suite: BTreeMap<&str, BTreeMap<String, &Pair>> = BTreeMap::new();
    for pair in &comparison.pairs {
        by_suite.entry(&pair.suite).or_default().insert(short_server(&pair.server), pair);
    }
    let mut text = "| suite |".to_owned();
    for server in &servers {
        for side in sides {
            let _ = write!(text, " {}, {} |", escaped(server), escaped(side));
        }
    }
    let _ = writeln!(text, "\n|---|{}", "---|".repeat(servers.len() * sides.len()));
    for (suite, pairs) in &by_suite {
        let _ = write!(text, "| {} |", escaped(suite));
        for server in &servers {
            match pairs.get(server) {
                Some(pair) if pair.base_verdict == pair.new_verdict => {
                    let _ = write!(text, " {0} | {0} |", pair.base_verdict.word());
                }
                Some(pair) => {
                    let _ = write!(text, " {} | **{}** |", pair.base_verdict.word(), pair.new_verdict.word());
                }
                None => text.push_str(" - | - |"),
            }
        }
        text.push('\n');
    }
    let _ = writeln!(text, "\n{}", conclusion(comparison));
    text
}

fn conclusion(comparison: &Comparison) -> String {
    let judged: usize = comparison.pairs.iter().map(|pair| pair.invariants.len()).sum();
    let different: Vec<String> = comparison
        .pairs
        .iter()
        .flat_map(|pair| {
            let changed = pair.invariants.iter().filter(|change| change.base != change.new);
            changed.map(|change| format!("{} {}: {}", pair.suite, short_server(&pair.server), change.invariant))
        })
        .map(|text| escaped(&text))
        .collect();
    let pairs = count(comparison.pairs.len() as u64, "pair");
    if different.is_empty() {
        return format!("{pairs} of runs: all {judged} invariants have the same verdict on both sides.");
    }
    format!("{pairs} of runs: of {judged} invariants, these have different verdicts: {}.", list(different))
}

#[cfg(test)]
mod tests {
    use crate::check::Verdict::{Fail, Pass};
    use crate::report::compare::compare;
    use crate::report::fixture::{judgement, report};

    use super::*;

    #[test]
    fn different_verdicts_are_bold() {
        let run = |suite, server: &str, verdict| {
            let mut report = report(suite, verdict);
            server.clone_into(&mut report.header.server.asked);
            report.invariants = vec![judgement("steps", "", Pass), judgement("promotions", "", verdict)];
            report
        };
        let base = [run("ring", "redis:6.2", Pass), run("halves", "redis:6.2", Pass), run("ring", "valkey:9.1", Fail)];
        let new = [run("ring", "redis:6.2", Pass), run("halves", "redis:6.2", Fail), run("ring", "valkey:9.1", Fail)];
        insta::assert_snapshot!(render_verdicts(&compare(&base, &new), ["local", "docker"]), @r"
        | suite | redis:6.2, local | redis:6.2, docker | valkey:9.1, local | valkey:9.1, docker |
        |---|---|---|---|---|
        | halves | pass | **fail** | - | - |
        | ring | pass | pass | fail | fail |

        3 pairs of runs: of 6 invariants, these have different verdicts: halves redis:6.2: promotions.
        ");
        let alike = render_verdicts(&compare(&base[..1], &new[..1]), ["local", "docker"]);
        assert!(
            alike.ends_with("\n1 pair of runs: all 2 invariants have the same verdict on both sides.\n"),
            "{alike}"
        );
    }
}
