//! The picture of a run: rows for phases, faults, promotions, nodes, lag and operations over one time axis. Pure.

use super::charts::{data, folded, lag_row, op_rows};
use super::lanes::{self, FaultBar, Lane, Mark, MarkKind, NodeRole, State, Stretch, Trouble};
use super::series::{Grid, lag_series, op_series};
use super::shapes::{Guide, MOST_SHAPES, Row, Shape, Tick, percent, place};
use super::unheld::unheld_row;
use crate::facts::{Facts, Ledger, PhaseSpan, Window};
use crate::history::History;
use crate::report::run::Report;
use crate::topology::Health;
use crate::words::page::{at, count, counted, length};

/// In a lane with more stretches than this, stretches that are too narrow to see are left out.
const MOST_STRETCHES: usize = 300;
/// The most rows for faults that overlap.
const MOST_TRACKS: usize = 6;
/// The height of one fault in pixels.
const TRACK_PX: u32 = 20;

/// The whole picture.
pub struct Picture {
    /// The id of its guides on the page.
    pub id: String,
    /// What the time axis shows.
    pub axis: &'static str,
    /// The left edge in seconds.
    pub from_s: f64,
    /// The width in seconds.
    pub span_s: f64,
    /// The time axis.
    pub ticks: Vec<Tick>,
    /// Lines through all rows.
    pub guides: Vec<Guide>,
    /// The rows from top to bottom.
    pub rows: Vec<Row>,
    /// The width of a bucket: `100 ms`.
    pub bucket: String,
    /// Whether acknowledged writes were lost.
    pub has_losses: bool,
    /// Whether there are operations to show.
    pub has_ops: bool,
    /// The numbers that the script of the page shows under the pointer, as JSON without strings.
    pub data: String,
}

/// The picture of a history with the outages of its report.
pub fn picture(facts: &Facts<'_>, report: &Report) -> Picture {
    let (history, failovers) = (facts.history, &report.timed_failovers());
    let window = lanes::picture_window(facts);
    let shards = history.header.plan.shards() * facts.clients.sets().len() as u16;
    let grid = Grid::fine(window, shards, history.ops.len());
    let marks = lanes::marks(facts, failovers);
    let ops = folded(op_series(facts, &grid), &report.outages);
    let lags = lag_series(history, &grid);
    let mut rows = vec![phase_row(&facts.phases, &grid)];
    rows.extend(fault_row(&lanes::fault_bars(facts), &grid));
    rows.extend(unheld_row(report, facts, &grid));
    rows.extend(mark_row(&marks, &grid));
    rows.extend(loss_row(&facts.ledger, &grid));
    let lanes = lanes::lanes(facts, failovers, window);
    rows.extend(lanes.iter().enumerate().map(|(index, lane)| {
        let heading = if index == 0 { "Nodes" } else { "" };
        Row { heading: heading.to_owned(), ..lane_row(lane, history, &grid) }
    }));
    rows.extend(lag_row(&lags, &grid));
    rows.extend(op_rows(&ops, &report.outages, &grid));
    Picture {
        id: "guides".to_owned(),
        axis: "time in the run",
        from_s: grid.edge_s(0),
        span_s: grid.width_s() * grid.count as f64,
        ticks: ticks(&grid),
        guides: guides(&facts.phases, &marks, &grid),
        rows,
        bucket: length(grid.width_ns as f64 / 1e6).replace(".000", ""),
        has_losses: !facts.ledger.loss_spans.is_empty(),
        has_ops: !ops.is_empty(),
        data: data(&grid, &ops),
    }
}

fn is_seen(window: Window, grid: &Grid) -> bool {
    window.to_ns >= grid.from_ns && grid.part(window.from_ns) < 1.0
}

pub(super) fn ticks(grid: &Grid) -> Vec<Tick> {
    let span_s = grid.width_s() * grid.count as f64;
    let mut step_s = 1.0;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle() {
        if span_s / step_s <= 10.0 {
            break;
        }
        step_s *= factor;
    }
    let first = (grid.edge_s(0) / step_s).ceil();
    let ticks = (0..=10).map(|number| (first + f64::from(number)) * step_s);
    ticks
        .take_while(|&at_s| at_s <= grid.edge_s(grid.count))
        .map(|at_s| Tick::new((at_s - grid.edge_s(0)) / span_s, format!("{at_s:.0} s")))
        .collect()
}

