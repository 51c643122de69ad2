//! `slotquake plan`.

use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;
use slotquake::batch;
use slotquake::facts::NodeTimeouts;
use slotquake::plan::Plan;
use slotquake::report::seconds;
use slotquake::server::{Version, parse_wanted};
use slotquake::suite::Step;
use slotquake_judge::words::count;

use super::exit::{Exit, Trouble};
use super::prepare::Overrides;
use super::{Format, live, screen};

/// Print the plan of a suite: everything resolved, bounded and explicit
///
/// As JSON, or with `--format table` in words. `limits` are what `spec` means for this server and its node timeout: the longest
/// times that the server's own rules allow.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  slotquake plan role-swap --set cluster.config.cluster-node-timeout=1000 --seed 7
  slotquake plan role-swap --server valkey:9.1 --format table")]
pub struct Args {
    /// The name of a suite, or the path of a suite file
    suite: String,
    /// The server instead of the suite's own: `redis:6.2`, `valkey:9.1`, or the path of a binary
    #[arg(long)]
    server: Option<String>,
    #[command(flatten)]
    overrides: Overrides,
    /// The format of the result
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
}

/// What `spec` means at the start of a run, in milliseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(clippy::struct_field_names, reason = "a reader of the document must know the unit")]
struct Limits {
    /// From a fault at a master to FAIL.
    fail_ms: f64,
    /// From a fault at a master to the promotion.
    promotion_ms: f64,
    /// From a fault at a master to the first write that the new master acknowledges.
    first_write_ms: f64,
    /// Until all nodes agree after a heal.
    agreement_ms: f64,
    /// How long a master without a majority may acknowledge writes.
    write_cutoff_ms: f64,
    /// How long two masters of a shard may acknowledge writes.
    split_brain_ms: f64,
    /// How long a wait goes on.
    wait_ms: f64,
}

impl Limits {
    /// None for the path of a binary: its version is not known before it is started.
    fn of(plan: &Plan) -> Option<Self> {
        let wanted = parse_wanted(&plan.server)?;
        let patch = wanted.patch.unwrap_or_default();
        let version = Version { flavour: wanted.flavour, major: wanted.major, minor: wanted.minor, patch };
        let rules = NodeTimeouts::at_boot(plan, version).rules(0);
        let ms = |span: Duration| span.as_secs_f64() * 1e3;
        Some(Self {
            fail_ms: ms(rules.fail()),
            promotion_ms: ms(rules.promotion()),
            first_write_ms: ms(rules.first_write()),
            agreement_ms: ms(rules.agreement()),
            write_cutoff_ms: ms(rules.write_cutoff(false)),
            split_brain_ms: ms(rules.split_brain(false)),
            wait_ms: ms(rules.patience()),
        })
    }

    fn rows(&self) -> [(&'static str, f64); 7] {
        [
            ("from a fault at a master to FAIL", self.fail_ms),
            ("... to the promotion", self.promotion_ms),
            ("... to the first write", self.first_write_ms),
            ("until all nodes agree after a heal", self.agreement_ms),
            ("a master without a majority acknowledges writes for", self.write_cutoff_ms),
            ("two masters of a shard acknowledge writes for", self.split_brain_ms),
            ("a wait goes on for", self.wait_ms),
        ]
    }
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    plan: &'a Plan,
    limits: Option<Limits>,
}

/// Prints the plan.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    let seed = args.overrides.seed();
    let (server, to) = (args.server.as_deref(), args.overrides.to.as_deref());
    let plan = batch::plan(&args.suite, server, to, &args.overrides.sets, seed).map_err(Trouble::usage)?;
    let limits = Limits::of(&plan);
    let text = match args.format {
        Format::Json => serde_json::to_string_pretty(&Document { plan: &plan, limits }).map_err(Trouble::harness)?,
        Format::Table => in_words(&plan, limits.as_ref()),
    };
    screen::print(&text)?;
    Ok(Exit::Pass)
}

fn in_words(plan: &Plan, limits: Option<&Limits>) -> String {
    let mut text = format!("{} on {}, seed {}\n", plan.name, plan.server, plan.seed);
    let timeout = seconds(plan.node_timeout().as_secs_f64() * 1e3);
    let masters = usize::from(plan.shards());
    let replicas = plan.nodes.len() - masters;
    let _ = writeln!(
        text,
        "{}, {}, cluster-node-timeout {timeout}",
        count(masters as u64, "master"),
        count(replicas as u64, "replica")
    );
    text.push_str("\nsteps\n");
    for (index, step) in plan.steps.iter().enumerate() {
        let _ = writeln!(text, "  {:>3}  {}", index + 1, live::words(step));
    }
    let settled: f64 = plan
        .steps
        .iter()
        .filter_map(|step| if let Step::Settle(span) = step { Some(span.as_ms()) } else { None })
        .sum();
    let _ = writeln!(
        text,
        "  they settle for {} in all, end after {} at the latest, and the cluster has {} to recover",
        seconds(settled),
        plan.max_duration,
        plan.recover_within
    );
    match limits {
        Some(limits) => {
            text.push_str("\n`spec` at the start of the run: the longest that the server's rules allow\n");
            for (what, ms) in limits.rows() {
                let _ = writeln!(text, "  {what:<52}{:>9}", seconds(ms));
            }
        }
        None => text.push_str("\n`spec` depends on the server's version, which this binary tells when it starts\n"),
    }
    text.push_str("\ninvariants\n");
    if plan.invariants.is_empty() {
        text.push_str("  none: nothing is judged but slotquake's own checks\n");
    }
    for invariant in &plan.invariants {
        let _ = writeln!(text, "  {}", live::words(invariant));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(server: &str, timeout: &str) -> Plan {
        let sets = [format!("cluster.config.cluster-node-timeout={timeout}")];
        batch::plan("role-swap", Some(server), None, &sets, 7).expect("a plan")
    }

    #[test]
    fn spec_is_a_number() {
        let limit = |server: &str, timeout: &str| Limits::of(&plan(server, timeout)).map(|limits| limits.promotion_ms);
        let slow = limit("redis:6.2", "5000").expect("known");
        assert!(limit("redis:6.2", "1000").expect("known") < slow);
        assert!(limit("valkey:9.1", "5000").expect("known") < slow);
        assert_eq!(limit("/opt/redis-server", "5000"), None);
        let text = in_words(&plan("redis:6.2", "5000"), Limits::of(&plan("redis:6.2", "5000")).as_ref());
        assert!(text.contains(&format!("... to the promotion{:>41}", seconds(slow))), "{text}");
        assert!(text.contains("acked-writes: {may-lose: 0}"), "{text}");
    }
}
