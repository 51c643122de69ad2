//! Converts times of a node's wall clock to times of the run. CLUSTER NODES uses the node's wall clock, and logs
//! use it in the node's time zone; the run counts from its start. Two readings of each node's clock, one after boot
//! and one at the end, relate the two. While a fault makes the clock wrong, it shows what the fault says.

use super::line::Line;
use crate::fault::{ClockChange, ClockOf};
use crate::history::{Event, EventKind, FaultEvent};
use crate::units::NodeNo;

/// Converts times of one node to milliseconds of the run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Clock {
    /// The wall clock's milliseconds from 1970 in UTC at the run's start.
    zero_ms: f64,
    /// A converted time is late by at most this many milliseconds.
    pub(super) error_ms: f64,
    /// When a fault made it wrong.
    wrong: Vec<Wrong>,
}

/// A time in which a fault made a clock wrong, in milliseconds of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Wrong {
    fault: u32,
    change: ClockChange,
    from_ms: f64,
    to_ms: f64,
}

impl Wrong {
    /// How far the clock was ahead at a moment of the run; less than 0 is behind.
    fn ahead_ms(&self, at_ms: f64) -> f64 {
        match self.change {
            ClockChange::Jump(shift) => shift.as_ns() as f64 / 1e6,
            ClockChange::Drift(drift) => (at_ms - self.from_ms) * f64::from(drift.ppm()) / 1e6,
            ClockChange::Strobe(_) => self.change.ahead_ns(((at_ms - self.from_ms) * 1e6) as i64) as f64 / 1e6,
        }
    }

    /// How far a converted time may be off: the clock showed some times twice in a run that ended then.
    fn error_ms(&self, end_ms: f64) -> f64 {
        let ahead_ms = match self.change {
            ClockChange::Jump(_) | ClockChange::Drift(_) => self.ahead_ms(self.to_ms.min(end_ms)),
            ClockChange::Strobe(strobe) => strobe.by.as_ns() as f64 / 1e6,
        };
        if ahead_ms.abs() < end_ms { ahead_ms.abs() } else { 0.0 }
    }

    /// When it showed what it would have shown at `right_ms` if it had been right. None if that was not while it was wrong.
    fn at_ms(&self, right_ms: f64) -> Option<f64> {
        let at_ms = match self.change {
            ClockChange::Jump(shift) => right_ms - shift.as_ns() as f64 / 1e6,
            ClockChange::Drift(drift) => {
                self.from_ms + (right_ms - self.from_ms) / (1.0 + f64::from(drift.ppm()) / 1e6)
            }
            ClockChange::Strobe(strobe) => {
                let at_ms = right_ms - strobe.by.as_ns() as f64 / 1e6;
                if self.ahead_ms(at_ms) == 0.0 { right_ms } else { at_ms }
            }
        };
        (self.from_ms..=self.to_ms).contains(&at_ms).then_some(at_ms)
    }
}

/// When faults made the wall clock of a node wrong.
fn wrong(events: &[Event], of: NodeNo) -> Vec<Wrong> {
    let mut all: Vec<Wrong> = Vec::new();
    for event in events {
        let at_ms = event.at_ns as f64 / 1e6;
        let Some((fault, about)) = event.kind.of_fault() else { continue };
        match about {
            FaultEvent::ClockInjected { change, hit, of: ClockOf::Wall, .. } if hit.node == of => {
                all.push(Wrong { fault, change, from_ms: at_ms, to_ms: f64::INFINITY });
            }
            // What ended the effect, ended it before it was seen.
            FaultEvent::Lifted | FaultEvent::Ended { .. } => {
                for wrong in all.iter_mut().filter(|wrong| wrong.fault == fault) {
                    wrong.to_ms = wrong.to_ms.min(at_ms);
                }
            }
            FaultEvent::ClockInjected { .. }
            | FaultEvent::Injected { .. }
            | FaultEvent::NetworkInjected { .. }
            | FaultEvent::DiskInjected { .. }
            | FaultEvent::Counted { .. }
            | FaultEvent::Applied
            | FaultEvent::Proven { .. }
            | FaultEvent::Healed { .. }
            | FaultEvent::Persists
            | FaultEvent::HealFailed { .. }
            | FaultEvent::HealProven { .. } => {}
        }
    }
    all
}

/// Time zones differ from each other by quarters of an hour.
const QUARTER_MS: f64 = 15.0 * 60.0 * 1000.0;

impl Clock {
    /// Relates the clock of a node to the run; None if the clock was not read. The node read its clock between the
    /// request and the reply. This function assumes the time of the reply, so that converted times are late by
    /// at most the duration of the request. A later reading shows by how much the clock was set meanwhile.
    pub(super) fn relate(events: &[Event], of: NodeNo) -> Option<Self> {
        let readings = events.iter().filter_map(|event| match event.kind {
            EventKind::Clock { node, unix_us, sent_ns } if node == of => {
                let took_ms = event.at_ns.saturating_sub(sent_ns) as f64 / 1e6;
                Some((unix_us as f64 / 1e3 - event.at_ns as f64 / 1e6, took_ms))
            }
            _ => None,
        });
        let mut clock = readings.fold(None, |clock: Option<Self>, (zero_ms, took_ms)| {
            let Some(clock) = clock else { return Some(Self { zero_ms, error_ms: took_ms, wrong: Vec::new() }) };
            let set_ms = (zero_ms - clock.zero_ms).abs();
            let error_ms = if set_ms > clock.error_ms.max(took_ms) { set_ms + took_ms } else { 0.0 };
            Some(Self { error_ms: clock.error_ms.max(error_ms), ..clock })
        })?;
        let end_ms = events.last().map_or(0.0, |event| event.at_ns as f64 / 1e6);
        clock.wrong = wrong(events, of);
        for wrong in &clock.wrong {
            clock.error_ms = clock.error_ms.max(wrong.error_ms(end_ms));
        }
        Some(clock)
    }

