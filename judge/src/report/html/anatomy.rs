//! The picture and the tables of a failover: its milestones, when the server's rules expect them, and what each node knew
//! when. Pure.

use super::shapes::{Tick, percent};
use super::table::Table;
use crate::anatomy::{Anatomy, Milestone, Observer, What};
use crate::units::NodeNo;
use crate::words::page::{counted, fixed, length, length_or_dash};

/// Failovers after this number have no picture.
const MOST_PICTURES: usize = 24;
/// Nodes after this number are only in the table.
const MOST_NODES: usize = 40;
/// The part after FAIL is drawn again, enlarged, if it is shorter than this share of the whole.
const SMALL: f64 = 0.35;

/// One failover on a page.
pub struct Figure {
    /// The heading: `Failover of shard-1: node-1 to node-4, epoch 7`.
    pub heading: String,
    /// Where the time went, in one sentence.
    pub sentence: String,
    /// The old master.
    pub old_master: String,
    /// How exact the times are; empty if unknown.
    pub exactness: String,
    /// The whole failover, and if it is short the part after FAIL.
    pub stages: Vec<Stage>,
    /// The same as tables.
    pub tables: Vec<Table>,
}

/// A span of the failover on one time axis.
pub struct Stage {
    /// The title; empty for the whole.
    pub title: &'static str,
    /// Its left edge in milliseconds from the fault or the CLUSTER FAILOVER.
    pub from_ms: f64,
    /// Its width in milliseconds.
    pub span_ms: f64,
    /// The labels of the time axis.
    pub ticks: Vec<Tick>,
    /// The position of the fault in percent; None if it is outside.
    pub fault: Option<String>,
    /// A row for each milestone.
    pub phases: Vec<Row>,
    /// A row for each node.
    pub nodes: Vec<Row>,
}

/// A row with its label.
pub struct Row {
    /// The label to its left.
    pub label: String,
    /// A small note next to the label.
    pub note: String,
    /// Rectangles, from back to front.
    pub bars: Vec<Bar>,
    /// The text next to the bar.
    pub text: String,
    /// The edge of the bar next to the text, in percent.
    pub text_x: String,
    /// Where the text is: `before`, `within` or `after` the bar.
    pub place: &'static str,
}

/// A rectangle; without a width, a mark.
pub struct Bar {
    /// Its left edge in percent.
    pub x: String,
    /// Its width in percent; empty for a mark.
    pub w: String,
    /// Its top edge in pixels.
    pub y_px: u32,
    /// Its height in pixels.
    pub h_px: u32,
    /// Its class in the style sheet.
    pub class: &'static str,
    /// Its tooltip.
    pub title: String,
}

/// The failovers of a report that have an anatomy.
pub fn figures(all: &[Anatomy]) -> Vec<Figure> {
    all.iter().enumerate().map(|(index, anatomy)| figure(anatomy, index < MOST_PICTURES)).collect()
}

fn figure(anatomy: &Anatomy, drawn: bool) -> Figure {
    let kind = if anatomy.fault.is_some() { "Failover" } else { "Handover" };
    let successor = anatomy.new_master.map_or_else(|| ", no promotion".to_owned(), |node| format!(" to {node}"));
    let epoch = anatomy.epoch.map(|epoch| format!(", epoch {epoch}")).unwrap_or_default();
    let exactness = anatomy.log_error_ms.map(|error_ms| {
        format!(
            "Times from logs and of the last PONG are at most {} late and 1 ms early. Polled times are up to 100 ms late.",
            length(error_ms)
        )
    });
    Figure {
        heading: format!("{kind} of {}: {}{successor}{epoch}", anatomy.shard, anatomy.old_master),
        sentence: anatomy.sentence.clone(),
        old_master: anatomy.old_master.to_string(),
        exactness: exactness.unwrap_or_default(),
        stages: if drawn { stages(anatomy) } else { Vec::new() },
        tables: tables(anatomy),
    }
}

