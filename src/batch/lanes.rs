//! Lets runs go side by side that live at one speed: the speed is that of the whole process.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::speed::{self, Speed, SpeedError};

/// The default number of runs at the same time at a speed: four for each core, because runs mostly wait, and fewer where they
/// wait less. At speed 10 that is three for two cores.
pub fn side_by_side(speed: Speed) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores * 15 / speed.factor() as usize).clamp(1, cores * 4)
}

/// How many of the latest runs at a speed must come out late until all that follow are slower. A late run costs its
/// repetition; at half the speed every run costs as much.
const LATE_RUNS: usize = 3;

/// How many runs are the latest.
const LATEST: usize = 5;

/// The places of runs. Runs at other speeds wait until all that go have ended.
#[derive(Debug)]
pub struct Lanes {
    /// How many runs go at the same time; None for the default at each speed.
    places: Option<usize>,
    running: Mutex<usize>,
    freed: Notify,
    pace: Mutex<Pace>,
}

/// How fast runs are whose speed is `auto`.
#[derive(Debug)]
struct Pace {
    /// The highest speed.
    most: Speed,
    /// Whether each of the latest runs at that speed was late.
    latest: VecDeque<bool>,
}

/// A place; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place<'a>(&'a Lanes);

impl Lanes {
    /// Places for so many runs, or for the default number at each speed.
    pub fn new(places: Option<usize>) -> Self {
        let pace = Mutex::new(Pace { most: Speed::MAX, latest: VecDeque::new() });
        Self { places, running: Mutex::new(0), freed: Notify::new(), pace }
    }

    /// The number of runs that go at the same time at a speed.
    pub fn at(&self, speed: Speed) -> usize {
        self.places.unwrap_or_else(|| side_by_side(speed)).max(1)
    }

    /// Waits for a place at a speed, at which the process then lives.
    pub(super) async fn enter(&self, speed: Speed) -> Result<Place<'_>, SpeedError> {
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            // A place that is freed from here on wakes it.
            freed.as_mut().enable();
            {
                let mut running = self.running.lock().expect("no holder panics");
                if *running == 0 {
                    speed::change(speed)?;
                }
                if speed::current() == speed && *running < self.at(speed) {
                    *running += 1;
                    return Ok(Place(self));
                }
            }
            freed.await;
        }
    }

    /// The speed for the next run whose speed is `auto`.
    pub(super) fn adapted(&self, speed: Speed) -> Speed {
        speed.min(self.pace().most)
    }

    /// A run whose speed is `auto` came out late. Returns the speed at which to repeat it, and whether those that follow are
    /// not faster either.
    pub(super) fn was_late(&self, speed: Speed) -> (Speed, bool) {
        let slower = speed.halved();
        let mut pace = self.pace();
        let is_many = pace.note(speed, true) >= LATE_RUNS;
        if is_many {
            *pace = Pace { most: slower, latest: VecDeque::new() };
        }
        (slower, is_many)
    }

    /// A run whose speed is `auto` was in time.
    pub(super) fn was_in_time(&self, speed: Speed) {
        self.pace().note(speed, false);
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().expect("no holder panics")
    }
}

impl Pace {
    /// Notes how a run ended; the number of late ones among the latest. Others that began at a higher speed say nothing about
    /// the present one.
    fn note(&mut self, speed: Speed, was_late: bool) -> usize {
        if speed > self.most {
            return 0;
        }
        self.latest.push_back(was_late);
        if self.latest.len() > LATEST {
            self.latest.pop_front();
        }
        self.latest.iter().filter(|&&was_late| was_late).count()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.running.lock().expect("no holder panics") -= 1;
        self.0.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_late_runs_slow_those_that_follow() {
        let speed = |text: &str| text.parse::<Speed>().expect("a speed");
        let lanes = Lanes::new(None);
        assert_eq!(lanes.adapted(speed("10")), speed("10"));
        assert_eq!(lanes.was_late(speed("10")), (speed("5"), false));
        assert_eq!(lanes.was_late(speed("10")), (speed("5"), false));
        assert_eq!(lanes.adapted(speed("10")), speed("10"));
        assert_eq!(lanes.was_late(speed("10")), (speed("5"), true));
        assert_eq!(lanes.adapted(speed("10")), speed("5"));
        // These began before.
        lanes.was_in_time(speed("10"));
        assert_eq!(lanes.was_late(speed("10")), (speed("5"), false));
        for _ in 0..LATE_RUNS - 1 {
            assert_eq!(lanes.was_late(speed("5")), (speed("2"), false));
        }
        assert_eq!(lanes.was_late(speed("5")), (speed("2"), true));
        assert_eq!((lanes.adapted(speed("10")), lanes.adapted(Speed::REAL)), (speed("2"), Speed::REAL));
    }

    #[test]
    fn a_late_run_now_and_then_slows_no_other() {
        let speed: Speed = "10".parse().expect("a speed");
        let lanes = Lanes::new(None);
        for run in 0..100 {
            if run % 3 == 0 {
                assert!(!lanes.was_late(speed).1, "run {run}");
            } else {
                lanes.was_in_time(speed);
            }
        }
        assert_eq!(lanes.adapted(speed), speed);
    }

    #[tokio::test]
    async fn only_so_many_runs_have_a_place() {
        let lanes = Lanes::new(Some(2));
        let (one, other) = (lanes.enter(Speed::REAL).await, lanes.enter(Speed::REAL).await);
        let third = lanes.enter(Speed::REAL);
        tokio::pin!(third);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(50), &mut third).await.is_err());
        drop(one);
        assert!(third.await.is_ok() && other.is_ok());
    }

    #[tokio::test]
    async fn a_process_in_real_time_has_no_place_at_speed() {
        let speed = "2".parse().expect("a speed");
        assert!(matches!(Lanes::new(None).enter(speed).await, Err(SpeedError::Unchangeable(_))));
    }
}
