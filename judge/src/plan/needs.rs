//! The abilities that a plan needs from the backend of the cluster.

use std::collections::BTreeSet;

use super::Plan;
use crate::fault::{Means, Need};
use crate::suite::{Address, Does, Step};

impl Need {
    /// The abilities that a step needs.
    pub fn of(step: &Step) -> Vec<Self> {
        match step.does() {
            Does::Fault(fault) => fault.needs(),
            Does::Undo(action, _, start) => match action.means() {
                Means::Start => {
                    let mut needs = vec![Self::Start];
                    if let Some(change) = start.map(|start| &start.change).filter(|change| !change.is_nothing()) {
                        needs.push(Self::Change);
                        match change.address {
                            Address::Kept => {}
                            Address::New => needs.push(Self::NewAddress),
                        }
                    }
                    needs
                }
                Means::Thaw => vec![Self::Freeze],
                Means::Signal(_) | Means::Freeze => Vec::new(),
            },
            Does::Corrupt(_) => vec![Self::Damage],
            Does::When(_) => vec![Self::Logs],
            Does::Phase(_)
            | Does::Settle(_)
            | Does::Heal(_)
            | Does::Command(_)
            | Does::Await(_)
            | Does::Expect(_)
            | Does::Exec(_)
            | Does::Random(_) => Vec::new(),
        }
    }
}

/// Whether a step needs answers of the named nodes themselves, not only the views of the other nodes.
fn asks_nodes(step: &Step) -> bool {
    match step.does() {
        Does::Phase(_) | Does::Settle(_) | Does::When(_) | Does::Random(_) => false,
        Does::Await(wait) => wait.promoted.is_none() && wait.failed.is_none(),
        Does::Fault(_)
        | Does::Undo(..)
        | Does::Corrupt(_)
        | Does::Heal(_)
        | Does::Command(_)
        | Does::Expect(_)
        // Nobody knows whom the program will ask.
        | Does::Exec(_) => true,
    }
}

impl Plan {
    /// The abilities that the steps need. If a step queries nodes while one may be isolated, the isolation
    /// must use rules that let the harness pass.
    pub fn needs(&self) -> BTreeSet<Need> {
        let mut needs: BTreeSet<Need> = self.steps.iter().flat_map(Need::of).collect();
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