fn stages(anatomy: &Anatomy) -> Vec<Stage> {
    let moments = || anatomy.milestones.iter().map(|milestone| milestone.after_ms);
    if anatomy.milestones.is_empty() {
        return Vec::new();
    }
    let (from_ms, to_ms) = (moments().fold(0.0, f64::min), moments().fold(0.0, f64::max));
    let mut stages: Vec<Stage> = Axis::over(from_ms, to_ms).map(|axis| stage(anatomy, "", axis)).into_iter().collect();
    let fail_ms = anatomy.at(What::Fail).filter(|_| anatomy.at(What::Promotion).is_some());
    if let Some(fail_ms) = fail_ms.filter(|fail_ms| to_ms - fail_ms < (to_ms - from_ms) * SMALL) {
        stages.extend(Axis::over(fail_ms, to_ms).map(|axis| stage(anatomy, "From FAIL on, enlarged", axis)));
    }
    stages
}

/// A time axis in milliseconds.
#[derive(Clone, Copy)]
struct Axis {
    from_ms: f64,
    span_ms: f64,
}

impl Axis {
    /// An axis with some room at both ends; None if the numbers are too large for one.
    fn over(from_ms: f64, to_ms: f64) -> Option<Self> {
        let room_ms = ((to_ms - from_ms) * 0.02).max(0.5);
        let axis = Self { from_ms: from_ms - room_ms, span_ms: to_ms - from_ms + room_ms * 2.0 };
        let measurable = axis.from_ms.abs() < 1e12 && axis.span_ms < 1e12;
        measurable.then_some(axis)
    }

    fn to_ms(self) -> f64 {
        self.from_ms + self.span_ms
    }

    fn part(self, ms: f64) -> f64 {
        ((ms - self.from_ms) / self.span_ms).clamp(0.0, 1.0)
    }

    /// A rectangle for a span; None if it is outside.
    fn bar(
        self,
        (from_ms, to_ms): (f64, f64),
        (y_px, h_px): (u32, u32),
        class: &'static str,
        title: String,
    ) -> Option<Bar> {
        let seen = to_ms >= from_ms && from_ms <= self.to_ms() && to_ms >= self.from_ms;
        let (from, to) = (self.part(from_ms), self.part(to_ms));
        seen.then(|| Bar { x: percent(from), w: percent((to - from).max(0.002)), y_px, h_px, class, title })
    }

    /// A mark for a moment; None if it is outside.
    fn mark(self, at_ms: f64, class: &'static str, title: String) -> Option<Bar> {
        let seen = (self.from_ms..=self.to_ms()).contains(&at_ms);
        seen.then(|| Bar { x: percent(self.part(at_ms)), w: String::new(), y_px: 0, h_px: 20, class, title })
    }

    /// At most ten labels at round times.
    fn ticks(self) -> Vec<Tick> {
        let mut step_ms = 1.0;
        for factor in [2.0, 2.5, 2.0].into_iter().cycle() {
            if self.span_ms / step_ms <= 9.0 {
                break;
            }
            step_ms *= factor;
        }
        let first = (self.from_ms / step_ms).ceil();
        let times = (0..=8).map(|number| (first + f64::from(number)) * step_ms);
        let label = |ms: f64| {
            if ms.abs() < 0.5 {
                "0".to_owned()
            } else if step_ms < 1000.0 && self.to_ms() < 2000.0 {
                format!("{ms:.0} ms")
            } else {
                format!("{} s", fixed(ms / 1e3, if step_ms < 100.0 { 2 } else { usize::from(step_ms < 1000.0) }))
            }
        };
        times
            .take_while(|at_ms| *at_ms <= self.to_ms())
            .map(|at_ms| Tick::new(self.part(at_ms), label(at_ms)))
            .collect()
    }
}

fn stage(anatomy: &Anatomy, title: &'static str, axis: Axis) -> Stage {
    let mut phases = Vec::new();
    for (index, milestone) in anatomy.milestones.iter().enumerate() {
        if milestone.after_ms >= axis.from_ms {
            phases.push(phase(anatomy, milestone, anatomy.preceding_ms(index), axis));
        }
    }
    let nodes =
        anatomy.observers.iter().take(MOST_NODES).map(|(node, observer)| node_row(anatomy, *node, observer, axis));
    Stage {
        title,
        from_ms: axis.from_ms,
        span_ms: axis.span_ms,
        ticks: axis.ticks(),
        fault: (axis.from_ms..=axis.to_ms()).contains(&0.0).then(|| percent(axis.part(0.0))),
        phases,
        nodes: nodes.collect(),
    }
}

