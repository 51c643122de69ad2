//! Annotations of a GitHub workflow: lines of its log that GitHub shows on the page of the run.

use std::fmt::Write;

use super::grounds::{grounds, invariant_text};
use super::summary::{Standing, Summary};
use crate::check::Verdict;
use crate::words::list;

/// Workflow commands: an `error` for each invariant that fails and each run without a report, a `warning` for each invariant
/// that is inconclusive, and a `notice` for each reason why runs were skipped. Print each on a line of its own.
pub fn annotations(runs: &[Summary]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut skipped: Vec<(&str, Vec<String>)> = Vec::new();
    for run in runs {
        match &run.standing {
            Standing::Judged(_) => lines.extend(of_judgements(run)),
            Standing::Error(why) => lines.push(command("error", &run.label(), why)),
            Standing::Skipped(why) => match skipped.iter_mut().find(|(known, _)| known == why) {
                Some((_, labels)) => labels.push(run.label()),
                None => skipped.push((why, vec![run.label()])),
            },
        }
    }
    lines
        .extend(skipped.into_iter().map(|(why, labels)| command("notice", &format!("skipped: {}", list(labels)), why)));
    lines
}

fn of_judgements(run: &Summary) -> impl Iterator<Item = String> {
    run.invariants.iter().filter_map(|judgement| {
        let kind = match judgement.verdict {
            Verdict::Pass => return None,
            Verdict::Inconclusive => "warning",
            Verdict::Fail => "error",
        };
        let mut text = grounds(judgement, None);
        if let Some(folder) = &run.report {
            let _ = write!(text, "  report    {}", folder.join("report.html").display());
        }
        let title = format!("{} {}: {}", judgement.verdict.word(), run.label(), invariant_text(judgement));
        Some(command(kind, &title, &text))
    })
}

/// `::error title=...::...`, always on one line.
fn command(kind: &str, title: &str, message: &str) -> String {
    format!("::{kind} title={}::{}", property(title), data(message))
}

/// Escapes the message of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property, which ends at a comma or colon.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::fixture;
    use super::*;

    #[test]
    fn each_annotation_is_one_line() {
        let mut report = fixture::report("role-swap", Verdict::Fail);
        report.invariants[0].seen = "100 % lost\r\n::error::a, b".to_owned();
        report.invariants.push(fixture::judgement("agreement", "", Verdict::Inconclusive));
        report.invariants.push(fixture::judgement("epochs", "", Verdict::Pass));
        let without = |suite: &str, standing| Summary::without_report(suite, "redis:6.2", 7, standing, None);
        let lines = annotations(&[
            Summary::new(&report, Path::new("reports/x")),
            without("ring", Standing::Skipped("no nft".to_owned())),
            without("formation", Standing::Error("no cluster\nwithin 30s".to_owned())),
            without("halves", Standing::Skipped("no nft".to_owned())),
        ]);
        assert!(lines.iter().all(|line| !line.contains(['\n', '\r'])), "{lines:#?}");
        assert_eq!(lines.len(), 4, "{lines:#?}");
        let begins = "::error title=fail role-swap redis%3A6.2%3A acked-writes (may-lose 0)::  expected  no acknowledged \
                      write is lost%0A  seen      100 %25 lost%0A";
        assert!(lines[0].starts_with(begins), "{}", lines[0]);
        assert!(lines[0].ends_with("report    reports/x/report.html"), "{}", lines[0]);
        assert!(
            lines[1].starts_with("::warning title=inconclusive role-swap redis%3A6.2%3A agreement::"),
            "{lines:#?}"
        );
        assert_eq!(lines[2], "::error title=formation redis%3A6.2::no cluster%0Awithin 30s");
        assert_eq!(lines[3], "::notice title=skipped%3A ring redis%3A6.2%2C halves redis%3A6.2::no nft");
    }

    #[test]
    fn a_pass_has_no_annotation() {
        assert!(annotations(&[Summary::new(&fixture::report("a", Verdict::Pass), Path::new("x"))]).is_empty());
    }
}
