//! A wall clock that is wrong: it has jumped, or drifts.
//!
//! The fault is one of the host: a server that is started again on it still has that clock. Monotonic clocks and timeouts
//! are right. Redis and Valkey compute failure detection by the wall clock (`mstime` is gettimeofday).

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

/// With less, it takes more than ten seconds until a drift shows.
const DRIFT_MIN_PPM: i32 = 5000;

const DRIFT_MAX_PPM: i32 = 500_000;

/// Settings of `clock`. Exactly one of `jump` and `drift`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Clock {
    /// The one node whose host has that clock.
    pub node: Target,
    /// By how much its wall clock is set forward, or back with a minus sign: `1h`, `-1h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump: Option<Shift>,
    /// By how much its wall clock is faster than that of the others from now on, or slower with a minus sign: `10%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// The name by which `heal` undoes it. The clock is then set to the right time, so it jumps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What is wrong with a wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockChange {
    /// It was set forward, or back.
    Jump(Shift),
    /// It goes faster, or slower, since it was changed.
    Drift(Drift),
}

impl ClockChange {
    /// How far the clock is ahead of the right time, so many nanoseconds after the change; less than 0 is behind.
    pub fn ahead_ns(self, since_ns: i64) -> i64 {
        match self {
            Self::Jump(shift) => shift.as_ns(),
            Self::Drift(drift) => {
                let ahead_ns = i128::from(since_ns) * i128::from(drift.ppm()) / 1_000_000;
                i64::try_from(ahead_ns).unwrap_or(i64::MAX)
            }
        }
    }
}

impl fmt::Display for ClockChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jump(shift) if shift.as_ns() < 0 => write!(f, "set back by {}", shift.length()),
            Self::Jump(shift) => write!(f, "set forward by {shift}"),
            Self::Drift(drift) => write!(f, "drifts by {drift}"),
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
    /// What is wrong with the clock; the error is a problem of the settings: the key, empty for the whole, and why.
    pub change: Result<ClockChange, (&'static str, String)>,
    /// The name by which it is healed.
    pub name: Option<&'a str>,
}

impl Settings for Clock {
    fn fault(&self, kind: FaultKind) -> FaultStep<'_> {
        FaultStep::Clock(ClockFault { kind, node: &self.node, change: self.change(), name: self.name.as_deref() })
    }

    fn targets_mut(&mut self) -> Vec<&mut Target> {
        vec![&mut self.node]
    }
}

impl Clock {
    fn change(&self) -> Result<ClockChange, (&'static str, String)> {
        match (self.jump, self.drift) {
            (Some(jump), None) if !(JUMP_MIN..=JUMP_MAX).contains(&jump.length()) => {
                let message = format!(
                    "a jump of {jump} is out of bounds (hint: forward or back by {JUMP_MIN}, which can be proven, to 365days)"
                );
                Err(("jump", message))
            }
            (Some(jump), None) => Ok(ClockChange::Jump(jump)),
            (None, Some(drift)) if !(DRIFT_MIN_PPM..=DRIFT_MAX_PPM).contains(&drift.ppm().abs()) => {
                let message = format!(
                    "a drift of {drift} is out of bounds (hint: `0.5%`, which can be proven within seconds, to `50%`, or \
                     the same with a minus sign)"
                );
                Err(("drift", message))
            }
            (None, Some(drift)) => Ok(ClockChange::Drift(drift)),
            (None, None) => Err(("", "clock needs `jump` or `drift` (hint: `jump: -1h`, or `drift: 10%`)".to_owned())),
            (Some(_), Some(_)) => {
                Err(("drift", "`drift` cannot be combined with `jump` (hint: leave out one of them)".to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fault::FaultStep;
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
            (r#""drift": "0.05%""#, Err("drift")),
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
}