/// A bar from the milestone before to this one, and below it the span by the server's rules.
fn phase(anatomy: &Anatomy, milestone: &Milestone, begin_ms: f64, axis: Axis) -> Row {
    let (what, after_ms) = (milestone.what.words(), milestone.after_ms);
    let known = milestone.node.map(|node| format!(" of {node}")).unwrap_or_default();
    let title = format!(
        "{what}: at {}, {} after the milestone before it ({}{known})",
        moment(after_ms),
        length(after_ms - begin_ms),
        milestone.source
    );
    let class = if milestone.late() { "late" } else { "phase-bar" };
    let expected = milestone.expected_ms.and_then(|(from_ms, to_ms)| {
        let title = format!("{what}: expected between {} and {} by the server's rules", moment(from_ms), moment(to_ms));
        axis.bar((from_ms, to_ms), (14, 6), "expected", title)
    });
    let bars: Vec<Bar> = expected.into_iter().chain(axis.bar((begin_ms, after_ms), (2, 11), class, title)).collect();
    // Next to the bar on the side with more room, or within it if there is none.
    let (begin, end) = (axis.part(begin_ms), axis.part(after_ms));
    let (text_x, place) = match (begin, 1.0 - end) {
        (left, right) if left.max(right) < 0.4 => (end, "within"),
        (left, right) if left > right => (begin, "before"),
        _ => (end, "after"),
    };
    Row {
        label: what.to_owned(),
        note: milestone.node.map(|node| node.to_string()).unwrap_or_default(),
        bars,
        text: phase_text(anatomy, milestone, after_ms - begin_ms),
        text_x: percent(text_x),
        place,
    }
}

fn phase_text(anatomy: &Anatomy, milestone: &Milestone, took_ms: f64) -> String {
    let mut text = moment(milestone.after_ms);
    if milestone.after_ms > 0.0 && took_ms < milestone.after_ms {
        text = format!("{text} (+{})", length(took_ms));
    }
    let won = anatomy.elections.iter().find(|election| election.won_ms.is_some());
    match (milestone.what, won) {
        (What::Election, Some(won)) => {
            if let (Some(rank), Some(delay_ms)) = (won.rank, won.delay_ms) {
                text = format!("{text}, rank {rank}, delay {}", length(delay_ms as f64));
            }
        }
        (What::LastVote, Some(won)) => text = format!("{text}, {}", counted(won.granted.len() as u64, "vote")),
        _ => {}
    }
    if milestone.late() { format!("{text}, late") } else { text }
}

/// What one node knew when: the last PONG, the unanswered PING, PFAIL, FAIL, its vote, the new master.
fn node_row(anatomy: &Anatomy, node: NodeNo, observer: &Observer, axis: Axis) -> Row {
    let end_ms = axis.to_ms();
    let knowledge = [
        (Some(f64::NEG_INFINITY), "heard", "receives PONGs of the old master"),
        (observer.pong_ms, "quiet", "has received the last PONG"),
        (observer.ping_ms, "pinged", "waits for a PONG"),
        (observer.pfail_ms, "pfail", "suspects it (PFAIL)"),
        (observer.fail_ms, "failed", "knows that it is FAIL"),
        (observer.agreed_ms, "agrees", "knows the new master"),
    ];
    let known: Vec<_> =
        knowledge.into_iter().filter_map(|(at_ms, class, words)| Some((at_ms?, class, words))).collect();
    let mut bars = Vec::new();
    for (index, (at_ms, class, words)) in known.iter().enumerate() {
        let until_ms = known[index + 1..].iter().map(|next| next.0).fold(end_ms, f64::min);
        let since = if at_ms.is_finite() { format!(" from {} on", moment(*at_ms)) } else { String::new() };
        bars.extend(axis.bar((at_ms.max(axis.from_ms), until_ms), (3, 14), class, format!("{node} {words}{since}")));
    }
    for election in &anatomy.elections {
        if let Some(at_ms) = election.granted.get(&node) {
            let title = format!("{node} votes for {} at {}", election.candidate, moment(*at_ms));
            bars.extend(axis.mark(*at_ms, "vote", title));
        }
        if election.candidate == node {
            bars.extend(axis.mark(
                election.began_ms,
                "asks",
                format!("{node} requests votes at {}", moment(election.began_ms)),
            ));
        }
    }
    let note = if Some(node) == anatomy.new_master { "new master" } else { "" };
    Row {
        label: node.to_string(),
        note: note.to_owned(),
        bars,
        text: String::new(),
        text_x: "0".to_owned(),
        place: "after",
    }
}

