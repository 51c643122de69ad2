//! A clock that is wrong: it has jumped, drifts, or strobes.
//!
//! The fault is one of the host: a server that is started again on it still has that clock. It is the wall clock, unless the
//! suite says otherwise; the other clocks and timeouts are right. Redis and Valkey compute failure detection by the wall
//! clock (`mstime` is gettimeofday), and the timers of their event loop by the monotonic one (ae.c, monotonic.c).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Drawn, FaultKind, FaultSpec, FaultStep, Nature, Need, Settings};
use crate::target::Target;
use crate::units::{Drift, Shift, Span};

pub(super) const SPEC: FaultSpec = FaultSpec {
    word: "clock",
    past: "had a wrong clock",
    needs: &[Need::Clocks],
    drawn: Drawn::WrongClock,
    nature: Nature::Clock,
};

/// A smaller jump could not be told from the time that asking takes.
const JUMP_MIN: Span = Span::millis(100);

/// A year, within which every server can compute.
const JUMP_MAX: Span = Span::secs(365 * 24 * 3600);

/// A fifth of what NTP slews a clock by. With less, it takes minutes until a drift shows.
const DRIFT_MIN_PPM: i32 = 100;

const DRIFT_MAX_PPM: i32 = 500_000;

/// With shorter halves, no answer to TIME could be told to be from one of them.
const EVERY_MIN: Span = Span::millis(200);

const STROBE_MAX: Span = Span::secs(3600);

/// Settings of `clock`. Exactly one of `jump`, `drift` and `strobe`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Clock {
    /// The one node whose host has that clock.
    pub node: Target,
    /// By how much its clock is set forward, or back with a minus sign: `1h`, `-1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump: Option<Shift>,
    /// By how much its clock is faster than that of the others from now on, or slower with a minus sign: `10%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// By how much its clock is set forward and back again, over and over, or back and forward again with a minus sign:
    /// `200ms`. It needs `every` and `for`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strobe: Option<Shift>,
    /// With `strobe`, how long once is: the clock is wrong in the first half of that, and right in the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// With `strobe`, for how long, from now on. Then the clock is right again, without a `heal`.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Span>,
    /// Which clock: `wall`, or `monotonic` instead of it.
    #[serde(default, skip_serializing_if = "ClockOf::is_wall")]
    pub of: ClockOf,
    /// The name by which `heal` undoes it. The clock is then set to the right time, so it jumps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A clock of a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClockOf {
    /// The time of day (`CLOCK_REALTIME`).
    #[default]
    Wall,
    /// The one that nobody sets (`CLOCK_MONOTONIC`).
    Monotonic,
}

impl ClockOf {
    /// Whether it is the wall clock.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    pub fn is_wall(&self) -> bool {
        *self == Self::Wall
    }
}

impl fmt::Display for ClockOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wall => "wall clock",
            Self::Monotonic => "monotonic clock",
        })
    }
}

/// What is wrong with a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClockChange {
    /// It was set forward, or back.
    Jump(Shift),
    /// It goes faster, or slower, since it was changed.
    Drift(Drift),
    /// It is wrong and right by turns.
    Strobe(Strobe),
}

/// A clock that is wrong in the first half of each period, and right in the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Strobe {
    /// By how much it is wrong.
    pub by: Shift,
    /// The length of a period.
    pub every: Span,
    /// When it ends, after its beginning. The clock is right from then on.
    #[serde(rename = "for")]
    pub lasts: Span,
}

impl Strobe {
    /// How many changes there were, so many nanoseconds after its beginning. The clock is wrong after an odd number.
    pub fn changes(self, since_ns: i64) -> i64 {
        let (half_ns, lasts_ns) = (self.every.as_ns().cast_signed() / 2, self.lasts.as_ns().cast_signed());
        let count = since_ns.min(lasts_ns - 1).div_euclid(half_ns) + 1;
        // At its end it becomes right, if it is not yet.
        if since_ns < 0 {
            0
        } else if since_ns >= lasts_ns {
            count + count % 2
        } else {
            count
        }
    }
}

impl ClockChange {
    /// When the clock becomes right by itself, after the change; None if it does not.
    pub fn lasts(self) -> Option<Span> {
        match self {
            Self::Jump(_) | Self::Drift(_) => None,
            Self::Strobe(strobe) => Some(strobe.lasts),
        }
    }

