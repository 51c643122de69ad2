//! The account of channels: which messages each subscriber missed, or got more than once.

use std::collections::{BTreeMap, HashMap};

use super::{Account, Example, KeyOps, sent};
use crate::consistency::{Effect, Kind, Operation, Witness, WitnessOp};
use crate::history::{EventKind, FOREIGN, History, Message, key_name};
use crate::units::{ClientNo, NodeNo};
use crate::words::{at, count, length_ns};

/// What subscribers got.
#[derive(Debug, Default)]
pub(super) struct Heard {
    by_channel: BTreeMap<u32, BTreeMap<ClientNo, Listener>>,
}

/// One subscriber of one channel.
#[derive(Debug, Default)]
struct Listener {
    spans: Vec<Span>,
    /// By the number of the message: when it came, and from which node.
    got: HashMap<u32, Vec<(u64, NodeNo)>>,
}

/// A time during which a subscription stood.
#[derive(Debug)]
struct Span {
    from_ns: u64,
    /// When its end was noticed; the end of time if it was not.
    to_ns: u64,
    node: NodeNo,
    why: String,
}

impl Heard {
    pub fn new(history: &History) -> Self {
        let mut heard = Self::default();
        for event in &history.events {
            match &event.kind {
                EventKind::Subscribed { subscriber, node, channels } => {
                    for &channel in channels {
                        let span = Span { from_ns: event.at_ns, to_ns: u64::MAX, node: *node, why: String::new() };
                        heard.listener(channel, *subscriber).spans.push(span);
                    }
                }
                EventKind::Unsubscribed { subscriber, channels, why, .. } => {
                    for &channel in channels {
                        if let Some(span) = heard.listener(channel, *subscriber).spans.last_mut() {
                            (span.to_ns, span.why) = (event.at_ns, why.clone());
                        }
                    }
                }
                EventKind::Delivered { subscriber, node, messages } => {
                    for &Message(channel, number, at_ns) in messages {
                        heard.listener(channel, *subscriber).got.entry(number).or_default().push((at_ns, *node));
                    }
                }
                _ => {}
            }
        }
        heard
    }

    fn listener(&mut self, channel: u32, subscriber: ClientNo) -> &mut Listener {
        self.by_channel.entry(channel).or_default().entry(subscriber).or_default()
    }
}

/// Acknowledged messages in a row that one subscriber missed, with what it got before and after them.
struct Gap<'a> {
    missed: &'a [Operation],
    before: Option<Operation>,
    after: Option<Operation>,
}

/// Adds what became of the messages of one channel.
pub(super) fn account(history: &History, key: u32, ops: &KeyOps<'_>, heard: &Heard, account: &mut Account) {
    let mut published: Vec<Operation> = ops.writes().map(|&(.., write)| write).collect();
    published.sort_by_key(|write| write.invoke_ns);
    let times: HashMap<u32, u8> = ops
        .writes()
        .map(|&(position, _, write)| (write.value, history.detail(position).map_or(1, |detail| detail.tries)))
        .collect();
    let listeners = heard.by_channel.get(&key);
    account.subscribers = account.subscribers.max(listeners.map_or(0, |all| all.len() as u64));
    for (&subscriber, listener) in listeners.into_iter().flatten() {
        let words = Words { history, ops, name: key_name(key), subscriber, listener };
        let Some(first) = listener.spans.first() else { continue };
        let expected: Vec<Operation> =
            published.iter().copied().filter(|op| op.is_certain_write() && op.invoke_ns > first.from_ns).collect();
        account.observed += expected.len() as u64;
        let gaps = listener.gaps(subscriber, &expected);
        for gap in &gaps {
            account.lost += gap.missed.len() as u64;
            account.lost_while_subscribed += gap.missed.iter().filter(|op| listener.stood(op)).count() as u64;
            account.longest_gap_ns = account.longest_gap_ns.max(length(gap.missed));
        }
        account.losses.extend(gaps.first().map(|gap| words.missed(gap)));
        let mut again: Vec<(&u32, &Vec<(u64, NodeNo)>)> = listener
            .got
            .iter()
            .filter(|(number, all)| all.len() > 1 || **number == FOREIGN || !times.contains_key(number))
            .collect();
        again.sort();
        for (number, all) in &again {
            let allowed = usize::from(times.contains_key(number) && **number != FOREIGN);
            account.repeated += (all.len() - allowed) as u64;
        }
        account.repetitions.extend(again.first().map(|(number, all)| words.again(**number, all)));
    }
}

fn length(missed: &[Operation]) -> u64 {
    let (first, last) = (missed.first(), missed.last());
    first.zip(last).map_or(0, |(first, last)| last.complete_ns.saturating_sub(first.invoke_ns))
}

