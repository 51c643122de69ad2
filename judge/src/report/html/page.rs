//! The page of a run. Pure.

use std::borrow::Cow;
use std::fmt::Write;

use askama::Template;

use super::anatomy::{Figure, figures};
use super::lanes;
use super::picture::{Picture, picture};
use super::series::{Grid, op_series};
use super::table::{Room, Table, short};
use super::tables;
use super::witness::{self, Drawing};
use crate::check::{Judgement, Verdict};
use crate::facts::{Facts, Failover};
use crate::history::StepProblem;
use crate::report::figures::{Figures, LongestOutage, slowest};
use crate::report::grounds::invariant_name;
use crate::report::reproduce::{Reproduce, reproduce};
use crate::report::run::Report;
use crate::suite::ClientSet;
use crate::words::page::{at, count, counted, figure, length, length_or_dash};

/// The most bytes of all invariants on a page, so that the page stays below 2 MB.
const INVARIANT_BYTES: usize = 400_000;

/// The most violations that are drawn on a page, of at most [`Judgement::WITNESSES`] an invariant.
const MOST_DRAWINGS: usize = 12;

/// The most warnings on a page.
const MOST_WARNINGS: usize = 30;

/// The most bytes of one text.
const LONGEST: usize = 4_000;

/// `templates/report.html`.
#[derive(Template)]
#[template(path = "report.html")]
pub struct Page {
    suite: String,
    server: String,
    about: String,
    verdict: &'static str,
    class: &'static str,
    headline: String,
    story: Vec<String>,
    warnings: Vec<String>,
    tiles: Vec<Tile>,
    picture: Picture,
    anatomy: Vec<Figure>,
    figures: Vec<Table>,
    short_outages: String,
    happened: Vec<Table>,
    invariants: Vec<Invariant>,
    invariants_left_out: String,
    phases: Vec<Table>,
    ledger: Vec<Table>,
    configuration: Vec<Table>,
    versions: Table,
    again: Reproduce,
}

/// A figure in large letters.
struct Tile {
    name: &'static str,
    value: String,
    note: String,
}

/// An invariant and its judgement.
struct Invariant {
    name: String,
    verdict: &'static str,
    expected: String,
    seen: String,
    observations: String,
    drawings: Vec<Drawing>,
    drawn: String,
    evidence: Vec<String>,
    figures: String,
    open: bool,
}

impl Page {
    /// Gathers everything that the template shows.
    pub fn new(report: &Report, facts: &Facts<'_>) -> Self {
        let report = &*with_sides(report, facts);
        let plan = &report.header.plan;
        let window = lanes::picture_window(facts);
        let coarse = Grid::coarse(window, plan.shards() * facts.clients.sets().len() as u16);
        let operations = tables::operations(&op_series(facts, &coarse), &coarse);
        let (invariants, left_out) = invariants(&report.invariants);
        let filled = |tables: Vec<Table>| tables.into_iter().filter(|table| !table.rows.is_empty()).collect();
        Self {
            suite: plan.name.clone(),
            server: report.header.server.version.to_string(),
            about: plan.about.clone(),
            verdict: report.verdict.word(),
            class: if passed_with_losses(report) { "pass lossy" } else { report.verdict.word() },
            headline: headline(report),
            story: story(report),
            warnings: warnings(report),
            tiles: tiles(report),
            picture: picture(facts, report),
            anatomy: figures(&report.anatomy),
            figures: filled(vec![tables::failovers(report), tables::outages(&report.outages)]),
            short_outages: tables::short_outages(&report.outages),
            happened: filled(vec![
                tables::events(facts, report),
                tables::changed(report),
                tables::lanes(&lanes::lanes(facts, &report.timed_failovers(), window)),
                operations,
            ]),
            invariants,
            invariants_left_out: left_out,
            phases: filled(vec![tables::phases(report), tables::reasons(report)]),
            ledger: filled(vec![
                tables::ledger(&report.ledger),
                tables::losses(&report.ledger),
                tables::lost_writes(&report.ledger),
            ]),
            configuration: tables::configuration(report),
            versions: tables::versions(report),
            again: reproduce(plan, report.header.speed),
        }
    }
}