    /// How far the clock is ahead of the right time, so many nanoseconds after the change; less than 0 is behind.
    pub fn ahead_ns(self, since_ns: i64) -> i64 {
        match self {
            Self::Jump(shift) => shift.as_ns(),
            Self::Drift(drift) => {
                let ahead_ns = i128::from(since_ns) * i128::from(drift.ppm()) / 1_000_000;
                i64::try_from(ahead_ns).unwrap_or(i64::MAX)
            }
            Self::Strobe(strobe) => strobe.changes(since_ns) % 2 * strobe.by.as_ns(),
        }
    }
}

impl fmt::Display for ClockChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jump(shift) if shift.as_ns() < 0 => write!(f, "set back by {}", shift.length()),
            Self::Jump(shift) => write!(f, "set forward by {shift}"),
            Self::Drift(drift) => write!(f, "drifts by {drift}"),
            Self::Strobe(Strobe { by, every, lasts }) => write!(f, "strobes by {by} every {every} for {lasts}"),
        }
    }
}

/// A fault of a clock as a step asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct ClockFault<'a> {
    /// Its kind.
    pub kind: FaultKind,
    /// The node whose host has that clock.
    pub node: &'a Target,
    /// Which clock.
    pub of: ClockOf,
    /// What is wrong with the clock; the error is a problem of the settings: the key, empty for the whole, and why.
    pub change: Result<ClockChange, (&'static str, String)>,
    /// The name by which it is healed.
    pub name: Option<&'a str>,
}

impl Settings for Clock {
    fn fault(&self, kind: FaultKind) -> FaultStep<'_> {
        let (of, name) = (self.of, self.name.as_deref());
        FaultStep::Clock(ClockFault { kind, node: &self.node, of, change: self.change(), name })
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        vec![&mut self.node]
    }
}

impl Clock {
    fn change(&self) -> Result<ClockChange, (&'static str, String)> {
        if self.strobe.is_none()
            && let Some((key, _)) =
                [("every", self.every), ("for", self.lasts)].into_iter().find(|(_, span)| span.is_some())
        {
            return Err((key, format!("`{key}` needs `strobe` (hint: `strobe: 200ms, every: 1s, for: 10s`)")));
        }
        match (self.jump, self.drift, self.strobe) {
            (Some(jump), None, None) => shift("jump", jump).map(ClockChange::Jump),
            (None, Some(drift), None) if !(DRIFT_MIN_PPM..=DRIFT_MAX_PPM).contains(&drift.ppm().abs()) => {
                let message = format!(
                    "a drift of {drift} is out of bounds (hint: `0.01%`, which can be proven within half a minute, to `50%`, \
                     or the same with a minus sign)"
                );
                Err(("drift", message))
            }
            (None, Some(drift), None) => Ok(ClockChange::Drift(drift)),
            (None, None, Some(by)) => self.strobe(shift("strobe", by)?).map(ClockChange::Strobe),
            (None, None, None) => {
                let hint = "hint: `jump: -1h`, `drift: 10%`, or `strobe: 200ms, every: 1s, for: 10s`";
                Err(("", format!("clock needs `jump`, `drift` or `strobe` ({hint})")))
            }
            (jump, ..) => {
                let (one, other) = match (jump, self.drift) {
                    (Some(_), Some(_)) => ("drift", "jump"),
                    (Some(_), None) => ("strobe", "jump"),
                    (None, _) => ("strobe", "drift"),
                };
                Err((one, format!("`{one}` cannot be combined with `{other}` (hint: leave out one of them)")))
            }
        }
    }

    fn strobe(&self, by: Shift) -> Result<Strobe, (&'static str, String)> {
        let (Some(every), Some(lasts)) = (self.every, self.lasts) else {
            let missing = if self.every.is_none() { "every" } else { "for" };
            let hint = "hint: `strobe: 200ms, every: 1s, for: 10s`";
            return Err(("strobe", format!("`strobe` needs `{missing}` ({hint})")));
        };
        if !(EVERY_MIN..=STROBE_MAX).contains(&every) {
            let message = format!("`every: {every}` is out of bounds (hint: from {EVERY_MIN} to {STROBE_MAX})");
            return Err(("every", message));
        }
        if !(every..=STROBE_MAX).contains(&lasts) {
            let message = format!("`for: {lasts}` is out of bounds (hint: from once {every} to {STROBE_MAX})");
            return Err(("for", message));
        }
        Ok(Strobe { by, every, lasts })
    }
}

