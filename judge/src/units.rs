//! Small value types that suites, plans, histories and reports share: each reads and writes the
//! form that a person types (`15s`, `400/s`, `50%`, `shard-1`).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

/// A value of a suite that could not be parsed. The text is a lowercase fragment that names the
/// offending value and ends with a hint where a fix is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub String);

impl ParseError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Implements serde, JSON Schema and `TryFrom<&str>` for a type that has `Display` and `FromStr` and is
/// written as one string.
macro_rules! text_form {
    ($type:ty, $name:literal, $description:literal, $pattern:expr) => {
        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl TryFrom<&str> for $type {
            type Error = crate::units::ParseError;
            fn try_from(text: &str) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as ::serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(::serde::de::Error::custom)
            }
        }
        impl ::schemars::JsonSchema for $type {
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                let pattern: Option<&str> = $pattern;
                match pattern {
                    Some(pattern) => {
                        ::schemars::json_schema!({"type": "string", "description": $description, "pattern": pattern})
                    }
                    None => ::schemars::json_schema!({"type": "string", "description": $description}),
                }
            }
        }
    };
}
pub(crate) use text_form;

/// A span of time, written as humantime does: `250ms`, `15s`, `1m 30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(pub Duration);

impl Span {
    /// A span of whole seconds.
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// A span of milliseconds.
    pub const fn millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }

    /// Whether it is no time at all.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    /// The span in nanoseconds, the unit of a history's times.
    pub fn as_ns(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The span in milliseconds, the unit of a report's figures.
    pub fn as_ms(self) -> f64 {
        self.0.as_secs_f64() * 1000.0
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl FromStr for Span {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        humantime::parse_duration(text).map(Self).map_err(|error| {
            ParseError::new(format!(
                "\"{text}\" is not a duration: {error} (hint: write it like `250ms`, `15s` or `1m 30s`)"
            ))
        })
    }
}

text_form!(Span, "Duration", "A duration such as `250ms`, `15s` or `1m 30s`.", None);

/// How many times as fast as real time the servers and slotquake live (`--speed`). All times of a run are in the time of
/// the cluster: at speed 10, one of its seconds takes a tenth of a real one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Speed(u16);

impl Speed {
    /// Real time.
    pub const REAL: Self = Self(1);

    /// Ten times as fast as real time.
    pub const TEN: Self = Self(10);

    /// No machine can keep more: the timers of Linux are late by some 50 us, which would be 5 ms.
    pub const MAX: Self = Self(100);

    /// The factor.
    pub fn factor(self) -> u32 {
        self.0.into()
    }

    /// Half of it, rounded down, and at least real time.
    #[must_use]
    pub fn halved(self) -> Self {
        Self((self.0 / 2).max(1))
    }

    /// Whether the run takes place in real time.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
    pub fn is_real(&self) -> bool {
        *self == Self::REAL
    }
}

impl Default for Speed {
    fn default() -> Self {
        Self::REAL
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Speed {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let speed = text.parse().ok().map(Self).filter(|speed| (Self::REAL..=Self::MAX).contains(speed));
        speed.ok_or_else(|| {
            ParseError::new(format!(
                "\"{text}\" is not a speed (hint: write a whole number from {} to {}, such as `10`)",
                Self::REAL,
                Self::MAX
            ))
        })
    }
}

/// Operations per second over all clients of a workload, written `400/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Operations issued each second.
    pub per_second: u32,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.per_second)
    }
}

impl FromStr for Rate {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.trim()
            .strip_suffix("/s")
            .and_then(|number| number.trim().parse().ok())
            .filter(|&per_second| per_second > 0)
            .map(|per_second| Self { per_second })
            .ok_or_else(|| {
                ParseError::new(format!("\"{text}\" is not a rate (hint: write operations per second like `400/s`)"))
            })
    }
}

text_form!(Rate, "Rate", "Operations per second, such as `400/s`.", Some(r"^\s*[0-9]+\s*/s$"));

/// Bytes per second, written `20kB/s`, `500B/s` or `1MB/s`; k is 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRate {
    /// Bytes each second.
    pub bytes_per_second: u64,
}

const BYTE_UNITS: [(&str, u64); 3] = [("MB/s", 1_000_000), ("kB/s", 1000), ("B/s", 1)];

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, size) = BYTE_UNITS
            .into_iter()
            .find(|(_, size)| self.bytes_per_second.is_multiple_of(*size))
            .expect("every number is a multiple of 1");
        write!(f, "{}{unit}", self.bytes_per_second / size)
    }
}

