//! Reads the clocks of a node, and proves that the node lives as fast as the harness: its wall clock agrees with that of
//! the harness, which is ahead of real time, and its timers do not run by a counter of the processor at the real rate. The
//! clocks of a server that the library of [`crate::speed`] is not in would show real time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Backend, Control};
use crate::fault::{ClockChange, ClockOf};
use crate::history::EventKind;
use crate::journal::Journal;
use crate::speed::clock::Skew;
use crate::speed::{self, Speed};
use crate::topology::parse_info;
use crate::units::NodeNo;
use crate::wire::text;

/// A server may answer from a clock that it read shortly before.
const TOLERANCE: Duration = Duration::from_millis(20);

/// The same in real time, if several answers in a row say the same: by it, a clock that drifts little is told from a right
/// one.
const SHARP_TOLERANCE: Duration = Duration::from_millis(2);

/// A drift below this many millionths takes too long to be told by the plain tolerance.
const LITTLE_DRIFT_PPM: i32 = 5000;

/// How far the harness must be ahead of real time for its clock to tell.
const TELLING: Duration = Duration::from_millis(200);

const ANSWER_WITHIN: Duration = Duration::from_millis(500);

/// Records the proof for a node. The error says that it lives at another speed; a node that does not answer proves nothing
/// and is no error. At speed 1 it does nothing.
pub async fn prove<B: Backend>(control: &Control<B>, journal: &Journal, node: NodeNo) -> Result<(), String> {
    if speed::current().is_real() {
        return Ok(());
    }
    while ahead() < TELLING {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let Ok(reading) = read(control, node).await else { return Ok(()) };
    let Ok(info) = control.ask(node, &["INFO", "server"], ANSWER_WITHIN).await else { return Ok(()) };
    let info = text(&info);
    let counter = parse_info(&info).get("monotonic_clock").map_or("", |clock| *clock).to_owned();
    let cpuinfo = tokio::fs::read_to_string("/proc/cpuinfo").await.unwrap_or_default();
    let (holds, proof) = match real_counter(&counter, real_mhz(&cpuinfo), speed::current()) {
        Some(why) => (false, why),
        None => compare(&reading, control.backend().clock(node), ahead()),
    };
    journal.event(EventKind::SpeedProven { node, holds, proof: proof.clone() });
    if holds { Ok(()) } else { Err(format!("{node} does not live at speed {}: {proof}", speed::current())) }
}

/// What the wall clock of a node showed, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// When it was asked.
    pub sent: SystemTime,
    /// What it showed.
    pub time: SystemTime,
    /// When it had answered.
    pub received: SystemTime,
}

impl Reading {
    /// How far the clock was off, beyond the time that asking took, if it differs so from that of slotquake. None if it
    /// agrees.
    pub fn off(&self, skew: Skew) -> Option<Off> {
        self.off_by(skew, TOLERANCE)
    }

    /// The same with another tolerance.
    fn off_by(&self, skew: Skew, tolerance: Duration) -> Option<Off> {
        let windows = skew.shown_between(self.sent, self.received, tolerance);
        let offs = windows.into_iter().map(|(least, most)| {
            match (least.duration_since(self.time), self.time.duration_since(most)) {
                (Ok(late), _) if late > tolerance => Some(Off::Behind(late)),
                (_, Ok(early)) if early > tolerance => Some(Off::Ahead(early)),
                _ => None,
            }
        });
        offs.min_by_key(|off| off.map_or(Duration::ZERO, Off::by)).flatten()
    }
}

/// How far a clock is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Off {
    /// It shows less than it should.
    Behind(Duration),
    /// It shows more than it should.
    Ahead(Duration),
}

impl Off {
    fn by(self) -> Duration {
        match self {
            Self::Behind(by) | Self::Ahead(by) => by,
        }
    }
}

impl std::fmt::Display for Off {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Behind(by) => write!(f, "{:.3} s behind", by.as_secs_f64()),
            Self::Ahead(by) => write!(f, "{:.3} s ahead of", by.as_secs_f64()),
        }
    }
}

/// What one look at a clock that differs, or did, has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighted {
    /// Whether it differs as it should.
    pub as_asked: bool,
    /// Whether it is right.
    pub is_right: bool,
    /// What was seen: `its clock is 3600.000 s ahead of slotquake's`.
    pub seen: String,
}

/// The tolerance for a clock that differs so, and how many answers in a row must say the same.
pub fn tolerance(skew: Skew) -> (Duration, usize) {
    match skew.change() {
        Some(ClockChange::Drift(drift)) if drift.ppm().abs() < LITTLE_DRIFT_PPM => {
            (speed::real_span(SHARP_TOLERANCE).min(TOLERANCE), 5)
        }
        Some(ClockChange::Jump(_) | ClockChange::Drift(_) | ClockChange::Strobe(_)) | None => (TOLERANCE, 1),
    }
}

