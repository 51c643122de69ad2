//! `slotquake fault`.

use clap::Subcommand;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::de::DeserializeOwned;
use slotquake::batch;
use slotquake::fault::{Clock, ClockOf};
use slotquake::run::Ask;
use slotquake::suite::{Lossy, Narrow, Only, Partition, Refuse, Shape, Slow, Step};
use slotquake::target::{Target, Targets};
use slotquake::units::{ByteRate, Drift, Percent, Shift, Span};

use super::exit::{Exit, Trouble};
use super::screen;
use super::socket::{Response, Which};

/// Break a cluster that `slotquake up` keeps, or mend it
///
/// The faults and the names of nodes are those of suites: `node-1`, `shard-1/master`, `key:testkey/replica`,
/// `slot:5000/master`, `any/master`, `masters`, `minority`. It returns when the fault is proven to be in effect, or
/// undone, and prints the proof.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  slotquake fault kill shard-1/master
  slotquake fault start node-1
  slotquake fault partition node-1,client-1 others --as cut
  slotquake fault narrow shard-1/master shard-1/replica --rate 20kB/s --only replication
  slotquake fault clock shard-2/master --jump -1h --as behind
  slotquake fault heal cut")]
pub struct Args {
    #[command(subcommand)]
    fault: Fault,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum Fault {
    /// End servers with SIGTERM
    Stop(Nodes),
    /// End servers with SIGKILL: a crash
    Kill(Nodes),
    /// Freeze servers: they keep their connections and answer nothing
    Pause(Nodes),
    /// Start servers that ended
    Start(Nodes),
    /// Let frozen servers go on
    Resume(Nodes),
    /// Cut links: packets vanish
    Partition {
        /// One side; commas join several targets
        #[arg(value_parser = side, required_unless_present = "shape", requires = "other")]
        side: Option<Targets>,
        /// The other side; `others` is everybody else
        #[arg(value_parser = side)]
        other: Option<Targets>,
        /// A shape among all nodes, instead of two sides
        #[arg(long, conflicts_with = "side", value_parser = word::<Shape>(&["halves", "bridge", "ring"]))]
        shape: Option<Shape>,
        /// Cut only what the first side sends
        #[arg(long)]
        one_way: bool,
        #[command(flatten)]
        traffic: Traffic,
    },
    /// Answer connections with a reset
    Refuse {
        #[command(flatten)]
        sides: TwoSides,
        #[command(flatten)]
        traffic: Traffic,
    },
    /// Let a share of packets vanish
    Lossy {
        #[command(flatten)]
        sides: TwoSides,
        /// The share, such as 20%
        #[arg(long)]
        percent: Percent,
        #[command(flatten)]
        traffic: Traffic,
    },
    /// Limit the rate
    Narrow {
        #[command(flatten)]
        sides: TwoSides,
        /// What passes, such as 20kB/s
        #[arg(long)]
        rate: ByteRate,
        #[command(flatten)]
        traffic: Traffic,
    },
    /// Delay packets, where the kernel has netem
    Slow {
        #[command(flatten)]
        sides: TwoSides,
        /// By how much, such as 50ms
        #[arg(long)]
        latency: Span,
        /// By how much that varies
        #[arg(long)]
        jitter: Option<Span>,
        /// What `heal` calls it by
        #[arg(long = "as", value_name = "FAULT")]
        called: Option<String>,
    },
    /// Make a clock wrong, if the cluster was started with `slotquake up --clocks`
    Clock {
        /// The node
        #[arg(value_name = "NODE")]
        node: Target,
        /// Set it forward, or back with a minus sign, such as -1h
        #[arg(long, value_name = "SPAN", allow_hyphen_values = true, required_unless_present_any = ["drift", "strobe"])]
        jump: Option<Shift>,
        /// Let it go too fast, or too slow with a minus sign, such as 10%
        #[arg(long, value_name = "PERCENT", allow_hyphen_values = true, conflicts_with = "jump")]
        drift: Option<Drift>,
        /// Set it forward and back, or back and forward with a minus sign, such as 200ms
        #[arg(long, value_name = "SPAN", allow_hyphen_values = true, conflicts_with_all = ["jump", "drift"],
            requires_all = ["every", "lasts"])]
        strobe: Option<Shift>,
        /// How often it strobes, such as 1s
        #[arg(long, value_name = "SPAN", requires = "strobe")]
        every: Option<Span>,
        /// For how long it strobes, such as 10s
        #[arg(long = "for", value_name = "SPAN", requires = "strobe")]
        lasts: Option<Span>,
        /// Which clock
        #[arg(long, default_value = "wall", value_parser = word::<ClockOf>(&["wall", "monotonic"]))]
        of: ClockOf,
        /// What `heal` calls it by
        #[arg(long = "as", value_name = "FAULT")]
        called: Option<String>,
    },
    /// Undo faults of links and clocks
    Heal {
        /// One by its name, or all
        #[arg(default_value = "all")]
        fault: String,
    },
}

#[derive(Debug, clap::Args)]
struct Nodes {
    /// The nodes
    #[arg(required = true, value_name = "NODE")]
    targets: Vec<Target>,
}

#[derive(Debug, clap::Args)]
struct TwoSides {
    /// One side; commas join several targets
    #[arg(value_parser = side)]
    side: Targets,
    /// The other side; `others` is everybody else
    #[arg(value_parser = side)]
    other: Targets,
}

