//! The workload: single-key reads and writes at a steady rate, each recorded with its outcome.
//!
//! The load is open-loop: an operation is issued when it is due, even if earlier operations are unanswered. An
//! outage therefore shows as unserved operations, not as missing ones. Every key has one writer unless the suite wants
//! more, each with one write of that key in flight. The writers of a key share a counter, so no value is written twice
//! and every read tells which write it saw. When a write is due and the client has no free key in that shard, the operation is
//! recorded as not sent and not left out.

mod client;
mod pool;
mod served;
mod table;

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub use client::{Client, Reply, Unserved};
use redis::Value;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cluster::{Backend, Control, Keyspace};
use crate::history::{Explanation, FOREIGN, NO_FREE_KEY, OpParts, Outcome, Reason, key_name};
use crate::journal::Journal;
use crate::plan::Plan;
use crate::seeded::Seeded;
use crate::slot::{Deal, key_slot};
use crate::spec::POLL;
use crate::suite::{OpKind, WorkloadSpec};
use crate::units::{ClientNo, NodeNo};
use crate::wire::{Caller, command};
use served::Served;

/// How many of a client's first writes are in flight at once.
const LOAD_CONCURRENCY: usize = 32;

/// How long the first write of a key is retried until it is acknowledged.
const LOAD_WITHIN: Duration = Duration::from_secs(30);

const SERVED_POLL: Duration = Duration::from_millis(20);

/// The workload of one run.
#[derive(Debug)]
pub struct Workload {
    clients: Vec<Arc<Issuer>>,
    issuing: JoinSet<()>,
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
    slot: u16,
    shard: usize,
    /// Whether this client writes it first, before the workload begins.
    is_first: bool,
    busy: bool,
}

/// The last value that was sent for each key.
type Values = Arc<[AtomicU32]>;

#[derive(Debug)]
struct Issuer {
    number: u16,
    client: Client,
    journal: Arc<Journal>,
    keys: Keyspace,
    settings: WorkloadSpec,
    own: Mutex<Vec<OwnKey>>,
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
        let values: Values = (0..settings.keys()).map(|_| AtomicU32::new(0)).collect();
        let clients = (0..settings.clients)
            .map(|number| {
                let caller = Caller {
                    access: backend.access(),
                    from: backend.client_ip(ClientNo(number + 1)),
                    ..Caller::default()
                };
                let own = (0..settings.keys()).filter_map(|key| OwnKey::new(key, number, settings, &deal));
                Arc::new(Issuer {
                    number,
                    client: Client::new(Arc::clone(control.roster()), caller, settings.clone()),
                    keys: backend.keys(),
                    journal: Arc::clone(journal),
                    settings: settings.clone(),
                    own: Mutex::new(own.collect()),
                    values: Arc::clone(&values),
                    seeded: Mutex::new(Seeded::new(plan.seed, &format!("client-{number}"))),
                    served: Arc::clone(&served),
                })
            })
            .collect();
        let (in_flight, finished) = mpsc::channel(1);
        Self { clients, issuing: JoinSet::new(), served, in_flight: Some(in_flight), finished }
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
        let patience = self.clients[0].settings.timeout.0 + Duration::from_secs(1);
        self.in_flight = None;
        // The client's own timeout ends an operation earlier. What is unanswered even then stays unrecorded.
        let _ = tokio::time::timeout(patience, self.finished.recv()).await;
    }
}

