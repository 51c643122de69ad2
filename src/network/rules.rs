//! Network faults as plain settings, and how they read as an nft ruleset. Pure.
//!
//! All of it lives in one table. Each rule brings two sets of counters (`seen`: packets in its
//! scope; `hit`: those that it acted on), a named set of directed pairs, a chain with its effect,
//! and a chain of its own on the `input` hook, so that rules come and go without touching one
//! another, and their packets can be told apart.
//!
//! A packet is taken where it arrives, after it was sent: the sender's kernel notices nothing, as
//! with a broken wire (dropped on the `output` hook, it would tell the sending socket). So a pair is
//! enforced by the host of its second address. Where all addresses share one network namespace, as
//! in the sandbox, that is one ruleset; with a namespace for each host, give each host its own pairs, and
//! let those whose second address has no namespace of ours be enforced at the first ([`Hook::Output`]).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::shape::Pairs;
pub use crate::suite::Only;
use crate::units::Percent;

/// The nft table (family inet) that holds the rules.
pub const TABLE: &str = "slotquake";
/// The port on which a node serves clients and its replicas.
pub const DATA_PORT: u16 = 6379;
/// The port of the cluster bus: gossip, failure reports, votes.
pub const BUS_PORT: u16 = 16379;

/// What the bucket of a narrow link holds beyond one second's worth: the largest packet that the
/// kernel passes in one piece, which must get through sooner or later.
const BURST_BYTES: u64 = 65_536;

/// The effect of a rule on packets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// They vanish.
    Drop,
    /// TCP is answered with a reset: connections break and new ones are refused. What is not TCP
    /// vanishes.
    Refuse,
    /// This share of them vanishes, drawn for each packet.
    Lossy(Percent),
    /// What exceeds this many bytes per second, over all pairs of the rule together, vanishes; TCP
    /// slows down to it. One second's worth and 64 KiB pass at first, and after each pause.
    Narrow {
        /// The rate.
        bytes_per_second: u64,
    },
    /// They arrive later. nft cannot hold packets back, but it can send them through a class of a
    /// queueing discipline that does ([`super::netem`]).
    Slow {
        /// By how much, in microseconds.
        latency_us: u64,
        /// By how much that varies, either way, in microseconds.
        jitter_us: u64,
        /// The class; [`super::Network::impose`] deals one that is free.
        class: u8,
    },
}

/// Where packets are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hook {
    /// Where they arrive.
    #[default]
    Input,
    /// Where they leave. The sending socket gets an error; TCP takes that for congestion and sends again.
    Output,
}

/// One network fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rule {
    /// Unique among the rules in force: lowercase letters, digits and dashes, at most 40.
    pub name: String,
    /// The directed pairs of addresses: from, to.
    pub pairs: Pairs<Ipv4Addr>,
    /// The traffic between them that is meant. `clients` and `replication` differ in their pairs
    /// alone, which [`Rule::new`] sorts out.
    #[serde(default)]
    pub only: Only,
    /// The effect on this traffic.
    pub effect: Effect,
    /// Where.
    #[serde(default)]
    pub hook: Hook,
}

/// A rule that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The name does not fit.
    #[error("`{0}` cannot name a network fault (hint: lowercase letters, digits and dashes, at most 40)")]
    Name(String),
    /// There is nothing between which it could act.
    #[error("network fault `{name}` has no pair of addresses for {only:?} traffic")]
    NoPairs {
        /// The fault.
        name: String,
        /// The traffic.
        only: Only,
    },
    /// It would do nothing.
    #[error("network fault `{0}` has no effect (hint: a loss of at least 0.01%, a latency of at least 1us)")]
    NoEffect(String),
    /// A rate at which nothing gets through in sensible time.
    #[error("network fault `{0}` is narrower than 1 kB/s (hint: use a partition to stop all traffic)")]
    TooNarrow(String),
}

