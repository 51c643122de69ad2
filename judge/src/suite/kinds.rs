//! The kinds of data that a workload drives.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Percent;

/// The registry of kinds: for each its description, its key in a suite, its variant, and how the names of its keys begin.
/// A new kind gets the next position, because stored keys refer to it.
macro_rules! data_kinds {
    ($($(#[doc = $about:literal])+ $field:ident $word:literal $variant:ident $prefix:literal,)+) => {
        /// A kind of data: what a key holds, and which commands the workload sends.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DataKind {
            $($(#[doc = $about])+ $variant,)+
        }

        impl DataKind {
            /// All kinds, in the order of their positions.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its key in a suite: `counter`.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// How the names of its keys begin: `counter` for `counter-17`.
            pub fn prefix(self) -> &'static str {
                match self {
                    $(Self::$variant => $prefix,)+
                }
            }
        }

        /// The share of each kind of data in the operations of a workload, together 100%.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        pub struct Kinds {
            $($(#[doc = $about])+
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub $field: Option<Percent>,)+
        }

        impl Kinds {
            /// The share of a kind, from 0 to 1.
            pub fn share(&self, kind: DataKind) -> f64 {
                match kind {
                    $(DataKind::$variant => self.$field,)+
                }
                .map_or(0.0, Percent::fraction)
            }
        }
    };
}

data_kinds! {
    /// SET and GET of one number: each write is unique and larger than the one before.
    register "register" Register "key",
    /// INCR, and GET of the number.
    counter "counter" Counter "counter",
    /// RPUSH of elements that are written only once, and LRANGE of the whole list.
    list "list" List "list",
    /// One number for two keys of one hash tag, written by MULTI and EXEC or by a script, and MGET of both.
    transaction "transaction" Transaction "transaction",
    /// SET of one number with a time to live (PX, `workload.ttl`), and GET: a key that expires.
    ttl "ttl" Ttl "ttl",
    /// PUBLISH of messages to channels that every client subscribes to (SUBSCRIBE).
    pubsub "pubsub" Pubsub "channel",
    /// The same on channels that belong to a shard: SPUBLISH and SSUBSCRIBE, from Redis 7.0 on.
    sharded_pubsub "sharded-pubsub" ShardedPubsub "shard-channel",
    /// RPUSH to queues, from each of which one client takes the elements with BLPOP and waits if there are none.
    blocking "blocking" Blocking "queue",
    /// SADD and SREM of members that are added once, and SMEMBERS of all.
    set "set" Set "set",
    /// One number that is replaced only if it is still the one that was read: by WATCH, MULTI and EXEC, or by a script. Read
    /// by GET.
    cas "cas" Cas "cas",
    /// XADD of entries that are written only once, and XRANGE of the whole stream.
    stream "stream" Stream "stream",
}

impl DataKind {
    /// Whether a key holds one value that each write replaces, so that all that is said of registers holds for it.
    pub fn is_register(self) -> bool {
        match self {
            Self::Register | Self::Transaction => true,
            Self::Counter
            | Self::List
            | Self::Ttl
            | Self::Pubsub
            | Self::ShardedPubsub
            | Self::Blocking
            | Self::Set
            | Self::Cas
            | Self::Stream => false,
        }
    }

    /// Whether what was acknowledged stays, so that `acked-writes` can tell that it is gone.
    pub fn stays(self) -> bool {
        match self {
            Self::Register | Self::Counter | Self::List | Self::Transaction | Self::Set | Self::Stream => true,
            // A comparison that fails is acknowledged, too, and `linearizable` judges those that do not.
            Self::Ttl | Self::Pubsub | Self::ShardedPubsub | Self::Blocking | Self::Cas => false,
        }
    }

    /// Whether the workload's share of reads holds for it. Otherwise every operation writes, and somebody waits for what is
    /// written.
    pub fn is_read(self) -> bool {
        match self {
            Self::Register
            | Self::Counter
            | Self::List
            | Self::Transaction
            | Self::Ttl
            | Self::Set
            | Self::Cas
            | Self::Stream => true,
            Self::Pubsub | Self::ShardedPubsub | Self::Blocking => false,
        }
    }

    /// Whether servers keep what is written, so that it is read back at the end.
    pub fn is_stored(self) -> bool {
        match self {
            Self::Register
            | Self::Counter
            | Self::List
            | Self::Transaction
            | Self::Ttl
            | Self::Blocking
            | Self::Set
            | Self::Cas
            | Self::Stream => true,
            Self::Pubsub | Self::ShardedPubsub => false,
        }
    }

    /// The most keys of it, however many the workload has: each has connections of its own.
    pub fn keys_max(self) -> u32 {
        if self.is_read() { u32::MAX } else { 60 }
    }
}

impl fmt::Display for DataKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Kinds {
    /// Shares are written with few decimals.
    const PRECISION: f64 = 1e-6;

    /// What is wrong with the shares; None if they are together 100%.
    pub(crate) fn refuse(&self) -> Option<String> {
        let sum: f64 = DataKind::ALL.iter().map(|&kind| self.share(kind)).sum();
        ((sum - 1.0).abs() > Self::PRECISION).then(|| format!("the shares are {}% together, not 100%", sum * 100.0))
    }
}
