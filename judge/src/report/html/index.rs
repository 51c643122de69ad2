//! The page of all runs of a folder: a matrix of suites and servers, and a table of runs, what did not pass first. Pure.

use std::fmt::Write;
use std::path::Path;

use askama::Template;

use super::axes::{Axis, axes};
use crate::report::figures::{Figures, LongestOutage, promotion_cell};
use crate::report::matrix::Matrix;
use crate::report::summary::{Standing, Summary};
use crate::words::list;
use crate::words::page::{count, counted, length_or_dash};

/// `templates/index.html`.
#[derive(Template)]
#[template(path = "index.html")]
struct Index {
    headline: String,
    scope: String,
    worst: &'static str,
    servers: Vec<String>,
    axes: Vec<Axis>,
    matrix: Vec<Line>,
    runs: Vec<Run>,
    skipped: Vec<(String, String)>,
}

/// The runs of one suite, by server.
struct Line {
    suite: String,
    cells: Vec<Vec<Cell>>,
}

/// One run in the matrix.
struct Cell {
    word: &'static str,
    class: &'static str,
    figure: String,
    link: String,
}

/// One run in the table.
struct Run {
    suite: String,
    server: String,
    started: String,
    word: &'static str,
    class: &'static str,
    link: String,
    figures: Vec<String>,
    why: String,
}

/// The index of all runs in the folder `out`. Links to reports are relative to it.
pub fn index(runs: &[Summary], out: &Path) -> String {
    // What did not pass comes first, then what lost writes, then the latest.
    let mut runs = runs.to_vec();
    runs.sort_by(|a, b| {
        let rank = |run: &Summary| (run.standing.weight(), run.passed_with_losses());
        let started = |run: &Summary| run.course.as_ref().map(|course| course.started_at.clone());
        rank(b).cmp(&rank(a)).then_with(|| started(b).cmp(&started(a))).then_with(|| a.label().cmp(&b.label()))
    });
    let runs = runs.as_slice();
    // The values of a setting stay in their order.
    let mut rows = runs.to_vec();
    if runs.iter().any(|run| !run.matrix.is_empty()) {
        rows.sort_by(Summary::in_order);
    }
    let Matrix { servers, rows } = Matrix::new(&rows);
    let matrix = rows.into_iter().map(|(suite, cells)| Line {
        suite,
        cells: cells.iter().map(|cell| cell.0.iter().map(|run| Cell::new(run, out)).collect()).collect(),
    });
    let with = |word: &str| runs.iter().filter(|run| run.standing.word() == word).count();
    let counts = ["fail", "error", "inconclusive", "pass", "skipped"].into_iter().filter(|word| with(word) > 0);
    let counts = list(counts.map(|word| format!("{} {word}", with(word))));
    let worst = ["fail", "error", "inconclusive", "pass"].into_iter().find(|word| with(word) > 0);
    let page = Index {
        headline: format!("{} in {}: {counts}", counted(runs.len() as u64, "run"), folder_name(out)),
        scope: scope(runs),
        worst: worst.unwrap_or("skipped"),
        axes: axes(runs),
        matrix: matrix.collect(),
        servers: servers.into_iter().map(str::to_owned).collect(),
        runs: runs.iter().filter(|run| !is_skipped(run)).map(|run| Run::new(run, out)).collect(),
        skipped: runs
            .iter()
            .filter_map(|run| match &run.standing {
                Standing::Skipped(reason) => Some((run.label(), reason.clone())),
                _ => None,
            })
            .collect(),
    };
    page.render().expect("the template only writes into memory")
}

