//! Invariants: what a suite says must be true of its run. [`crate::check`] judges them.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;

use crate::target::Target;
use crate::units::{Bound, NodeNo, ParseError, Percent, ShardNo, Span, text_form};

/// The registry of invariants: for each its one-line description, its module in [`crate::check`], its name in a suite,
/// and its variant with its settings. The enum, its names, the judging and the lists follow from it.
macro_rules! for_each_invariant {
    ($callback:ident) => {
        $callback! {
            /// All 16384 slots are assigned and ok in the view of every node that answers; at the end, no
            /// two masters claim one slot.
            slot_coverage "slot-coverage" SlotCoverage(SlotCoverage),
            /// All nodes share one view: the same masters, replicas, slots and epochs.
            agreement "agreement" Agreement(Agreement),
            /// Who is master, and who replicates whom.
            role "role" Role(RoleOf),
            /// How far replicas are behind, in bytes of the replication stream, and that their link is up.
            replica_lag "replica-lag" ReplicaLag(ReplicaLag),
            /// Acknowledged writes are still there when every key is read back.
            acked_writes "acked-writes" AckedWrites(AckedWrites),
            /// How long reads or writes of a shard went unserved.
            availability "availability" Availability(Availability),
            /// How long a failover took from the fault on.
            failover_time "failover-time" FailoverTime(FailoverTime),
            /// How many promotions of a replica a shard saw.
            promotions "promotions" Promotions(Promotions),
            /// A MOVED reply names the node that owns the slot.
            redirects "redirects" Redirects(AtEnd),
            /// A write that is sent to a replica is refused.
            replica_read_only "replica-read-only" ReplicaReadOnly(AtEnd),
            /// Whether two nodes acknowledged writes of one shard in overlapping times: how long, how many.
            split_brain "split-brain" SplitBrain(SplitBrain),
            /// A master that is cut off from the majority stops acknowledging writes.
            write_cutoff "write-cutoff" WriteCutoff(WriteCutoff),
            /// configEpoch is unique among masters with slots, and no node's epoch ever falls.
            epochs "epochs" Epochs(Epochs),
            /// How long after the last network fault was healed all nodes share one view.
            convergence "convergence" Convergence(Convergence),
        }
    };
}

pub(crate) use for_each_invariant;

macro_rules! define {
    ($($(#[doc = $about:literal])+ $module:ident $name:literal $variant:ident($settings:ty),)+) => {
        /// One invariant, written as a mapping with one key: `- acked-writes: { may-lose: 0 }`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum Invariant {
            $($(#[doc = $about])+ $variant($settings),)+
        }

        impl Invariant {
            /// The name that it has in a suite: `acked-writes`.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)+
                }
            }
        }
    };
}

for_each_invariant!(define);

/// When something is looked at: `end`, `throughout`, or the name of a phase, which means its last
/// moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// After recovery, when every fault is undone.
    End,
    /// At every observation from the first phase to the end of the steps.
    Throughout,
    /// At the last moment of that phase.
    Phase(String),
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::End => "end",
            Self::Throughout => "throughout",
            Self::Phase(name) => name,
        })
    }
}

impl FromStr for Moment {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Ok(match text {
            "end" => Self::End,
            "throughout" => Self::Throughout,
            "" => return Err(ParseError::new("a moment is `end`, `throughout` or the name of a phase")),
            phase => Self::Phase(phase.to_owned()),
        })
    }
}

text_form!(Moment, "Moment", "`end` (after recovery), `throughout`, or the name of a phase (its last moment).", None);

/// Settings of `slot-coverage`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SlotCoverage {
    /// When.
    pub at: Moment,
}

/// Settings of an invariant that is looked at when everything is healed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AtEnd {
    /// When; only `end` is possible.
    #[serde(default = "end")]
    pub at: Moment,
}

fn end() -> Moment {
    Moment::End
}

/// Settings of `agreement`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Agreement {
    /// How long after the last fault was undone (by a step or by the final healing) the views may
    /// still differ. `spec` is what failure detection may take to clear a flag.
    pub within: Bound,
}

