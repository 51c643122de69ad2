//! How to repeat a run: the command, and the suite as it was run. Pure.

use std::path::Path;

use serde_json::{Value, json};

use crate::plan::Plan;
use crate::suite::{self, ReplicasPerMaster, Suite};
use crate::units::{ShardNo, Speed};

/// How to repeat a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reproduce {
    /// The command, quoted for a shell.
    pub command: String,
    /// Whether the command runs a suite that is built in. If not, [`Self::suite`] must be saved as the file in the command.
    pub built_in: bool,
    /// The suite with all overrides, as a file for `slotquake run`.
    pub suite: String,
}

/// Finds the command that gives the same plan, and verifies that it does.
pub fn reproduce(plan: &Plan, speed: Speed) -> Reproduce {
    let suite = suite_of(plan);
    let speed = if speed.is_real() && plan.speed(None, Speed::MAX).is_real() {
        String::new()
    } else {
        format!(" --speed {speed}")
    };
    let options = format!("--server {} --seed {}{speed}", quoted(&plan.server), plan.seed);
    let Some((to, sets)) = overrides(plan) else {
        let file = format!("./{}.yaml", plan.name);
        let mut command = format!("slotquake run {} {options}", quoted(&file));
        // Without its value, the file would run as another point of the matrix, or as none.
        for (path, value) in &plan.matrix {
            command.push_str(" --set ");
            command.push_str(&quoted(&format!("{path}={value}")));
        }
        return Reproduce { command, built_in: false, suite };
    };
    let mut command = format!("slotquake run {} {options}", quoted(&plan.name));
    if let Some(to) = to {
        command.push_str(" --to ");
        command.push_str(&quoted(&to));
    }
    for set in sets {
        command.push_str(" --set ");
        command.push_str(&quoted(&set));
    }
    Reproduce { command, built_in: true, suite }
}

/// The server to upgrade to, if it is not the suite's own, and the overrides that turn the shipped suite of that name into
/// the plan; None if there are none that do.
fn overrides(plan: &Plan) -> Option<(Option<String>, Vec<String>)> {
    let (_, text) = suite::shipped().iter().find(|(name, _)| *name == plan.name)?;
    let mut shipped = suite::parse(text, Path::new(&plan.name)).ok()?;
    shipped.cluster.server.clone_from(&plan.server);
    let to = shipped.upgrades().find_map(|step| plan.steps.get(step)?.change()?.server.clone());
    let to = to.filter(|to| shipped.cluster.upgrade_to.as_ref() != Some(to));
    if to.is_some() {
        shipped.cluster.upgrade_to.clone_from(&to);
    }
    let mut sets = Vec::new();
    let (masters, replicas) = shape(plan);
    if shipped.cluster.masters != masters {
        sets.push(format!("cluster.masters={masters}"));
    }
    if shipped.cluster.replicas_per_master.of_each(masters) != replicas.of_each(masters) {
        sets.push(format!("cluster.replicas-per-master={replicas}"));
    }
    let unchanged = Plan::new(&shipped, plan.seed).ok()?;
    let of_plan = |plan: &Plan| serde_json::to_value(plan).ok();
    let (before, after) = (of_plan(&unchanged)?, of_plan(plan)?);
    for (key, path) in [
        ("config", "cluster.config"),
        ("workload", "workload"),
        ("steps", "steps"),
        ("invariants", "invariants"),
        ("recover-within", "recover-within"),
        ("max-duration", "max-duration"),
        ("speed", "speed"),
    ] {
        differences(&before[key], &after[key], path, &mut sets)?;
    }
    let gives = |sets: &[String]| {
        let changed = sets.iter().try_fold(shipped.clone(), |suite, set| suite::set(&suite, set));
        changed.is_ok_and(|suite| {
            Plan::new(&suite, plan.seed).is_ok_and(|again| Plan { matrix: plan.matrix.clone(), ..again } == *plan)
        })
    };
    // The number of keys follows from the rest unless the suite states it.
    let without_keys: Vec<String> = sets.iter().filter(|set| !set.starts_with("workload.keys=")).cloned().collect();
    [without_keys, sets].into_iter().find(|sets| gives(sets)).map(|sets| (to, sets))
}