impl FromStr for ByteRate {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        BYTE_UNITS
            .iter()
            .find_map(|(unit, size)| {
                let number: u64 = text.trim().strip_suffix(unit)?.trim().parse().ok()?;
                number.checked_mul(*size).filter(|&bytes| bytes > 0)
            })
            .map(|bytes_per_second| Self { bytes_per_second })
            .ok_or_else(|| {
                ParseError::new(format!("\"{text}\" is not a byte rate (hint: write it like `20kB/s` or `1MB/s`)"))
            })
    }
}

text_form!(ByteRate, "ByteRate", "Bytes per second, such as `20kB/s` or `1MB/s`.", Some(r"^\s*[0-9]+\s*(B|kB|MB)/s$"));

/// A share of a whole, written `50%` or `99.9%`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Percent(f64);

impl Percent {
    /// A percentage from 0 to 100. A value outside this range becomes the nearest limit.
    pub fn new(percent: f64) -> Self {
        Self(percent.clamp(0.0, 100.0))
    }

    /// The share as a number from 0 to 1.
    pub fn fraction(self) -> f64 {
        self.0 / 100.0
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl FromStr for Percent {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.trim()
            .strip_suffix('%')
            .and_then(|number| number.trim().parse::<f64>().ok())
            .filter(|percent| (0.0..=100.0).contains(percent))
            .map(Self)
            .ok_or_else(|| {
                ParseError::new(format!("\"{text}\" is not a percentage from 0% to 100% (hint: write it like `50%`)"))
            })
    }
}

text_form!(Percent, "Percent", "A percentage such as `50%`.", Some(r"^\s*[0-9.]+\s*%$"));

/// A span of time with a sign, written `1h` or `-250ms`: by how much a clock is set forward or back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shift {
    nanoseconds: i64,
}

impl Shift {
    /// The span in nanoseconds; less than 0 is back.
    pub fn as_ns(self) -> i64 {
        self.nanoseconds
    }

    /// Its length without the sign.
    pub fn length(self) -> Span {
        Span(Duration::from_nanos(self.nanoseconds.unsigned_abs()))
    }
}

impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.nanoseconds < 0 { "-" } else { "" }, self.length())
    }
}

impl FromStr for Shift {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (sign, length) = text.strip_prefix('-').map_or((1, text), |length| (-1, length));
        let nanoseconds = length.parse::<Span>().ok().and_then(|length| i64::try_from(length.0.as_nanos()).ok());
        nanoseconds.map(|nanoseconds| Self { nanoseconds: sign * nanoseconds }).ok_or_else(|| {
            ParseError::new(format!("\"{text}\" is not a duration with a sign (hint: write it like `1h` or `-250ms`)"))
        })
    }
}

text_form!(Shift, "Shift", "A duration, or one with a minus sign, such as `1h` or `-250ms`.", None);

/// By how much a clock is too fast, or too slow, written `10%` or `-0.5%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drift {
    millionths: i32,
}

impl Drift {
    /// In parts per million; less than 0 is too slow.
    pub fn ppm(self) -> i32 {
        self.millionths
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.millionths) / 10_000.0)
    }
}

impl FromStr for Drift {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let percent = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        let millionths = percent.map(|percent| (percent * 10_000.0).round());
        let fits = millionths.filter(|millionths| millionths.abs() < f64::from(i32::MAX));
        fits.map(|millionths| Self { millionths: millionths as i32 }).ok_or_else(|| {
            ParseError::new(format!("\"{text}\" is not a drift (hint: write a percentage like `10%` or `-0.5%`)"))
        })
    }
}

text_form!(
    Drift,
    "Drift",
    "A percentage, or one with a minus sign, such as `10%` or `-0.5%`.",
    Some(r"^\s*-?[0-9.]+\s*%$")
);

macro_rules! numbered {
    ($type:ident, $prefix:literal, $what:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(pub u16);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl $type {
            /// The zero-based index in a table.
            pub fn index(self) -> usize {
                usize::from(self.0) - 1
            }

            /// The number for a zero-based index of a table.
            pub fn from_index(index: usize) -> Self {
                Self(u16::try_from(index + 1).expect("a cluster has fewer than 65536 nodes"))
            }
        }

        impl FromStr for $type {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                text.strip_prefix($prefix)
                    .and_then(|number| number.parse().ok())
                    .filter(|&number| number > 0)
                    .map(Self)
                    .ok_or_else(|| {
                        ParseError::new(format!(
                            "\"{text}\" is not a {} (hint: write `{}1`; numbers start at 1)",
                            $what, $prefix
                        ))
                    })
            }
        }

        text_form!($type, $what, $doc, Some(concat!("^", $prefix, "[1-9][0-9]*$")));
    };
}

