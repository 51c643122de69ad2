//! What all faults of links have in common: whom they part, which traffic they hit, what they do to it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FaultKind, Need};
use crate::target::{Target, Targets};
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

impl LinksFault<'_> {
    /// The abilities that it needs from a backend.
    pub(super) fn needs(&self) -> Vec<Need> {
        if self.isolates_one() {
            return vec![Need::Isolate];
        }
        let clients = self.names_clients().then_some(Need::Clients);
        self.kind.spec().needs.iter().copied().chain(clients).collect()
    }

    /// Whether it isolates exactly one node: all traffic, in both directions.
    fn isolates_one(&self) -> bool {
        let Self {
            between: Some(sides), shape: None, one_way: false, only: Only::All, effect: LinkEffect::Drop, ..
        } = self
        else {
            return false;
        };
        let sides: Vec<&[Target]> = sides.iter().map(|side| side.0.as_slice()).collect();
        match sides[..] {
            [[one], [Target::Others]] | [[Target::Others], [one]] => one.is_one(),
            _ => false,
        }
    }

    /// Whether it may cut off some clients and not others: it severs links of clients, and names clients on a side.
    pub(crate) fn divides_clients(&self) -> bool {
        let mut targets = self.between.into_iter().flatten().flat_map(|side| &side.0);
        self.kind.severs_links()
            && match self.only {
                Only::All | Only::Clients => targets.any(|target| matches!(target, Target::Clients(_))),
                Only::Bus | Only::Replication => false,
            }
    }

    /// Whether it affects links between clients and nodes.
    fn names_clients(&self) -> bool {
        let targets = self.between.into_iter().flatten().flat_map(|side| &side.0);
        match self.only {
            Only::All | Only::Clients => {
                targets.into_iter().any(|target| matches!(target, Target::Clients(_) | Target::Others))
            }
            Only::Bus | Only::Replication => false,
        }
    }
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
