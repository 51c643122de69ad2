//! The abilities that a plan needs from the backend of the cluster.

use std::collections::BTreeSet;
use std::fmt;

use super::{Plan, steps};
use crate::suite::{Lossy, Narrow, Only, Partition, Refuse, Sides, Step};
use crate::target::Target;

/// An ability that a plan needs from a backend. If the backend lacks one, the plan is skipped before anything
/// starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// Stop a server (SIGTERM).
    Stop,
    /// Kill a server (SIGKILL).
    Kill,
    /// Start a server that is down.
    Start,
    /// Freeze a server and resume it (SIGSTOP, SIGCONT).
    Freeze,
    /// Isolate one node from all nodes, from clients and from the harness.
    Isolate,
    /// Drop packets between two addresses, all or those of one kind of traffic.
    Links,
    /// Reject, drop at random or throttle packets between two addresses.
    Impairments,
    /// Delay packets.
    Delays,
    /// Distinguish the clients of the workload from one another and from the harness by address.
    Clients,
}

impl Need {
    /// The abilities that a step needs.
    pub fn of(step: &Step) -> &'static [Self] {
        match step {
            Step::Stop(_) => &[Self::Stop],
            Step::Kill(_) => &[Self::Kill],
            Step::Start(_) => &[Self::Start],
            Step::Pause(_) | Step::Resume(_) => &[Self::Freeze],
            Step::Partition(fault) if is_isolation(fault) => &[Self::Isolate],
            Step::Partition(Partition { between: Some(sides), only, .. }) if names_clients(sides, *only) => {
                &[Self::Links, Self::Clients]
            }
            Step::Partition(_) => &[Self::Links],
            Step::Lossy(Lossy { between: sides, only, .. })
            | Step::Narrow(Narrow { between: sides, only, .. })
            | Step::Refuse(Refuse { between: sides, only, .. })
                if names_clients(sides, *only) =>
            {
                &[Self::Links, Self::Impairments, Self::Clients]
            }
            Step::Lossy(_) | Step::Narrow(_) | Step::Refuse(_) => &[Self::Links, Self::Impairments],
            Step::Slow(slow) if names_clients(&slow.between, Only::All) => &[Self::Links, Self::Delays, Self::Clients],
            Step::Slow(_) => &[Self::Links, Self::Delays],
            _ => &[],
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stop => "stopping a server",
            Self::Kill => "killing a server",
            Self::Start => "starting a server",
            Self::Freeze => "freezing a server",
            Self::Isolate => "isolating a node",
            Self::Links => "cutting a link",
            Self::Impairments => "impairing a link",
            Self::Delays => "delaying packets",
            Self::Clients => "distinguishing clients",
        })
    }
}

/// Whether the fault isolates exactly one node: all traffic, in both directions.
fn is_isolation(fault: &Partition) -> bool {
    let Partition { between: Some(sides), shape: None, one_way: false, only: Only::All, .. } = fault else {
        return false;
    };
    let sides: Vec<&[Target]> = sides.iter().map(|side| side.0.as_slice()).collect();
    match sides[..] {
        [[one], [Target::Others]] | [[Target::Others], [one]] => steps::is_one(one),
        _ => false,
    }
}

/// Whether the fault affects links between clients and nodes.
fn names_clients(sides: &Sides, only: Only) -> bool {
    matches!(only, Only::All | Only::Clients)
        && sides.iter().flat_map(|side| &side.0).any(|target| matches!(target, Target::Clients(_) | Target::Others))
}

/// Whether a step needs answers of the named nodes themselves, not only the views of the other nodes.
fn asks_nodes(step: &Step) -> bool {
    match step {
        Step::Phase(_) | Step::Settle(_) => false,
        Step::Await(wait) => wait.promoted.is_none() && wait.failed.is_none(),
        _ => true,
    }
}

impl Plan {
    /// The abilities that the steps need. If a step queries nodes while one may be isolated, the isolation
    /// must use rules that let the harness pass.
    pub fn needs(&self) -> BTreeSet<Need> {
        let mut needs: BTreeSet<Need> = self.steps.iter().flat_map(Need::of).copied().collect();
        let mut isolated = 0_u32;
        for step in &self.steps {
            match step {
                Step::Heal(name) if name == "all" => isolated = 0,
                // `heal` may name another network fault, but a plan with one needs rules in any case.
                Step::Heal(_) => isolated = isolated.saturating_sub(1),
                step if Need::of(step) == [Need::Isolate] => isolated += 1,
                step if isolated > 0 && asks_nodes(step) => needs.extend([Need::Links, Need::Clients]),
                _ => {}
            }
        }
        needs
    }

    /// Whether the steps need an ability.
    pub fn needs_to(&self, need: Need) -> bool {
        self.needs().contains(&need)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_isolation_of_one_node_needs_no_rules() {
        for (between, more, expected) in [
            (r#"["node-1", "others"]"#, "", [Need::Isolate].as_slice()),
            (r#"["others", "shard-1/master"]"#, r#", "name": "alone""#, &[Need::Isolate]),
            (r#"["shard-1/master", "others"]"#, r#", "one-way": true"#, &[Need::Links, Need::Clients]),
            (r#"["node-1", "others"]"#, r#", "only": "bus""#, &[Need::Links]),
            (r#"["shard-1", "others"]"#, "", &[Need::Links, Need::Clients]),
            (r#"[["node-1", "half-clients"], "others"]"#, "", &[Need::Links, Need::Clients]),
            (r#"["node-1", "node-2"]"#, "", &[Need::Links]),
        ] {
            let text = format!(r#"{{"partition": {{"between": {between}{more}}}}}"#);
            let step: Step = serde_json::from_str(&text).unwrap();
            assert_eq!(Need::of(&step), expected, "{text}");
        }
    }

    #[test]
    fn queries_during_an_isolation_need_rules() {
        for (suite, expected) in
            [("flapping", [Need::Isolate].as_slice()), ("majority-lost", &[Need::Isolate, Need::Links, Need::Clients])]
        {
            let plan = Plan::new(&crate::suite::load(suite).unwrap(), 1).unwrap();
            assert_eq!(plan.needs().into_iter().collect::<Vec<_>>(), expected, "{suite}");
        }
    }
}
