//! The workload: reads and writes of single keys of several kinds of data at a steady rate, each recorded with its
//! outcome.
//!
//! The load is open-loop: an operation is issued when it is due, even if earlier operations are unanswered. An
//! outage therefore shows as unserved operations, not as missing ones. In a closed loop, which a suite may ask for, each client
//! issues its next operation once its last one has ended. Every key has one writer unless the suite wants
//! more, each with one write of that key in flight. The writers of a key share a counter, so no value is written twice
//! and every read tells which write it saw. When a write is due and the client has no free key in that shard, the operation is
//! recorded as not sent and not left out.

mod client;
mod kind;
mod pool;
mod served;
mod standing;
mod table;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use client::{Client, Reply, Unserved};
pub use kind::{Driven, Request};
use redis::Value;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cluster::{Backend, Control, Keyspace};
use crate::history::{
    Detail, Explanation, NO_FREE_KEY, OpParts, Outcome, Reason, key_name, key_of, kind_of, workload_keys,
};
use crate::journal::Journal;
use crate::plan::Plan;
use crate::seeded::Seeded;
use crate::slot::{Deal, key_slot};
use crate::spec::POLL;
use crate::suite::{DataKind, Loop, OpKind, Skew, WorkloadSpec};
use crate::units::{ClientNo, NodeNo};
use crate::wire::Caller;
use served::Served;
use standing::Standing;

/// How many of a client's first writes are in flight at once.
const LOAD_CONCURRENCY: usize = 32;

/// How long the first write of a key is retried until it is acknowledged.
const LOAD_WITHIN: Duration = Duration::from_secs(30);

/// The pause before a write is sent again that could not be sent.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The pause of a client of a closed loop after an operation that was not served: a connection that is refused fails at once.
const CLOSED_PAUSE: Duration = Duration::from_millis(10);

/// The share of the operations that are for the keys of a hot slot.
const HOT: f64 = 0.5;

const SERVED_POLL: Duration = Duration::from_millis(20);

/// The workload of one run.
#[derive(Debug)]
pub struct Workload {
    clients: Vec<Arc<Issuer>>,
    issuing: JoinSet<()>,
    standing: Standing,
    served: Arc<Served>,
    /// Each operation in flight holds a clone of `in_flight`; once all are dropped, `finished` yields None.
    in_flight: Option<InFlight>,
    finished: mpsc::Receiver<Infallible>,
}

/// Held by an operation until its outcome is recorded. Nothing is ever sent.
type InFlight = mpsc::Sender<Infallible>;

/// A key that a client writes.
#[derive(Debug)]
struct OwnKey {
    key: u32,
    /// Its position among all keys.
    position: usize,
    slot: u16,
    shard: usize,
    /// Whether this client writes it first, before the workload begins.
    is_first: bool,
    busy: bool,
}

/// The last value that was sent for each key, by the position of the key among all.
type Values = Arc<[AtomicU32]>;

#[derive(Debug)]
struct Issuer {
    number: u16,
    client: Client,
    journal: Arc<Journal>,
    keys: Keyspace,
    deal: Deal,
    settings: WorkloadSpec,
    /// Ordered by kind.
    own: Mutex<Vec<OwnKey>>,
    /// The keys in the hot slot of each kind, if the workload has one: that of its first key.
    hot: Arc<BTreeMap<DataKind, Vec<u32>>>,
    values: Values,
    seeded: Mutex<Seeded>,
    served: Arc<Served>,
}