impl Listener {
    /// The messages in a row that it missed.
    fn gaps<'a>(&self, subscriber: ClientNo, expected: &'a [Operation]) -> Vec<Gap<'a>> {
        let got = |op: &Operation| {
            let &(at_ns, node) = self.got.get(&op.value)?.first()?;
            let kind = Kind::Read;
            Some(Operation { invoke_ns: at_ns, complete_ns: at_ns, value: op.value, client: subscriber, node, kind })
        };
        let mut gaps = Vec::new();
        let mut from: usize = 0;
        for part in expected.chunk_by(|one, other| got(one).is_some() == got(other).is_some()) {
            if part.first().is_some_and(|op| got(op).is_none()) {
                let before = from.checked_sub(1).and_then(|at| got(&expected[at]));
                let after = expected.get(from + part.len()).and_then(got);
                gaps.push(Gap { missed: part, before, after });
            }
            from += part.len();
        }
        gaps
    }

    /// Whether the subscription stood from the issue of a message to its acknowledgement.
    fn stood(&self, op: &Operation) -> bool {
        self.spans.iter().any(|span| span.from_ns <= op.invoke_ns && op.complete_ns <= span.to_ns)
    }
}

struct Words<'a> {
    history: &'a History,
    ops: &'a KeyOps<'a>,
    name: String,
    subscriber: ClientNo,
    listener: &'a Listener,
}

impl Words<'_> {
    fn missed(&self, gap: &Gap<'_>) -> Example {
        let (first, last) = (gap.missed[0], gap.missed[gap.missed.len() - 1]);
        let (name, subscriber) = (&self.name, self.subscriber);
        let which = match gap.missed.len() as u64 {
            1 => format!("message {} of {name}, which {} acknowledged", first.value, first.node),
            many => format!(
                "{} of {name} in a row ({} to {}) within {}. The first was acknowledged by {}",
                count(many, "message"),
                first.value,
                last.value,
                length_ns(length(gap.missed)),
                first.node
            ),
        };
        let why = format!("{subscriber} missed {which} at {}. {}", at(first.complete_ns), self.stand(&first));
        let last = (last != first).then_some(last);
        let all: Vec<Operation> = gap.before.into_iter().chain([first]).chain(last).chain(gap.after).collect();
        self.example(first.complete_ns, why, all, &first)
    }

    /// How the subscription stood when a message was published.
    fn stand(&self, op: &Operation) -> String {
        let spans = &self.listener.spans;
        let Some(begun) = spans.iter().rposition(|span| span.from_ns <= op.invoke_ns) else {
            return "It had not subscribed yet.".to_owned();
        };
        let span = &spans[begun];
        if op.complete_ns <= span.to_ns {
            let end = match span.to_ns {
                u64::MAX => String::new(),
                to_ns => format!(" until {} ({})", at(to_ns), span.why),
            };
            return format!("Its subscription at {} stood from {}{end}.", span.node, at(span.from_ns));
        }
        let again = match spans.get(begun + 1) {
            Some(next) => format!("it subscribed again at {} at {}", next.node, at(next.from_ns)),
            None => "it never subscribed again".to_owned(),
        };
        format!("Its subscription at {} had ended at {} ({}); {again}.", span.node, at(span.to_ns), span.why)
    }

    fn again(&self, number: u32, all: &[(u64, NodeNo)]) -> Example {
        let (name, subscriber) = (&self.name, self.subscriber);
        let write = self.ops.writes().map(|&(.., write)| write).find(|write| write.value == number);
        let times = count(all.len() as u64, "time");
        let why = match write {
            None if number == FOREIGN => format!("{subscriber} got a message of {name} that no client published."),
            None => format!("{subscriber} got message {number} of {name}, which no client published."),
            Some(write) => format!(
                "{subscriber} got message {number} of {name} {times}. {} published it at {}{}.",
                write.client,
                at(write.invoke_ns),
                self.sent(&write)
            ),
        };
        let got = all.iter().take(Witness::OPS - 1).map(|&(at_ns, node)| {
            let kind = Kind::Read;
            Operation { invoke_ns: at_ns, complete_ns: at_ns, value: number, client: subscriber, node, kind }
        });
        let ops: Vec<Operation> = write.into_iter().chain(got).collect();
        let last = ops[ops.len() - 1];
        self.example(last.complete_ns, why, ops, &last)
    }

    fn sent(&self, op: &Operation) -> String {
        let position = self.ops.ops.iter().find(|(.., each)| each == op).map(|(position, ..)| *position);
        position.map_or_else(String::new, |position| sent(self.history, position))
    }

    fn example(&self, at_ns: u64, why: String, mut all: Vec<Operation>, wrong: &Operation) -> Example {
        all.sort_by_key(|op| (op.invoke_ns, op.complete_ns));
        let command = |op: &Operation| match op.kind {
            Kind::Read => format!("{} gets {} of {}", op.client, op.value, self.name),
            Kind::Write(Effect::Certain | Effect::Possible | Effect::Impossible) => {
                format!("PUBLISH {} {}{}", self.name, op.value, self.sent(op))
            }
        };
        let commands = all.iter().map(command).collect();
        let ops = all.iter().map(|op| WitnessOp { contradicts: op == wrong, ..WitnessOp::of(op) }).collect();
        Example { at_ns, witness: Witness { key: self.name.clone(), why, ops, commands } }
    }
}