/// Looks at a clock of a node, where `skew` says how it should differ: at the wall clock by TIME, and at the monotonic one
/// by what the library has told the server of it. The error says why nothing was seen.
pub async fn look<B: Backend>(control: &Control<B>, node: NodeNo, of: ClockOf, skew: Skew) -> Result<Sighted, String> {
    match of {
        ClockOf::Wall => {
            let (tolerance, _) = tolerance(skew);
            let reading = read(control, node).await?;
            let (wrong, off) = (reading.off_by(skew, tolerance), reading.off_by(Skew::NONE, tolerance));
            let seen = match (wrong, off) {
                (_, None) => "its clock agrees with slotquake's".to_owned(),
                (None, Some(off)) => format!("its clock is {off} slotquake's"),
                (Some(wrong), Some(off)) => format!("its clock is {off} slotquake's, and {wrong} what it should show"),
            };
            Ok(Sighted { as_asked: wrong.is_none(), is_right: off.is_none(), seen })
        }
        ClockOf::Monotonic => look_at_told(control.backend(), node, skew).await,
    }
}

/// Waits until the library tells the server its monotonic clock once more.
async fn look_at_told<B: Backend>(backend: &B, node: NodeNo, skew: Skew) -> Result<Sighted, String> {
    // A server reads it at each turn of its event loop, ten times a second at the least (`hz`).
    const READ_WITHIN: Duration = Duration::from_secs(1);
    const POLL: Duration = Duration::from_millis(5);
    // The library reckons a drift by the monotonic clock, and slotquake by the wall clock.
    const SLACK_NS: i64 = 1_000_000;
    let told = || match backend.told(node, ClockOf::Monotonic) {
        Some(Ok(told)) => Ok(told),
        Some(Err(error)) => Err(format!("what its monotonic clock shows: {error}")),
        None => Err("what its monotonic clock shows is not known here".to_owned()),
    };
    let (from, first, deadline) = (SystemTime::now(), told()?, tokio::time::Instant::now() + READ_WITHIN);
    loop {
        tokio::time::sleep(POLL).await;
        let last = told()?;
        if last.count != first.count {
            let to = SystemTime::now();
            let (begin, end) = (skew.ahead_ns(from), skew.ahead_ns(to));
            let as_asked = (begin.min(end) - SLACK_NS..=begin.max(end) + SLACK_NS).contains(&last.ahead_ns);
            let seen = match last.ahead_ns {
                0 => "its monotonic clock agrees with slotquake's".to_owned(),
                ahead => {
                    let by = Duration::from_nanos(ahead.unsigned_abs());
                    let off = if ahead < 0 { Off::Behind(by) } else { Off::Ahead(by) };
                    format!("its monotonic clock is {off} slotquake's")
                }
            };
            return Ok(Sighted { as_asked, is_right: last.ahead_ns == 0, seen });
        }
        if tokio::time::Instant::now() > deadline {
            return Err(format!("it has not read its monotonic clock for {READ_WITHIN:?}"));
        }
    }
}

/// Why the monotonic clock of a node cannot be changed: its server does not read it. None if it does, or does not say so.
pub async fn no_monotonic_clock<B: Backend>(control: &Control<B>, node: NodeNo) -> Option<String> {
    let info = text(&control.ask(node, &["INFO", "server"], ANSWER_WITHIN).await.ok()?);
    let clock =
        parse_info(&info).get("monotonic_clock").copied().filter(|clock| !clock.contains("clock_gettime"))?.to_owned();
    Some(format!("its timers run by the processor's counter (`{clock}`), which cannot be changed"))
}

/// Asks a node for the time. The error says why it is not known.
pub async fn read<B: Backend>(control: &Control<B>, node: NodeNo) -> Result<Reading, String> {
    let sent = SystemTime::now();
    let answer = control.ask(node, &["TIME"], ANSWER_WITHIN).await.map_err(|error| format!("TIME: {error}"))?;
    let received = SystemTime::now();
    let answer = text(&answer);
    let time = moment(&answer).ok_or_else(|| format!("TIME is answered by \"{answer}\""))?;
    Ok(Reading { sent, time, received })
}

/// By how much this process is ahead of real time.
fn ahead() -> Duration {
    SystemTime::now().duration_since(speed::real_now()).unwrap_or_default()
}

/// The answer to TIME: seconds and microseconds.
fn moment(answer: &str) -> Option<SystemTime> {
    let mut numbers = answer.lines().map(str::parse::<u64>);
    let (Some(Ok(seconds)), Some(Ok(micros))) = (numbers.next(), numbers.next()) else { return None };
    Some(UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros))
}