fn guides(phases: &[PhaseSpan], marks: &[Mark], grid: &Grid) -> Vec<Guide> {
    let begins = phases.iter().map(|phase| (phase.window.from_ns, "guide-phase"));
    let promotions = marks.iter().filter(|mark| matches!(mark.kind, MarkKind::Promoted { .. }));
    let all: Vec<_> = begins.chain(promotions.map(|mark| (mark.at_ns, "guide-promotion"))).collect();
    // With too many lines, none helps.
    if all.len() > 60 {
        return Vec::new();
    }
    let inside = all.into_iter().filter(|&(at_ns, _)| grid.index(at_ns).is_some_and(|_| at_ns > grid.from_ns));
    inside.map(|(at_ns, class)| Guide { x: percent(grid.part(at_ns)), class }).collect()
}

pub(super) fn phase_row(phases: &[PhaseSpan], grid: &Grid) -> Row {
    let seen = phases.iter().filter(|phase| is_seen(phase.window, grid)).take(MOST_SHAPES);
    let shapes = seen.enumerate().map(|(index, phase)| {
        let (x, w) = place(phase.window, grid);
        let (from, to) = (at(phase.window.from_ns), at(phase.window.to_ns));
        Shape {
            x,
            w,
            h: "100%".to_owned(),
            class: if index % 2 == 0 { "phase even" } else { "phase odd" }.to_owned(),
            title: format!("phase {}: {from} to {to}", phase.name),
            text: phase.name.clone(),
            ..Shape::default()
        }
    });
    Row { label: "phases".to_owned(), height_px: 22, class: "lane", shapes: shapes.collect(), ..Row::default() }
}

/// The faults, each with its name: in its bar if that is wide enough on a small screen, or else beside it.
pub(super) fn fault_row(faults: &[FaultBar], grid: &Grid) -> Option<Row> {
    let mut tracks: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut shapes = Vec::new();
    for fault in faults.iter().take(MOST_SHAPES) {
        let what = format!("{} {}", fault.kind, fault.what);
        let (from, to) = (grid.part(fault.window.from_ns), grid.part(fault.window.to_ns));
        let (name, beside) = fault_name(&what, (from, to));
        let room = name.chars().count() as f64 * LETTER;
        let taken = match beside {
            "" => (from, to),
            "after" => (from, to + room),
            _ => (from - room, to),
        };
        let is_free = |track: &Vec<(f64, f64)>| track.iter().all(|(from, to)| taken.1 <= *from || taken.0 >= *to);
        let track = tracks.iter().position(is_free).unwrap_or_else(|| {
            if tracks.len() < MOST_TRACKS {
                tracks.push(Vec::new());
            }
            tracks.len() - 1
        });
        tracks[track].push(taken);
        let (x, w) = place(fault.window, grid);
        let end = if fault.undone { format!("until {}", at(fault.window.to_ns)) } else { "never undone".to_owned() };
        shapes.push(Shape {
            x,
            w,
            y_px: track as u32 * TRACK_PX + 1,
            h: (TRACK_PX - 2).to_string(),
            class: "fault".to_owned(),
            title: format!("{what}: from {} {end}", at(fault.window.from_ns)),
            text: name,
            beside,
            beside_x: percent(if beside == "before" { from } else { to }),
            ..Shape::default()
        });
    }
    let height_px = tracks.len() as u32 * TRACK_PX;
    let row = Row { label: "faults".to_owned(), height_px, class: "lane", shapes, ..Row::default() };
    (height_px > 0).then_some(row)
}

/// The part of the picture's width that a letter takes on a small screen.
const LETTER: f64 = 0.0165;

/// A fault's name as far as it fits, and where it is: in the bar, after it or before it.
fn fault_name(what: &str, (from, to): (f64, f64)) -> (String, &'static str) {
    const MOST_BESIDE: usize = 30;
    const MOST_INSIDE: usize = 120;
    let beside = cut_off(what, MOST_BESIDE);
    let room = beside.chars().count() as f64 * LETTER;
    // The script of the page shortens what does not fit into a bar.
    if to - from >= room {
        return (cut_off(what, MOST_INSIDE), "");
    }
    if to + room <= 1.0 {
        return (beside, "after");
    }
    if room <= from {
        return (beside, "before");
    }
    let places = [(to - from, ""), (1.0 - to, "after"), (from, "before")];
    let (widest, place) = places.into_iter().fold((0.0, ""), |most, each| if each.0 > most.0 { each } else { most });
    let most = if place.is_empty() { MOST_INSIDE } else { (widest / LETTER) as usize };
    (cut_off(what, most), place)
}