/// The invariants that fit on a page, in their order, and how many are left out. Those that do not hold come first.
fn invariants(judgements: &[Judgement]) -> (Vec<Invariant>, String) {
    let mut by_weight: Vec<(usize, &Judgement)> = judgements.iter().enumerate().collect();
    by_weight.sort_by_key(|(_, judgement)| std::cmp::Reverse(judgement.verdict));
    let mut room = Room(INVARIANT_BYTES);
    let mut drawings_left = MOST_DRAWINGS;
    let mut shown: Vec<(usize, Invariant)> = Vec::new();
    for (position, judgement) in by_weight {
        if room.0 < 1_000 {
            break;
        }
        let mut invariant = Invariant::new(judgement, &mut room);
        invariant.draw(judgement, &mut drawings_left);
        shown.push((position, invariant));
    }
    shown.sort_by_key(|(position, _)| *position);
    let left_out = match judgements.len() - shown.len() {
        0 => String::new(),
        more => format!("... and {} that report.json has.", counted(more as u64, "more invariant")),
    };
    (shown.into_iter().map(|(_, invariant)| invariant).collect(), left_out)
}

impl Invariant {
    fn new(judgement: &Judgement, room: &mut Room) -> Self {
        let mut invariant = Self::whole(judgement);
        for text in [&mut invariant.name, &mut invariant.expected, &mut invariant.seen, &mut invariant.figures] {
            *text = short(text, LONGEST);
            room.take(text);
        }
        // What surrounds the texts.
        room.0 = room.0.saturating_sub(400);
        let fitting = judgement.evidence.iter().map(|line| short(line, LONGEST)).take_while(|line| {
            room.0 = room.0.saturating_sub(10);
            room.take(line)
        });
        invariant.evidence = fitting.collect();
        let more = judgement.evidence.len() - invariant.evidence.len();
        if more > 0 {
            invariant.evidence.push(format!("... and {} in report.json", counted(more as u64, "more line")));
        }
        invariant
    }

    /// Draws violations, as many as the page has left.
    fn draw(&mut self, judgement: &Judgement, left: &mut usize) {
        let most = Judgement::WITNESSES.min(*left);
        self.drawings = judgement.witnesses.iter().filter_map(witness::drawing).take(most).collect();
        *left -= self.drawings.len();
        let all = (judgement.witnesses.len() as u64).saturating_add(judgement.witnesses_left);
        let drawn = self.drawings.len() as u64;
        if drawn > 0 && all > drawn {
            self.drawn = format!("{drawn} of {} are drawn.", count(all));
        }
    }

    /// Without evidence.
    fn whole(judgement: &Judgement) -> Self {
        let figures = judgement.figures.iter().map(|(name, value)| format!("{name} {}", figure(*value)));
        Self {
            name: invariant_name(&judgement.invariant, &judgement.settings),
            verdict: judgement.verdict.word(),
            expected: judgement.expected.clone(),
            seen: judgement.seen.clone(),
            observations: counted(judgement.observations, "observation"),
            drawings: Vec::new(),
            drawn: String::new(),
            evidence: Vec::new(),
            figures: figures.collect::<Vec<_>>().join(" · "),
            open: judgement.verdict != Verdict::Pass,
        }
    }
}

/// The report with its outages by side of the clients, which reports of earlier versions do not tell apart.
fn with_sides<'r>(report: &'r Report, facts: &Facts<'_>) -> Cow<'r, Report> {
    let is_mixed = report.outages.iter().all(|outage| outage.clients == ClientSet::All);
    if facts.clients.differ() && is_mixed && !facts.history.ops.is_empty() {
        return Cow::Owned(Report { outages: facts.outages.clone(), ..report.clone() });
    }
    Cow::Borrowed(report)
}

fn passed_with_losses(report: &Report) -> bool {
    report.verdict == Verdict::Pass && report.ledger.lost_in_all() > 0
}

