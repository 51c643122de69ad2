//! The table of runs, then what failed and why.

use std::fmt::Write;

use tabled::builder::Builder;
use tabled::settings::Color;

use super::anatomy_table::render_anatomy;
use super::figures::figure_cells;
use super::grounds::{grounds, invariant_text};
use super::layout::{Style, draw, drawn, frame, verdict_colour, wrapped};
use super::matrix::{Cell, LEGEND, Matrix};
use super::repeats::render_repeats;
use super::summary::{Standing, Summary};
use crate::check::{Judgement, Verdict, kinds};
use crate::words::{count, list};

/// A table of runs, then the invariants that fail or are inconclusive with their evidence, then the paths of the reports and
/// the seeds, then a matrix if there are several servers.
pub fn render(runs: &[Summary], style: Style) -> String {
    // Texts of stored files and servers must not control the terminal. The colours are added after this.
    let runs: Vec<Summary> = runs.iter().map(Summary::visible).collect();
    let runs = runs.as_slice();
    let mut text = overview(runs, style) + &render_repeats(runs, style);
    for run in runs {
        text.push_str(&details(run, style, style.verbose || runs.len() == 1));
        if style.verbose && runs.len() == 1 {
            text.push_str(&render_anatomy(&run.anatomy, style));
        }
    }
    text.push_str(&skips(runs, style));
    text.push('\n');
    text.push_str(&reports(runs));
    text.push_str(&matrix(runs, style));
    text
}

/// The matrix of suites and servers; empty for one server.
fn matrix(runs: &[Summary], style: Style) -> String {
    let matrix = Matrix::new(runs);
    if matrix.servers.len() < 2 {
        return String::new();
    }
    let mut builder = Builder::default();
    builder.push_record(std::iter::once("suite").chain(matrix.servers.iter().copied()));
    for (suite, cells) in &matrix.rows {
        builder.push_record(std::iter::once(suite.clone()).chain(cells.iter().map(Cell::words)));
    }
    let mut table = builder.build();
    frame(&mut table, style);
    if style.colour {
        for (row, (_, cells)) in matrix.rows.iter().enumerate() {
            for (column, cell) in cells.iter().enumerate() {
                if let Some(standing) = cell.worst() {
                    table.modify((row + 1, column + 1), standing_colour(standing, cell.has_losses()));
                }
            }
        }
    }
    format!("\n{LEGEND}\n{}", drawn(&table))
}

/// The skipped runs by reason.
fn skips(runs: &[Summary], style: Style) -> String {
    let mut by_reason: Vec<(&str, Vec<String>)> = Vec::new();
    for run in runs {
        let Standing::Skipped(reason) = &run.standing else { continue };
        match by_reason.iter_mut().find(|(known, _)| known == reason) {
            Some((_, labels)) => labels.push(run.label()),
            None => by_reason.push((reason, vec![run.label()])),
        }
    }
    let mut text = String::new();
    for (reason, labels) in by_reason {
        let word = style.paint("SKIPPED", &Color::FG_YELLOW);
        let line = format!("{}: {reason}", list(labels));
        let _ = writeln!(text, "\n{word}  {}", wrapped(&line, 9, style.width));
    }
    text
}

pub(super) const HEADINGS: [&str; 10] = [
    "suite",
    "server",
    "verdict",
    "to\nFAIL",
    "to pro-\nmotion",
    "to first\nwrite",
    "read\noutage",
    "write\noutage",
    "acked\nwrites",
    "lost",
];

/// The column of [`HEADINGS`] with the verdict. Figures are to its right.
const VERDICT: usize = 2;

fn overview(runs: &[Summary], style: Style) -> String {
    let mut builder = Builder::default();
    builder.push_record(HEADINGS);
    for run in runs {
        let mut row = vec![run.variant(), run.server.clone(), verdict_cell(run)];
        row.extend(run.figures.as_ref().map_or_else(|| vec!["-".to_owned(); 7], figure_cells));
        builder.push_record(row);
    }
    let colours = runs.iter().map(|run| standing_colour(&run.standing, run.passed_with_losses()));
    draw(builder, VERDICT, colours, style)
}

