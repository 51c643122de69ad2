//! The reasons why operations are not served.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The text of [`Reason::NoFreeKey`], also in histories of earlier versions.
pub const NO_FREE_KEY: &str = "every key that the client may write in this shard has a write under way";

/// Why an operation was not served. Verdicts depend on this, never on the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The port refused the connection.
    Refused,
    /// No connection was established in time.
    ConnectTimedOut,
    /// The connection was accepted, but the handshake before the first command was not answered in time.
    HandshakeTimedOut,
    /// The system has no route to the address.
    Unreachable,
    /// The server rejected the password or the user.
    Denied,
    /// The TLS handshake failed.
    TlsFailed,
    /// No connection was established for another reason.
    ConnectFailed,
    /// All connections of the client to the node were in use.
    NoFreeConnection,
    /// The client's slot table has no owner of the slot.
    NoOwner,
    /// The limit of MOVED and ASK redirections was reached.
    TooManyRedirects,
    /// A redirection named an address outside the cluster.
    RedirectedElsewhere,
    /// The command was sent and not answered in time.
    NoAnswer,
    /// The connection broke after the command was written to it.
    ConnectionLost,
    /// An error reply MOVED that could not be followed.
    Moved,
    /// An error reply ASK that could not be followed.
    Ask,
    /// An error reply CLUSTERDOWN.
    #[serde(rename = "clusterdown")]
    ClusterDown,
    /// An error reply LOADING.
    Loading,
    /// An error reply READONLY.
    #[serde(rename = "readonly")]
    ReadOnly,
    /// An error reply TRYAGAIN.
    #[serde(rename = "tryagain")]
    TryAgain,
    /// An error reply MASTERDOWN.
    #[serde(rename = "masterdown")]
    MasterDown,
    /// Another error reply.
    OtherReply,
    /// The write was acknowledged, but too few replicas confirmed it (WAIT).
    TooFewReplicas,
    /// The operation was due and not sent, because every key of the client in the shard had a write under way.
    NoFreeKey,
    /// None of these, or a reason of a later version.
    #[serde(other)]
    Other,
}

impl Reason {
    /// Whether the reason is a timeout or a busy client. These reasons alone do not distinguish a busy machine from a broken
    /// cluster.
    pub fn is_slowness(self) -> bool {
        match self {
            Self::ConnectTimedOut | Self::HandshakeTimedOut | Self::NoAnswer | Self::NoFreeKey => true,
            Self::Refused
            | Self::Unreachable
            | Self::Denied
            | Self::TlsFailed
            | Self::ConnectFailed
            | Self::NoFreeConnection
            | Self::NoOwner
            | Self::TooManyRedirects
            | Self::RedirectedElsewhere
            | Self::ConnectionLost
            | Self::Moved
            | Self::Ask
            | Self::ClusterDown
            | Self::Loading
            | Self::ReadOnly
            | Self::TryAgain
            | Self::MasterDown
            | Self::OtherReply
            | Self::TooFewReplicas
            | Self::Other => false,
        }
    }

    /// The reason of an error reply, by its first word.
    pub fn of_reply(reply: &str) -> Self {
        match reply.split_ascii_whitespace().next() {
            Some("MOVED") => Self::Moved,
            Some("ASK") => Self::Ask,
            Some("CLUSTERDOWN") => Self::ClusterDown,
            Some("LOADING") => Self::Loading,
            Some("READONLY") => Self::ReadOnly,
            Some("TRYAGAIN") => Self::TryAgain,
            Some("MASTERDOWN") => Self::MasterDown,
            Some(_) | None => Self::OtherReply,
        }
    }