numbered!(
    NodeNo,
    "node-",
    "node",
    "A node of the cluster under test, numbered from 1 in the order of boot: with 3 masters and 1 replica each, 1-3 boot as masters and 4-6 as their replicas (pairs 1-4, 2-5, 3-6). Written `node-4`."
);
numbered!(
    ShardNo,
    "shard-",
    "shard",
    "A shard: the slots that the master of the same number got at boot. It never changes, its master does. Written `shard-1`."
);

numbered!(ClientNo, "client-", "client", "A client of the workload, numbered from 1. Written `client-1`.");

/// The time limit of a wait or of an invariant: a fixed duration, or `spec`. The value of `spec` is computed
/// from the live `cluster-node-timeout` and the server version (see [`crate::spec`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The longest time that the server's rules allow; see [`crate::spec`].
    Spec,
    /// A fixed duration.
    Fixed(Span),
}

impl From<Duration> for Bound {
    fn from(duration: Duration) -> Self {
        Self::Fixed(duration.into())
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec => f.write_str("spec"),
            Self::Fixed(span) => span.fmt(f),
        }
    }
}

impl FromStr for Bound {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text == "spec" {
            return Ok(Self::Spec);
        }
        text.parse().map(Self::Fixed).map_err(|_| {
            ParseError::new(format!("\"{text}\" is neither a duration nor `spec` (hint: write it like `15s`)"))
        })
    }
}

text_form!(
    Bound,
    "Bound",
    "A duration such as `15s`, or `spec`: computed from cluster-node-timeout and the server version.",
    None
);

/// The value of a server directive, kept as the text in the file: `no`, `5000` and `""` reach
/// the server verbatim. No type of YAML or JSON applies to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Directive(pub String);

impl fmt::Display for Directive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<&str> for Directive {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl<'de> Deserialize<'de> for Directive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Directive;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text (`\"\"` for an empty text)")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Directive, E> {
                Ok(text.into())
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Directive, E> {
                Ok(Directive(number.to_string()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Directive, E> {
                Ok(Directive(number.to_string()))
            }
        }
        // With `deserialize_string`, JSON would reject a number.
        deserializer.deserialize_any(Text)
    }
}

impl JsonSchema for Directive {
    fn schema_name() -> Cow<'static, str> {
        "Directive".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // An editor reads `no` as a boolean and `5000` as a number; the loader keeps the text.
        json_schema!({"type": ["string", "integer", "number", "boolean"], "description": "The value of a server directive; it reaches the server verbatim."})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifts_and_drifts_have_a_sign() {
        for (text, ns) in [("1h", 3_600_000_000_000), ("-250ms", -250_000_000), ("0s", 0)] {
            let shift: Shift = text.parse().unwrap();
            assert_eq!((shift.as_ns(), shift.to_string().as_str()), (ns, text));
        }
        for (text, ppm) in [("10%", 100_000), ("-0.5%", -5000), ("0.05%", 500)] {
            let drift: Drift = text.parse().unwrap();
            assert_eq!((drift.ppm(), drift.to_string().as_str()), (ppm, text));
        }
        for text in ["", "-", "--1h", "1", "1h%", "+1h", "1000000000000years"] {
            let error = text.parse::<Shift>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("\"{text}\" is not a duration with a sign (hint: ")), "{error}");
        }
        for text in ["", "10", "%", "1h", "NaN%", "inf%", "900000000000%"] {
            let error = text.parse::<Drift>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("\"{text}\" is not a drift (hint: ")), "{error}");
        }
    }

    #[test]
    fn a_speed_is_a_whole_number_up_to_100() {
        for text in ["1", "10", "100"] {
            let speed: Speed = text.parse().unwrap();
            assert_eq!((speed.to_string().as_str(), speed.is_real()), (text, text == "1"));
        }
        for text in ["0", "0.5", "101", "abc", "", "-1", "10x"] {
            let error = text.parse::<Speed>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("\"{text}\" is not a speed (hint: write a whole number from 1")),
                "{error}"
            );
        }
    }
}
