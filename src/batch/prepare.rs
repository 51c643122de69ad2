//! Checks before any cluster boots: every suite is valid, every plan is possible, every server is available.

use std::collections::BTreeMap;
use std::path::Path;

use crate::plan::matrix::{self, Axis};
use crate::plan::{Found, Plan};
use crate::server::{self, Server, ServerError};
use crate::subprocess;
use crate::suite::{Exec, Expect, LoadError, Source, Step, Suite, UPGRADE_TO};

/// How errors name the option of a matrix, before `PATH=VALUE`.
const VARIED: &str = "--matrix ";

/// Loads a suite, applies overrides (the server, and the one to upgrade to, last), and resolves it. The error lists all
/// problems with their positions.
pub fn plan(
    suite: &str,
    server: Option<&str>,
    to: Option<&str>,
    sets: &[String],
    seed: u64,
) -> Result<Plan, LoadError> {
    let mut source = source(suite, sets)?;
    if let Some(to) = to {
        upgrade_to(&mut source.suite, to)?;
    }
    if let Some(server) = server {
        server.clone_into(&mut source.suite.cluster.server);
    }
    Plan::from_source(&source, seed)
}

fn upgrade_to(suite: &mut Suite, to: &str) -> Result<(), LoadError> {
    if suite.upgrades().next().is_none() {
        return Err(LoadError(format!(
            "`--to {to}` has no effect on suite \"{}\": none of its steps starts the server `{UPGRADE_TO}` (hint: leave `--to` \
             out, or run `rolling-upgrade`)",
            suite.name
        )));
    }
    suite.cluster.upgrade_to = Some(to.to_owned());
    Ok(())
}

/// The plan of every suite at every point of a matrix on every server, with `to` as the server to upgrade to. Fails if one of
/// them has an error.
pub fn plans(
    suites: &[String],
    (servers, axes): (&[String], &[Axis]),
    to: Option<&str>,
    sets: &[String],
    seed: u64,
) -> Result<Vec<Plan>, LoadError> {
    let points = points(axes, sets)?;
    let servers: Vec<Option<&str>> =
        if servers.is_empty() { vec![None] } else { servers.iter().map(|server| Some(server.as_str())).collect() };
    let places = points.iter().flat_map(|point| servers.iter().map(move |&server| (point, server)));
    let wanted = suites.iter().flat_map(|suite| places.clone().map(move |(point, server)| (suite, point, server)));
    all(wanted.map(|(suite, point, server)| at_point(suite, point, server, to, sets, seed)))
}

/// Every combination of the values of a matrix. Fails if its axes do not go together, or not with settings for all runs.
fn points(axes: &[Axis], sets: &[String]) -> Result<Vec<BTreeMap<String, String>>, LoadError> {
    match contradiction(axes, sets) {
        Some(why) => Err(LoadError(why)),
        None => Ok(matrix::points(axes)),
    }
}

/// Why axes do not go together, or not with settings for all runs.
fn contradiction(axes: &[Axis], sets: &[String]) -> Option<String> {
    axes.iter().enumerate().find_map(|(index, Axis { path, .. })| {
        let is_set = sets.iter().any(|set| set.split_once('=').is_some_and(|(set, _)| set.trim() == path));
        if is_set {
            return Some(format!("`{path}` is in `--matrix` and in `--set` (hint: leave one of them out)"));
        }
        let is_twice = axes[..index].iter().any(|other| other.path == *path);
        is_twice.then(|| format!("`{path}` is in `--matrix` twice (hint: list all its values once, with commas)"))
    })
}

/// The plan of a suite at one point of a matrix.
fn at_point(
    suite: &str,
    point: &BTreeMap<String, String>,
    server: Option<&str>,
    to: Option<&str>,
    sets: &[String],
    seed: u64,
) -> Result<Plan, LoadError> {
    let planned = with_point(point, sets, |sets| plan(suite, server, to, sets, seed))?;
    Ok(Plan { matrix: point.clone(), ..planned })
}