impl Rule {
    /// A rule for those of the pairs that `only` is about, given which addresses are clients'.
    pub fn new(
        name: impl Into<String>,
        pairs: &Pairs<Ipv4Addr>,
        only: Only,
        clients: &BTreeSet<Ipv4Addr>,
        effect: Effect,
    ) -> Result<Self, RuleError> {
        let wanted = |(from, to): &(Ipv4Addr, Ipv4Addr)| {
            let ends_at_clients = usize::from(clients.contains(from)) + usize::from(clients.contains(to));
            match only {
                Only::All => true,
                Only::Clients => ends_at_clients == 1,
                Only::Bus | Only::Replication => ends_at_clients == 0,
            }
        };
        let pairs = pairs.iter().copied().filter(wanted).collect();
        let rule = Self { name: name.into(), pairs, only, effect, hook: Hook::Input };
        rule.validate()?;
        Ok(rule)
    }

    /// Whether the rule can be rendered and would do something.
    pub fn validate(&self) -> Result<(), RuleError> {
        let name = || self.name.clone();
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if self.name.is_empty() || self.name.len() > 40 || !self.name.bytes().all(fits) {
            return Err(RuleError::Name(name()));
        }
        if self.pairs.is_empty() {
            return Err(RuleError::NoPairs { name: name(), only: self.only });
        }
        match self.effect {
            Effect::Lossy(percent) if ten_thousandths(percent) == 0 => Err(RuleError::NoEffect(name())),
            Effect::Slow { latency_us: 0, .. } => Err(RuleError::NoEffect(name())),
            Effect::Narrow { bytes_per_second } if bytes_per_second < 1000 => Err(RuleError::TooNarrow(name())),
            _ => Ok(()),
        }
    }

    /// The name of the counter of packets that the rule is about.
    pub fn seen_counter(&self) -> String {
        format!("fault-{}.seen", self.name)
    }

    /// The name of the counter of packets that it dropped or refused.
    pub fn hit_counter(&self) -> String {
        format!("fault-{}.hit", self.name)
    }
}

/// Commands that put the whole table in place, whatever was in it before, in one transaction. The
/// text for a namespace that lost its rules, or never had any.
///
/// The rules must be valid and differ in name.
pub fn render(rules: &[Rule]) -> String {
    // `destroy` would say it in one line, but is younger than nft 1.0.6.
    let mut text = format!("table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n");
    for rule in rules {
        body(&mut text, rule);
    }
    text.push_str("}\n");
    text
}

/// Commands that add one rule to the table, which is made if there is none.
pub fn render_addition(rule: &Rule) -> String {
    let mut text = format!("table inet {TABLE} {{\n");
    body(&mut text, rule);
    text.push_str("}\n");
    text
}

/// Commands that take away one rule that is in the table.
pub fn render_removal(rule: &Rule) -> String {
    let name = &rule.name;
    let (seen, hit) = (rule.seen_counter(), rule.hit_counter());
    format!(
        "delete chain inet {TABLE} fault-{name}\n\
         delete chain inet {TABLE} fault-{name}.effect\n\
         delete set inet {TABLE} fault-{name}.pairs\n\
         delete counter inet {TABLE} {seen}\n\
         delete counter inet {TABLE} {hit}\n"
    )
}

/// Commands that take everything away.
pub fn render_flush() -> String {
    format!("table inet {TABLE}\ndelete table inet {TABLE}\n")
}