#[derive(Debug, clap::Args)]
struct Traffic {
    /// Which traffic
    #[arg(long, default_value = "all", value_parser = word::<Only>(&["all", "bus", "clients", "replication"]))]
    only: Only,
    /// What `heal` calls it by
    #[arg(long = "as", value_name = "FAULT")]
    called: Option<String>,
}

/// Several targets of one side.
fn side(text: &str) -> Result<Targets, String> {
    let targets: Result<Vec<Target>, _> = text.split(',').map(str::parse).collect();
    targets.map(Targets).map_err(|error| error.to_string())
}

/// A word that a suite would have.
fn word<T>(words: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(|word| serde_json::from_value::<T>(word.into()))
}

/// Injects it, or undoes one.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    let ask = Ask::Fault { step: step(&args.fault), seed: batch::draw_seed() };
    if let Response::Lines(lines) = args.which.ask(&ask)? {
        screen::print(&lines.join("\n"))?;
    }
    Ok(Exit::Pass)
}

/// The same as a suite would say it.
fn step(fault: &Fault) -> Step {
    let targets = |nodes: &Nodes| Targets(nodes.targets.clone());
    let between = |sides: &TwoSides| vec![sides.side.clone(), sides.other.clone()];
    match fault {
        Fault::Stop(nodes) => Step::Stop(targets(nodes)),
        Fault::Kill(nodes) => Step::Kill(targets(nodes)),
        Fault::Pause(nodes) => Step::Pause(targets(nodes)),
        Fault::Start(nodes) => Step::Start(targets(nodes).into()),
        Fault::Resume(nodes) => Step::Resume(targets(nodes)),
        Fault::Partition { side, other, shape, one_way, traffic } => Step::Partition(Partition {
            between: side.clone().zip(other.clone()).map(|(side, other)| vec![side, other]),
            shape: *shape,
            one_way: *one_way,
            only: traffic.only,
            name: traffic.called.clone(),
        }),
        Fault::Refuse { sides, traffic } => {
            Step::Refuse(Refuse { between: between(sides), only: traffic.only, name: traffic.called.clone() })
        }
        Fault::Lossy { sides, percent, traffic } => Step::Lossy(Lossy {
            between: between(sides),
            percent: *percent,
            only: traffic.only,
            name: traffic.called.clone(),
        }),
        Fault::Narrow { sides, rate, traffic } => Step::Narrow(Narrow {
            between: between(sides),
            rate: *rate,
            only: traffic.only,
            name: traffic.called.clone(),
        }),
        Fault::Slow { sides, latency, jitter, called } => {
            Step::Slow(Slow { between: between(sides), latency: *latency, jitter: *jitter, name: called.clone() })
        }
        Fault::Clock { node, jump, drift, strobe, every, lasts, of, called } => Step::Clock(Clock {
            node: node.clone(),
            jump: *jump,
            drift: *drift,
            strobe: *strobe,
            every: *every,
            lasts: *lasts,
            of: *of,
            name: called.clone(),
        }),
        Fault::Heal { fault } => Step::Heal(fault.clone()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn said(line: &str) -> Result<Value, String> {
        let line = Line::try_parse_from(["fault"].into_iter().chain(line.split(' ')));
        line.map(|line| json!(step(&line.args.fault))).map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_says_what_a_suite_would() {
        for (line, expected) in [
            ("kill shard-1/master", json!({"kill": "shard-1/master"})),
            ("start node-1 node-4", json!({"start": ["node-1", "node-4"]})),
            ("heal", json!({"heal": "all"})),
            ("heal cut", json!({"heal": "cut"})),
            (
                "partition node-1,client-1 others --as cut --only bus --one-way",
                json!({"partition": {"between": [["node-1", "client-1"], "others"], "one-way": true, "only": "bus", "name": "cut"}}),
            ),
            ("partition --shape ring", json!({"partition": {"shape": "ring", "only": "all"}})),
            (
                "narrow node-1 node-4 --rate 20kB/s --only replication",
                json!({"narrow": {"between": ["node-1", "node-4"], "rate": "20kB/s", "only": "replication"}}),
            ),
            (
                "slow node-1 others --latency 50ms",
                json!({"slow": {"between": ["node-1", "others"], "latency": "50ms"}}),
            ),
            (
                "clock shard-2/master --jump -1h --as behind",
                json!({"clock": {"node": "shard-2/master", "jump": "-1h", "name": "behind"}}),
            ),
            (
                "clock node-1 --drift=-0.05% --of monotonic",
                json!({"clock": {"node": "node-1", "drift": "-0.05%", "of": "monotonic"}}),
            ),
            (
                "clock node-1 --strobe 200ms --every 1s --for 10s",
                json!({"clock": {"node": "node-1", "strobe": "200ms", "every": "1s", "for": "10s"}}),
            ),
        ] {
            assert_eq!(said(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn half_a_line_is_refused() {
        for (line, word) in [
            ("kill", "<NODE>"),
            ("kill mode-1", "\"mode-1\""),
            ("partition node-1", "<OTHER>"),
            ("partition node-1 others --shape ring", "--shape"),
            ("partition node-1 others --only gossip", "replication"),
            ("lossy node-1 others", "--percent"),
            ("clock node-1", "--jump"),
            ("clock node-1 --strobe 1s --every 1s", "--for"),
            ("clock node-1 --jump 1h --every 1s", "--strobe"),
            ("clock node-1 --jump 1h --drift 1%", "--drift"),
        ] {
            let refusal = said(line).expect_err(line);
            assert!(refusal.contains(word), "{line}: {refusal}");
        }
    }
}