/// `pass`, or `pass, try 2` of a run that was repeated because those before were inconclusive.
pub(super) fn verdict_cell(run: &Summary) -> String {
    let tries = (run.tries > 1).then(|| format!("try {}", run.tries));
    let nothing =
        (run.without_invariants && matches!(run.standing, Standing::Judged(_))).then(|| "no invariants".to_owned());
    list([run.standing.word().to_owned()].into_iter().chain(tries).chain(nothing))
}

pub(super) fn standing_colour(standing: &Standing, has_losses: bool) -> Color {
    match standing {
        Standing::Judged(Verdict::Pass) if has_losses => Color::FG_YELLOW,
        Standing::Judged(verdict) => verdict_colour(*verdict),
        Standing::Error(_) => Color::FG_RED,
        Standing::Skipped(_) => Color::FG_YELLOW,
    }
}

/// Whether the evidence of a pass is shown, too.
fn is_telling(judgement: &Judgement) -> bool {
    kinds().any(|kind| kind.name == judgement.invariant && kind.traits.is_telling)
}

fn first_line(text: &str) -> String {
    match text.split_once('\n') {
        Some((first, _)) => format!("{} ...", first.trim_end()),
        None => text.to_owned(),
    }
}

fn details(run: &Summary, style: Style, with_passing: bool) -> String {
    let mut text = String::new();
    match &run.standing {
        Standing::Judged(_) | Standing::Skipped(_) => {}
        Standing::Error(message) => {
            let word = style.paint("ERROR", &Color::FG_RED);
            let _ = writeln!(text, "\n{word}  {}\n{}", run.label(), indented(message, "  "));
        }
    }
    if let Some(recorded) = run.recorded.as_ref().filter(|recorded| !recorded.changed.is_empty()) {
        let _ = writeln!(text, "\nverdicts that differ from report.json  {}", run.label());
        for change in &recorded.changed {
            let _ = writeln!(text, "  {}", wrapped(change, 2, style.width));
        }
    }
    let (passing, others): (Vec<_>, Vec<_>) =
        run.invariants.iter().partition(|judgement| judgement.verdict == Verdict::Pass);
    if with_passing && !passing.is_empty() {
        text.push('\n');
        for judgement in passing {
            let word = style.paint("pass", &Color::FG_GREEN);
            let line = format!("{}: {}", invariant_text(judgement), judgement.seen);
            let _ = writeln!(text, "{word}  {}", wrapped(&line, 6, style.width));
            for line in judgement.evidence.iter().filter(|_| is_telling(judgement)) {
                let _ = writeln!(text, "      {}", wrapped(&first_line(line), 6, style.width));
            }
        }
    }
    for judgement in others {
        let word = style.paint(&judgement.verdict.word().to_uppercase(), &verdict_colour(judgement.verdict));
        let _ = writeln!(text, "\n{word}  {}: {}", run.label(), invariant_text(judgement));
        text.push_str(&grounds(judgement, style.width));
    }
    text
}

fn reports(runs: &[Summary]) -> String {
    let mut text = String::new();
    if let [only] = runs {
        if let Some(report) = &only.report {
            let _ = writeln!(text, "report  {}", report.display());
        }
        let _ = writeln!(text, "seed    {}", only.seed);
        if !only.speed.is_real() {
            let _ = writeln!(text, "speed   {} (all times are the cluster's)", only.speed);
        }
        return text;
    }
    let longest = runs.iter().map(|run| run.label().len()).max().unwrap_or(0);
    for run in runs {
        if let Some(report) = &run.report {
            let speed = if run.speed.is_real() { String::new() } else { format!("speed {}  ", run.speed) };
            let _ = writeln!(text, "{:longest$}  seed {}  {speed}{}", run.label(), run.seed, report.display());
        }
    }
    let _ = writeln!(text, "\n{}", tally(runs));
    text
}