fn body(text: &mut String, rule: &Rule) {
    let name = &rule.name;
    let (seen, hit) = (rule.seen_counter(), rule.hit_counter());
    let pairs: Vec<String> = rule.pairs.iter().map(|(from, to)| format!("{from} . {to}")).collect();
    let pairs = pairs.join(", ");
    let hit = format!("counter name \"{hit}\"");
    let ports: &[String] = &match rule.only {
        Only::All => vec![String::new()],
        Only::Bus => both_ends(BUS_PORT),
        Only::Clients | Only::Replication => both_ends(DATA_PORT),
    };
    writeln!(text, "  counter {seen} {{ }}\n  counter {} {{ }}", rule.hit_counter()).expect("a string takes text");
    writeln!(text, "  set fault-{name}.pairs {{ type ipv4_addr . ipv4_addr; elements = {{ {pairs} }} }}")
        .expect("a string takes text");
    writeln!(text, "  chain fault-{name}.effect {{\n    counter name \"{seen}\"").expect("a string takes text");
    for line in effect(rule.effect, &hit) {
        writeln!(text, "    {line}").expect("a string takes text");
    }
    let hook = match (rule.effect, rule.hook) {
        // Packets must be marked for delay before they are queued.
        (Effect::Slow { .. }, _) | (_, Hook::Output) => "output",
        (_, Hook::Input) => "input",
    };
    writeln!(text, "  }}\n  chain fault-{name} {{\n    type filter hook {hook} priority 0; policy accept;")
        .expect("a string takes text");
    for port in ports {
        writeln!(text, "    ip saddr . ip daddr @fault-{name}.pairs {port}goto fault-{name}.effect")
            .expect("a string takes text");
    }
    text.push_str("  }\n");
}

/// A connection belongs to a port whichever end it is at.
fn both_ends(port: u16) -> Vec<String> {
    vec![format!("tcp dport {port} "), format!("tcp sport {port} ")]
}

fn effect(effect: Effect, hit: &str) -> Vec<String> {
    match effect {
        Effect::Drop => vec![format!("{hit} drop")],
        Effect::Refuse => vec![
            // Resets pass: they are what this rule itself sends, and nothing answers them.
            "tcp flags & rst == rst accept".to_owned(),
            format!("meta l4proto tcp {hit} reject with tcp reset"),
            format!("{hit} drop"),
        ],
        Effect::Lossy(percent) => match ten_thousandths(percent) {
            10_000.. => vec![format!("{hit} drop")],
            share => vec![format!("numgen random mod 10000 < {share} {hit} drop")],
        },
        Effect::Narrow { bytes_per_second } => {
            vec![format!("limit rate over {bytes_per_second} bytes/second burst {BURST_BYTES} bytes {hit} drop")]
        }
        Effect::Slow { class, .. } => vec![format!("{hit} meta priority set 1:{class:x}")],
    }
}

fn ten_thousandths(percent: Percent) -> u32 {
    (percent.fraction() * 10_000.0).round() as u32
}

#[cfg(test)]
mod tests {
    use super::{Effect, Only, Rule, RuleError, render, render_addition, render_flush, render_removal};
    use crate::network::shape::{Pairs, between};
    use crate::units::Percent;
    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;

