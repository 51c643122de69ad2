//! `summary.md`: the runs as Markdown, for the summary of a CI job or a pull request.

use std::fmt::Write;

use super::explain::explain;
use super::figures::figure_cells;
use super::markdown::{escaped, verbatim};
use super::matrix::{LEGEND, Matrix};
use super::summary::{Standing, Summary};
use super::table::{HEADINGS, tally, verdict_cell};
use crate::check::Verdict;

/// The number of runs with all details. The limit of a summary on GitHub is 1 MiB.
const TOLD: usize = 30;

/// The counts, a matrix if there are several servers, one row per run, and the details of runs without a pass, collapsed.
pub fn render_markdown(runs: &[Summary]) -> String {
    let sign = match runs.iter().map(|run| &run.standing).max_by_key(|standing| standing.weight()) {
        Some(standing) => standing.word(),
        None => "nothing was run",
    };
    // Markdown has no amber.
    let losses = sign == "pass" && runs.iter().any(Summary::passed_with_losses);
    let losses = if losses { ", with lost writes" } else { "" };
    let mut text = format!("### slotquake: {sign}{losses}\n\n{}\n", tally(runs));
    let matrix = Matrix::new(runs);
    if matrix.servers.len() > 1 {
        let _ = writeln!(text, "\n{LEGEND}");
        row(
            &mut text,
            true,
            std::iter::once("suite".to_owned()).chain(matrix.servers.iter().map(|&name| escaped(name))),
        );
        let _ = writeln!(text, "|---|{}", "---|".repeat(matrix.servers.len()));
        for (suite, cells) in &matrix.rows {
            let words = cells
                .iter()
                .map(|cell| cell.worst().map_or_else(|| "-".to_owned(), |worst| marked(worst, &cell.words())));
            row(&mut text, false, std::iter::once(escaped(suite)).chain(words));
        }
    }
    row(&mut text, true, HEADINGS.iter().map(|heading| heading.replace("pro-\n", "pro").replace('\n', " ")));
    text.push_str("|---|---|---|--:|--:|--:|--:|--:|--:|--:|\n");
    for run in runs {
        let mut cells = vec![escaped(&run.variant()), escaped(&run.server), marked(&run.standing, &verdict_words(run))];
        let figures = run.figures.as_ref().map_or_else(|| vec!["-".to_owned(); 7], figure_cells);
        cells.extend(figures.iter().map(|cell| escaped(cell)));
        row(&mut text, false, cells.into_iter());
    }
    let open: Vec<&Summary> = runs.iter().filter(|run| is_open(run)).collect();
    for run in open.iter().take(TOLD) {
        let heading = format!("{}: {}", escaped(&run.label()), run.standing.word());
        let _ = write!(text, "\n<details><summary>{heading}</summary>\n\n{}\n</details>\n", verbatim(&explain(run)));
    }
    if open.len() > TOLD {
        let _ = writeln!(text, "\n... and {} more, in their reports", open.len() - TOLD);
    }
    text
}

/// Failures are bold.
fn marked(standing: &Standing, words: &str) -> String {
    match standing {
        Standing::Judged(Verdict::Fail) | Standing::Error(_) => format!("**{words}**"),
        Standing::Judged(_) | Standing::Skipped(_) => words.to_owned(),
    }
}

fn verdict_words(run: &Summary) -> String {
    let losses = if run.passed_with_losses() { ", with lost writes" } else { "" };
    verdict_cell(run) + losses
}

fn is_open(run: &Summary) -> bool {
    run.standing != Standing::Judged(Verdict::Pass)
}

fn row(text: &mut String, first: bool, cells: impl Iterator<Item = String>) {
    if first {
        text.push('\n');
    }
    let _ = writeln!(text, "| {} |", cells.collect::<Vec<_>>().join(" | "));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::fixture;
    use super::*;

    fn summary(suite: &str, server: &str, verdict: Verdict) -> Summary {
        let mut run = Summary::new(&fixture::report(suite, verdict), Path::new("reports/x"));
        run.server = server.to_owned();
        run
    }

    #[test]
    fn a_pass_with_losses_says_so() {
        let lossy = |verdict| {
            let mut report = fixture::report("master-freeze", verdict);
            report.ledger.lost = 203;
            Summary::new(&report, Path::new("reports/x"))
        };
        let shown = render_markdown(&[lossy(Verdict::Pass), summary("role-swap", "redis:6.2", Verdict::Pass)]);
        assert!(shown.starts_with("### slotquake: pass, with lost writes\n"), "{shown}");
        assert!(shown.contains("| master-freeze | redis:6.2 | pass, with lost writes |"), "{shown}");
        assert!(shown.contains("| role-swap | redis:6.2 | pass |"), "{shown}");
        assert!(render_markdown(&[lossy(Verdict::Fail)]).starts_with("### slotquake: fail\n"), "{shown}");
    }

    #[test]
    fn several_servers_give_a_matrix() {
        let shown = render_markdown(&[
            summary("role-swap", "redis:6.2", Verdict::Pass),
            summary("role-swap", "valkey:9.1", Verdict::Fail),
        ]);
        let head = "### slotquake: fail

2 runs: 1 pass, 1 fail

verdict, time to the first write after a failover, acknowledged writes lost

| suite | redis:6.2 | valkey:9.1 |
|---|---|---|
| role-swap | pass, 7.42 s | **fail, 7.42 s** |

| suite | server | verdict | to FAIL | to promotion | to first write | read outage | write outage | acked writes | lost |
|---|---|---|--:|--:|--:|--:|--:|--:|--:|
| role-swap | redis:6.2 | pass | 6.71 s | 7.36 s | 7.42 s | 0 | 7.49 s | 4021 | 0 |
| role-swap | valkey:9.1 | **fail** | 6.71 s | 7.36 s | 7.42 s | 0 | 7.49 s | 4021 | 0 |

<details><summary>role-swap valkey:9.1: fail</summary>

```text
role-swap on valkey:9.1";
        assert!(shown.starts_with(head), "{shown}");
        assert!(shown.contains("seen      12 of 4021 acknowledged writes are lost"), "{shown}");
        assert!(shown.ends_with("```\n\n</details>\n"), "{shown}");
        assert_eq!(shown.matches("<details>").count(), 1, "{shown}");
    }

    #[test]
    fn one_server_needs_no_matrix() {
        let shown = render_markdown(&[summary("a|<b>", "redis:6.2", Verdict::Fail)]);
        assert!(!shown.contains("| suite | redis"), "{shown}");
        assert!(shown.contains("| a\\|&lt;b&gt; | redis:6.2 | **fail** |"), "{shown}");
        assert!(!shown.split("```").next().expect("a part").contains("<b>"), "{shown}");
    }

    #[test]
    fn a_summary_stays_below_one_mebibyte() {
        let runs: Vec<Summary> = (0..500).map(|_| summary("role-swap", "redis:6.2", Verdict::Fail)).collect();
        let shown = render_markdown(&runs);
        assert!(shown.len() < 1 << 20 && shown.contains("... and 470 more"), "{} bytes", shown.len());
    }
}
