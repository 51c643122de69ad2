//! Channels: PUBLISH and SUBSCRIBE, or SPUBLISH and SSUBSCRIBE for those that belong to a shard.

use redis::{Cmd, PushInfo, PushKind};

use super::{Request, number};
use crate::suite::DataKind;
use crate::wire::{command, text};

pub(super) fn write(verb: &str, name: &str, value: &str) -> Request {
    vec![command(&[verb, name, value])]
}

/// A channel holds nothing; this asks how many subscribe to it at one node.
pub(super) fn read(name: &str) -> Vec<String> {
    ["PUBSUB", "NUMSUB", name].map(str::to_owned).to_vec()
}

/// The command that subscribes to a channel of a kind.
pub fn subscribe(kind: DataKind, name: &str) -> Cmd {
    command(&[if kind == DataKind::ShardedPubsub { "SSUBSCRIBE" } else { "SUBSCRIBE" }, name])
}

/// The channel and the number of a message; None for another push.
pub fn heard(push: &PushInfo) -> Option<(String, u32)> {
    match (&push.kind, push.data.as_slice()) {
        (PushKind::Message | PushKind::SMessage, [channel, message]) => Some((text(channel), number(message))),
        _ => None,
    }
}
