//! Faults of the network between nodes, and between clients and nodes: cuts, refusals, loss, narrow
//! links, each on exactly the directed pairs of addresses that it names.
//!
//! - [`shape`]: from sets of nodes to directed pairs (pure);
//! - [`rules`]: plain settings, rendered as an nft ruleset (pure; containers use it too);
//! - [`nft`]: runs the program and reads its counters;
//! - [`Network`]: the rules in force in the sandbox; [`Imposed`]: one of them, lifted when dropped;
//! - [`netem`]: delays, where the kernel can;
//! - [`knock`]: connections that are tried across a link.
//!
//! How a run uses it:
//!
//! ```no_run
//! # use slotquake::{network::{Network, rules::{Effect, Only, Rule}, shape}, sandbox};
//! # use std::{collections::BTreeSet, net::Ipv4Addr};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // At the start of `main`:
//! let sandbox::Entered::Inside(inside) = sandbox::enter(sandbox::Mode::Auto)? else { return Ok(()) };
//! // Once for a run, before its first network fault; an error says what to install or allow:
//! let network = Network::open(&inside)?;
//! // A step `partition: { between: [node-1, node-2], only: bus }`, with targets resolved:
//! let (a, b) = (Ipv4Addr::new(127, 1, 0, 1), Ipv4Addr::new(127, 1, 0, 2));
//! let pairs = shape::between(&[a], &[b], false);
//! let rule = Rule::new("partition-1", &pairs, Only::Bus, &BTreeSet::new(), Effect::Drop)?;
//! let imposed = network.impose(rule)?;
//! // Proof that it is in effect: packets were hit (poll until so, with a deadline) and a probe
//! // across the cut fails. No packets in its scope (`seen`) means no observation, not success.
//! let proven = imposed.counts()?.hit.packets > 0;
//! // The step `heal`; at the end of the run, or when a panic unwinds, dropping it does the same:
//! let last = imposed.lift()?;
//! # let _ = (proven, last);
//! # Ok(())
//! # }
//! ```
//!
//! [`Network::impose`] and the guard run nft, which takes some milliseconds; in async code call them
//! through `spawn_blocking` where that matters. Since counters sit in the rules, one that was lifted
//! has none: [`Imposed::lift`] returns the last. Nothing ever has to be cleaned up after a crash:
//! the rules are in the sandbox's network namespace and end with it.

pub mod knock;
pub mod netem;
pub mod nft;
pub mod rules;
pub mod shape;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use self::nft::{Count, Nft};
use self::rules::{Effect, Rule, RuleError};
use crate::sandbox::Inside;

/// Why a network fault could not be imposed, read or lifted.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// There is nothing to impose it on.
    #[error("network faults need the sandbox, and the run is outside of it")]
    NoNetwork,
    /// There is no nft program.
    #[error("nft is not installed (hint: `apt-get install nftables`, or your system's package of that name)")]
    NoNft,
    /// It could not be run.
    #[error("{} cannot be run: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// The error that the system reported.
        source: std::io::Error,
    },
    /// It ran and refused.
    #[error("{what} failed: {message} (hint: the kernel needs nf_tables: `modprobe nf_tables` as root)")]
    Refused {
        /// The command line.
        what: String,
        /// The message that it printed.
        message: String,
    },
    /// Its counters could not be understood.
    #[error("the counters of nft cannot be read: {0}")]
    Counters(String),
    /// Another rule of that name is in force.
    #[error("a network fault named \"{0}\" is already active")]
    Duplicate(String),
    /// The rule itself is not possible.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// A container in whose network it was to be could not do its part.
    #[error("{0}")]
    Container(String),
    /// Hooks of the user's could not do their part.
    #[error("{0}")]
    Hook(String),
    /// Packets cannot be delayed.
    #[error(transparent)]
    Delay(netem::Unavailable),
    /// All classes for delays are in use.
    #[error("15 delays are already active, and `lo` takes no more (hint: heal one first)")]
    TooManyDelays,
    /// The rule was lifted by [`Network::heal_all`], or somebody else changed the table.
    #[error("network fault \"{0}\" is no longer in force")]
    Gone(String),
}

/// The packets and bytes that a rule has counted since it was imposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Packets in its scope.
    pub seen: Count,
    /// Of these, the ones that it dropped or refused.
    pub hit: Count,
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { seen: self.seen + other.seen, hit: self.hit + other.hit }
    }
}

/// The network of the sandbox. Clones are handles of the same.
#[derive(Debug, Clone)]
pub struct Network {
    nft: Nft,
    in_force: Arc<Mutex<InForce>>,
}

/// The rules in force by name, each with its place in the order of all that ever were, so that a
/// guard knows its own rule from a later one that has its name.
#[derive(Debug, Default)]
struct InForce {
    rules: BTreeMap<String, (u64, Rule)>,
    imposed: u64,
}

impl Network {
    /// Finds nft and makes the table, empty, which shows that rules can be imposed here.
    pub fn open(_inside: &Inside) -> Result<Self, NetworkError> {
        let nft = Nft::find()?;
        nft.apply(&rules::render(&[]))?;
        Ok(Self { nft, in_force: Arc::default() })
    }