/// Settings of `role`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RoleOf {
    /// Whose role.
    pub node: Target,
    /// The role.
    pub is: RoleIs,
    /// When.
    #[serde(default = "end")]
    pub at: Moment,
}

/// A role: `master`, `replica`, or `replica-of node-4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleIs {
    /// A master that owns slots.
    Master,
    /// A replica of any node.
    Replica,
    /// A replica of that node.
    ReplicaOf(NodeNo),
}

impl fmt::Display for RoleIs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Master => f.write_str("master"),
            Self::Replica => f.write_str("replica"),
            Self::ReplicaOf(node) => write!(f, "replica-of {node}"),
        }
    }
}

impl FromStr for RoleIs {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "master" => Ok(Self::Master),
            "replica" => Ok(Self::Replica),
            _ => match text.strip_prefix("replica-of ") {
                Some(node) => node.trim().parse().map(Self::ReplicaOf),
                None => Err(ParseError::new(format!(
                    "`{text}` is not a role (hint: `master`, `replica` or `replica-of node-4`)"
                ))),
            },
        }
    }
}

text_form!(
    RoleIs,
    "RoleIs",
    "`master`, `replica`, or `replica-of node-4`.",
    Some("^(master|replica|replica-of +node-[1-9][0-9]*)$")
);

/// Settings of `replica-lag`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReplicaLag {
    /// When.
    pub at: Moment,
    /// The most bytes that a replica may be behind its master.
    pub max_bytes: u64,
    /// Only this shard's replicas; without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardNo>,
    /// The lag must have been seen above so many bytes at the moment looked at (`throughout`, or a
    /// phase in full): a suite that narrows a link shows by it that replicas fell behind for real.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rises_above: Option<u64>,
    /// How long after the last heal the lag may be above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_within: Option<Span>,
}

/// Settings of `split-brain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SplitBrain {
    /// Which shards; each is judged on its own.
    #[serde(default)]
    pub shard: ShardSet,
    /// The longest time in which the old master may acknowledge writes after the new one's first:
    /// `0s`, `spec` (half a node timeout and what the bounds of detection allow), or `measured`.
    pub may_last: MayLast,
}

/// A bound of a time, or `measured`: measure and show it, and pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayLast {
    /// At most so long.
    AtMost(Bound),
    /// Any time, as long as it is measured.
    Measured,
}

impl fmt::Display for MayLast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bound) => bound.fmt(f),
            Self::Measured => f.write_str("measured"),
        }
    }
}

impl FromStr for MayLast {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text == "measured" {
            return Ok(Self::Measured);
        }
        text.parse()
            .map(Self::AtMost)
            .map_err(|_| ParseError::new(format!("`{text}` is neither a duration, `spec` nor `measured`")))
    }
}

text_form!(MayLast, "MayLast", "A duration such as `2s`, `spec`, or `measured`.", None);

/// Settings of `write-cutoff`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct WriteCutoff {
    /// Which shards' cut-off masters; each is judged on its own.
    #[serde(default)]
    pub shard: ShardSet,
    /// How long after the cut the last write may be acknowledged; `spec` is 1.5 node timeouts and
    /// 200 ms.
    pub within: Bound,
}

/// Settings of `epochs`: none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Epochs {
    /// The most that the cluster's current epoch may rise between the first phase and the end: an
    /// epoch storm goes further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rise: Option<u64>,
}

/// Settings of `convergence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Convergence {
    /// The bound, from the healing of the last network fault.
    pub within: Bound,
}

/// Settings of `acked-writes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AckedWrites {
    /// How many acknowledged writes may be lost, or `measured`: count and show them, and pass.
    pub may_lose: MayLose,
}

/// A number of writes, or `measured`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayLose {
    /// At most so many.
    AtMost(u64),
    /// Any number, as long as it is counted.
    Measured,
}

impl fmt::Display for MayLose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(number) => number.fmt(f),
            Self::Measured => f.write_str("measured"),
        }
    }
}

