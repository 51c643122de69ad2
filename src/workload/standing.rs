//! What stands for the whole workload beside single operations: subscriptions to channels, and clients that wait for
//! elements of queues. Each has a connection of its own, and is renewed when it ends.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use redis::PushInfo;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::Issuer;
use super::kind::{heard, subscribe};
use crate::history::{EventKind, Message, WaitEnd, key_name, key_of};
use crate::slot::key_slot;
use crate::suite::DataKind;
use crate::units::{ClientNo, NodeNo};
use crate::wire::{CommandError, Link, command};

/// The pause before a subscription or a wait is renewed.
const RENEW_AFTER: Duration = Duration::from_millis(100);

/// How often the messages that arrived are recorded.
const GATHER: Duration = Duration::from_millis(200);

/// How often a subscriber proves that its connection is alive.
const PING_EVERY: Duration = Duration::from_secs(1);

/// How long what was sent last has to arrive.
const DRAIN: Duration = Duration::from_millis(300);

/// How long the end takes at most.
const END_WITHIN: Duration = Duration::from_secs(2);

/// As good as for ever.
const FOR_EVER: Duration = Duration::from_secs(3600 * 24 * 30);

/// The subscriptions and the waits of a workload.
#[derive(Debug, Default)]
pub(super) struct Standing {
    tasks: JoinSet<()>,
    stop: Option<watch::Sender<bool>>,
}

impl Standing {
    /// Every client subscribes to every channel, and each queue has one client that waits for its elements: the one after
    /// its first writer.
    pub fn begin(&mut self, clients: &[Arc<Issuer>]) {
        let (stop, stopped) = watch::channel(false);
        let Some(settings) = clients.first().map(|issuer| &issuer.settings) else { return };
        for kind in [DataKind::Pubsub, DataKind::ShardedPubsub] {
            let mut by_shard: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
            for key in (0..settings.keys_of(kind)).map(|number| key_of(kind, number)) {
                by_shard.entry(clients[0].deal.shard_of(slot(key)).index()).or_default().push(key);
            }
            for (issuer, channels) in clients.iter().flat_map(|issuer| by_shard.values().map(move |all| (issuer, all)))
            {
                let subscriber = Subscriber { issuer: Arc::clone(issuer), kind, channels: channels.clone() };
                self.tasks.spawn(subscriber.run(stopped.clone()));
            }
        }
        for number in 0..settings.keys_of(DataKind::Blocking) {
            let issuer = Arc::clone(&clients[(number as usize + 1) % clients.len()]);
            self.tasks.spawn(wait(issuer, key_of(DataKind::Blocking, number), stopped.clone()));
        }
        self.stop = Some(stop);
    }

    /// Lets what was sent last arrive, and ends.
    pub async fn end(&mut self) {
        if self.tasks.is_empty() {
            return;
        }
        sleep(DRAIN).await;
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(true);
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let _ = timeout(END_WITHIN, all).await;
        self.tasks.abort_all();
    }
}

fn slot(key: u32) -> u16 {
    key_slot(key_name(key).as_bytes())
}

/// The pause before another try; shorter at the end.
async fn pause(stopped: &mut watch::Receiver<bool>) {
    tokio::select! {
        () = sleep(RENEW_AFTER) => {}
        _ = stopped.changed() => {}
    }
}

/// One client's subscription to the channels of one shard.
struct Subscriber {
    issuer: Arc<Issuer>,
    kind: DataKind,
    channels: Vec<u32>,
}

/// The messages that arrived and are not recorded yet.
struct Gathered {
    keys: HashMap<String, u32>,
    messages: Vec<Message>,
}

impl Subscriber {
    async fn run(self, mut stopped: watch::Receiver<bool>) {
        while !*stopped.borrow() {
            if let Some((node, link, pushes)) = self.subscribe().await {
                let why = self.hear(node, link, pushes, &mut stopped).await;
                let (subscriber, channels) = (self.number(), self.channels.clone());
                self.issuer.journal.event(EventKind::Unsubscribed { subscriber, node, channels, why });
            }
            self.issuer.client.suspect();
            if !*stopped.borrow() {
                pause(&mut stopped).await;
            }
        }
    }

    fn number(&self) -> ClientNo {
        ClientNo(self.issuer.number + 1)
    }

    fn name(&self, key: u32) -> String {
        self.issuer.driven(key).name().to_owned()
    }

    /// Subscribes at the owner of the first channel's slot. None if it cannot be reached, or refuses.
    async fn subscribe(&self) -> Option<(NodeNo, Link, mpsc::UnboundedReceiver<PushInfo>)> {
        let (sender, pushes) = mpsc::unbounded_channel();
        let (node, mut link) = self.issuer.client.connect_to_owner(slot(*self.channels.first()?), Some(sender)).await?;
        let until = Instant::now() + self.issuer.settings.timeout.0;
        for &channel in &self.channels {
            link.send(&subscribe(self.kind, &self.name(channel)), until).await.ok()?;
        }
        let (subscriber, channels) = (self.number(), self.channels.clone());
        self.issuer.journal.event(EventKind::Subscribed { subscriber, node, channels });
        Some((node, link, pushes))
    }