    /// Puts a rule in force, atomically and without touching the others, until the guard is dropped.
    pub fn impose(&self, mut rule: Rule) -> Result<Imposed, NetworkError> {
        rule.validate()?;
        let mut in_force = self.lock();
        if in_force.rules.contains_key(&rule.name) {
            return Err(NetworkError::Duplicate(rule.name));
        }
        if let Effect::Slow { latency_us, jitter_us, class } = &mut rule.effect {
            *class = in_force.delay(*latency_us, *jitter_us)?;
        }
        if let Err(error) = self.nft.apply(&rules::render_addition(&rule)) {
            in_force.end_delay(&rule)?;
            return Err(error);
        }
        in_force.imposed += 1;
        let number = in_force.imposed;
        in_force.rules.insert(rule.name.clone(), (number, rule.clone()));
        drop(in_force);
        Ok(Imposed { network: self.clone(), rule, number })
    }

    /// The rules in force, by name.
    pub fn in_force(&self) -> Vec<Rule> {
        self.lock().rules.values().map(|(_, rule)| rule.clone()).collect()
    }

    /// Lifts every rule at once. Guards of rules that are lifted so do nothing any more.
    pub fn heal_all(&self) -> Result<(), NetworkError> {
        let mut in_force = self.lock();
        self.nft.apply(&rules::render(&[]))?;
        let had_delays = in_force.classes().next().is_some();
        in_force.rules.clear();
        if had_delays { netem::unroot().map_err(NetworkError::Delay) } else { Ok(()) }
    }

    fn counts(&self, rule: &Rule, number: u64) -> Result<Counts, NetworkError> {
        let gone = || NetworkError::Gone(rule.name.clone());
        let in_force = self.lock();
        if !in_force.has(rule, number) {
            return Err(gone());
        }
        let counters = self.nft.counters()?;
        let count = |name: String| counters.get(&name).copied().ok_or_else(gone);
        Ok(Counts { seen: count(rule.seen_counter())?, hit: count(rule.hit_counter())? })
    }

    fn remove(&self, rule: &Rule, number: u64) -> Result<(), NetworkError> {
        let mut in_force = self.lock();
        if in_force.has(rule, number) {
            self.nft.apply(&rules::render_removal(rule))?;
            in_force.rules.remove(&rule.name);
            in_force.end_delay(rule)?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, InForce> {
        // The map is changed only after nft succeeded, so a panic elsewhere leaves it right.
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InForce {
    fn has(&self, rule: &Rule, number: u64) -> bool {
        self.rules.get(&rule.name).is_some_and(|(in_force, _)| *in_force == number)
    }

    /// The classes of the delays in force.
    fn classes(&self) -> impl Iterator<Item = u8> {
        self.rules.values().filter_map(|(_, rule)| match rule.effect {
            Effect::Slow { class, .. } => Some(class),
            Effect::Drop | Effect::Refuse | Effect::Lossy(_) | Effect::Narrow { .. } => None,
        })
    }

    /// Starts to delay the packets of a free class, and returns the class.
    fn delay(&self, latency_us: u64, jitter_us: u64) -> Result<u8, NetworkError> {
        let taken: Vec<u8> = self.classes().collect();
        let class =
            netem::CLASSES.into_iter().find(|class| !taken.contains(class)).ok_or(NetworkError::TooManyDelays)?;
        if taken.is_empty() {
            netem::root().map_err(NetworkError::Delay)?;
        }
        netem::add(class, latency_us, jitter_us).map_err(NetworkError::Delay)?;
        Ok(class)
    }

    /// Ends the delay of a rule that is no longer in force, if it had one. The last one takes the root with it.
    fn end_delay(&self, rule: &Rule) -> Result<(), NetworkError> {
        let Effect::Slow { class, .. } = rule.effect else { return Ok(()) };
        let ended = if self.classes().next().is_none() { netem::unroot() } else { netem::remove(class) };
        ended.map_err(NetworkError::Delay)
    }
}

/// A rule in force. Dropping it lifts the rule.
#[derive(Debug)]
#[must_use = "a rule is lifted when its guard is dropped"]
pub struct Imposed {
    network: Network,
    rule: Rule,
    number: u64,
}

impl Imposed {
    /// The rule.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Returns the current counters.
    pub fn counts(&self) -> Result<Counts, NetworkError> {
        self.network.counts(&self.rule, self.number)
    }

    /// Lifts the rule and returns what it counted. When the counters cannot be read, the rule is
    /// lifted all the same, and so it is, at a second try, after an error in lifting. It is an error
    /// if [`Network::heal_all`] lifted it before, since its counters are gone.
    pub fn lift(self) -> Result<Counts, NetworkError> {
        let counts = self.counts();
        self.network.remove(&self.rule, self.number)?;
        counts
    }
}

impl Drop for Imposed {
    fn drop(&mut self) {
        // Does nothing for a rule that is lifted. If it fails nobody is left to tell; the namespace
        // ends with the harness in any case.
        let _ = self.network.remove(&self.rule, self.number);
    }
}
