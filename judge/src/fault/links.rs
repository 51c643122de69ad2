//! What all faults of links have in common: whom they part, which traffic they hit, what they do to it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FaultKind;
use crate::target::Targets;
use crate::units::{ByteRate, Percent, Span};

/// Who stands on each of two sides. `clients`, `half-clients` and `client-1` may stand on one too;
/// `others` is everybody, clients included, who is not on the other side.
pub type Sides = Vec<Targets>;

/// A shape of a partition among all nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Two halves that do not see each other.
    Halves,
    /// Two halves, and one node that sees both.
    Bridge,
    /// Every node sees a majority, and no two see the same one.
    Ring,
}

/// Which traffic a network fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Only {
    /// All of it.
    #[default]
    All,
    /// The cluster bus alone: gossip dies, and clients and replication do not notice.
    Bus,
    /// Clients to nodes alone.
    Clients,
    /// Replicas to masters alone.
    Replication,
}

/// A fault of links as a step asks for it, whatever its kind.
#[derive(Debug, Clone, PartialEq)]
pub struct LinksFault<'a> {
    /// Its kind.
    pub kind: FaultKind,
    /// The two sides.
    pub between: Option<&'a Sides>,
    /// A shape instead of two sides.
    pub shape: Option<Shape>,
    /// Whether only packets from the first side to the second are hit.
    pub one_way: bool,
    /// Which traffic is hit.
    pub only: Only,
    /// The name by which it is healed.
    pub name: Option<&'a str>,
    /// What happens to packets.
    pub effect: LinkEffect,
    /// What is impossible about its settings: the key, empty for the whole, and why.
    pub problems: Vec<(&'static str, String)>,
}

/// What a fault of links does to packets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LinkEffect {
    /// They vanish.
    Drop,
    /// They are answered with a TCP reset.
    Refuse,
    /// This share of them vanishes.
    Lossy(Percent),
    /// What goes beyond this rate vanishes.
    Narrow(ByteRate),
    /// They arrive later.
    Slow {
        /// By how much.
        latency: Span,
        /// By how much that varies.
        jitter: Span,
    },
}

/// Everything but the kind and the name.
impl fmt::Display for LinksFault<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(sides) = self.between {
            let sides: Vec<String> = sides.iter().map(|side| format!("[{side}]")).collect();
            write!(f, "between {}", sides.join(" and "))?;
        }
        f.write_str(match self.shape {
            None => "",
            Some(Shape::Halves) => "in halves",
            Some(Shape::Bridge) => "with a bridge",
            Some(Shape::Ring) => "as a ring",
        })?;
        match self.effect {
            LinkEffect::Drop | LinkEffect::Refuse => {}
            LinkEffect::Lossy(percent) => write!(f, ", {percent}")?,
            LinkEffect::Narrow(rate) => write!(f, ", {rate}")?,
            LinkEffect::Slow { latency, jitter } => {
                write!(f, ", {latency}")?;
                if !jitter.0.is_zero() {
                    write!(f, " +-{jitter}")?;
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
    use crate::fault::FaultStep;
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
            let Some(FaultStep::Links(fault)) = step.fault() else { panic!("{step:?}") };
            assert_eq!(fault.to_string(), expected);
        }
    }
}