/// Does what needs the settings of a point. Errors name the option that gave the value.
fn with_point<T>(
    point: &BTreeMap<String, String>,
    sets: &[String],
    make: impl FnOnce(&[String]) -> Result<T, LoadError>,
) -> Result<T, LoadError> {
    let values: Vec<String> = point.iter().map(|(path, value)| format!("{path}={value}")).collect();
    let all: Vec<String> = sets.iter().chain(&values).cloned().collect();
    make(&all).map_err(|LoadError(text)| {
        LoadError(
            values
                .iter()
                .fold(text, |text, value| text.replace(&format!("--set {value}"), &format!("{VARIED}{value}"))),
        )
    })
}

/// A plan for a cluster that is already running. A valid suite that does not fit that cluster has its own plan, with the
/// reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The plan.
    pub plan: Plan,
    /// Why it cannot run there.
    pub unfit: Option<String>,
}

/// Every suite at every point of a matrix, resolved for a cluster that is already running. Fails if one of them has an error.
pub fn plans_on_found(
    suites: &[String],
    axes: &[Axis],
    sets: &[String],
    seed: u64,
    found: &Found,
) -> Result<Vec<Fitted>, LoadError> {
    let points = points(axes, sets)?;
    let wanted = suites.iter().flat_map(|suite| points.iter().map(move |point| (suite, point)));
    all(wanted.map(|(suite, point)| {
        let mut fitted = with_point(point, sets, |sets| fitted(&source(suite, sets)?, seed, found))?;
        fitted.plan.matrix.clone_from(point);
        Ok(fitted)
    }))
}

fn fitted(source: &Source, seed: u64, found: &Found) -> Result<Fitted, LoadError> {
    let errors = match Plan::on_found(&source.suite, seed, found) {
        Ok(plan) => return Ok(Fitted { plan, unfit: None }),
        Err(errors) => errors,
    };
    let plan = Plan { server: found.server.clone(), ..Plan::from_source(source, seed)? };
    let more = if errors.len() > 1 { format!(", and {} more", errors.len() - 1) } else { String::new() };
    Ok(Fitted { plan, unfit: Some(format!("it is for a cluster of another shape: {}{more}", errors[0])) })
}

fn source(suite: &str, sets: &[String]) -> Result<Source, LoadError> {
    let mut source = Source::load(suite)?;
    for assignment in sets {
        source.set(assignment)?;
    }
    Ok(source)
}