    /// The reason of a text. Earlier versions wrote only the text. Nothing else depends on texts.
    pub fn of_text(text: &str) -> Self {
        if text == NO_FREE_KEY {
            return Self::NoFreeKey;
        }
        let phrases = [
            ("gives no answer within", Self::HandshakeTimedOut),
            ("no answer within", Self::NoAnswer),
            ("no connection to", Self::ConnectTimedOut),
            ("CLUSTERDOWN", Self::ClusterDown),
            ("connection refused by", Self::Refused),
            ("connection lost", Self::ConnectionLost),
            ("nobody is at", Self::Unreachable),
            ("does not let us in", Self::Denied),
            ("no TLS with", Self::TlsFailed),
            ("cannot connect to", Self::ConnectFailed),
            ("did not accept READONLY", Self::ConnectFailed),
            ("connections to the node were in use", Self::NoFreeConnection),
            ("no owner of the slot is known", Self::NoOwner),
            ("redirections", Self::TooManyRedirects),
            ("which is no node of ours", Self::RedirectedElsewhere),
            ("replicas within", Self::TooFewReplicas),
        ];
        if let Some((_, reason)) = phrases.iter().find(|(phrase, _)| text.contains(phrase)) {
            return *reason;
        }
        let reply = text.strip_prefix("WAIT: ").unwrap_or(text);
        let is_code = |word: &str| word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_uppercase());
        match reply.split_ascii_whitespace().next() {
            Some(word) if is_code(word) => Self::of_reply(reply),
            Some(_) | None => Self::Other,
        }
    }
}

/// A reason and its text with details: the address, the limit, the reply of the server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Explanation {
    /// The reason.
    pub reason: Reason,
    /// The text.
    pub text: String,
}

impl Explanation {
    /// A reason and its text.
    pub fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self { reason, text: text.into() }
    }

    /// The explanation of an error reply.
    pub fn reply(reply: impl Into<String>) -> Self {
        let text = reply.into();
        Self { reason: Reason::of_reply(&text), text }
    }

    /// The explanation of a text of an earlier version.
    pub fn of_text(text: &str) -> Self {
        Self::new(Reason::of_text(text), text)
    }
}

/// The positions of explanations in [`History::reasons`](super::History::reasons).
#[derive(Debug, Default)]
pub struct Interned(HashMap<Reason, HashMap<String, u16>>);

/// The position of an explanation in `reasons`. Adds the explanation if it is new.
pub fn intern(interned: &mut Interned, reasons: &mut Vec<Explanation>, reason: Reason, text: &str) -> u16 {
    let of_reason = interned.0.entry(reason).or_default();
    if let Some(&position) = of_reason.get(text) {
        return position;
    }
    // After 65536 different texts, another text of the same reason is used.
    let Ok(position) = u16::try_from(reasons.len()) else {
        return of_reason.values().min().copied().unwrap_or(u16::MAX);
    };
    reasons.push(Explanation::new(reason, text));
    of_reason.insert(text.to_owned(), position);
    position
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_texts_of_earlier_versions() {
        for (text, expected) in [
            ("connection refused by 127.1.0.1:6379", Reason::Refused),
            ("connection refused by 127.1.0.1:6379 (named by MOVED)", Reason::Refused),
            ("no connection to 127.1.0.1:6379 within 1s", Reason::ConnectTimedOut),
            ("10.0.0.1:6379 accepts connections, and gives no answer within 1s to AUTH", Reason::HandshakeTimedOut),
            ("no answer within 5s", Reason::NoAnswer),
            ("WAIT: no answer within 5s", Reason::NoAnswer),
            ("WAIT: 0 of 1 replicas within 500ms", Reason::TooFewReplicas),
            ("CLUSTERDOWN The cluster is down", Reason::ClusterDown),
            ("CLUSTERDOWN Hash slot not served", Reason::ClusterDown),
            ("LOADING Redis is loading the dataset in memory", Reason::Loading),
            ("READONLY You can't write against a read only replica.", Reason::ReadOnly),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Reason::TryAgain),
            ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", Reason::MasterDown),
            ("MOVED x y", Reason::Moved),
            ("OOM command not allowed when used memory > 'maxmemory'.", Reason::OtherReply),
            ("connection lost: broken pipe", Reason::ConnectionLost),
            ("more than 5 redirections", Reason::TooManyRedirects),
            ("redirected to 10.0.0.9:6379, which is no node of ours", Reason::RedirectedElsewhere),
            ("no owner of the slot is known", Reason::NoOwner),
            ("all 64 connections to the node were in use", Reason::NoFreeConnection),
            (NO_FREE_KEY, Reason::NoFreeKey),
            ("refused", Reason::Other),
            ("", Reason::Other),
        ] {
            assert_eq!(Reason::of_text(text), expected, "{text:?}");
        }
    }

    #[test]
    fn reads_unknown_reasons_as_other() {
        let read = |word: &str| serde_json::from_value::<Reason>(serde_json::json!(word)).expect("a reason");
        assert_eq!((read("clusterdown"), read("disk-full")), (Reason::ClusterDown, Reason::Other));
    }
}