    /// Converts a time of the wall clock to milliseconds of the run.
    pub(super) fn at_ms(&self, unix_ms: f64) -> f64 {
        let right_ms = unix_ms - self.zero_ms;
        self.wrong.iter().find_map(|wrong| wrong.at_ms(right_ms)).unwrap_or(right_ms)
    }

    /// How far the time zone of a log is ahead of UTC, in milliseconds. The process wrote its first line less than
    /// a few minutes before the clock was read.
    pub(super) fn zone_ms(&self, lines: &[Line]) -> f64 {
        let first_ms = lines.first().map_or(0.0, |line| self.at_ms(line.local_ms as f64));
        (first_ms / QUARTER_MS).round() * QUARTER_MS
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::LogEvent;
    use super::*;
    use crate::fault::Strobe;
    use crate::history::{FaultKind, Hit};

    /// A reading of the clock, with times in milliseconds of the run.
    fn reading(sent_ms: u64, answered_ms: u64, unix_ms: u64) -> Event {
        let kind = EventKind::Clock { node: NodeNo(1), unix_us: unix_ms * 1000, sent_ns: sent_ms * 1_000_000 };
        Event { at_ns: answered_ms * 1_000_000, kind }
    }

    #[test]
    fn the_error_of_a_clock_is_the_duration_of_its_reading() {
        for (events, expected, what) in [
            (vec![reading(2000, 2003, 1_002_003)], (1_000_000.0, 3.0), "read once"),
            (vec![reading(2000, 2003, 1_002_003), reading(9000, 9001, 1_009_002)], (1_000_000.0, 3.0), "read twice"),
            (vec![reading(2000, 2003, 1_002_003), reading(9000, 9001, 1_009_501)], (1_000_000.0, 501.0), "set forward"),
            (vec![reading(2000, 2003, 1_002_003), reading(9000, 9001, 1_008_501)], (1_000_000.0, 501.0), "set back"),
        ] {
            let clock = Clock::relate(&events, NodeNo(1)).expect(what);
            assert_eq!((clock.zero_ms, clock.error_ms), expected, "{what}");
            assert_eq!(Clock::relate(&events, NodeNo(2)), None, "{what}: another node");
        }
    }

    #[test]
    fn a_wrong_clock_is_read_as_the_fault_says() {
        let clock = |change: ClockChange| {
            let at = |ms: u64, kind: EventKind| Event { at_ns: ms * 1_000_000, kind };
            let injected = EventKind::ClockFaultInjected {
                fault: 1,
                name: "wrong".to_owned(),
                kind: FaultKind::Clock,
                target: "node-1".to_owned(),
                of: ClockOf::Wall,
                change,
                hit: Hit { node: NodeNo(1), shard: None, was_master: false },
            };
            let events = [
                reading(2000, 2003, 1_002_003),
                at(4000, injected),
                at(9000, EventKind::FaultLifted { fault: 1 }),
                reading(20_000, 20_001, 1_020_001),
            ];
            let [of_the_node, other] = [1, 2].map(|node| Clock::relate(&events, NodeNo(node)));
            assert_eq!(other, None);
            of_the_node.expect("it was read")
        };
        for (change, error_ms, times) in [
            (
                ClockChange::Jump("1h".parse().unwrap()),
                3.0,
                [(3999.0, 3999.0), (3_604_500.0, 4500.0), (3_608_999.0, 8999.0), (9001.0, 9001.0)],
            ),
            (
                ClockChange::Jump("-1h".parse().unwrap()),
                3.0,
                [(3999.0, 3999.0), (-3_595_500.0, 4500.0), (-3_591_001.0, 8999.0), (9001.0, 9001.0)],
            ),
            // It showed the last half second before the end again after it.
            (
                ClockChange::Drift("10%".parse().unwrap()),
                500.0,
                [(3999.0, 3999.0), (4550.0, 4500.0), (9500.0, 9000.0), (9501.0, 9501.0)],
            ),
            // It is ahead from 4000 to 4500, from 5000 to 5500 and so on, until 7000.
            (
                ClockChange::Strobe(Strobe {
                    by: "200ms".parse().unwrap(),
                    every: "1s".parse().unwrap(),
                    lasts: "3s".parse().unwrap(),
                }),
                200.0,
                [(4300.0, 4100.0), (4750.0, 4750.0), (6400.0, 6200.0), (7300.0, 7300.0)],
            ),
        ] {
            let clock = clock(change);
            assert!((clock.error_ms - error_ms).abs() < 0.01, "{change}: {}", clock.error_ms);
            for (shown_ms, expected_ms) in times {
                let at_ms = clock.at_ms(1_000_000.0 + shown_ms);
                assert!((at_ms - expected_ms).abs() < 0.01, "{change}: {shown_ms} is {at_ms}, not {expected_ms}");
            }
        }
    }

    #[test]
    fn reads_logs_of_any_time_zone() {
        let clock = Clock { zero_ms: 1_000_000.0, error_ms: 1.0, wrong: Vec::new() };
        for (hours, what) in [(0.0, "UTC"), (9.0, "Seoul"), (-3.5, "St. John's"), (5.75, "Kathmandu")] {
            let zone_ms: f64 = hours * 3_600_000.0;
            let first = Line { local_ms: 1_000_070 + zone_ms as i64, pid: 1, event: LogEvent::Starting };
            assert_eq!(clock.zone_ms(&[first]) as i64, zone_ms as i64, "{what}");
        }
    }
}