    /// Records messages until the subscription ends, and says why it did.
    async fn hear(
        &self,
        node: NodeNo,
        mut link: Link,
        mut pushes: mpsc::UnboundedReceiver<PushInfo>,
        stopped: &mut watch::Receiver<bool>,
    ) -> String {
        let keys = self.channels.iter().map(|&key| (self.name(key), key)).collect();
        let mut gathered = Gathered { keys, messages: Vec::new() };
        let mut ticks = interval(GATHER);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let pings = pings(link.clone(), self.issuer.settings.timeout.0);
        tokio::pin!(pings);
        let why = loop {
            tokio::select! {
                biased;
                push = pushes.recv() => match push {
                    None => break "its connection was closed".to_owned(),
                    Some(push) => if let Some(why) = self.take(&push, &mut gathered) {
                        break why;
                    },
                },
                _ = ticks.tick() => {
                    self.record(node, &mut gathered);
                    let owner = self.issuer.client.owner(slot(self.channels[0]));
                    if self.kind == DataKind::ShardedPubsub && owner.is_some_and(|owner| owner != node) {
                        break format!("{} owns its slots now", owner.unwrap_or(node));
                    }
                }
                why = &mut pings => break why,
                _ = stopped.changed() => {
                    // What was sent to this connection before the answer arrives before it.
                    let _ = link.send(&command(&["PING"]), Instant::now() + PING_EVERY).await;
                    break "the workload ended".to_owned();
                }
            }
        };
        while let Ok(push) = pushes.try_recv() {
            self.take(&push, &mut gathered);
        }
        self.record(node, &mut gathered);
        why
    }

    /// Takes a message; says why the subscription ended, if the push is no message.
    fn take(&self, push: &PushInfo, gathered: &mut Gathered) -> Option<String> {
        use redis::PushKind::{Disconnection, SUnsubscribe, Unsubscribe};
        match heard(push) {
            Some((channel, number)) => {
                if let Some(&key) = gathered.keys.get(&channel) {
                    gathered.messages.push(Message(key, number, self.issuer.journal.now_ns()));
                }
                None
            }
            None => match push.kind {
                Disconnection => Some("its connection was closed".to_owned()),
                Unsubscribe | SUnsubscribe => Some("the server ended it".to_owned()),
                _ => None,
            },
        }
    }

    fn record(&self, node: NodeNo, gathered: &mut Gathered) {
        let messages = std::mem::take(&mut gathered.messages);
        if !messages.is_empty() {
            self.issuer.journal.event(EventKind::Delivered { subscriber: self.number(), node, messages });
        }
    }
}

/// Sends PING again and again. Ends without an answer in time, and says so.
async fn pings(mut link: Link, within: Duration) -> String {
    loop {
        sleep(PING_EVERY).await;
        if let Err(error) = link.send(&command(&["PING"]), Instant::now() + within).await {
            return format!("PING: {error}");
        }
    }
}

/// Takes the elements of a queue one after the other, and waits for each. A client that waits for ever sets no timeout, so
/// it does not notice that its server is frozen or cut off.
async fn wait(issuer: Arc<Issuer>, key: u32, mut stopped: watch::Receiver<bool>) {
    let driven = issuer.driven(key);
    let mut connected: Option<(NodeNo, Link)> = None;
    while !*stopped.borrow() {
        if connected.is_none() {
            connected = issuer.client.connect_to_owner(slot(key), None).await;
        }
        let Some((node, link)) = &mut connected else {
            pause(&mut stopped).await;
            continue;
        };
        let (client, node, sent_ns) = (ClientNo(issuer.number + 1), *node, issuer.journal.now_ns());
        let answer = tokio::select! {
            biased;
            answer = async { link.send(&driven.wait(), Instant::now() + FOR_EVER).await } => Some(answer),
            _ = stopped.changed() => None,
        };
        let end = match answer {
            None => WaitEnd::Open,
            Some(Ok(answer)) => driven
                .popped(&answer)
                .map_or_else(|| WaitEnd::Refused("an answer without an element".to_owned()), WaitEnd::Popped),
            Some(Err(CommandError::Reply(error))) => WaitEnd::Refused(error),
            Some(Err(lost @ (CommandError::Broken(_) | CommandError::TimedOut))) => WaitEnd::Broken(lost.to_string()),
        };
        let goes_on = matches!(end, WaitEnd::Popped(_));
        issuer.journal.event(EventKind::Waited { client, key, node, sent_ns, end });
        if !goes_on {
            connected = None;
            issuer.client.suspect();
            pause(&mut stopped).await;
        }
    }
}
