//! The clock of a log and that of the run. Servers write the wall clock of the machine in local time; the
//! run counts from its own start. The two are related once for each node.

use super::line::{Line, Says};

/// How the moments of one node's log are read as moments of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Clock {
    /// The log's milliseconds at the run's start.
    zero_ms: f64,
    /// A moment read with this clock is late by at most this much, and early by at most 1 ms.
    pub(super) error_ms: f64,
}

/// What is known of a node besides its log, in milliseconds of the run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Known {
    /// When its process was started again.
    pub(super) started_ms: Vec<f64>,
    /// When the process of another node of its shard was ended.
    pub(super) ended_ms: Vec<f64>,
}

/// Time zones differ from each other by quarters of an hour.
const QUARTER_MS: i64 = 15 * 60 * 1000;

/// A wall clock that was set during a run may lie by more, and then nothing is read from it.
const WORST_ERROR_MS: f64 = 2000.0;

impl Clock {
    /// Relates a log to a run that started at `started_ms` by the wall clock in UTC. The record of that
    /// start is a little older than the run's zero, so that everything in a log seems late by an unknown,
    /// small time. What is known bounds it: a log tells of a start or an end after it happened, so none
    /// can be late by more than the shortest time between the two. None where too little is known.
    pub(super) fn relate(lines: &[Line], started_ms: i64, known: &Known) -> Option<Self> {
        let first = lines.first()?;
        let zone_ms = ((first.local_ms - started_ms) as f64 / QUARTER_MS as f64).round() * QUARTER_MS as f64;
        let zero_ms = started_ms as f64 + zone_ms;
        let mut gaps: Vec<f64> = Vec::new();
        let mut first_start = true;
        for line in lines {
            let at_ms = line.local_ms as f64 - zero_ms;
            let since = |moments: &[f64]| {
                moments.iter().map(|moment| at_ms - moment).filter(|gap| *gap >= -WORST_ERROR_MS).min_by(f64::total_cmp)
            };
            match line.says {
                Says::Starting if first_start => gaps.push(at_ms),
                Says::Starting => gaps.extend(since(&known.started_ms)),
                Says::MasterLost => gaps.extend(since(&known.ended_ms)),
                _ => {}
            }
            first_start &= line.says != Says::Starting;
        }
        let least_ms = gaps.into_iter().min_by(f64::total_cmp)?;
        // A log line before its own cause: the zero is too late by that much.
        let early_ms = (-least_ms - 1.0).max(0.0);
        let error_ms = least_ms.abs().max(1.0);
        (error_ms <= WORST_ERROR_MS).then_some(Self { zero_ms: zero_ms - early_ms, error_ms })
    }

    /// A moment of the log in milliseconds of the run.
    pub(super) fn at_ms(self, line: &Line) -> f64 {
        line.local_ms as f64 - self.zero_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(local_ms: i64, says: Says) -> Line {
        Line { local_ms, pid: 1, says }
    }

    #[test]
    fn the_error_is_the_shortest_time_between_something_known_and_its_line() {
        let hours = |hours: i64| hours * 3_600_000;
        for (zone_ms, what) in [(0, "UTC"), (hours(9), "Seoul"), (-hours(3) - hours(1) / 2, "St. John's")] {
            let local = |at_ms: i64| 1_000_000 + at_ms + zone_ms;
            let lines = [
                line(local(70), Says::Starting),
                line(local(5004), Says::MasterLost),
                line(local(9020), Says::Starting),
                line(local(9500), Says::Won),
            ];
            let known = Known { started_ms: vec![9000.0], ended_ms: vec![2000.0, 5000.0] };
            let clock = Clock::relate(&lines, 1_000_000, &known).expect(what);
            assert_eq!((clock.error_ms, clock.at_ms(&lines[3])), (4.0, 9500.0), "{what}");
            let alone = Clock::relate(&lines[..1], 1_000_000, &Known::default()).expect(what);
            assert_eq!(Some(alone.error_ms), Some(70.0), "{what}: only that it was started within the run");
        }
    }

    #[test]
    fn a_line_before_its_cause_moves_the_zero() {
        let lines = [line(1_000_500, Says::Starting), line(1_004_900, Says::MasterLost)];
        let known = Known { started_ms: vec![], ended_ms: vec![5000.0] };
        let clock = Clock::relate(&lines, 1_000_000, &known).expect("a clock");
        assert_eq!((clock.error_ms, clock.at_ms(&lines[1])), (100.0, 4999.0));
    }

    #[test]
    fn a_log_that_says_nothing_of_its_start_has_no_clock() {
        assert_eq!(Clock::relate(&[], 0, &Known::default()), None);
        assert_eq!(Clock::relate(&[line(5, Says::Won)], 0, &Known::default()), None);
        assert_eq!(Clock::relate(&[line(60_000, Says::Starting)], 0, &Known::default()), None, "a minute late");
    }
}