fn cut_off(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// The lost writes by the time of their acknowledgement, with their number where there is room.
fn loss_row(ledger: &Ledger, grid: &Grid) -> Option<Row> {
    let spans = ledger.loss_spans.iter().filter(|span| is_seen(span.window, grid)).take(MOST_SHAPES);
    let mut named_until = 0.0;
    let shapes: Vec<Shape> = spans
        .map(|span| {
            let (x, w) = place(span.window, grid);
            let (from, to) = (at(span.window.from_ns), at(span.window.to_ns));
            let writes = counted(span.lost, "acknowledged write");
            let (left, right) = (grid.part(span.window.from_ns), grid.part(span.window.to_ns));
            let is_wide = right - left > 0.08;
            // A number that is cut off is a wrong number, and so are two over each other.
            let has_room = is_wide || named_until <= left;
            let beside = if is_wide {
                ""
            } else if right > 0.8 {
                "before"
            } else {
                "after"
            };
            if has_room {
                named_until = if is_wide { right } else { right + 0.2 };
            }
            Shape {
                x,
                // So that a moment is seen, too.
                w: if right - left < 0.004 { percent(0.004) } else { w },
                h: "100%".to_owned(),
                class: "lost".to_owned(),
                title: format!(
                    "{writes} of {} lost, acknowledged from {from} to {to}; cause: {}",
                    span.shard, span.cause
                ),
                text: if has_room { format!("{} lost", count(span.lost)) } else { String::new() },
                beside: if has_room { beside } else { "" },
                beside_x: percent(if beside == "before" { left } else { right.max(left + 0.004) }),
                ..Shape::default()
            }
        })
        .collect();
    let note = "when acknowledged".to_owned();
    let row = Row { label: "lost writes".to_owned(), note, height_px: 22, class: "lane", ..Row::default() };
    (!shapes.is_empty()).then_some(Row { shapes, ..row })
}

/// Promotions in the upper half, epochs in the lower, with text where there is room.
pub(super) fn mark_row(marks: &[Mark], grid: &Grid) -> Option<Row> {
    let mut named_until = [f64::MIN; 2];
    let mut shapes = Vec::new();
    for mark in marks.iter().take(MOST_SHAPES).filter(|mark| grid.index(mark.at_ns).is_some()) {
        let part = grid.part(mark.at_ns);
        let (half, name, title, room) = match &mark.kind {
            MarkKind::Promoted { shard, from, to, epoch, by } => {
                let title =
                    format!("{to} replaces {from} as master of {shard} (epoch {epoch}) at {}, {by}", at(mark.at_ns));
                (0, format!("▲ {to}"), title, 0.12)
            }
            MarkKind::Epoch(epoch) => {
                (1, format!("◆ epoch {epoch}"), format!("epoch {epoch}, first seen at {}", at(mark.at_ns)), 0.14)
            }
        };
        let to_the_left = part > 1.0 - room;
        let left_edge = if to_the_left { part - room } else { part };
        let named = left_edge >= named_until[half];
        if named {
            named_until[half] = left_edge + room;
        }
        let symbol = name.chars().take(1).collect::<String>();
        let text = match (named, to_the_left) {
            (true, false) => name,
            (true, true) => format!("{} {symbol}", name.trim_start_matches(|letter| "▲◆ ".contains(letter))),
            (false, _) => symbol,
        };
        shapes.push(Shape {
            x: percent(part),
            y_px: half as u32 * 18,
            class: if half == 0 { "mark promotion" } else { "mark epoch" }.to_owned(),
            title,
            text,
            anchor: if to_the_left && named { "end" } else { "start" },
            ..Shape::default()
        });
    }
    let row = Row { label: "promotions".to_owned(), note: "and epochs".to_owned(), height_px: 36, ..Row::default() };
    (!shapes.is_empty()).then_some(Row { class: "lane marks", shapes, ..row })
}

/// A rectangle for each stretch of the same role and fault, and strips at the bottom for the flags of other nodes: a low
/// one for PFAIL, a high one for FAIL.
fn lane_row(lane: &Lane, history: &History, grid: &Grid) -> Row {
    let stretches = thinned(&lane.stretches, grid);
    let mut shapes = Vec::new();
    for alike in stretches.chunk_by(|a, b| short(&a.state) == short(&b.state)) {
        let [first, .., last] = alike else {
            let [only] = alike else { continue };
            shapes.extend(base(lane, only, only.window, grid));
            continue;
        };
        let window = Window { from_ns: first.window.from_ns, to_ns: last.window.to_ns };
        let unflagged = State { health: Health::Ok, flagged_by: 0, ..first.state.clone() };
        shapes.extend(base(lane, &Stretch { window, state: unflagged }, window, grid));
    }
    for stretch in &stretches {
        let (y_px, h, class) = match stretch.state.health {
            Health::Ok => continue,
            Health::Pfail => (20, "4", "pfail"),
            Health::Fail => (17, "7", "failed"),
        };
        shapes.push(lane_shape(lane, stretch, (y_px, h), class, String::new(), grid));
    }
    let planned = history.header.plan.nodes.iter().find(|planned| planned.node == lane.node);
    let note = planned.map_or_else(String::new, |planned| planned.shard.to_string());
    Row { label: lane.node.to_string(), note, height_px: 24, class: "lane", shapes, ..Row::default() }
}

fn base(lane: &Lane, stretch: &Stretch, window: Window, grid: &Grid) -> Vec<Shape> {
    let stretch = Stretch { window, ..stretch.clone() };
    let mut shapes = vec![lane_shape(lane, &stretch, (0, "24"), class(&stretch.state), short(&stretch.state), grid)];
    if stretch.state.trouble == Trouble::CutOff {
        // At the edge, so that the text stays readable.
        shapes.push(lane_shape(lane, &stretch, (0, "6"), "cut", String::new(), grid));
    }
    shapes
}

fn lane_shape(lane: &Lane, stretch: &Stretch, (y_px, h): (u32, &str), class: &str, text: String, grid: &Grid) -> Shape {
    let (x, w) = place(stretch.window, grid);
    let (from, to) = (at(stretch.window.from_ns), at(stretch.window.to_ns));
    let title = format!("{}: {}, {from} to {to}", lane.node, stretch.state.in_words());
    Shape { x, w, y_px, h: h.to_owned(), class: class.to_owned(), title, text, ..Shape::default() }
}

/// The stretches that are wide enough to see, if there are too many to draw.
fn thinned(stretches: &[Stretch], grid: &Grid) -> Vec<Stretch> {
    let is_wide = |stretch: &Stretch| grid.part(stretch.window.to_ns) - grid.part(stretch.window.from_ns) > 0.0025;
    if stretches.len() <= MOST_STRETCHES {
        return stretches.to_vec();
    }
    let mut kept: Vec<Stretch> = Vec::new();
    for stretch in stretches {
        match kept.last_mut() {
            Some(last) if !is_wide(stretch) => last.window.to_ns = stretch.window.to_ns,
            _ => kept.push(stretch.clone()),
        }
    }
    kept
}

/// The text in a lane.
fn short(state: &State) -> String {
    let role = match state.role {
        Some(NodeRole::Master) => "master".to_owned(),
        Some(NodeRole::Empty) => "no slots".to_owned(),
        Some(NodeRole::Replica(Some(master))) => format!("replica of {master}"),
        Some(NodeRole::Replica(None)) => "replica".to_owned(),
        None => "?".to_owned(),
    };
    match state.trouble {
        Trouble::Down => "down".to_owned(),
        Trouble::Paused => "paused".to_owned(),
        Trouble::CutOff => format!("cut off · {role}"),
        Trouble::None | Trouble::WrongClock | Trouble::FaultyDisk | Trouble::Hindered if state.silent => {
            "silent".to_owned()
        }
        Trouble::Hindered => format!("{role} · impaired"),
        Trouble::WrongClock => format!("{role} · wrong clock"),
        Trouble::FaultyDisk => format!("{role} · faulty disk"),
        Trouble::None => role,
    }
}

fn class(state: &State) -> &'static str {
    match (state.trouble, state.role) {
        (Trouble::Down, _) => "down",
        (Trouble::Paused, _) => "paused",
        _ if state.silent && state.trouble < Trouble::CutOff => "silent",
        (_, Some(NodeRole::Master)) => "master",
        (_, Some(NodeRole::Replica(_))) => "replica",
        (_, Some(NodeRole::Empty) | None) => "nobody",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_faults_stay_in_the_picture() {
        let what = "partition minority (between [shard-1/master, half-clients] and [others])";
        for from in 0..50 {
            for to in from..=50 {
                let (from, to) = (f64::from(from) / 50.0, f64::from(to) / 50.0);
                for what in [what, "stop node-1"] {
                    let (name, place) = fault_name(what, (from, to));
                    let room = name.chars().count() as f64 * LETTER;
                    let is_whole = match place {
                        "" => to - from >= 19.0 * LETTER || to - from >= room,
                        "after" => to + room <= 1.0 + 1e-9,
                        _ => from - room >= -1e-9,
                    };
                    assert!(is_whole, "{name} {place} {from} to {to}");
                    assert!(name.chars().count() >= 11, "{name} says nothing");
                }
            }
        }
    }
}