/// The milestones, the elections, and what each node knew when.
fn tables(anatomy: &Anatomy) -> Vec<Table> {
    let milestones = anatomy.milestones.iter().enumerate().map(|(index, milestone)| {
        vec![
            milestone.what.words().to_owned(),
            format!("{}{}", milestone.source, milestone.node.map(|node| format!(" of {node}")).unwrap_or_default()),
            moment(milestone.after_ms),
            length(milestone.after_ms - anatomy.preceding_ms(index)),
            milestone
                .expected_ms
                .map_or_else(|| "-".to_owned(), |(from, to)| format!("{} to {}", length(from), length(to))),
            length_or_dash(milestone.bound_ms),
            if milestone.late() { "late" } else { "" }.to_owned(),
        ]
    });
    let head = ["milestone", "source", "after", "took", "expected", "limit", ""];
    let milestones = Table::new("Milestones", &head, 2, milestones);
    let elections = anatomy.elections.iter().map(|election| {
        let granted = election.granted.iter().map(|(node, at_ms)| format!("{node} at {}", length(*at_ms)));
        let denied = election.denied.iter().map(|(node, reason)| format!("{node}: {reason}"));
        vec![
            election.candidate.to_string(),
            election.epoch.to_string(),
            election.rank.map_or_else(|| "-".to_owned(), |rank| rank.to_string()),
            length_or_dash(election.delay_ms.map(|delay_ms| delay_ms as f64)),
            length(election.began_ms),
            granted.collect::<Vec<_>>().join(", "),
            denied.collect::<Vec<_>>().join(", "),
            election.won_ms.map_or_else(|| "lost".to_owned(), |won_ms| format!("won at {}", length(won_ms))),
        ]
    });
    let head = ["candidate", "epoch", "rank", "delay", "requested at", "votes", "denied", ""];
    let elections = Table::new("Elections", &head, 9, elections);
    let at = |moment_ms: Option<f64>| moment_ms.map_or_else(|| "-".to_owned(), moment);
    let observers = anatomy.observers.iter().map(|(node, seen)| {
        let moments = [seen.pong_ms, seen.ping_ms, seen.pfail_ms, seen.fail_ms, seen.agreed_ms];
        [node.to_string()].into_iter().chain(moments.map(at)).collect()
    });
    let head = ["node", "last PONG", "unanswered PING", "PFAIL", "FAIL", "new master known"];
    let observers = Table::new("What each node knew about the old master, and when", &head, 1, observers);
    [milestones, elections, observers].into_iter().filter(|table| !table.rows.is_empty()).collect()
}

/// A time in milliseconds from the fault or the CLUSTER FAILOVER, which may be negative.
fn moment(ms: f64) -> String {
    if ms < 0.0 { format!("{} before", length(-ms)) } else { length(ms) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_round_labels() {
        for (from_ms, to_ms, expected) in [
            (-300.0, 7420.0, &["0", "1 s", "2 s", "3 s", "4 s", "5 s", "6 s", "7 s"][..]),
            (6000.0, 6090.0, &["6.00 s", "6.02 s", "6.04 s", "6.06 s", "6.08 s"]),
            (0.0, 3.0, &["0", "1 ms", "2 ms", "3 ms"]),
        ] {
            let axis = Axis::over(from_ms, to_ms).expect("an axis");
            let labels: Vec<String> = axis.ticks().into_iter().map(|tick| tick.label).collect();
            assert_eq!(labels, expected, "{from_ms} to {to_ms}");
            assert!(axis.part(from_ms) > 0.0 && axis.part(to_ms) < 1.0);
        }
        for (from_ms, to_ms) in [(0.0, f64::MAX), (f64::MIN, f64::MAX), (0.0, 1e200)] {
            assert!(Axis::over(from_ms, to_ms).is_none(), "{from_ms} to {to_ms}");
        }
    }
}
