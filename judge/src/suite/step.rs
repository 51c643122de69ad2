//! Steps: phases, waits, faults, commands and expectations.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::corrupt::Corrupt;
use super::exec::{Exec, Wanted};
use super::invariant::RoleIs;
use super::random::RandomFaults;
use super::start::{Change, Start};
use crate::fault::{Action, FaultKind, FaultStep, Settings as _, for_each_fault};
pub use crate::fault::{Clock, Disk, Lossy, Narrow, Only, Partition, Refuse, Shape, Sides, Slow};
use crate::target::{Target, Targets};
use crate::units::{Bound, ShardNo, Span};

macro_rules! define {
    ($($(#[$doc:meta])* $kind:ident($settings:ty) in $module:ident,)+) => {
        /// One step of a suite, written as a mapping with one key: `- stop: shard-1/master`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum Step {
            /// Begins a phase of that name; statistics and invariants can refer to it. What runs before the
            /// first phase belongs to `boot`; what follows the steps to `recovery` and `final`.
            Phase(String),
            /// Lets the workload run on undisturbed for this long.
            Settle(Span),
            $($(#[$doc])* $kind($settings),)+
            /// Starts a stopped or killed server again, with its data and configuration, or as a mapping: with another server
            /// (`server`), without its data (`data: lost`), at another address (`address: new`), with other directives
            /// (`config`), or where it may fail to come up (`expect`).
            Start(Start),
            /// Damages a file of a server that is down: flips bits, cuts off its end, or overwrites its end with zeros.
            Corrupt(Corrupt),
            /// Lets a frozen server go on (SIGCONT).
            Resume(Targets),
            /// Undoes faults of links, clocks and disks: `all`, or one by its name.
            Heal(String),
            /// Sends one command to each of the targets; an error reply is an error of the suite, unless `errors: allow`.
            Command(Command),
            /// Waits until something is so; that it is not so by the deadline is a failure.
            Await(Await),
            /// Sends one command and compares the answer, at once; or runs a program again and again until it does what is
            /// expected.
            Expect(Expect),
            /// Runs a program of yours to its end. Its environment names the nodes of the cluster. It must exit with status 0,
            /// unless `errors: allow`.
            Exec(Exec),
            /// Waits until a node's log tells of a phase of a failover, and for a while after that. The next step follows at once.
            When(When),
            /// Injects faults that the seed draws, at times that it draws, and undoes them. Needs `if-impossible: skip`.
            Random(RandomFaults),
        }

        impl Step {
            /// What the step does.
            pub fn does(&self) -> Does<'_> {
                match self {
                    $(Self::$kind(settings) => Does::Fault(settings.fault(FaultKind::$kind)),)+
                    Self::Phase(name) => Does::Phase(name),
                    Self::Settle(span) => Does::Settle(*span),
                    Self::Start(start) => Does::Undo(Action::Start, &start.node, Some(start)),
                    Self::Corrupt(corrupt) => Does::Corrupt(corrupt),
                    Self::Resume(targets) => Does::Undo(Action::Resume, targets, None),
                    Self::Heal(name) => Does::Heal(name),
                    Self::Command(command) => Does::Command(command),
                    Self::Await(wait) => Does::Await(wait),
                    Self::Expect(expect) => Does::Expect(expect),
                    Self::Exec(exec) => Does::Exec(exec),
                    Self::When(when) => Does::When(when),
                    Self::Random(random) => Does::Random(random),
                }
            }

            /// Every target of the step, to be changed in place.
            pub fn targets_mut(&mut self) -> Vec<&mut Target> {
                match self {
                    $(Self::$kind(settings) => settings.targets_mut(),)+
                    Self::Phase(_) | Self::Settle(_) | Self::Heal(_) | Self::Exec(_) | Self::Random(_) => Vec::new(),
                    Self::Start(start) => start.node.targets_mut(),
                    Self::Corrupt(corrupt) => corrupt.node.targets_mut(),
                    Self::Resume(targets) => targets.targets_mut(),
                    Self::Command(command) => command.to.targets_mut(),
                    Self::Await(wait) => wait.targets_mut(),
                    Self::Expect(expect) => expect.to.iter_mut().chain(&mut expect.moved_to).collect(),
                    Self::When(when) => vec![&mut when.of],
                }
            }
        }
    };
}

for_each_fault!(define);

/// What a step does. Whoever runs, checks or reports steps goes by this, so that a new fault needs no change there.
#[derive(Debug, Clone, PartialEq)]
pub enum Does<'a> {
    /// It begins a phase of that name.
    Phase(&'a str),
    /// It lets the workload run for that long.
    Settle(Span),
    /// It injects a fault.
    Fault(FaultStep<'a>),
    /// It undoes faults of these nodes' processes by that action. A start may change the nodes, and may fail.
    Undo(Action, &'a Targets, Option<&'a Start>),
    /// It damages a file of a node that is down.
    Corrupt(&'a Corrupt),
    /// It undoes faults of links, clocks and disks: `all`, or one by its name.
    Heal(&'a str),
    /// It sends a command.
    Command(&'a Command),
    /// It waits.
    Await(&'a Await),
    /// It sends a command and compares the answer, or runs a program until it does what is expected.
    Expect(&'a Expect),
    /// It runs a program.
    Exec(&'a Exec),
    /// It waits for a line of a log.
    When(&'a When),
    /// It injects faults that are drawn. No plan has it: see [`crate::plan`].
    Random(&'a RandomFaults),
}

impl Step {
    /// The fault that the step injects; None for one that injects none.
    pub fn fault(&self) -> Option<FaultStep<'_>> {
        match self.does() {
            Does::Fault(fault) => Some(fault),
            Does::Phase(_)
            | Does::Settle(_)
            | Does::Undo(..)
            | Does::Corrupt(_)
            | Does::Heal(_)
            | Does::Command(_)
            | Does::Await(_)
            | Does::Expect(_)
            | Does::Exec(_)
            | Does::When(_)
            | Does::Random(_) => None,
        }
    }

    /// What the step changes of nodes that it starts; None if it changes nothing.
    pub fn change(&self) -> Option<&Change> {
        self.start().map(|start| &start.change).filter(|change| !change.is_nothing())
    }

    /// How the step starts nodes; None if it starts none.
    pub fn start(&self) -> Option<&Start> {
        match self.does() {
            Does::Undo(_, _, start) => start,
            Does::Phase(_)
            | Does::Settle(_)
            | Does::Fault(_)
            | Does::Corrupt(_)
            | Does::Heal(_)
            | Does::Command(_)
            | Does::Await(_)
            | Does::Expect(_)
            | Does::Exec(_)
            | Does::When(_)
            | Does::Random(_) => None,
        }
    }

    /// The action on servers by which the step injects or undoes a fault of processes, and its targets.
    pub fn action(&self) -> Option<(Action, &Targets)> {
        match self.does() {
            Does::Fault(fault) => fault.action(),
            Does::Undo(action, targets, _) => Some((action, targets)),
            Does::Phase(_)
            | Does::Settle(_)
            | Does::Corrupt(_)
            | Does::Heal(_)
            | Does::Command(_)
            | Does::Await(_)
            | Does::Expect(_)
            | Does::Exec(_)
            | Does::When(_)
            | Does::Random(_) => None,
        }
    }
}

/// A command for the server, or a program with its arguments, in one string as redis-cli takes it (`SET key1 data1`; quotes
/// group words), or as a list of words. A word `{id:TARGET}`, `{host:TARGET}`, `{port:TARGET}` or
/// `{address:TARGET}` becomes the node id, host, port or both (`127.1.0.1:6379`) that the node has now; `{former-id:TARGET}` the node id that it had before it lost
/// `nodes.conf`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct CommandLine(pub Vec<String>);

impl CommandLine {
    /// Splits one line into words; `'..'` and `".."` group, and there are no escapes.
    pub fn split(line: &str) -> Result<Self, String> {
        let mut words = Vec::new();
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = if first == '"' || first == '\'' {
                let Some((word, after)) = rest[1..].split_once(first) else {
                    return Err(format!("`{line}` has an opening {first} without its end"));
                };
                rest = after;
                word
            } else {
                let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                rest = after;
                word
            };
            words.push(word.to_owned());
            rest = rest.trim_start();
        }
        if words.is_empty() {
            return Err("a command needs at least one word".to_owned());
        }
        Ok(Self(words))
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

impl<'de> Deserialize<'de> for CommandLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LineOrWords;
        impl<'de> Visitor<'de> for LineOrWords {
            type Value = CommandLine;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command such as `GET key1`, or a list of its words")
            }
            fn visit_str<E: de::Error>(self, line: &str) -> Result<CommandLine, E> {
                CommandLine::split(line).map_err(E::custom)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<CommandLine, A::Error> {
                let mut words: Vec<String> = Vec::new();
                while let Some(crate::units::Directive(word)) = list.next_element()? {
                    words.push(word);
                }
                if words.is_empty() {
                    return Err(de::Error::custom("a command needs at least one word"));
                }
                Ok(CommandLine(words))
            }
        }
        deserializer.deserialize_any(LineOrWords)
    }
}

impl JsonSchema for CommandLine {
    fn schema_name() -> Cow<'static, str> {
        "CommandLine".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A command such as `GET key1`, or a list of its words.",
            "anyOf": [{"type": "string", "minLength": 1}, {"type": "array", "items": {"type": ["string", "number"]}, "minItems": 1}]
        })
    }
}

/// A command and whom it goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Command {
    /// The command.
    pub send: CommandLine,
    /// The nodes that get it, one after the other.
    pub to: Targets,
    /// Whether an error reply ends the run (`reject`), or is recorded and the run goes on (`allow`).
    #[serde(default, skip_serializing_if = "Errors::are_rejected")]
    pub errors: Errors,
}

/// What an error reply to a command means, or a program that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Errors {
    /// The step failed, and the run ends.
    #[default]
    Reject,
    /// It is recorded, and the run goes on.
    Allow,
}

impl Errors {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    pub(super) fn are_rejected(&self) -> bool {
        *self == Self::Reject
    }
}

/// One probe: this command, to this node, must be answered so at once. Exactly one of `is`, `starts-with`, `contains`,
/// `moved-to` and `refused` says how. Or, with `exec` and `within`: this program must come to exit so in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Expect {
    /// The command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<CommandLine>,
    /// The one node that is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Target>,
    /// Instead of `send` and `to`: a program of yours with its arguments, as in the step `exec`. It is run again and again
    /// until it exits with `status`, and prints what `is`, `starts-with` or `contains` says, if one is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<CommandLine>,
    /// The exit status of the program; 0 without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u8>,
    /// How long the program may take to do what is expected, in the time of the cluster and over all its runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
    /// Whether MOVED and ASK are followed, as `redis-cli -c` does.
    #[serde(default)]
    pub follow: bool,
    /// Whether READONLY is sent first on the connection, so that a replica serves reads.
    #[serde(default)]
    pub readonly: bool,
    /// The answer, word for word; nil is `(nil)`, an integer its digits, an error its whole text. Of a program: what it
    /// printed, without line feeds at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<String>,
    /// What the answer begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_with: Option<String>,
    /// Lines that must all stand in the answer, each within one line of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<Vec<String>>,
    /// The answer is MOVED and names this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved_to: Option<Target>,
    /// The answer never came, since the connection was refused (by the node asked or, when
    /// following, by the one that it named).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
}

/// What an answer is compared with; see [`Expect`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The very text.
    Is(&'a str),
    /// A prefix of it.
    StartsWith(&'a str),
    /// Lines of it.
    Contains(&'a [String]),
    /// MOVED to that node.
    MovedTo(&'a Target),
    /// No connection.
    Refused,
}

/// What an [`Expect`] does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe<'a> {
    /// It sends this command to this node, and this must be the answer.
    Command(&'a CommandLine, &'a Target, Answer<'a>),
    /// It runs this program until it does what is wanted, for this long.
    Program(&'a CommandLine, Wanted<'a>, Span),
}

impl Answer<'_> {
    /// Whether a text is this; None for what no text shows.
    pub fn is_met(&self, text: &str) -> Option<bool> {
        match self {
            Self::Is(whole) => Some(text == *whole),
            Self::StartsWith(prefix) => Some(text.starts_with(prefix)),
            Self::Contains(parts) => {
                Some(parts.iter().all(|part| text.lines().any(|line| line.contains(part.as_str()))))
            }
            Self::MovedTo(_) | Self::Refused => None,
        }
    }

    /// What is expected, in words. `text` is what it is expected of: `an answer`, `output`.
    pub fn words(&self, text: &str) -> String {
        match self {
            Self::Is(whole) => format!("`{whole}`"),
            Self::StartsWith(prefix) => format!("{text} that starts with `{prefix}`"),
            Self::Contains(parts) => format!("{text} with the lines `{}`", parts.join("`, `")),
            Self::MovedTo(target) => format!("MOVED to {target}"),
            Self::Refused => "a refused connection".to_owned(),
        }
    }
}

impl Expect {
    /// What the step does, or what is wrong with the keys that were given.
    pub fn probe(&self) -> Result<Probe<'_>, String> {
        let given: Vec<Answer<'_>> = [
            self.is.as_deref().map(Answer::Is),
            self.starts_with.as_deref().map(Answer::StartsWith),
            self.contains.as_deref().map(Answer::Contains),
            self.moved_to.as_ref().map(Answer::MovedTo),
            self.refused.then_some(Answer::Refused),
        ]
        .into_iter()
        .flatten()
        .collect();
        let (send, to) = match (&self.send, &self.to, &self.exec) {
            (None, None, Some(program)) => return self.of_program(program, &given),
            (Some(send), Some(to), None) => (send, to),
            (_, _, Some(_)) => {
                return Err("`exec` runs a program, and takes neither `send` nor `to` (hint: two steps)".to_owned());
            }
            (_, _, None) => {
                return Err(
                    "expect needs `send` and `to`, or `exec` and `within` (hint: `{ send: PING, to: node-1, is: \
                            PONG }`)"
                        .to_owned(),
                );
            }
        };
        if let Some(key) = self.status.map(|_| "status").or(self.within.map(|_| "within")) {
            return Err(format!("`{key}` goes with `exec`, not with `send`, which is answered at once"));
        }
        match given.as_slice() {
            [one] => Ok(Probe::Command(send, to, one.clone())),
            _ => Err(format!(
                "expect needs exactly one of `is`, `starts-with`, `contains`, `moved-to`, `refused`; {} are given",
                given.len()
            )),
        }
    }

    fn of_program<'a>(&self, program: &'a CommandLine, given: &[Answer<'a>]) -> Result<Probe<'a>, String> {
        if self.follow || self.readonly {
            return Err("`follow` and `readonly` go with `send`, not with `exec`".to_owned());
        }
        let within = self.within.ok_or("`exec` needs `within`: how long the program may take (hint: `within: 10s`)")?;
        let output = match given {
            [] => None,
            [one @ (Answer::Is(_) | Answer::StartsWith(_) | Answer::Contains(_))] => Some(one.clone()),
            [Answer::MovedTo(_) | Answer::Refused] => {
                return Err("`moved-to` and `refused` go with `send`, not with `exec`".to_owned());
            }
            _ => {
                return Err(format!(
                    "`exec` takes at most one of `is`, `starts-with`, `contains`; {} are given",
                    given.len()
                ));
            }
        };
        Ok(Probe::Program(program, Wanted { status: self.status.unwrap_or(0), output }, within))
    }
}

/// A phase of a failover, as a server's log tells of it: `{ event: vote-granted, of: shard-1/replica, after: 5ms }`. Lines
/// count from the begin of the latest step that injected or undid a fault, or sent a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct When {
    /// The phase.
    pub event: Phased,
    /// The nodes that it is about, by their roles at the begin of this step: who is suspected or marked, who stands for
    /// election, gets a vote, is promoted, is demoted or copies data.
    pub of: Target,
    /// How long to wait after the line was seen.
    #[serde(default, skip_serializing_if = "Span::is_zero")]
    pub after: Span,
    /// The deadline for the line. `spec` is that of `await`.
    #[serde(default = "spec", skip_serializing_if = "is_spec")]
    pub within: Bound,
}

fn spec() -> Bound {
    Bound::Spec
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_spec(bound: &Bound) -> bool {
    *bound == Bound::Spec
}

/// A phase of a failover that a server's log tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phased {
    /// Some node suspects it (PFAIL). Redis tells of this only at `loglevel debug`.
    Pfail,
    /// Some node has it marked FAIL.
    Fail,
    /// It asks for votes.
    ElectionStarted,
    /// A master gives it its vote.
    VoteGranted,
    /// It won an election, or took over.
    Promoted,
    /// It begins to copy data from its master.
    SyncStarted,
    /// It has done so.
    SyncFinished,
    /// It becomes a replica of another node.
    Demoted,
}

impl fmt::Display for Phased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pfail => "pfail",
            Self::Fail => "fail",
            Self::ElectionStarted => "election-started",
            Self::VoteGranted => "vote-granted",
            Self::Promoted => "promoted",
            Self::SyncStarted => "sync-started",
            Self::SyncFinished => "sync-finished",
            Self::Demoted => "demoted",
        })
    }
}