fn all<T>(results: impl Iterator<Item = Result<T, LoadError>>) -> Result<Vec<T>, LoadError> {
    let mut plans = Vec::new();
    let mut errors: Vec<LoadError> = Vec::new();
    for result in results {
        match result {
            Ok(plan) => plans.push(plan),
            // Most errors on one server occur on the others too, and a wrong path of a matrix with each of its values.
            Err(error) if errors.iter().any(|told| without_value(told) == without_value(&error)) => {}
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        return Ok(plans);
    }
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    Err(LoadError(texts.join("\n\n")))
}

/// An error without the value that a matrix gave: what is left tells whether it is the value that is wrong.
fn without_value(LoadError(text): &LoadError) -> Vec<&str> {
    let is_place = |line: &str| line.trim_start().strip_prefix("--> ").is_some_and(|place| place.starts_with(VARIED));
    text.lines().map(|line| line.split_once('=').filter(|_| is_place(line)).map_or(line, |(path, _)| path)).collect()
}

/// Finds or fetches each server of the plans once. `notice` receives a line for each slow step. A server that only steps
/// start may be missing afterwards, if it cannot be fetched; see [`lacking`].
pub fn servers(plans: &[Plan], notice: &dyn Fn(&str)) -> Result<BTreeMap<String, Server>, ServerError> {
    let mut found = BTreeMap::new();
    for plan in plans {
        for name in plan.servers() {
            if !found.contains_key(name) {
                match server::find(name, notice) {
                    Ok(server) => _ = found.insert(name.to_owned(), server),
                    Err(error @ (ServerError::Fetch { .. } | ServerError::Cache { .. } | ServerError::NoCache))
                        if name != plan.server =>
                    {
                        notice(&error.to_string());
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(found)
}

/// Why a plan cannot run with these servers: steps start one that is not among them.
pub fn lacking(plan: &Plan, servers: &BTreeMap<String, Server>) -> Option<String> {
    let missing = plan.servers().into_iter().find(|name| !servers.contains_key(*name))?;
    Some(format!(
        "a step starts {missing}, which could neither be found nor fetched (hint: install it, or use another with `--to`)"
    ))
}

/// Why a plan cannot run here: one of its steps runs a program that this machine does not have.
pub fn absent_program(plan: &Plan) -> Option<String> {
    plan.steps.iter().enumerate().find_map(|(index, step)| {
        let (Step::Exec(Exec { run, .. }) | Step::Expect(Expect { exec: Some(run), .. })) = step else { return None };
        let why = no_program(run.0.first()?)?;
        Some(format!("suite \"{}\", step {}: {why}", plan.name, index + 1))
    })
}

fn no_program(program: &str) -> Option<String> {
    if !program.contains('/') {
        let is_absent = subprocess::locate(program).is_none();
        return is_absent
            .then(|| format!("there is no program \"{program}\" on PATH (hint: a path has a slash: `./{program}`)"));
    }
    let path = Path::new(program);
    if subprocess::is_executable(path) {
        None
    } else if path.exists() {
        Some(format!("\"{program}\" is no program (hint: `chmod +x {program}`)"))
    } else {
        let here = std::env::current_dir().unwrap_or_default();
        let from = if path.is_absolute() { String::new() } else { format!(" in {}", here.display()) };
        Some(format!("there is no program \"{program}\"{from} (hint: paths count from where slotquake is started)"))
    }
}

/// Why a plan that was made for another server does not upgrade this one: the first server that a step starts is not a
/// newer version of it.
pub fn no_upgrade(plan: &Plan) -> Option<String> {
    let to = plan.servers().into_iter().find(|name| *name != plan.server)?;
    let (from, wanted) = (server::parse_wanted(&plan.server)?, server::parse_wanted(to)?);
    let is_newer = from.flavour == wanted.flavour && (wanted.major, wanted.minor) > (from.major, from.minor);
    (!is_newer).then(|| format!("{to} is no upgrade of {from} (hint: say with `--to` what to upgrade to)"))
}

/// A random seed. The keys of a hasher are the only random numbers in std. 32 bits are short enough to type, and exact in
/// every JSON parser.
pub fn draw_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one("seed") >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_suites_that_upgrade_take_a_server_to_upgrade_to() {
        let error = plan("role-swap", None, Some("redis:7.0"), &[], 1).expect_err("it upgrades nothing");
        assert!(error.0.starts_with("`--to redis:7.0` has no effect on suite \"role-swap\""), "{error}");
        let plan = plan("rolling-upgrade", Some("valkey:8.1"), Some("valkey:9.1"), &[], 1).expect("a plan");
        assert_eq!(plan.servers(), ["valkey:8.1", "valkey:9.1"]);
    }

    #[test]
    fn an_upgrade_goes_to_a_newer_version_of_the_same_server() {
        for (from, to, expected) in [
            ("redis:6.2", "redis:7.0", None),
            ("redis:6.2.14", "redis:8.2", None),
            ("redis:7.0", "redis:6.2", Some("redis:6.2 is no upgrade of redis:7.0")),
            ("redis:7.0", "redis:7.0.15", Some("redis:7.0.15 is no upgrade of redis:7.0")),
            ("valkey:9.1", "redis:7.0", Some("redis:7.0 is no upgrade of valkey:9.1")),
            ("/opt/redis-server", "redis:7.0", None),
        ] {
            let plan = plan("rolling-upgrade", Some(from), Some(to), &[], 1).expect("a plan");
            let said = no_upgrade(&plan);
            match expected {
                None => assert_eq!(said, None, "{from} {to}"),
                Some(start) => assert!(said.as_ref().is_some_and(|said| said.starts_with(start)), "{said:?}"),
            }
        }
        let swap = plan("role-swap", Some("valkey:9.1"), None, &[], 1).expect("a plan");
        assert_eq!((no_upgrade(&swap), lacking(&swap, &BTreeMap::new()).is_some()), (None, true));
    }
}
