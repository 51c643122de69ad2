//! A thin cluster client that hides nothing: it says which node answered, after how many
//! redirections, and whether a command that got no answer may have been executed. It never repeats
//! a command of unknown outcome.
//!
//! # Silence
//! A connection is silent for one of two reasons, which call for opposite things:
//!
//! - *The node is frozen.* Its kernel still acknowledges what is sent. The connection stays, and what
//!   was sent on it is answered when the node wakes: these are the stale acknowledgements that a
//!   frozen master is known for.
//! - *The network is cut.* Nothing is acknowledged. Left to itself TCP sends again at doubling
//!   intervals, so that after a cut of a minute the connection may lie dead for another one.
//!
//! So the connection itself is given up when the kernel has had no acknowledgement for the command
//! timeout (`TCP_USER_TIMEOUT`, which Lettuce offers for the same reason), rather than when a command
//! had no answer for as long. Its commands under way become unknown, the next one connects anew, and
//! after a heal that succeeds within the connect timeout.
//!
//! What the kernel had not yet delivered when it gave up is never delivered. That is not so for a
//! connection that is closed from here, as one is whose WAIT was not answered: the kernel goes on
//! delivering what it was given, for as long again. In either case a command may have arrived before,
//! and may be carried out late: its outcome is unknown, and the ledger takes it so.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use redis::{Cmd, Value};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::pool::{Lease, Pool};
use super::table::Table;
use crate::history::{Explanation, Reason};
use crate::suite::{ReadFrom, WaitSpec, WorkloadSpec};
use crate::units::NodeNo;
use crate::wire::{Caller, CommandError, ConnectError, Link, command, redirect, text};

/// After a failed attempt to connect, a node is not tried again for this long: operations meanwhile
/// are rejected at once, as a client does that rejects commands while disconnected.
const RECONNECT_AFTER: Duration = Duration::from_millis(100);

/// Refreshes that are asked for by errors come no closer together than this.
const REFRESH_PAUSE: Duration = Duration::from_millis(100);

/// A refresh does not wait longer than this for nodes that do not answer.
const REFRESH_WITHIN: Duration = Duration::from_millis(500);

/// The two addresses of a node, which are one where nothing in between translates them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is connected to.
    pub reached: SocketAddr,
    /// How nodes and redirections call it.
    pub announced: SocketAddr,
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Self {
        Self { reached: addr, announced: addr }
    }
}

/// A client with connections and a slot table of its own.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    refresher: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    nodes: Vec<Endpoint>,
    caller: Caller,
    settings: WorkloadSpec,
    table: Mutex<Table>,
    links: Mutex<HashMap<(NodeNo, Use), SharedLink>>,
    pools: Mutex<HashMap<NodeNo, Arc<Pool>>>,
    refresh: Notify,
}

/// What a connection is for; READONLY is a property of a connection, and a refresh must not queue
/// behind commands to a frozen node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Use {
    Master,
    /// Writes that are followed by WAIT.
    MasterAndWait,
    Replica,
    Refresh,
}

/// A connection on which commands go out.
#[derive(Debug)]
enum Line {
    Shared(Link),
    Own(Lease),
}

impl Line {
    fn link(&mut self) -> &mut Link {
        match self {
            Self::Shared(link) => link,
            Self::Own(lease) => &mut lease.link,
        }
    }

    /// Every answer has come.
    fn give_back(self) {
        if let Self::Own(lease) = self {
            lease.give_back();
        }
    }
}

/// Whoever needs the connection while it is being made waits for its lock.
type SharedLink = Arc<tokio::sync::Mutex<LinkState>>;

#[derive(Debug, Default)]
struct LinkState {
    link: Option<Link>,
    failed: Option<(Instant, Explanation)>,
}

/// What became of one command.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The answer, or why there is none.
    pub result: Result<Value, Unserved>,
    /// The node that answered, or was asked last.
    pub node: Option<NodeNo>,
    /// MOVED and ASK redirections that were followed.
    pub redirects: u8,
}