/// `12 runs: 10 pass, 1 fail, 1 error`, and how many of those that pass lost acknowledged writes.
pub(super) fn tally(runs: &[Summary]) -> String {
    let words = ["pass", "inconclusive", "fail", "error", "skipped"];
    let with = |word: &str| runs.iter().filter(|run| run.standing.word() == word).count();
    let counts = words.iter().filter(|word| with(word) > 0).map(|word| format!("{} {word}", with(word)));
    let lossy = runs.iter().filter(|run| run.passed_with_losses()).count();
    let lossy = match lossy {
        0 => String::new(),
        _ => format!(
            "; {lossy} of those that pass lost acknowledged writes, which their suites measure and do not judge"
        ),
    };
    let repeated = runs.iter().filter(|run| run.tries > 1).count();
    let repeated = match repeated {
        0 => String::new(),
        _ => format!("; {repeated} repeated, since inconclusive before"),
    };
    format!("{}: {}{lossy}{repeated}", count(runs.len() as u64, "run"), list(counts))
}

fn indented(text: &str, indent: &str) -> String {
    text.lines().map(|line| format!("{indent}{line}").trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::fixture;
    use super::*;

    fn summary(suite: &str, verdict: Verdict) -> Summary {
        Summary::new(&fixture::report(suite, verdict), Path::new("reports/x"))
    }

    #[test]
    fn a_single_run_shows_everything() {
        let shown = render(&[summary("role-swap", Verdict::Pass)], Style::default());
        assert_eq!(
            shown,
            "                                   to  to pro-  to first    read   write   acked
suite      server     verdict    FAIL   motion     write  outage  outage  writes  lost
--------------------------------------------------------------------------------------
role-swap  redis:6.2  pass     6.71 s   7.36 s    7.42 s       0  7.49 s    4021     0

pass  acked-writes (may-lose 0): 12 of 4021 acknowledged writes are lost
      key-17 = 44, acknowledged at 7.412 s by node-1; 43 was read back
      ... and 11 more

report  reports/x
seed    7
"
        );
    }

    #[test]
    fn shows_failures_with_their_evidence() {
        let runs = [summary("role-swap", Verdict::Fail), summary("shard-loss", Verdict::Pass)];
        let shown = render(&runs, Style { width: Some(60), ..Style::default() });
        let expected = "
FAIL  role-swap redis:6.2: acked-writes (may-lose 0)
  expected  no acknowledged write is lost
  seen      12 of 4021 acknowledged writes are lost
  evidence  key-17 = 44, acknowledged at 7.412 s by node-1;
            43 was read back
            ... and 11 more
  rests on  4021 observations

role-swap redis:6.2   seed 7  reports/x
shard-loss redis:6.2  seed 7  reports/x

2 runs: 1 pass, 1 fail
";
        assert!(shown.ends_with(expected), "{shown}");
    }

    #[test]
    fn several_servers_end_with_a_matrix() {
        let of = |suite: &str, server: &str, verdict| Summary { server: server.to_owned(), ..summary(suite, verdict) };
        let runs = [
            of("role-swap", "redis:6.2", Verdict::Pass),
            of("role-swap", "valkey:9.1", Verdict::Fail),
            of("shard-loss", "valkey:9.1", Verdict::Pass),
        ];
        let expected = "
verdict, time to the first write after a failover, acknowledged writes lost
suite       redis:6.2     valkey:9.1
--------------------------------------
role-swap   pass, 7.42 s  fail, 7.42 s
shard-loss  -             pass, 7.42 s
";
        let shown = render(&runs, Style::default());
        assert!(shown.ends_with(expected), "{shown}");
        assert!(!render(&runs[1..], Style::default()).contains("suite       valkey"), "one server needs no matrix");
        let coloured = render(&runs, Style { colour: true, ..Style::default() });
        assert!(coloured.contains("role-swap   \u{1b}[32mpass, 7.42 s\u{1b}[39m  \u{1b}[31mfail"), "{coloured}");
    }

    #[test]
    fn shipped_suites_fit_in_100_columns() {
        for suite in ["shard-loss-together", "full-coverage-outage"] {
            for verdict in [Verdict::Pass, Verdict::Inconclusive] {
                let mut run = summary(suite, verdict);
                run.server = "valkey:9.1".to_owned();
                let table = overview(&[run], Style { width: Some(100), ..Style::default() });
                assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
                assert!(table.contains("4021"), "{table}");
            }
        }
    }

    #[test]
    fn runs_without_a_report_say_why() {
        let error = Standing::Error("no cluster within 30s\nnode-3: Bad directive".to_owned());
        let skipped = Standing::Skipped("interrupted before it began".to_owned());
        let runs = [error, skipped].map(|standing| {
            Summary::without_report("formation", "redis:6.2", 7, standing, Some(Path::new("reports/y")))
        });
        let shown = render(&runs, Style::default());
        for expected in [
            "\nformation  redis:6.2  error       -        -",
            "\nformation  redis:6.2  skipped     -        -",
            "\nERROR  formation redis:6.2\n  no cluster within 30s\n  node-3: Bad directive\n",
            "\nSKIPPED  formation redis:6.2: interrupted before it began\n",
            "2 runs: 1 error, 1 skipped\n",
        ] {
            assert!(shown.contains(expected), "{expected:?} in:\n{shown}");
        }
    }

    #[test]
    fn groups_skipped_runs_by_reason() {
        let skipped = |suite: &str, reason: &str| {
            let standing = Standing::Skipped(reason.to_owned());
            Summary::without_report(suite, "redis:6.2", 7, standing, None)
        };
        let runs = [skipped("halves", "no nft"), summary("role-swap", Verdict::Pass), skipped("ring", "no nft")];
        let shown = render(&runs, Style::default());
        let expected = "
SKIPPED  halves redis:6.2, ring redis:6.2: no nft

role-swap redis:6.2  seed 7  reports/x

3 runs: 1 pass, 2 skipped
";
        assert!(shown.ends_with(expected), "{shown}");
    }

    #[test]
    fn escapes_of_stored_texts_do_not_reach_the_terminal() {
        let evil = "\u{1b}[32mpass\u{1b}[39m\u{9b}2J";
        let mut run = summary(&format!("role-swap{evil}"), Verdict::Fail);
        let judgement = &mut run.invariants[0];
        for text in [&mut judgement.invariant, &mut judgement.settings, &mut judgement.expected, &mut judgement.seen] {
            text.push_str(evil);
        }
        judgement.evidence.push(evil.to_owned());
        let changed = vec![evil.to_owned()];
        run.recorded = Some(super::super::Recorded { verdict: Verdict::Pass, changed });
        let error = Summary::without_report(evil, evil, 7, Standing::Error(evil.to_owned()), Some(Path::new(evil)));
        let skipped = Summary::without_report(evil, evil, 7, Standing::Skipped(evil.to_owned()), None);
        let shown = render(&[run, error, skipped], Style::default());
        assert!(shown.chars().all(|letter| letter == '\n' || !letter.is_control()), "{shown:?}");
        assert!(shown.contains("\\u001b[32mpass\\u001b[39m\\u009b2J"), "{shown}");
    }

    #[test]
    fn colours_only_on_request() {
        let runs = [summary("role-swap", Verdict::Fail)];
        assert!(!render(&runs, Style::default()).contains('\u{1b}'));
        let coloured = render(&runs, Style { colour: true, ..Style::default() });
        assert!(coloured.contains("\u{1b}[31mfail\u{1b}[39m"), "{coloured:?}");
        assert!(coloured.contains("\u{1b}[31mFAIL\u{1b}[39m"), "{coloured:?}");
    }
}