fn headline(report: &Report) -> String {
    let all = report.invariants.len();
    let with = |verdict| report.invariants.iter().filter(|judgement| judgement.verdict == verdict).count();
    let (failed, open) = (with(Verdict::Fail), with(Verdict::Inconclusive));
    match report.verdict {
        Verdict::Pass if passed_with_losses(report) => {
            let lost = report.ledger.lost_in_all();
            let were = if lost == 1 { "was" } else { "were" };
            let writes = counted(lost, "acknowledged write");
            format!("Passed; {writes} {were} lost, which this suite measures and does not judge")
        }
        Verdict::Pass if report.without_invariants() => {
            format!(
                "Passed: the suite has no invariants, so only the {all} checks of slotquake's own were judged; they hold"
            )
        }
        Verdict::Pass if all == 1 => "Passed: the invariant holds".to_owned(),
        Verdict::Pass => format!("Passed: all {all} invariants hold"),
        Verdict::Fail if open > 0 => {
            format!("Failed: {failed} of {all} invariants do not hold, {open} could not be decided")
        }
        Verdict::Fail => format!("Failed: {failed} of {all} invariants do not hold"),
        Verdict::Inconclusive => format!("Inconclusive: {open} of {all} invariants could not be decided"),
    }
}

/// The run in a few sentences: invariants that do not hold, failovers, lost writes.
fn story(report: &Report) -> Vec<String> {
    const MOST: usize = 4;
    let mut unheld: Vec<&Judgement> = report.invariants.iter().filter(|each| each.verdict != Verdict::Pass).collect();
    unheld.sort_by_key(|judgement| std::cmp::Reverse(judgement.verdict));
    let mut story: Vec<String> = unheld
        .iter()
        .take(MOST)
        .map(|judgement| {
            let name = invariant_name(&judgement.invariant, &judgement.settings);
            short(&format!("{name}: {}", judgement.seen), LONGEST) + "."
        })
        .collect();
    if unheld.len() > MOST {
        story.push(format!("{} more are below.", unheld.len() - MOST));
    }
    story.extend(report.timed_failovers().iter().take(6).map(failover_sentence));
    if report.failovers.len() > 6 {
        story.push(format!("{} more failovers are in the table below.", report.failovers.len() - 6));
    }
    let ledger = &report.ledger;
    let mut writes = format!("{} acknowledged", counted(ledger.acknowledged, "write"));
    let lost = match ledger.lost {
        0 if ledger.keys_unread + ledger.undecided + ledger.overwritten + ledger.untold_likely == 0 => {
            ", none of them lost".to_owned()
        }
        0 => ", none of them known to be lost".to_owned(),
        lost => {
            let by = ledger.lost_by_cause.iter().map(|(cause, number)| format!("{cause} {}", count(*number)));
            let by = by.collect::<Vec<_>>().join(", ");
            if by.is_empty() { format!(", {} lost", count(lost)) } else { format!(", {} lost ({by})", count(lost)) }
        }
    };
    writes.push_str(&lost);
    if ledger.overwritten > 0 {
        let _ = write!(writes, ", {} lost and overwritten", count(ledger.overwritten));
    }
    if ledger.wrong_reads > 0 {
        let _ = write!(writes, ", {} by a master", counted(ledger.wrong_reads, "wrong read"));
    }
    if ledger.undecided > 0 {
        let _ = write!(writes, ", {} undecided", count(ledger.undecided));
    }
    if ledger.keys_unread > 0 {
        let _ = write!(writes, ", {} not read back", counted(ledger.keys_unread, "key"));
    }
    story.push(format!("{writes}."));
    story
}

