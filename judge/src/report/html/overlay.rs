//! The page of a comparison: the figures of all sides beside each other, and a run of each side over one time axis. Pure.

use std::collections::BTreeMap;

use askama::Template;

use super::charts::{LogScale, line, outage_words, rate};
use super::lanes;
use super::picture::{Picture, fault_row, mark_row, phase_row, ticks};
use super::series::{Bucket, Grid, OpSeries, op_series};
use super::shapes::{Guide, MOST_SHAPES, Path, Row, Scale, Shape, percent, place};
use crate::facts::{Facts, Window};
use crate::report::compare::Compared;
use crate::report::compare_sides::{Beside, beside};
use crate::report::compare_table::{Shown, conclusions, remarks, sign};
use crate::report::run::{Report, short_server};
use crate::suite::{ClientSet, OpKind};
use crate::units::ShardNo;
use crate::words::page::{count, length};

/// So many suites are drawn, so that the page stays small enough for a browser. The figures of all are listed.
pub const MOST_DRAWN: usize = 8;

/// So many sides are drawn over each other.
const MOST_SIDES: usize = 5;

/// So many shards are drawn.
const MOST_SHARDS: usize = 8;

/// The classes of the sides in the style sheet.
const CLASSES: [&str; MOST_SIDES] = ["side-0", "side-1", "side-2", "side-3", "side-4"];

/// The runs of one suite that are drawn over each other.
pub struct Overlaid<'r> {
    /// The name of the suite.
    pub suite: &'r str,
    /// The server of the suite in the base, as requested.
    pub server: &'r str,
    /// A run of each side that has one, the base's first: the index of the side (0 is the base), its report, and the facts of
    /// its history.
    pub runs: Vec<(usize, &'r Report, &'r Facts<'r>)>,
}

/// `templates/comparison.html`.
#[derive(Template)]
#[template(path = "comparison.html")]
struct Page {
    headline: String,
    class: &'static str,
    sides: Vec<Side>,
    suites: Vec<SuiteSection>,
}

/// A side of the comparison.
struct Side {
    name: String,
    class: &'static str,
    conclusions: Vec<String>,
    remarks: Vec<String>,
}

/// A suite on all sides.
struct SuiteSection {
    name: String,
    server: String,
    rows: Vec<FigureRow>,
    picture: Option<Picture>,
    note: String,
}

/// A verdict or a figure on all sides.
struct FigureRow {
    what: String,
    base: String,
    cells: Vec<FigureCell>,
}

/// A verdict or a figure on one side: its value, how it changed, and by how much.
struct FigureCell {
    new: String,
    change: String,
    class: &'static str,
}

/// The page of a comparison. `base` is the name of the base. Pure.
pub fn comparison(base: &str, sides: &[Compared], overlaid: &[Overlaid<'_>]) -> String {
    let regressed = sides.iter().any(|side| side.comparison.regressed());
    let headline = match sides {
        [only] => format!("{}: {} against {base}", sign(&only.comparison), only.name),
        several => {
            let worse = several.iter().filter(|side| side.comparison.regressed()).count();
            format!("{worse} of {} sides are worse than {base}", several.len())
        }
    };
    let of_base = Side { name: base.to_owned(), class: CLASSES[0], conclusions: Vec::new(), remarks: Vec::new() };
    let others = sides.iter().enumerate().map(|(index, side)| {
        let words = |line: String| line.split_whitespace().collect::<Vec<_>>().join(" ");
        Side {
            name: side.name.clone(),
            class: CLASSES.get(index + 1).unwrap_or(&""),
            conclusions: conclusions(&side.comparison),
            remarks: remarks(&side.comparison).into_iter().map(words).collect(),
        }
    });
    let names: Vec<&str> = [base].into_iter().chain(sides.iter().map(|side| side.name.as_str())).collect();
    let suites = beside(sides, Shown::Figures).into_iter().enumerate().map(|(index, beside)| {
        let drawn = overlaid.iter().take(MOST_DRAWN);
        let mut drawn = drawn.filter(|runs| (runs.suite, runs.server) == (beside.suite, beside.server));
        let overlaid = drawn.next();
        let picture = overlaid.and_then(|overlaid| picture(overlaid, &names, index));
        section(beside, picture, overlaid.is_some())
    });
    let page = Page {
        headline,
        class: match (regressed, sides.iter().any(|side| side.comparison.undecided())) {
            (true, _) => "fail",
            (false, true) => "inconclusive",
            (false, false) => "pass",
        },
        sides: [of_base].into_iter().chain(others).collect(),
        suites: suites.collect(),
    };
    page.render().expect("the template only writes into memory")
}

fn section(beside: Beside<'_>, picture: Option<Picture>, wanted: bool) -> SuiteSection {
    let rows = beside.lines.into_iter().map(|line| {
        let cells = line.sides.into_iter().map(|cell| {
            let Some(cell) = cell else {
                return FigureCell { new: "-".to_owned(), change: String::new(), class: "" };
            };
            let class = match cell.change {
                "worse" | "slower" | "vanished" => "fail",
                "better" | "faster" => "pass",
                _ => "",
            };
            let word = if cell.change == "~" { "not significant" } else { cell.change };
            let change = if cell.change == "same" { String::new() } else { format!("{word} {}", cell.difference) };
            FigureCell { new: cell.new, change: change.trim_end().to_owned(), class }
        });
        FigureRow { what: line.what, base: line.base, cells: cells.collect() }
    });
    let note = match (&picture, wanted) {
        (Some(_), _) => String::new(),
        (None, true) => "Not drawn: its runs ended before their steps.".to_owned(),
        (None, false) => format!("Not drawn: a page draws {MOST_DRAWN} suites. `--suite` chooses which."),
    };
    SuiteSection {
        name: beside.suite.to_owned(),
        server: short_server(beside.server),
        rows: rows.collect(),
        picture,
        note,
    }
}

/// A run on the common axis, which begins with its steps.
struct Track<'r> {
    side: usize,
    report: &'r Report,
    facts: &'r Facts<'r>,
    grid: Grid,
    series: Vec<OpSeries>,
}