/// Why a command was not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unserved {
    /// It was certainly not executed.
    Failed(Explanation),
    /// It may have been.
    Unknown(Explanation),
}

impl Client {
    /// A client of these nodes, which connects as `caller`. Its table is empty until [`Client::refresh`].
    pub fn new(nodes: Vec<Endpoint>, caller: Caller, settings: WorkloadSpec) -> Self {
        let shared = Arc::new(Shared {
            nodes,
            caller: Caller { unacknowledged_for: Some(settings.timeout.0), ..caller },
            settings,
            table: Mutex::new(Table::empty()),
            links: Mutex::default(),
            pools: Mutex::default(),
            refresh: Notify::new(),
        });
        let refresher = tokio::spawn(Arc::clone(&shared).refresh_regularly()).abort_handle();
        Self { shared, refresher }
    }

    /// Reads the slot table from every node that answers; false when none does.
    pub async fn refresh(&self) -> bool {
        self.shared.refresh_once().await
    }

    /// Sends a write to the master of the slot, and WAIT after it where the settings say so: then it
    /// is served only when that many replicas have it.
    pub async fn write(&self, slot: u16, command: &Cmd) -> Reply {
        let role = if self.shared.settings.wait.is_some() { Use::MasterAndWait } else { Use::Master };
        let candidates: Vec<(NodeNo, Use)> = self.shared.owner(slot).into_iter().map(|master| (master, role)).collect();
        self.shared.execute(slot, command, &candidates).await
    }

    /// Sends a read to whom the settings prefer.
    pub async fn read(&self, slot: u16, command: &Cmd) -> Reply {
        let mut candidates = Vec::new();
        if let Some(master) = self.shared.owner(slot) {
            if self.shared.settings.read_from == ReadFrom::ReplicaPreferred {
                let table = self.shared.table.lock().expect("no holder panics");
                candidates.extend(table.replicas(master).iter().map(|&replica| (replica, Use::Replica)));
            }
            candidates.push((master, Use::Master));
        }
        self.shared.execute(slot, command, &candidates).await
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.refresher.abort();
    }
}

impl Shared {
    fn owner(&self, slot: u16) -> Option<NodeNo> {
        self.table.lock().expect("no holder panics").owner(slot)
    }

    fn number_of(&self, addr: SocketAddr) -> Option<NodeNo> {
        self.nodes.iter().position(|node| node.announced == addr).map(NodeNo::from_index)
    }

    /// Tries the candidates until one can be connected to, then follows redirections.
    async fn execute(&self, slot: u16, wanted: &Cmd, candidates: &[(NodeNo, Use)]) -> Reply {
        let until = Instant::now() + self.settings.timeout.0;
        let mut redirects = 0;
        let mut reached = self.first_line(candidates, until).await;
        let mut asking = false;
        loop {
            let (node, role, mut line) = match reached {
                Ok(reached) => reached,
                Err((node, reason)) => {
                    self.suspect();
                    return Reply { result: Err(Unserved::Failed(reason)), node, redirects };
                }
            };
            let link = line.link();
            let answer = if asking { ask_and(link, wanted, until).await } else { link.send(wanted, until).await };
            let reply = |result| Reply { result, node: Some(node), redirects };
            let refusal = match answer {
                Ok(value) => {
                    let replicated = match (self.settings.wait, role) {
                        (Some(wait), Use::MasterAndWait) => self.replicated(&mut line, wait, until).await,
                        _ => Ok(()),
                    };
                    return match replicated {
                        Ok(()) => {
                            line.give_back();
                            reply(Ok(value))
                        }
                        Err(unserved) => reply(Err(unserved)),
                    };
                }
                Err(CommandError::Reply(refusal)) => refusal,
                Err(unanswered) => return reply(Err(self.unknown(&unanswered, ""))),
            };
            line.give_back();
            self.suspect();
            let Some(redirect) = redirect(&refusal, self.nodes[node.index()].announced) else {
                // Any error reply to a single-key command means that it was not executed.
                return reply(Err(Unserved::Failed(Explanation::reply(refusal))));
            };
            if redirects == self.settings.max_redirects {
                let text = format!("more than {redirects} redirections");
                return reply(Err(Unserved::Failed(Explanation::new(Reason::TooManyRedirects, text))));
            }
            let Some(next) = self.number_of(redirect.addr) else {
                let text = format!("redirected to {}, which is no node of ours", redirect.addr);
                return reply(Err(Unserved::Failed(Explanation::new(Reason::RedirectedElsewhere, text))));
            };
            redirects += 1;
            asking = redirect.ask;
            if !asking {
                self.table.lock().expect("no holder panics").moved(slot, next);
            }
            // A replica that does not hold the slot names its owner; the owner needs no READONLY.
            let role = if role == Use::Replica { Use::Master } else { role };
            reached = self.line(next, role, until).await.map(|line| (next, role, line)).map_err(|reason| {
                let named = if redirect.ask { "ASK" } else { "MOVED" };
                (Some(next), Explanation { text: format!("{} (named by {named})", reason.text), ..reason })
            });
        }
    }