/// The last part of the path of a folder, or all of it.
fn folder_name(out: &Path) -> String {
    out.file_name().map_or_else(|| out.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// Which runs the page is about.
fn scope(runs: &[Summary]) -> String {
    let mut started: Vec<&str> = runs.iter().filter_map(|run| Some(run.course.as_ref()?.started_at.as_str())).collect();
    started.sort_unstable();
    match started.as_slice() {
        [] => String::new(),
        [only] => format!("Every run in this folder; the only one with a report began at {only}."),
        [first, .., last] => format!(
            "Every run in this folder, of whatever command: the first began at {first}, the latest at {last}. What did not pass \
             is first."
        ),
    }
}

/// `2026-11-22 13:05:01` of `2026-11-22T13:05:01.337Z`.
fn to_the_second(started_at: &str) -> String {
    started_at.get(..19).map_or_else(|| started_at.to_owned(), |text| text.replace('T', " "))
}

/// The class of a run in the style sheet.
fn class(run: &Summary) -> &'static str {
    if run.passed_with_losses() { "pass lossy" } else { run.standing.word() }
}

fn is_skipped(run: &Summary) -> bool {
    matches!(run.standing, Standing::Skipped(_))
}

impl Cell {
    fn new(run: &Summary, out: &Path) -> Self {
        let figures = run.figures.as_ref();
        let figure = figures.and_then(|figures| figures.first_write_ms);
        let lost = figures.map(Figures::lost_in_all).filter(|lost| *lost > 0);
        let lost = lost.map(|lost| format!("{} lost", count(lost)));
        Self {
            word: run.standing.word(),
            class: class(run),
            figure: list([figure.map(crate::words::page::length), lost].into_iter().flatten()),
            link: link(run, out),
        }
    }
}

impl Run {
    fn new(run: &Summary, out: &Path) -> Self {
        let why = match &run.standing {
            Standing::Error(message) => message.clone(),
            Standing::Judged(_) | Standing::Skipped(_) => {
                let open = run.invariants.iter().filter(|each| each.verdict != crate::check::Verdict::Pass);
                let nothing = run
                    .without_invariants
                    .then(|| "the suite has no invariants: only slotquake's own checks were judged".to_owned());
                let open = open.map(|each| format!("{}: {}", each.invariant, each.seen));
                nothing.into_iter().chain(open).collect::<Vec<_>>().join("; ")
            }
        };
        Self {
            suite: run.variant(),
            server: run.version.map_or_else(|| run.server.clone(), |version| version.to_string()),
            started: run.course.as_ref().map_or_else(|| "-".to_owned(), |course| to_the_second(&course.started_at)),
            word: run.standing.word(),
            class: class(run),
            link: link(run, out),
            figures: run.figures.as_ref().map_or_else(|| vec!["-".to_owned(); 7], figures),
            why,
        }
    }
}

fn figures(figures: &Figures) -> Vec<String> {
    let outage = |outage: Option<LongestOutage>| match outage {
        Some(outage) if !outage.ended => format!("{} or more", crate::words::page::length(outage.length_ms)),
        outage => length_or_dash(outage.map(|outage| outage.length_ms)),
    };
    let sides = |rest, cut_off: Option<LongestOutage>| match cut_off {
        None => outage(rest),
        Some(_) => format!("{} (cut off: {})", outage(rest), outage(cut_off)),
    };
    vec![
        length_or_dash(figures.fail_ms),
        promotion_cell(figures, length_or_dash),
        length_or_dash(figures.first_write_ms),
        sides(figures.read_outage, figures.cut_off_read_outage),
        sides(figures.write_outage, figures.cut_off_write_outage),
        count(figures.acknowledged),
        count(figures.lost_in_all()),
    ]
}

/// The address of the page of a run, relative to the index; empty if there is none. Special characters in the name of the
/// folder are encoded.
fn link(run: &Summary, out: &Path) -> String {
    let (Standing::Judged(_), Some(folder)) = (&run.standing, &run.report) else { return String::new() };
    let relative = folder.strip_prefix(out).unwrap_or(folder);
    let mut link = if relative.is_absolute() { String::new() } else { "./".to_owned() };
    for byte in relative.to_string_lossy().bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            link.push(char::from(byte));
        } else {
            let _ = write!(link, "%{byte:02X}");
        }
    }
    link + "/report.html"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;
    use crate::report::fixture;

    #[test]
    fn shows_every_run_and_escapes_names() {
        let judged =
            |suite: &str, verdict, folder: &str| Summary::new(&fixture::report(suite, verdict), Path::new(folder));
        let skipped = Standing::Skipped("no <nft> here".to_owned());
        let runs = [
            judged("role-swap", Verdict::Pass, "reports/a b\"><script>"),
            judged("<b>bold</b>", Verdict::Fail, "reports/c"),
            Summary::without_report("role-swap", "/opt/x'y", 7, Standing::Error("a & b".to_owned()), None),
            Summary::without_report("halves", "redis:6.2", 7, skipped, None),
        ];
        let page = index(&runs, Path::new("reports"));
        for expected in [
            "<title>4 runs in reports: 1 fail, 1 error, 1 pass, 1 skipped</title>",
            "the first began at 2026-11-22T13:05:01Z",
            "<td>2026-11-22 13:05:01</td>",
            "href=\"./a%20b%22%3E%3Cscript%3E/report.html\"",
            "&#60;b&#62;bold&#60;/b&#62;",
            "a &#38; b",
            "x&#39;y",
            "no &#60;nft&#62; here",
            "7.420 s",
        ] {
            assert!(page.contains(expected), "{expected} is not in\n{page}");
        }
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not in {page}"));
        assert!(at("./c/report.html") < at("./a%20b%22%3E%3Cscript%3E/report.html"), "failures come first");
        assert!(!page.contains("<b>bold") && !page.contains("<script>/"), "{page}");
    }
}