/// Why the timers of a server run in real time, by the name of its monotonic clock (INFO server); None if they do not. Some
/// servers count the ticks of the processor (monotonic.c): on x86 at a rate that they measure by the clock when they start,
/// or read in /proc/cpuinfo; on arm64 at the rate that the processor states.
fn real_counter(clock: &str, real_mhz: Option<f64>, speed: Speed) -> Option<String> {
    let why = || Some(format!("its timers run by the processor's counter, in real time (`{clock}`)"));
    if clock.contains("CNTVCT") {
        return why();
    }
    let (_, ticks) = clock.split_once("TSC @ ")?;
    let ticks_per_us: f64 = ticks.split(' ').next()?.parse().ok()?;
    // Clock rates vary, but not as much as speeds.
    if ticks_per_us < real_mhz? / f64::from(speed.factor()).sqrt() { None } else { why() }
}

/// The rate of the first processor, in MHz.
fn real_mhz(cpuinfo: &str) -> Option<f64> {
    let line = cpuinfo.lines().find(|line| line.starts_with("cpu MHz"))?;
    line.split_once(':')?.1.trim().parse().ok()
}

fn compare(reading: &Reading, skew: Skew, ahead: Duration) -> (bool, String) {
    let ahead = format!("which is {:.1} s ahead of real time", ahead.as_secs_f64());
    let Some(off) = reading.off(skew) else {
        let with = if skew == Skew::NONE { "" } else { ", apart from its fault" };
        return (true, format!("its clock agrees with slotquake's, {ahead}{with}"));
    };
    (false, format!("its clock is {off} slotquake's, {ahead} (hint: is the server linked statically?)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_agrees_proves_the_speed() {
        let at = |ms: u64| UNIX_EPOCH + Duration::from_secs(1_800_000_000) + Duration::from_millis(ms);
        let ahead = Duration::from_millis(2250);
        for (time_ms, holds, seen) in [
            (5000, true, "its clock agrees with slotquake's, which is 2.2 s ahead of real time"),
            (5010, true, "agrees"),
            (4990, true, "agrees"),
            (2751, false, "its clock is 2.249 s behind slotquake's"),
            (4979, false, "0.021 s behind"),
            (5032, false, "0.022 s ahead of slotquake's"),
        ] {
            let reading = Reading { sent: at(5000), time: at(time_ms), received: at(5010) };
            let (held, proof) = compare(&reading, Skew::NONE, ahead);
            assert_eq!(held, holds, "{time_ms}: {proof}");
            assert!(proof.contains(seen), "{time_ms}: {proof}");
        }
    }

    #[test]
    fn a_counter_must_be_measured_by_the_dilated_clock() {
        let mhz = real_mhz("processor\t: 0\ncpu MHz\t\t: 2300.126\ncpu MHz\t\t: 800\n");
        assert_eq!((mhz, real_mhz("processor: 0\n")), (Some(2300.126), None));
        for (clock, speed, is_real) in [
            ("POSIX clock_gettime", "10", false),
            ("", "10", false),
            ("X86 TSC @ 229.91 ticks/us", "10", false),
            ("X86 TSC @ 2300 ticks/us", "10", true),
            ("X86 TSC @ 1150.2 ticks/us", "2", false),
            ("X86 TSC @ 2300 ticks/us", "2", true),
            ("ARM CNTVCT @ 25 ticks/us", "2", true),
        ] {
            let speed = speed.parse().expect("a speed");
            assert_eq!(real_counter(clock, mhz, speed).is_some(), is_real, "{clock} {speed}");
        }
    }

    #[test]
    fn a_clock_with_a_fault_agrees_apart_from_it() {
        let at = |ms: u64| UNIX_EPOCH + Duration::from_secs(1_800_000_000) + Duration::from_millis(ms);
        let hour = Skew::now(ClockOf::Wall, ClockChange::Jump("1h".parse().unwrap()));
        let reading = |ms: u64| Reading { sent: at(5000), time: at(ms), received: at(5010) };
        assert_eq!(reading(3_605_005).off(hour), None);
        assert_eq!(reading(5005).off(hour), Some(Off::Behind(Duration::from_millis(3_599_995))));
        assert_eq!(reading(3_605_005).off(Skew::NONE), Some(Off::Ahead(Duration::from_millis(3_599_995))));
        let (held, proof) = compare(&reading(3_605_005), hour, Duration::from_millis(2250));
        assert!(held && proof.ends_with(", apart from its fault"), "{proof}");
    }

    #[test]
    fn reads_the_answer_to_time() {
        assert_eq!(moment("12\n500000\n"), Some(UNIX_EPOCH + Duration::from_millis(12_500)));
        assert_eq!((moment("12"), moment("x\n1"), moment("")), (None, None, None));
    }
}