/// A shift that can be proven.
fn shift(key: &'static str, shift: Shift) -> Result<Shift, (&'static str, String)> {
    if (JUMP_MIN..=JUMP_MAX).contains(&shift.length()) {
        return Ok(shift);
    }
    let message = format!(
        "a {key} of {shift} is out of bounds (hint: forward or back by {JUMP_MIN}, which can be proven, to 365days)"
    );
    Err((key, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::Step;

    #[test]
    fn a_change_is_told_in_words_and_an_impossible_one_refused() {
        for (settings, expected) in [
            (r#""jump": "1h""#, Ok("set forward by 1h")),
            (r#""jump": "-1500ms""#, Ok("set back by 1s 500ms")),
            (r#""drift": "10%""#, Ok("drifts by 10%")),
            (r#""drift": "-0.5%""#, Ok("drifts by -0.5%")),
            (r#""jump": "0s""#, Err("jump")),
            (r#""jump": "-99ms""#, Err("jump")),
            (r#""jump": "366days""#, Err("jump")),
            (r#""drift": "0.05%""#, Ok("drifts by 0.05%")),
            (r#""drift": "0.009%""#, Err("drift")),
            (r#""strobe": "200ms", "every": "1s", "for": "10s""#, Ok("strobes by 200ms every 1s for 10s")),
            (r#""strobe": "-2s", "every": "200ms", "for": "1m""#, Ok("strobes by -2s every 200ms for 1m")),
            (r#""strobe": "99ms", "every": "1s", "for": "10s""#, Err("strobe")),
            (r#""strobe": "1s", "every": "1s""#, Err("strobe")),
            (r#""strobe": "1s", "for": "1s""#, Err("strobe")),
            (r#""strobe": "1s", "every": "199ms", "for": "10s""#, Err("every")),
            (r#""strobe": "1s", "every": "1s", "for": "999ms""#, Err("for")),
            (r#""strobe": "1s", "every": "1s", "for": "2h""#, Err("for")),
            (r#""strobe": "1s", "every": "1s", "for": "1s", "jump": "1h""#, Err("strobe")),
            (r#""strobe": "1s", "every": "1s", "for": "1s", "drift": "1%""#, Err("strobe")),
            (r#""jump": "1h", "every": "1s""#, Err("every")),
            (r#""drift": "1%", "for": "1s""#, Err("for")),
            (r#""jump": "1h", "of": "monotonic""#, Ok("set forward by 1h")),
            (r#""drift": "-51%""#, Err("drift")),
            (r#""jump": "1h", "drift": "1%""#, Err("drift")),
            (r#""name": "x""#, Err("")),
        ] {
            let step: Step =
                serde_json::from_str(&format!(r#"{{"clock": {{"node": "node-2", {settings}}}}}"#)).unwrap();
            let Some(FaultStep::Clock(fault)) = step.fault() else { panic!("{step:?}") };
            let change = fault.change.as_ref().map(ToString::to_string);
            assert_eq!(change.as_deref().map_err(|(key, _)| *key), expected, "{settings}");
        }
    }

    #[test]
    fn a_strobe_is_wrong_in_the_first_half_of_each_period_until_its_end() {
        let strobe = |lasts: &str| {
            let span = |text: &str| text.parse().unwrap();
            ClockChange::Strobe(Strobe { by: "-200ms".parse().unwrap(), every: span("1s"), lasts: span(lasts) })
        };
        let wrong = |lasts: &str, since_ms: i64| match strobe(lasts).ahead_ns(since_ms * 1_000_000) {
            0 => false,
            -200_000_000 => true,
            other => panic!("{other}"),
        };
        let spans = [(-1, false), (0, true), (499, true), (500, false), (999, false), (1000, true), (1999, false)];
        for (since_ms, expected) in spans.into_iter().chain([(2000, true), (2250, false), (9000, false)]) {
            assert_eq!(wrong("2250ms", since_ms), expected, "{since_ms}");
        }
        // It ends where it is right already.
        for (since_ms, expected) in [(1999, false), (2000, false), (2001, false)] {
            assert_eq!(wrong("2s", since_ms), expected, "{since_ms}");
        }
    }
}