    /// Whether the write that was just acknowledged on this connection has reached its replicas. If
    /// not, or if that is not known, the write itself was carried out all the same.
    async fn replicated(&self, line: &mut Line, wait: WaitSpec, until: Instant) -> Result<(), Unserved> {
        let (replicas, timeout_ms) = (wait.replicas.to_string(), wait.timeout.0.as_millis().max(1).to_string());
        match line.link().send(&command(&["WAIT", &replicas, &timeout_ms]), until).await {
            Ok(Value::Int(reached)) if reached >= i64::from(wait.replicas) => Ok(()),
            Ok(reached) => {
                let reached = text(&reached);
                let text = format!("WAIT: {reached} of {replicas} replicas within {}", wait.timeout);
                Err(Unserved::Unknown(Explanation::new(Reason::TooFewReplicas, text)))
            }
            Err(CommandError::Reply(refusal)) => {
                let reason = Reason::of_reply(&refusal);
                Err(Unserved::Unknown(Explanation::new(reason, format!("WAIT: {refusal}"))))
            }
            Err(unanswered) => Err(self.unknown(&unanswered, "WAIT: ")),
        }
    }

    /// The outcome of a command that got no answer.
    fn unknown(&self, error: &CommandError, of: &str) -> Unserved {
        self.suspect();
        Unserved::Unknown(match error {
            CommandError::TimedOut => {
                Explanation::new(Reason::NoAnswer, format!("{of}no answer within {}", self.settings.timeout))
            }
            CommandError::Broken(_) => Explanation::new(Reason::ConnectionLost, format!("{of}{error}")),
            CommandError::Reply(reply) => Explanation::new(Reason::of_reply(reply), format!("{of}{error}")),
        })
    }

    async fn first_line(
        &self,
        candidates: &[(NodeNo, Use)],
        until: Instant,
    ) -> Result<(NodeNo, Use, Line), (Option<NodeNo>, Explanation)> {
        let mut last = (None, Explanation::new(Reason::NoOwner, "no owner of the slot is known"));
        for &(node, role) in candidates {
            match self.line(node, role, until).await {
                Ok(line) => return Ok((node, role, line)),
                Err(reason) => last = (Some(node), reason),
            }
        }
        Err(last)
    }

    async fn line(&self, node: NodeNo, role: Use, until: Instant) -> Result<Line, Explanation> {
        if role != Use::MasterAndWait {
            return self.link(node, role, until).await.map(Line::Shared);
        }
        let pool = Arc::clone(self.pools.lock().expect("no holder panics").entry(node).or_insert_with(Pool::new));
        pool.lease(until, RECONNECT_AFTER, self.connect(node, role, until)).await.map(Line::Own)
    }