/// The runs over one time axis; None if a run has no steps.
fn picture(overlaid: &Overlaid<'_>, names: &[&str], index: usize) -> Option<Picture> {
    let runs = &overlaid.runs[..overlaid.runs.len().min(MOST_SIDES)];
    let windows: Option<Vec<Window>> =
        runs.iter().map(|(_, _, facts)| facts.steps.map(|_| lanes::picture_window(facts))).collect();
    let windows = windows?;
    let longest = windows.iter().map(|window| window.length_ns()).max()?;
    let shards = runs
        .iter()
        .map(|(_, report, facts)| report.header.plan.shards() * facts.clients.sets().len() as u16 * runs.len() as u16);
    let ops = runs.iter().map(|(_, _, facts)| facts.history.ops.len()).sum();
    let axis = Grid::fine(Window { from_ns: 0, to_ns: longest }, shards.max()?, ops);
    let tracks: Vec<Track<'_>> = runs
        .iter()
        .zip(&windows)
        .map(|(&(side, report, facts), window)| {
            let grid = Grid { from_ns: window.from_ns, ..axis };
            Track { side, report, facts, grid, series: op_series(facts, &grid) }
        })
        .collect();
    let mut rows = Vec::new();
    let mut guides = Vec::new();
    for track in &tracks {
        let (facts, grid) = (track.facts, &track.grid);
        let marks = lanes::marks(facts, &track.report.timed_failovers());
        let own =
            [Some(phase_row(&facts.phases, grid)), fault_row(&lanes::fault_bars(facts), grid), mark_row(&marks, grid)];
        rows.extend(own.into_iter().flatten().enumerate().map(|(index, row)| {
            let heading = if index == 0 { names[track.side].to_owned() } else { String::new() };
            Row { heading, ..row }
        }));
        let promoted = marks.iter().filter(|mark| matches!(mark.kind, lanes::MarkKind::Promoted { .. }));
        let seen = promoted.filter(|mark| grid.index(mark.at_ns).is_some()).take(30);
        guides.extend(seen.map(|mark| Guide { x: percent(grid.part(mark.at_ns)), class: CLASSES[track.side] }));
    }
    rows.extend(op_rows(&tracks, names));
    Some(Picture {
        id: format!("guides-{index}"),
        axis: "time since the steps began",
        from_s: 0.0,
        span_s: axis.width_s() * axis.count as f64,
        ticks: ticks(&axis),
        guides,
        rows,
        bucket: length(axis.width_ns as f64 / 1e6).replace(".000", ""),
        has_losses: false,
        has_ops: tracks.iter().any(|track| !track.series.is_empty()),
        data: String::new(),
    })
}