impl OwnKey {
    /// None if the client does not write the key: its writers are the client with the key's number modulo the number of
    /// clients, and those that follow it.
    fn new(key: u32, client: u16, settings: &WorkloadSpec, deal: &Deal) -> Option<Self> {
        let clients = u32::from(settings.clients);
        let place = (u32::from(client) + clients - key % clients) % clients;
        let slot = key_slot(key_name(key).as_bytes());
        let shard = deal.shard_of(slot).index();
        let own = Self { key, slot, shard, is_first: place == 0, busy: false };
        (place < u32::from(settings.writers)).then_some(own)
    }
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
                match next {
                    Due::Read { key, slot } => issuer.read(due_ns, key, slot).await,
                    Due::Write { position, key, slot, value } => {
                        let _ = issuer.write(due_ns, position, (key, slot, value)).await;
                    }
                    Due::NoFreeKey { key } => issuer.skip(due_ns, key),
                }
            });
        }
    }

    fn next(&self) -> Due {
        let mut seeded = self.seeded.lock().expect("no holder panics");
        if seeded.fraction() < self.settings.reads.fraction() {
            let key = seeded.below(self.settings.keys().into()) as u32;
            return Due::Read { key, slot: key_slot(key_name(key).as_bytes()) };
        }
        let mut own = self.own.lock().expect("no holder panics");
        let drawn = seeded.below(own.len() as u64) as usize;
        let shard = own[drawn].shard;
        // A key of another shard would move load away from a slow shard.
        let free = (0..own.len())
            .map(|step| (drawn + step) % own.len())
            .find(|&position| own[position].shard == shard && !own[position].busy);
        match free {
            None => Due::NoFreeKey { key: own[drawn].key },
            Some(position) => {
                let (key, slot, value) = own[position].take(&self.values);
                Due::Write { position, key, slot, value }
            }
        }
    }

    fn take(&self, position: usize) -> (u32, u16, u32) {
        self.own.lock().expect("no holder panics")[position].take(&self.values)
    }

    async fn write(&self, due_ns: u64, position: usize, (key, slot, value): (u32, u16, u32)) -> Result<(), String> {
        let invoke_ns = self.journal.now_ns();
        let set = command(&["SET", &self.keys.name(&key_name(key)), &encode(value, self.settings.value_size)]);
        let reply = self.client.write(slot, &set).await;
        let op = self.op(OpKind::Writes, (due_ns, invoke_ns), key, value, (reply.node, reply.redirects));
        self.record(op, &reply.result);
        self.own.lock().expect("no holder panics")[position].busy = false;
        match reply.result {
            Ok(_) => Ok(()),
            Err(Unserved::Failed(why) | Unserved::Unknown(why)) => Err(why.text),
        }
    }

    async fn read(&self, due_ns: u64, key: u32, slot: u16) {
        let invoke_ns = self.journal.now_ns();
        let reply = self.client.read(slot, &command(&["GET", &self.keys.name(&key_name(key))])).await;
        let value = match &reply.result {
            Ok(Value::Nil) | Err(_) => 0,
            Ok(value) => decode(value).unwrap_or(FOREIGN),
        };
        let op = self.op(OpKind::Reads, (due_ns, invoke_ns), key, value, (reply.node, reply.redirects));
        self.record(op, &reply.result);
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

    fn record(&self, op: OpParts, result: &Result<Value, Unserved>) {
        match result {
            Ok(_) => {
                self.served.note(&op);
                self.journal.op(op, None);
            }
            Err(Unserved::Failed(why)) => self.journal.op(op, Some((Outcome::Fail, why))),
            Err(Unserved::Unknown(why)) => self.journal.op(op, Some((Outcome::Info, why))),
        }
    }
}

impl OwnKey {
    fn take(&mut self, values: &Values) -> (u32, u16, u32) {
        self.busy = true;
        let value = values[self.key as usize].fetch_add(1, Ordering::Relaxed) + 1;
        (self.key, self.slot, value)
    }
}

/// Encodes a number as a value of `size` bytes: the number, a space, padding. Longer if the number needs it.
fn encode(number: u32, size: u32) -> String {
    let mut value = number.to_string();
    if value.len() < size as usize {
        value.push(' ');
        value.extend(std::iter::repeat_n('.', size as usize - value.len()));
    }
    value
}

/// The number in a value that the workload wrote; None for any other value.
pub fn decode(value: &Value) -> Option<u32> {
    let Value::BulkString(bytes) = value else { return None };
    let text = std::str::from_utf8(bytes).ok()?;
    let (number, padding) = text.split_once(' ').unwrap_or((text, ""));
    let is_padding = padding.bytes().all(|byte| byte == b'.');
    number.parse().ok().filter(|&number| is_padding && number > 0 && number < FOREIGN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_and_decodes_a_value() {
        for (number, size, expected) in [(7, 4, "7 .."), (7, 2, "7 "), (7, 1, "7"), (123, 0, "123"), (42, 6, "42 ...")]
        {
            let value = encode(number, size);
            assert_eq!(value, expected);
            assert_eq!(decode(&Value::BulkString(value.into_bytes())), Some(number));
        }
    }

    #[test]
    fn every_key_has_so_many_writers_and_one_that_loads_it() {
        let deal = Deal::even(3);
        for (clients, writers) in [(4, 1), (4, 3), (4, 4), (1, 1), (7, 2)] {
            let settings = WorkloadSpec { clients, writers, keys: Some(100), ..WorkloadSpec::default() };
            for key in 0..100 {
                let own: Vec<OwnKey> =
                    (0..clients).filter_map(|client| OwnKey::new(key, client, &settings, &deal)).collect();
                assert_eq!(own.len(), usize::from(writers), "key-{key} of {clients} clients");
                assert_eq!(own.iter().filter(|own| own.is_first).count(), 1, "key-{key} of {clients} clients");
            }
        }
    }

    #[test]
    fn writers_of_a_key_never_use_a_value_twice() {
        let (deal, values) = (Deal::even(3), Values::from([AtomicU32::new(0), AtomicU32::new(0)]));
        let settings = WorkloadSpec { clients: 2, writers: 2, keys: Some(2), ..WorkloadSpec::default() };
        let mut own: Vec<OwnKey> = (0..2).filter_map(|client| OwnKey::new(1, client, &settings, &deal)).collect();
        let taken: Vec<u32> = [0, 1, 1, 0].into_iter().map(|at: usize| own[at].take(&values).2).collect();
        assert_eq!(taken, [1, 2, 3, 4]);
    }

    #[test]
    fn rejects_a_foreign_value() {
        for text in ["", "hello", "7x", "7 x", "0", "-1", "4294967295", "7  .."] {
            assert_eq!(decode(&Value::BulkString(text.as_bytes().to_vec())), None, "{text:?}");
        }
        assert_eq!(decode(&Value::Int(7)), None);
    }
}