/// Adds the overrides that turn one value into another; None if a part would have to be removed.
fn differences(before: &Value, after: &Value, path: &str, sets: &mut Vec<String>) -> Option<()> {
    if before == after {
        return Some(());
    }
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            before.keys().all(|key| after.contains_key(key)).then_some(())?;
            for (key, value) in after {
                differences(before.get(key).unwrap_or(&Value::Null), value, &format!("{path}.{key}"), sets)?;
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, value) in after.iter().enumerate() {
                differences(&before[index], value, &format!("{path}[{index}]"), sets)?;
            }
        }
        (_, Value::String(text)) => sets.push(format!("{path}={text}")),
        (_, Value::Number(_) | Value::Bool(_)) => sets.push(format!("{path}={after}")),
        _ => return None,
    }
    Some(())
}

/// The number of masters, and of replicas of each.
fn shape(plan: &Plan) -> (u16, ReplicasPerMaster) {
    let masters = plan.shards();
    let of = |shard| plan.nodes.iter().filter(|node| node.shard == shard && node.replica_of.is_some()).count() as u16;
    let replicas: Vec<u16> = (0..masters).map(|index| of(ShardNo::from_index(index.into()))).collect();
    (masters, replicas.into())
}

/// The suite as JSON, which is YAML, too.
fn suite_of(plan: &Plan) -> String {
    let (masters, replicas) = shape(plan);
    let suite = json!({
        "name": plan.name,
        "about": plan.about,
        "cluster": {
            "server": plan.server,
            "masters": masters,
            "replicas-per-master": replicas,
            "config": plan.config,
        },
        "workload": plan.workload,
        "steps": plan.steps,
        "invariants": plan.invariants,
        "recover-within": plan.recover_within,
        "max-duration": plan.max_duration,
        "if-impossible": plan.if_impossible,
        "speed": plan.speed,
    });
    // The type of the suite gives the usual order of keys.
    serde_json::from_value::<Suite>(suite.clone())
        .map_or_else(|_| serde_json::to_string_pretty(&suite), |suite| serde_json::to_string_pretty(&suite))
        .unwrap_or_default()
}