    const NODE_1: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);
    const NODE_2: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 2);
    const CLIENT: Ipv4Addr = Ipv4Addr::new(127, 1, 1, 1);

    fn pairs() -> Pairs<Ipv4Addr> {
        between(&[NODE_1], &[NODE_2, CLIENT], true)
    }

    fn rule(name: &str, only: Only, effect: Effect) -> Result<Rule, RuleError> {
        Rule::new(name, &pairs(), only, &BTreeSet::from([CLIENT]), effect)
    }

    #[test]
    fn distinguishes_traffic_by_ends_and_ports() {
        for (only, ends, ports) in [
            (Only::All, vec![NODE_2, CLIENT], vec!["pairs goto"]),
            (Only::Bus, vec![NODE_2], vec!["pairs tcp dport 16379 goto", "pairs tcp sport 16379 goto"]),
            (Only::Clients, vec![CLIENT], vec!["pairs tcp dport 6379 goto", "pairs tcp sport 6379 goto"]),
            (Only::Replication, vec![NODE_2], vec!["pairs tcp dport 6379 goto", "pairs tcp sport 6379 goto"]),
        ] {
            let rule = rule("cut", only, Effect::Drop).unwrap();
            assert_eq!(rule.pairs.iter().map(|(_, to)| *to).collect::<Vec<_>>(), ends, "{only:?}");
            let text = render(&[rule]);
            assert_eq!(text.matches("goto").count(), ports.len(), "{text}");
            assert!(ports.iter().all(|port| text.contains(port)), "{text}");
        }
    }

    #[test]
    fn a_rule_reads_as_nft() {
        let cut = rule("cut-1", Only::Bus, Effect::Lossy(Percent::new(12.5))).unwrap();
        insta::assert_snapshot!(render(std::slice::from_ref(&cut)), @r#"
        table inet slotquake
        delete table inet slotquake
        table inet slotquake {
          counter fault-cut-1.seen { }
          counter fault-cut-1.hit { }
          set fault-cut-1.pairs { type ipv4_addr . ipv4_addr; elements = { 127.1.0.1 . 127.1.0.2 } }
          chain fault-cut-1.effect {
            counter name "fault-cut-1.seen"
            numgen random mod 10000 < 1250 counter name "fault-cut-1.hit" drop
          }
          chain fault-cut-1 {
            type filter hook input priority 0; policy accept;
            ip saddr . ip daddr @fault-cut-1.pairs tcp dport 16379 goto fault-cut-1.effect
            ip saddr . ip daddr @fault-cut-1.pairs tcp sport 16379 goto fault-cut-1.effect
          }
        }
        "#);
        assert!(render(std::slice::from_ref(&cut)).ends_with(&render_addition(&cut)));
    }

    #[test]
    fn a_delay_sorts_packets_into_its_class_before_they_are_queued() {
        let slow = rule("slow-1", Only::All, Effect::Slow { latency_us: 100_000, jitter_us: 0, class: 11 }).unwrap();
        let text = render_addition(&slow);
        assert!(text.contains("counter name \"fault-slow-1.hit\" meta priority set 1:b\n"), "{text}");
        assert!(text.contains("type filter hook output priority 0;"), "{text}");
    }

    #[test]
    fn a_removal_names_all_that_an_addition_makes() {
        let cut = rule("cut", Only::All, Effect::Refuse).unwrap();
        let (addition, removal) = (render_addition(&cut), render_removal(&cut));
        for line in addition.lines().map(str::trim) {
            let mut words = line.split_whitespace();
            if let (Some(kind @ ("chain" | "set" | "counter")), Some(name), Some("{")) =
                (words.next(), words.next(), words.next())
            {
                assert!(removal.contains(&format!("delete {kind} inet slotquake {name}\n")), "{kind} {name}");
            }
        }
        assert_eq!(removal.lines().count(), 5);
        assert!(render(&[]).starts_with(&render_flush()));
    }

    #[test]
    fn rejects_a_rule_without_effect() {
        let narrow = |bytes_per_second| Effect::Narrow { bytes_per_second };
        for (name, only, effect, expected) in [
            ("", Only::All, Effect::Drop, "cannot name"),
            ("Cut", Only::All, Effect::Drop, "`Cut` cannot name"),
            ("a } delete", Only::All, Effect::Drop, "cannot name"),
            ("cut", Only::All, Effect::Lossy(Percent::new(0.004)), "no effect"),
            ("cut", Only::All, Effect::Slow { latency_us: 0, jitter_us: 0, class: 2 }, "no effect"),
            ("cut", Only::All, narrow(999), "narrower than 1 kB/s"),
        ] {
            let text = rule(name, only, effect).unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        }
        let nodes_only = between(&[NODE_1], &[NODE_2], false);
        let nobody = Rule::new("cut", &nodes_only, Only::Clients, &BTreeSet::from([CLIENT]), Effect::Drop);
        assert_eq!(nobody, Err(RuleError::NoPairs { name: "cut".to_owned(), only: Only::Clients }));
    }

    #[test]
    fn a_rule_survives_being_written_down() {
        for effect in [
            Effect::Drop,
            Effect::Refuse,
            Effect::Lossy(Percent::new(30.0)),
            Effect::Narrow { bytes_per_second: 20_000 },
            Effect::Slow { latency_us: 100_000, jitter_us: 0, class: 2 },
        ] {
            let rule = rule("cut", Only::Replication, effect).unwrap();
            let text = serde_json::to_string(&rule).unwrap();
            assert_eq!(serde_json::from_str::<Rule>(&text).unwrap(), rule, "{text}");
        }
    }
}