/// A condition with a deadline: `{ promoted: shard-1, within: 15s }`. Exactly one condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Await {
    /// Another node than the one that was master of the shard when the last fault hit it owns all
    /// of the shard's slots, and says so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted: Option<ShardNo>,
    /// A majority of masters has marked these nodes as failed (the FAIL flag, not `fail?`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Targets>,
    /// These replicas have their replication link up and lag by 0 bytes behind a master that the
    /// workload may still be writing to (seen equal in one poll), or, for a master, all of its
    /// replicas do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_sync: Option<Targets>,
    /// These nodes report `cluster_state:ok`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_ok: Option<Targets>,
    /// These nodes report `cluster_state:fail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_fail: Option<Targets>,
    /// This node has the role that `is` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Target>,
    /// The role awaited, with `role`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<RoleIs>,
    /// Every node that runs answers, agrees with the others on masters, replicas, slots and epochs,
    /// and has no peer that runs flagged as failing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converged: Option<Targets>,
    /// The deadline. `spec` is a generous multiple of what the server's rules allow, so that an
    /// unlucky election (which is judged by `failover-time`) does not end the run.
    pub within: Bound,
}

/// What an [`Await`] waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition<'a> {
    /// See [`Await::promoted`].
    Promoted(ShardNo),
    /// See [`Await::failed`].
    Failed(&'a Targets),
    /// See [`Await::in_sync`].
    InSync(&'a Targets),
    /// See [`Await::cluster_ok`] and [`Await::cluster_fail`].
    ClusterState {
        /// Whom to ask.
        of: &'a Targets,
        /// `ok` (true) or `fail`.
        ok: bool,
    },
    /// See [`Await::role`].
    Role(&'a Target, &'a RoleIs),
    /// See [`Await::converged`].
    Converged(&'a Targets),
}

impl Await {
    /// Every target of the condition, to be changed in place.
    fn targets_mut(&mut self) -> Vec<&mut Target> {
        let lists =
            [&mut self.failed, &mut self.in_sync, &mut self.cluster_ok, &mut self.cluster_fail, &mut self.converged];
        lists.into_iter().flatten().flat_map(|list| &mut list.0).chain(&mut self.role).collect()
    }

    /// The one condition that was given, or what is wrong with the ones that were.
    pub fn condition(&self) -> Result<Condition<'_>, String> {
        if self.role.is_some() != self.is.is_some() {
            return Err(
                "`role` and `is` go together (hint: `{ role: node-1, is: replica-of node-4, within: 20s }`)".to_owned()
            );
        }
        let given: Vec<Condition<'_>> = [
            self.promoted.map(Condition::Promoted),
            self.failed.as_ref().map(Condition::Failed),
            self.in_sync.as_ref().map(Condition::InSync),
            self.cluster_ok.as_ref().map(|of| Condition::ClusterState { of, ok: true }),
            self.cluster_fail.as_ref().map(|of| Condition::ClusterState { of, ok: false }),
            self.role.as_ref().zip(self.is.as_ref()).map(|(node, is)| Condition::Role(node, is)),
            self.converged.as_ref().map(Condition::Converged),
        ]
        .into_iter()
        .flatten()
        .collect();
        match given.as_slice() {
            [one] => Ok(one.clone()),
            _ => Err(format!(
                "await needs exactly one of `promoted`, `failed`, `in-sync`, `cluster-ok`, `cluster-fail`, `role`, `converged`; {} are given",
                given.len()
            )),
        }
    }
}

impl fmt::Display for Condition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Promoted(shard) => write!(f, "promoted: {shard}"),
            Self::Failed(nodes) => write!(f, "failed: {nodes}"),
            Self::InSync(nodes) => write!(f, "in-sync: {nodes}"),
            Self::ClusterState { of, ok: true } => write!(f, "cluster-ok: {of}"),
            Self::ClusterState { of, ok: false } => write!(f, "cluster-fail: {of}"),
            Self::Role(node, is) => write!(f, "role: {node} is {is}"),
            Self::Converged(nodes) => write!(f, "converged: {nodes}"),
        }
    }
}