    /// An open connection to a node. Whoever comes while it is being made waits for the same
    /// attempt, and shares its failure.
    async fn link(&self, node: NodeNo, role: Use, until: Instant) -> Result<Link, Explanation> {
        let slot = {
            let mut links = self.links.lock().expect("no holder panics");
            Arc::clone(links.entry((node, role)).or_default())
        };
        let mut state = slot.lock().await;
        if let Some(link) = &state.link
            && !link.is_ended()
        {
            return Ok(link.clone());
        }
        state.link = None;
        if let Some((at, reason)) = &state.failed
            && at.elapsed() < RECONNECT_AFTER
        {
            return Err(reason.clone());
        }
        match self.connect(node, role, until).await {
            Ok(link) => {
                state.failed = None;
                Ok(state.link.insert(link).clone())
            }
            Err(reason) => {
                state.failed = Some((Instant::now(), reason.clone()));
                Err(reason)
            }
        }
    }

    async fn connect(&self, node: NodeNo, role: Use, until: Instant) -> Result<Link, Explanation> {
        let within = self.settings.connect_timeout.0.min(until.saturating_duration_since(Instant::now()));
        let deadline = Instant::now() + within;
        let mut link = Link::connect(self.nodes[node.index()].reached, &self.caller, within)
            .await
            .map_err(|error| explain(&error))?;
        if role == Use::Replica {
            let answer = link.send(&command(&["READONLY"]), deadline).await;
            answer.map_err(|error| {
                Explanation::new(Reason::ConnectFailed, format!("{node} did not accept READONLY: {error}"))
            })?;
        }
        Ok(link)
    }

    /// Something was not as the table says.
    fn suspect(&self) {
        if self.settings.adaptive_refresh {
            self.refresh.notify_one();
        }
    }

    async fn refresh_regularly(self: Arc<Self>) {
        loop {
            // The pause keeps a storm of errors from becoming a storm of refreshes.
            tokio::time::sleep(REFRESH_PAUSE).await;
            let period = self.settings.refresh_every.0.saturating_sub(REFRESH_PAUSE);
            let _ = tokio::time::timeout(period, self.refresh.notified()).await;
            self.refresh_once().await;
        }
    }

    async fn refresh_once(&self) -> bool {
        let until = Instant::now() + REFRESH_WITHIN;
        let ask = |node: NodeNo| async move {
            let mut link = tokio::time::timeout_at(until, self.link(node, Use::Refresh, until)).await.ok()?.ok()?;
            let answer = link.send(&command(&["CLUSTER", "NODES"]), until).await;
            if !matches!(answer, Ok(_) | Err(CommandError::Reply(_))) {
                self.links.lock().expect("no holder panics").remove(&(node, Use::Refresh));
            }
            Some((node, text(&answer.ok()?)))
        };
        let answers = join_all((0..self.nodes.len()).map(NodeNo::from_index).map(ask)).await;
        let answers = answers.iter().flatten().map(|(node, text)| (*node, text.as_str()));
        match Table::from_answers(answers, |addr| self.number_of(addr)) {
            Some(table) => {
                *self.table.lock().expect("no holder panics") = table;
                true
            }
            None => false,
        }
    }
}

/// Why there is no connection.
fn explain(error: &ConnectError) -> Explanation {
    let reason = match error {
        ConnectError::Refused(_) => Reason::Refused,
        ConnectError::TimedOut(..) => Reason::ConnectTimedOut,
        ConnectError::Unreachable(..) => Reason::Unreachable,
        ConnectError::Unanswered(..) => Reason::HandshakeTimedOut,
        ConnectError::Denied(..) => Reason::Denied,
        ConnectError::Tls(..) => Reason::TlsFailed,
        ConnectError::Other(..) => Reason::ConnectFailed,
    };
    Explanation::new(reason, error.to_string())
}

/// ASK holds for the one command that follows ASKING on the same connection.
async fn ask_and(link: &mut Link, wanted: &Cmd, until: Instant) -> Result<Value, CommandError> {
    let mut pipeline = redis::pipe();
    pipeline.add_command(command(&["ASKING"])).add_command(wanted.clone());
    let mut answers = link.send_all(&pipeline, 2, until).await?;
    answers.pop().ok_or_else(|| CommandError::Broken("no answer behind ASKING".to_owned()))
}