/// A word, quoted for a shell if necessary.
/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-/:=,%+@".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(name: &str, sets: &[&str]) -> Plan {
        let text = suite::shipped().iter().find(|(shipped, _)| *shipped == name).expect("it is shipped").1;
        let suite = suite::parse(text, Path::new(name)).expect("it reads");
        let suite = sets.iter().fold(suite, |suite, set| suite::set(&suite, set).expect("it can be set"));
        Plan::new(&suite, 7).expect("it plans")
    }

    #[test]
    fn the_command_sets_only_what_differs() {
        for (sets, expected) in [
            (&[][..], "slotquake run role-swap --server redis:6.2 --seed 7"),
            (
                &["cluster.config.cluster-node-timeout=1000", "workload.rate=50/s"][..],
                "slotquake run role-swap --server redis:6.2 --seed 7 --set cluster.config.cluster-node-timeout=1000 --set workload.rate=50/s",
            ),
            (
                &["cluster.server=/opt/my builds/it's", "cluster.masters=5"][..],
                "slotquake run role-swap --server '/opt/my builds/it'\\''s' --seed 7 --set cluster.masters=5",
            ),
            (
                &["cluster.replicas-per-master=[2, 1, 1]"][..],
                "slotquake run role-swap --server redis:6.2 --seed 7 --set 'cluster.replicas-per-master=[2, 1, 1]'",
            ),
            (&["cluster.replicas-per-master=[1, 1, 1]"][..], "slotquake run role-swap --server redis:6.2 --seed 7"),
            (
                &["cluster.replicas-per-master=[2, 2, 2]"][..],
                "slotquake run role-swap --server redis:6.2 --seed 7 --set cluster.replicas-per-master=2",
            ),
            (
                &["steps[1].settle=9s", "cluster.config.save=900 1"][..],
                "slotquake run role-swap --server redis:6.2 --seed 7 --set 'cluster.config.save=900 1' --set 'steps[1].settle=9s'",
            ),
        ] {
            let again = reproduce(&plan("role-swap", sets), Speed::REAL);
            assert_eq!(again.command, expected);
            assert!(again.built_in, "{sets:?}");
        }
    }

    #[test]
    fn the_command_says_what_to_upgrade_to() {
        for (to, expected) in [
            ("redis:7.0", "slotquake run rolling-upgrade --server redis:6.2 --seed 7"),
            ("redis:8.2", "slotquake run rolling-upgrade --server redis:6.2 --seed 7 --to redis:8.2"),
        ] {
            let again = reproduce(&plan("rolling-upgrade", &[&format!("cluster.upgrade-to={to}")]), Speed::REAL);
            assert_eq!((again.command.as_str(), again.built_in), (expected, true));
        }
    }

    #[test]
    fn the_command_has_the_speed_of_the_run() {
        let ten: Speed = "10".parse().expect("a speed");
        for (sets, speed, expected) in [
            (&[][..], ten, " --speed 10"),
            (&["speed=10"], ten, " --speed 10 --set speed=10"),
            (&["speed=10"], Speed::REAL, " --speed 1 --set speed=10"),
            (&["speed=auto"], Speed::REAL, " --speed 1 --set speed=auto"),
            (&["speed=1"], Speed::REAL, " --set speed=1"),
        ] {
            let again = reproduce(&plan("role-swap", sets), speed);
            let expected = format!("slotquake run role-swap --server redis:6.2 --seed 7{expected}");
            assert_eq!((again.command, again.built_in), (expected, true));
        }
    }

    #[test]
    fn other_suites_are_saved_first() {
        let mut renamed = plan("role-swap", &[]);
        renamed.name = "my-swap".to_owned();
        let mut cut_short = plan("role-swap", &[]);
        cut_short.steps.pop();
        let mut varied = renamed.clone();
        varied.matrix.insert("workload.rate".to_owned(), "50/s".to_owned());
        for (plan, expected) in [
            (varied, "slotquake run ./my-swap.yaml --server redis:6.2 --seed 7 --set workload.rate=50/s"),
            (renamed, "slotquake run ./my-swap.yaml --server redis:6.2 --seed 7"),
            (cut_short, "slotquake run ./role-swap.yaml --server redis:6.2 --seed 7"),
        ] {
            let again = reproduce(&plan, Speed::REAL);
            assert_eq!((again.command.as_str(), again.built_in), (expected, false));
        }
    }

    #[test]
    fn a_saved_suite_has_the_same_replicas() {
        let mut plan = plan("role-swap", &["cluster.replicas-per-master=[3, 1, 0]"]);
        plan.name = "my-swap".to_owned();
        let saved = suite::parse(&reproduce(&plan, Speed::REAL).suite, Path::new("saved.yaml")).expect("it reads");
        assert_eq!(saved.cluster.replicas_per_master, ReplicasPerMaster::Listed(vec![3, 1, 0]));
        assert_eq!(Plan::new(&saved, plan.seed).expect("it plans"), plan);
    }

    #[test]
    fn reproduces_every_shipped_suite() {
        for name in suite::shipped_names() {
            let plan = plan(name, &["cluster.config.cluster-node-timeout=1234"]);
            let again = reproduce(&plan, Speed::REAL);
            assert!(again.built_in, "{name}: {}", again.command);
            let saved =
                suite::parse(&again.suite, Path::new("saved.yaml")).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(Plan::new(&saved, plan.seed).expect("it plans"), plan, "{name}");
        }
    }
}