impl Workload {
    /// Creates the clients, which stay idle until [`Self::load`]. Each uses its own address if the backend provides
    /// one.
    pub fn new<B: Backend>(plan: &Plan, control: &Control<B>, journal: &Arc<Journal>) -> Self {
        let (settings, deal, backend) = (&plan.workload, plan.deal(), control.backend());
        let served = Arc::new(Served::new(plan));
        let values: Values = workload_keys(settings).map(|_| AtomicU32::new(0)).collect();
        let hot = Arc::new(hot_keys(settings));
        let clients = (0..settings.clients)
            .map(|number| {
                let caller = Caller {
                    access: backend.access(),
                    from: backend.client_ip(ClientNo(number + 1)),
                    ..Caller::default()
                };
                let keys = workload_keys(settings).enumerate();
                let own = keys.filter_map(|key| OwnKey::new(key, number, settings, &deal));
                Arc::new(Issuer {
                    number,
                    client: Client::new(Arc::clone(control.roster()), caller, settings.clone()),
                    keys: backend.keys(),
                    deal: deal.clone(),
                    journal: Arc::clone(journal),
                    settings: settings.clone(),
                    own: Mutex::new(own.collect()),
                    hot: Arc::clone(&hot),
                    values: Arc::clone(&values),
                    seeded: Mutex::new(Seeded::new(plan.seed, &format!("client-{number}"))),
                    served: Arc::clone(&served),
                })
            })
            .collect();
        let (in_flight, finished) = mpsc::channel(1);
        Self {
            clients,
            issuing: JoinSet::new(),
            standing: Standing::default(),
            served,
            in_flight: Some(in_flight),
            finished,
        }
    }

    /// Writes every key once, so that reads find a value. The error names a write that was never acknowledged.
    pub async fn load(&self) -> Result<(), String> {
        let mut loading = JoinSet::new();
        // One refresh has half a second, which a busy machine may take for itself.
        let deadline = Instant::now() + LOAD_WITHIN;
        for issuer in &self.clients {
            while !issuer.client.refresh().await {
                if Instant::now() > deadline {
                    return Err(format!("no node answered CLUSTER NODES within {LOAD_WITHIN:?}"));
                }
                tokio::time::sleep(POLL).await;
            }
            loading.spawn(Arc::clone(issuer).load());
        }
        while let Some(loaded) = loading.join_next().await {
            loaded.map_err(|error| error.to_string())??;
        }
        Ok(())
    }

    /// Starts to issue operations. After [`Self::end`] it issues none.
    pub fn begin(&mut self) {
        let Some(in_flight) = &self.in_flight else { return };
        self.standing.begin(&self.clients);
        if self.clients[0].settings.pacing == Loop::Closed {
            for issuer in &self.clients {
                self.issuing.spawn(Arc::clone(issuer).issue_closed(in_flight.clone()));
            }
            return;
        }
        let interval =
            Duration::from_secs_f64(self.clients.len() as f64 / f64::from(self.clients[0].settings.rate.per_second));
        let start = Instant::now();
        for (position, issuer) in self.clients.iter().enumerate() {
            let first = start + interval.mul_f64(position as f64 / self.clients.len() as f64);
            self.issuing.spawn(Arc::clone(issuer).issue(first, interval, in_flight.clone()));
        }
    }

    /// Waits, at most for `within`, until every shard with keys serves an operation of each kind that was issued
    /// from now on. If the workload ended during an outage, the length of that outage would stay unknown.
    pub async fn until_served(&self, within: Duration) {
        let deadline = Instant::now() + within;
        let from_ns = self.clients[0].journal.now_ns();
        while !self.served.all_since(from_ns) && Instant::now() < deadline {
            tokio::time::sleep(SERVED_POLL).await;
        }
    }

    /// Stops issuing operations and waits for the outcome of every operation in flight, at most for the workload's
    /// timeout plus one second.
    pub async fn end(&mut self) {
        self.issuing.abort_all();
        while self.issuing.join_next().await.is_some() {}
        let settings = &self.clients[0].settings;
        let patience = settings.timeout.0 * (u32::from(settings.retries) + 1) + Duration::from_secs(1);
        self.in_flight = None;
        // The client's own timeout ends an operation earlier. What is unanswered even then stays unrecorded.
        let _ = tokio::time::timeout(patience, self.finished.recv()).await;
        self.standing.end().await;
    }
}

impl OwnKey {
    /// None if the client does not write the key: its writers are the client with the key's number modulo the number of
    /// clients, and those that follow it.
    fn new((position, key): (usize, u32), client: u16, settings: &WorkloadSpec, deal: &Deal) -> Option<Self> {
        let clients = u32::from(settings.clients);
        let place = (u32::from(client) + clients - kind_of(key).1 % clients) % clients;
        let slot = slot_of(key);
        let shard = deal.shard_of(slot).index();
        let own = Self { key, position, slot, shard, is_first: place == 0, busy: false };
        (place < u32::from(settings.writers)).then_some(own)
    }
}

