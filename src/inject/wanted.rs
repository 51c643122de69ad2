//! A network fault as a step asks for it, whatever its kind.

use std::fmt;
use std::time::Duration;

use super::sides::{Split, Whole};
use crate::history::FaultKind;
use crate::network::rules::Effect;
use crate::suite::{Lossy, Narrow, Only, Partition, Refuse, Shape, Sides, Slow};
use crate::units::{ByteRate, Span};

/// What is to be done, and to whom.
#[derive(Debug, Clone, Copy)]
pub struct NetworkFault<'s> {
    pub(super) kind: FaultKind,
    layout: Layout<'s>,
    pub(super) one_way: bool,
    pub(super) only: Only,
    pub(super) effect: Effect,
    pub(super) name: Option<&'s str>,
}

#[derive(Debug, Clone, Copy)]
enum Layout<'s> {
    Between(&'s Sides),
    Shape(Shape),
}

impl<'s> NetworkFault<'s> {
    /// The error says what is wrong with the step.
    pub fn partition(step: &'s Partition) -> Result<Self, String> {
        let layout = match (&step.between, step.shape) {
            (Some(sides), None) => Layout::Between(sides),
            (None, Some(shape)) => Layout::Shape(shape),
            _ => return Err("partition needs either `between` or `shape`".to_owned()),
        };
        let Partition { one_way, only, .. } = *step;
        if one_way && step.shape.is_some() {
            return Err("a shape has no first side, so it cannot be one-way".to_owned());
        }
        Ok(Self { kind: FaultKind::Partition, layout, one_way, only, effect: Effect::Drop, name: step.name.as_deref() })
    }

    /// A share of the packets vanishes.
    pub fn lossy(step: &'s Lossy) -> Self {
        let effect = Effect::Lossy(step.percent);
        Self::between(FaultKind::Lossy, &step.between, step.only, effect, step.name.as_deref())
    }

    /// The rate is limited.
    pub fn narrow(step: &'s Narrow) -> Self {
        let effect = Effect::Narrow { bytes_per_second: step.rate.bytes_per_second };
        Self::between(FaultKind::Narrow, &step.between, step.only, effect, step.name.as_deref())
    }

    /// Connections are reset.
    pub fn refuse(step: &'s Refuse) -> Self {
        Self::between(FaultKind::Refuse, &step.between, step.only, Effect::Refuse, step.name.as_deref())
    }

    /// Packets are delayed.
    pub fn slow(step: &'s Slow) -> Self {
        let microseconds = |span: Span| u64::try_from(span.0.as_micros()).unwrap_or(u64::MAX);
        let latency_us = microseconds(step.latency);
        let jitter_us = step.jitter.map_or(0, microseconds);
        let effect = Effect::Slow { latency_us, jitter_us, class: 0 };
        Self::between(FaultKind::Slow, &step.between, Only::All, effect, step.name.as_deref())
    }

    fn between(kind: FaultKind, sides: &'s Sides, only: Only, effect: Effect, name: Option<&'s str>) -> Self {
        Self { kind, layout: Layout::Between(sides), one_way: false, only, effect, name }
    }

    /// Whom it means now.
    pub(super) fn split(&self, whole: &Whole<'_>) -> Result<Split, String> {
        match self.layout {
            Layout::Between(sides) => whole.between(sides, self.one_way, self.only),
            Layout::Shape(shape) => whole.shape(shape),
        }
    }
}

/// Everything but the kind.
impl fmt::Display for NetworkFault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layout {
            Layout::Between(sides) => {
                let sides: Vec<String> = sides.iter().map(|side| format!("[{side}]")).collect();
                write!(f, "between {}", sides.join(" and "))?;
            }
            Layout::Shape(Shape::Halves) => f.write_str("in halves")?,
            Layout::Shape(Shape::Bridge) => f.write_str("with a bridge")?,
            Layout::Shape(Shape::Ring) => f.write_str("as a ring")?,
        }
        match self.effect {
            Effect::Drop | Effect::Refuse => {}
            Effect::Lossy(percent) => write!(f, ", {percent}")?,
            Effect::Narrow { bytes_per_second } => write!(f, ", {}", ByteRate { bytes_per_second })?,
            Effect::Slow { latency_us, jitter_us, .. } => {
                write!(f, ", {}", Span(Duration::from_micros(latency_us)))?;
                if jitter_us > 0 {
                    write!(f, " +-{}", Span(Duration::from_micros(jitter_us)))?;
                }
            }
        }
        f.write_str(if self.one_way { ", one way" } else { "" })?;
        f.write_str(match self.only {
            Only::All => "",
            Only::Bus => ", bus only",
            Only::Clients => ", clients only",
            Only::Replication => ", replication only",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::Step;

    #[test]
    fn a_fault_is_told_in_words() {
        for (step, expected) in [
            (
                r#"{"partition":{"between":["node-1",["others","client-1"]],"one-way":true,"only":"bus"}}"#,
                "between [node-1] and [others, client-1], one way, bus only",
            ),
            (r#"{"partition":{"shape":"ring"}}"#, "as a ring"),
            (
                r#"{"lossy":{"between":["minority","others"],"percent":"12.5%"}}"#,
                "between [minority] and [others], 12.5%",
            ),
            (
                r#"{"narrow":{"between":["node-1","node-4"],"rate":"20kB/s","only":"replication"}}"#,
                "between [node-1] and [node-4], 20kB/s, replication only",
            ),
            (
                r#"{"refuse":{"between":["clients","masters"],"only":"clients"}}"#,
                "between [clients] and [masters], clients only",
            ),
            (
                r#"{"slow":{"between":["node-1","node-2"],"latency":"100ms","jitter":"500us"}}"#,
                "between [node-1] and [node-2], 100ms +-500us",
            ),
        ] {
            let step: Step = serde_json::from_str(step).unwrap();
            let told = match &step {
                Step::Partition(step) => NetworkFault::partition(step).unwrap().to_string(),
                Step::Lossy(step) => NetworkFault::lossy(step).to_string(),
                Step::Narrow(step) => NetworkFault::narrow(step).to_string(),
                Step::Refuse(step) => NetworkFault::refuse(step).to_string(),
                Step::Slow(step) => NetworkFault::slow(step).to_string(),
                other => panic!("{other:?}"),
            };
            assert_eq!(told, expected);
        }
    }
}