impl Serialize for MayLose {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AtMost(number) => serializer.serialize_u64(*number),
            Self::Measured => serializer.serialize_str("measured"),
        }
    }
}

impl<'de> Deserialize<'de> for MayLose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrWord;
        impl Visitor<'_> for NumberOrWord {
            type Value = MayLose;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of writes or `measured`")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<MayLose, E> {
                Ok(MayLose::AtMost(number))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<MayLose, E> {
                if text == "measured" {
                    return Ok(MayLose::Measured);
                }
                text.parse()
                    .map(MayLose::AtMost)
                    .map_err(|_| E::custom(format!("`{text}` is neither a number of writes nor `measured`")))
            }
        }
        deserializer.deserialize_any(NumberOrWord)
    }
}

impl JsonSchema for MayLose {
    fn schema_name() -> Cow<'static, str> {
        "MayLose".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "integer", "minimum": 0}, {"const": "measured"}]})
    }
}

/// Settings of `availability`. At least one of `max-outage`, `min-served` and `served` is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Availability {
    /// Reads or writes.
    pub of: OpKind,
    /// Of which shards: each is judged on its own.
    #[serde(default)]
    pub shard: ShardSet,
    /// Only operations issued in this phase; without it, all from the first phase to the end of the
    /// steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub during: Option<String>,
    /// The longest outage: from the issue of the first operation that was not served to the
    /// completion of the next that was; while everything hangs for over a second, nothing is served,
    /// even if it is in the end. `0s` means that every single one was served, however late. Where too
    /// few are issued to tell on which side of the bound it was, that stays open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_outage: Option<Bound>,
    /// The least share of operations that was served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_served: Option<Percent>,
    /// `always` (every operation) or `never` (not one).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Served>,
}

/// Reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OpKind {
    /// GET.
    Reads,
    /// SET.
    Writes,
}

impl fmt::Display for OpKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reads => "reads",
            Self::Writes => "writes",
        })
    }
}

/// Every operation, or not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Served {
    /// Every operation was served.
    Always,
    /// Not one operation was served.
    Never,
}

/// Which shards: `shard-1`, `others` (those of which no node was hit by a fault), or `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ShardSet {
    /// That shard.
    One(ShardNo),
    /// Every shard of which no node was hit by a fault in the whole run.
    Others,
    /// Every shard.
    #[default]
    All,
}

impl fmt::Display for ShardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(shard) => shard.fmt(f),
            Self::Others => f.write_str("others"),
            Self::All => f.write_str("all"),
        }
    }
}

impl FromStr for ShardSet {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match text {
            "others" => Ok(Self::Others),
            "all" => Ok(Self::All),
            _ => text
                .parse()
                .map(Self::One)
                .map_err(|_| ParseError::new(format!("`{text}` names no shards (hint: `shard-1`, `others` or `all`)"))),
        }
    }
}

text_form!(
    ShardSet,
    "ShardSet",
    "`shard-1`, `others` (no node of theirs was hit by a fault), or `all`.",
    Some("^(shard-[1-9][0-9]*|others|all)$")
);

/// Settings of `failover-time`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FailoverTime {
    /// Which shard's failovers; each of them is judged.
    pub shard: ShardSet,
    /// Up to which milestone; without it, each of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Milestone>,
    /// The bound; `spec` is computed for each milestone.
    pub within: Bound,
}

/// A milestone of a failover, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Milestone {
    /// Some node has the old master flagged FAIL.
    Fail,
    /// The new master owns the shard's slots in its own view.
    Promotion,
    /// The workload's first write of the shard that the new master acknowledged.
    FirstWrite,
}

impl fmt::Display for Milestone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fail => "fail",
            Self::Promotion => "promotion",
            Self::FirstWrite => "first-write",
        })
    }
}

/// Settings of `promotions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Promotions {
    /// Which shards; each is judged on its own.
    #[serde(default)]
    pub shard: ShardSet,
    /// How often the ownership of the shard's slots passed to another node, from the first phase to
    /// the end of the steps.
    pub exactly: u32,
}