/// The keys in the slot of the first key of each kind, if the skew is such.
fn hot_keys(settings: &WorkloadSpec) -> BTreeMap<DataKind, Vec<u32>> {
    let mut hot: BTreeMap<DataKind, Vec<u32>> = BTreeMap::new();
    if settings.skew == Skew::HotSlot {
        for key in workload_keys(settings) {
            let kind = kind_of(key).0;
            if slot_of(key) == slot_of(key_of(kind, 0)) {
                hot.entry(kind).or_default().push(key);
            }
        }
    }
    hot
}

fn slot_of(key: u32) -> u16 {
    key_slot(key_name(key).as_bytes())
}

/// The next operation to issue.
enum Due {
    Read { key: u32, slot: u16 },
    Write { position: usize, key: u32, slot: u16, value: u32 },
    NoFreeKey { key: u32 },
}

impl Issuer {
    async fn load(self: Arc<Self>) -> Result<(), String> {
        let deadline = Instant::now() + LOAD_WITHIN;
        let first: Vec<usize> = {
            let own = self.own.lock().expect("no holder panics");
            (0..own.len()).filter(|&position| own[position].is_first).collect()
        };
        let permits = Arc::new(Semaphore::new(LOAD_CONCURRENCY));
        let mut writes: JoinSet<Result<(), String>> = JoinSet::new();
        for position in first {
            let permit = Arc::clone(&permits).acquire_owned().await.expect("the semaphore is never closed");
            let issuer = Arc::clone(&self);
            writes.spawn(async move {
                let _permit = permit;
                loop {
                    let (key, slot, value) = issuer.take(position);
                    let due_ns = issuer.journal.now_ns();
                    let Err(reason) = issuer.write(due_ns, position, (key, slot, value)).await else { return Ok(()) };
                    if Instant::now() > deadline {
                        return Err(format!("the first write of {} was not acknowledged: {reason}", key_name(key)));
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            });
        }
        while let Some(written) = writes.join_next().await {
            written.map_err(|error| error.to_string())??;
        }
        Ok(())
    }

    async fn issue(self: Arc<Self>, first: Instant, interval: Duration, in_flight: InFlight) {
        for number in 0u32.. {
            let due = first + interval * number;
            tokio::time::sleep_until(due).await;
            let due_ns = self.journal.at_ns(due.into_std());
            let next = self.next();
            let (issuer, in_flight) = (Arc::clone(&self), in_flight.clone());
            tokio::spawn(async move {
                let _in_flight = in_flight;
                issuer.send(due_ns, next).await;
            });
        }
    }

    /// Issues each operation once the last one has ended.
    async fn issue_closed(self: Arc<Self>, in_flight: InFlight) {
        loop {
            let (issuer, in_flight) = (Arc::clone(&self), in_flight.clone());
            // The task is separate, so that an operation in flight is recorded even when no more are issued.
            let sent = tokio::spawn(async move {
                let _in_flight = in_flight;
                let due_ns = issuer.journal.now_ns();
                let next = issuer.next();
                issuer.send(due_ns, next).await
            });
            if !sent.await.unwrap_or(false) {
                tokio::time::sleep(CLOSED_PAUSE).await;
            }
        }
    }

    /// Returns whether the operation was served.
    async fn send(&self, due_ns: u64, next: Due) -> bool {
        match next {
            Due::Read { key, slot } => self.read(due_ns, key, slot).await,
            Due::Write { position, key, slot, value } => self.write(due_ns, position, (key, slot, value)).await.is_ok(),
            Due::NoFreeKey { key } => {
                self.skip(due_ns, key);
                false
            }
        }
    }

    fn next(&self) -> Due {
        let mut seeded = self.seeded.lock().expect("no holder panics");
        let kind = self.draw_kind(&mut seeded);
        let hot = self.draw_hot(kind, &mut seeded);
        if kind.is_read() && seeded.fraction() < self.settings.reads.fraction() {
            let key = match hot {
                [] => key_of(kind, self.draw(self.settings.keys_of(kind).into(), &mut seeded) as u32),
                hot => hot[seeded.below(hot.len() as u64) as usize],
            };
            return Due::Read { key, slot: slot_of(key) };
        }
        let mut own = self.own.lock().expect("no holder panics");
        let from = own.partition_point(|own| kind_of(own.key).0 < kind);
        let count = own.partition_point(|own| kind_of(own.key).0 <= kind) - from;
        let own_hot: Vec<usize> = match hot {
            [] => Vec::new(),
            hot => (0..count).filter(|step| hot.contains(&own[from + step].key)).collect(),
        };
        let drawn = match own_hot.as_slice() {
            [] => self.draw(count as u64, &mut seeded) as usize,
            hot => hot[seeded.below(hot.len() as u64) as usize],
        };
        let shard = own[from + drawn].shard;
        // A key of another shard would move load away from a slow shard.
        let free = (0..count)
            .map(|step| from + (drawn + step) % count)
            .find(|&position| own[position].shard == shard && !own[position].busy);
        match free {
            None => Due::NoFreeKey { key: own[from + drawn].key },
            Some(position) => {
                let (key, slot, value) = own[position].take(&self.values);
                Due::Write { position, key, slot, value }
            }
        }
    }

    /// A number below `bound`, as the skew of the workload says.
    fn draw(&self, bound: u64, seeded: &mut Seeded) -> u64 {
        match self.settings.skew {
            Skew::Uniform | Skew::HotSlot => seeded.below(bound),
            Skew::Zipf => seeded.ranked(bound),
        }
    }

    /// The keys of the hot slot, if the next operation is for one of them; else none.
    fn draw_hot(&self, kind: DataKind, seeded: &mut Seeded) -> &[u32] {
        match self.settings.skew {
            Skew::HotSlot if seeded.fraction() < HOT => self.hot.get(&kind).map_or(&[], Vec::as_slice),
            Skew::Uniform | Skew::Zipf | Skew::HotSlot => &[],
        }
    }

    /// The kind of the next operation. Nothing is drawn for a workload of one kind.
    fn draw_kind(&self, seeded: &mut Seeded) -> DataKind {
        let mut kinds = DataKind::ALL.iter().copied().filter(|&kind| self.settings.share(kind) > 0.0).peekable();
        let first = kinds.next().unwrap_or(DataKind::Register);
        if kinds.peek().is_none() {
            return first;
        }
        let drawn = seeded.fraction();
        let mut reached = self.settings.share(first);
        let mut last = first;
        for kind in kinds {
            if drawn < reached {
                break;
            }
            reached += self.settings.share(kind);
            last = kind;
        }
        last
    }

    fn take(&self, position: usize) -> (u32, u16, u32) {
        self.own.lock().expect("no holder panics")[position].take(&self.values)
    }

    async fn write(&self, due_ns: u64, position: usize, (key, slot, value): (u32, u16, u32)) -> Result<(), String> {
        let invoke_ns = self.journal.now_ns();
        let driven = self.driven(key);
        let (reply, tries, answer) = if driven.compares() {
            let (reply, expected, told) = self.client.compare_and_set(slot, &driven, value).await;
            let items: Vec<u32> = expected.into_iter().chain(told.map(u32::from)).collect();
            (reply, 1, kind::Answer { value, detail: Some(Detail { items, ..Detail::default() }) })
        } else {
            let (reply, tries) = self.send_write(slot, &driven.write(value)).await;
            let answer = driven.written(value, reply.result.as_ref().ok());
            (reply, tries, answer)
        };
        let op = self.op(OpKind::Writes, (due_ns, invoke_ns), key, answer.value, (reply.node, reply.redirects));
        let detail =
            if tries > 1 { Some(Detail { tries, ..answer.detail.unwrap_or_default() }) } else { answer.detail };
        self.record(op, &reply.result, detail);
        self.own.lock().expect("no holder panics")[position].busy = false;
        match reply.result {
            Ok(_) => Ok(()),
            Err(Unserved::Failed(why) | Unserved::Unknown(why)) => Err(why.text),
        }
    }

    /// Returns whether the read was served.
    async fn read(&self, due_ns: u64, key: u32, slot: u16) -> bool {
        let invoke_ns = self.journal.now_ns();
        let driven = self.driven(key);
        let reply = self.client.read(slot, &driven.read()).await;
        let answer = reply.result.as_ref().map_or_else(|_| kind::Answer::default(), |answer| driven.seen(answer));
        let op = self.op(OpKind::Reads, (due_ns, invoke_ns), key, answer.value, (reply.node, reply.redirects));
        self.record(op, &reply.result, answer.detail);
        reply.result.is_ok()
    }

    fn driven(&self, key: u32) -> Driven {
        Driven::new(key, &self.keys, &self.settings)
    }

    /// Sends a write, and again what had no answer, as often as the settings say. Returns the last reply, and how often it
    /// was sent. What once had no answer may have taken effect, whatever became of it later.
    async fn send_write(&self, slot: u16, request: &Request) -> (Reply, u8) {
        let mut reply = self.client.write(slot, request).await;
        let mut tries = 1;
        while tries <= self.settings.retries && matches!(reply.result, Err(Unserved::Unknown(_))) {
            let again = self.client.write(slot, request).await;
            tries += 1;
            reply = match again.result {
                Err(Unserved::Failed(why)) => {
                    tokio::time::sleep(RETRY_PAUSE).await;
                    Reply { result: Err(Unserved::Unknown(why)), ..again }
                }
                Ok(_) | Err(Unserved::Unknown(_)) => again,
            };
        }
        (reply, tries)
    }

    /// Records an operation that is due and not sent.
    fn skip(&self, due_ns: u64, key: u32) {
        let now_ns = self.journal.now_ns();
        let op = self.op(OpKind::Writes, (due_ns, now_ns), key, 0, (None, 0));
        let why = Explanation::new(Reason::NoFreeKey, NO_FREE_KEY);
        self.journal.op(op, Some((Outcome::Unsent, &why)));
    }

    fn op(
        &self,
        kind: OpKind,
        (due_ns, invoke_ns): (u64, u64),
        key: u32,
        value: u32,
        (node, redirects): (Option<NodeNo>, u8),
    ) -> OpParts {
        OpParts {
            due_ns,
            invoke_ns,
            complete_ns: self.journal.now_ns(),
            key,
            value,
            client: self.number,
            node: node.map_or(0, |node| node.0),
            kind,
            redirects,
            outcome: Outcome::Ok,
        }
    }

    fn record(&self, op: OpParts, result: &Result<Value, Unserved>, detail: Option<Detail>) {
        let unserved: Option<crate::journal::Unserved<'_>> = match result {
            Ok(_) => {
                self.served.note(&op);
                None
            }
            Err(Unserved::Failed(why)) => Some((Outcome::Fail, why)),
            Err(Unserved::Unknown(why)) => Some((Outcome::Info, why)),
        };
        self.journal.op_with(op, unserved, detail);
    }
}

impl OwnKey {
    fn take(&mut self, values: &Values) -> (u32, u16, u32) {
        self.busy = true;
        let value = values[self.position].fetch_add(1, Ordering::Relaxed) + 1;
        (self.key, self.slot, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_so_many_writers_and_one_that_loads_it() {
        let deal = Deal::even(3);
        for (clients, writers) in [(4, 1), (4, 3), (4, 4), (1, 1), (7, 2)] {
            let settings = WorkloadSpec { clients, writers, keys: Some(100), ..WorkloadSpec::default() };
            for key in 0..100 {
                let own: Vec<OwnKey> =
                    (0..clients).filter_map(|client| OwnKey::new((0, key), client, &settings, &deal)).collect();
                assert_eq!(own.len(), usize::from(writers), "key-{key} of {clients} clients");
                assert_eq!(own.iter().filter(|own| own.is_first).count(), 1, "key-{key} of {clients} clients");
            }
        }
    }

    #[test]
    fn writers_of_a_key_never_use_a_value_twice() {
        let (deal, values) = (Deal::even(3), Values::from([AtomicU32::new(0), AtomicU32::new(0)]));
        let settings = WorkloadSpec { clients: 2, writers: 2, keys: Some(2), ..WorkloadSpec::default() };
        let mut own: Vec<OwnKey> = (0..2).filter_map(|client| OwnKey::new((1, 1), client, &settings, &deal)).collect();
        let taken: Vec<u32> = [0, 1, 1, 0].into_iter().map(|at: usize| own[at].take(&values).2).collect();
        assert_eq!(taken, [1, 2, 3, 4]);
    }
}