fn failover_sentence(failover: &Failover) -> String {
    let (shard, node, when) = (failover.shard, failover.old_master, at(failover.from_ns));
    let begin = match failover.kind {
        Some(kind) => format!("{shard}: {node} {} at {when}", kind.spec().past),
        None if failover.ordered_by.is_some() => format!("{shard}: {node} was replaced by CLUSTER FAILOVER at {when}"),
        None => format!("{shard}: {node} was replaced without a fault at {when}"),
    };
    let Some(successor) = failover.new_master else {
        return format!("{begin}; no replica was promoted by {}.", at(failover.until_ns));
    };
    let mut parts = Vec::new();
    if let Some(fail_ms) = failover.fail_ms {
        parts.push(format!("flagged FAIL after {} ({})", length(fail_ms), failover.fail_by()));
    }
    parts.push(match failover.promotion_ms {
        Some(promotion_ms) => {
            format!("{successor} promoted after {} ({})", length(promotion_ms), failover.promotion_by())
        }
        None => format!("{successor} took over"),
    });
    if let (Some(first_write_ms), Some(_)) = (failover.first_write_ms, failover.promotion_ms) {
        parts.push(format!("first write after {}", length(first_write_ms)));
    }
    format!("{begin}; {}.", parts.join(", "))
}

/// What the reader must know before anything else.
fn warnings(report: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(by) = report.interrupted_by() {
        warnings.push(format!("The run was interrupted by {by}."));
    }
    if !report.complete {
        warnings.push("The history is incomplete, because the run was killed.".to_owned());
    }
    warnings.extend(report.step_problems().map(|problem| {
        let (StepProblem::Suite(text) | StepProblem::Unmet(text) | StepProblem::Harness(text)) = problem;
        format!("A step failed: {text}.")
    }));
    warnings.extend(report.left_behind().map(|what| format!("Left behind: {what}.")));
    let more = warnings.len().saturating_sub(MOST_WARNINGS);
    warnings.truncate(MOST_WARNINGS);
    let mut warnings: Vec<String> = warnings.iter().map(|warning| short(warning, LONGEST)).collect();
    if more > 0 {
        warnings.push(format!("... and {} that report.json has.", counted(more as u64, "more warning")));
    }
    warnings
}

/// Which of several failovers a figure is of.
fn slowest_of(figures: &Figures) -> String {
    match (figures.failovers, figures.promoted) {
        (0 | 1, _) => String::new(),
        (all, promoted) if promoted < all => format!("; {promoted} of {all} failovers promoted a replica"),
        (all, _) => format!("; slowest of {all} failovers"),
    }
}

fn tiles(report: &Report) -> Vec<Tile> {
    let figures = Figures::new(report);
    let outage = |name, outage: Option<LongestOutage>, cut_off: Option<LongestOutage>| Tile {
        name,
        value: length_or_dash(outage.map(|outage| outage.length_ms)),
        note: match (outage, cut_off) {
            (None, _) => "no operations".to_owned(),
            (Some(_), Some(cut_off)) => {
                let open = if cut_off.ended { "" } else { " or more" };
                format!("longest; for clients that were cut off {}{open}", length(cut_off.length_ms))
            }
            (Some(outage), None) if !outage.ended => "longest; still open at the end of the steps".to_owned(),
            (Some(outage), None) if outage.stall => "longest; every operation was answered, but late".to_owned(),
            (Some(_), None) => "longest of all shards".to_owned(),
        },
    };
    let ledger = &report.ledger;
    let failovers = report.timed_failovers();
    let is_ordered = slowest(&failovers).is_some_and(|shown| shown.kind.is_none() && shown.ordered_by.is_some());
    let from = if is_ordered { "CLUSTER FAILOVER" } else { "fault" };
    vec![
        Tile {
            name: "failover",
            value: length_or_dash(figures.first_write_ms.or(figures.promotion_ms)),
            note: match (figures.first_write_ms, figures.promotion_ms, report.failovers.is_empty()) {
                (Some(_), ..) => format!("from {from} to first write{}", slowest_of(&figures)),
                (None, Some(_), _) => format!("from {from} to promotion{}", slowest_of(&figures)),
                (None, None, true) => "no fault at a master".to_owned(),
                (None, None, false) => "no promotion".to_owned(),
            },
        },
        outage("write outage", figures.write_outage, figures.cut_off_write_outage),
        outage("read outage", figures.read_outage, figures.cut_off_read_outage),
        Tile {
            name: "lost writes",
            value: count(ledger.lost_in_all()),
            note: format!("of {} acknowledged", count(ledger.acknowledged)),
        },
    ]
}