/// For each shard, side of the clients, and kind of operation, a row with what was served and one with the latency: a line
/// for each run.
fn op_rows(tracks: &[Track<'_>], names: &[&str]) -> Vec<Row> {
    type Key = (ShardNo, ClientSet, bool);
    let mut all: BTreeMap<Key, Vec<(&Track<'_>, &OpSeries)>> = BTreeMap::new();
    for track in tracks {
        for series in &track.series {
            let key = (series.shard, series.clients, series.kind == OpKind::Reads);
            all.entry(key).or_default().push((track, series));
        }
    }
    let buckets = || all.values().flatten().flat_map(|(_, series)| &series.buckets);
    let most = buckets().map(|bucket| bucket.ok).max().unwrap_or(0).max(1);
    let longest_ms = buckets().filter_map(|bucket| bucket.latency).map(|latency| latency.p99_ms).fold(10.0, f64::max);
    let latencies = LogScale::up_to(longest_ms);
    let mut rows = Vec::new();
    let mut before = None;
    for ((shard, clients, is_read), of_it) in all.iter().filter(|((shard, ..), _)| usize::from(shard.0) <= MOST_SHARDS)
    {
        let Some((first, _)) = of_it.first() else { continue };
        let heading = match clients {
            ClientSet::All => shard.to_string(),
            ClientSet::CutOff => format!("{shard}, clients that were cut off"),
            ClientSet::Rest => format!("{shard}, other clients"),
        };
        let is_new = before != Some((shard, clients));
        before = Some((shard, clients));
        let kind = if *is_read { "reads" } else { "writes" };
        let served = |series: &OpSeries| {
            let y = |bucket: &Bucket| 1000 - (bucket.ok as f64 / most as f64 * 1000.0).round() as u64;
            // A run that is over serves nothing, which is no zero.
            let over = series.buckets.iter().rposition(|bucket| bucket.total() > 0).map_or(0, |last| last + 1);
            line(series.buckets.iter().enumerate().map(|(index, bucket)| (index < over).then(|| y(bucket))))
        };
        let path = |track: &Track<'_>, d| Path { class: CLASSES[track.side], d };
        let row = |label: String, note: &str, height_px, paths, scale| Row {
            label,
            note: note.to_owned(),
            height_px,
            class: "chart overlaid",
            paths,
            scale,
            shapes: outages(of_it, names, height_px),
            units: first.grid.count,
            ..Row::default()
        };
        let scale = vec![Scale { y: "0".to_owned(), label: rate(most, &first.grid) }];
        let paths = of_it.iter().map(|(track, series)| path(track, served(series))).collect();
        let throughput = row(format!("{kind}/s"), "acknowledged", 54, paths, scale);
        rows.push(Row { heading: if is_new { heading } else { String::new() }, ..throughput });
        let p99 = |series: &OpSeries| latencies.line(&series.buckets, |latency| latency.p99_ms);
        let paths = of_it.iter().map(|(track, series)| path(track, p99(series))).collect();
        rows.push(row(format!("{kind}: latency"), "p99", 54, paths, latencies.labels()));
    }
    rows
}

/// The outages of each run: bands of its colour, each run at its own height.
fn outages(of_it: &[(&Track<'_>, &OpSeries)], names: &[&str], height_px: u32) -> Vec<Shape> {
    let part_px = height_px / of_it.len().max(1) as u32;
    let mut shapes = Vec::new();
    for (position, (track, series)) in of_it.iter().enumerate() {
        let of_series =
            track.report.outages.iter().filter(|outage| {
                (outage.shard, outage.of, outage.clients) == (series.shard, series.kind, series.clients)
            });
        let mut longest: Vec<_> = of_series.collect();
        longest.sort_by_key(|outage| std::cmp::Reverse(outage.length_ns()));
        shapes.extend(longest.into_iter().take(MOST_SHAPES / MOST_SIDES).map(|outage| {
            let (x, w) = place(Window { from_ns: outage.from_ns, to_ns: outage.to_ns }, &track.grid);
            Shape {
                x,
                w,
                y_px: position as u32 * part_px,
                h: part_px.to_string(),
                class: format!("band {}", CLASSES[track.side]),
                title: format!("{}: {}", names[track.side], outage_words(outage)),
                ..Shape::default()
            }
        }));
    }
    shapes
}

impl Page {
    /// The number of drawn sides, for the legend.
    fn drawn(&self) -> String {
        match self.sides.len().saturating_sub(MOST_SIDES) {
            0 => String::new(),
            more => format!("{} more sides are only in the tables.", count(more as u64)),
        }
    }
}
