//! Converts times of a node's wall clock to times of the run. CLUSTER NODES uses the node's wall clock, and logs
//! use it in the node's time zone; the run counts from its start. Two readings of each node's clock, one after boot
//! and one at the end, relate the two.

use super::line::Line;
use crate::history::{Event, EventKind};
use crate::units::NodeNo;

/// Converts times of one node to milliseconds of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Clock {
    /// The wall clock's milliseconds from 1970 in UTC at the run's start.
    zero_ms: f64,
    /// A converted time is late by at most this many milliseconds.
    pub(super) error_ms: f64,
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
        readings.fold(None, |clock: Option<Self>, (zero_ms, took_ms)| {
            let Some(clock) = clock else { return Some(Self { zero_ms, error_ms: took_ms }) };
            let set_ms = (zero_ms - clock.zero_ms).abs();
            let error_ms = if set_ms > clock.error_ms.max(took_ms) { set_ms + took_ms } else { 0.0 };
            Some(Self { error_ms: clock.error_ms.max(error_ms), ..clock })
        })
    }

    /// Converts a time of the wall clock to milliseconds of the run.
    pub(super) fn at_ms(self, unix_ms: f64) -> f64 {
        unix_ms - self.zero_ms
    }

    /// How far the time zone of a log is ahead of UTC, in milliseconds. The process wrote its first line less than
    /// a few minutes before the clock was read.
    pub(super) fn zone_ms(self, lines: &[Line]) -> f64 {
        let first_ms = lines.first().map_or(0.0, |line| self.at_ms(line.local_ms as f64));
        (first_ms / QUARTER_MS).round() * QUARTER_MS
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::LogEvent;
    use super::*;

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
    fn reads_logs_of_any_time_zone() {
        let clock = Clock { zero_ms: 1_000_000.0, error_ms: 1.0 };
        for (hours, what) in [(0.0, "UTC"), (9.0, "Seoul"), (-3.5, "St. John's"), (5.75, "Kathmandu")] {
            let zone_ms: f64 = hours * 3_600_000.0;
            let first = Line { local_ms: 1_000_070 + zone_ms as i64, pid: 1, event: LogEvent::Starting };
            assert_eq!(clock.zone_ms(&[first]) as i64, zone_ms as i64, "{what}");
        }
    }
}
