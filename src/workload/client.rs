//! A thin cluster client that hides nothing: it reports which node answered, the number of redirections, and whether a
//! command without an answer may have been executed. It never repeats a command of unknown outcome.
//!
//! # Unanswered connections
//! A connection may be silent for two reasons, which require opposite reactions:
//!
//! - *The node is paused.* Its kernel still acknowledges packets. The connection stays open, and the node answers the
//!   commands on it when it resumes. These are the stale acknowledgements of a paused master.
//! - *The network is cut.* Nothing is acknowledged. TCP retransmits at doubling intervals, so after a cut of a minute the
//!   connection could stay dead for another minute.
//!
//! Therefore the client gives up a connection after the command timeout without an acknowledgement by TCP
//! (`TCP_USER_TIMEOUT`, as in Lettuce), and not after the same time without an answer. The outcome of commands in flight is
//! then unknown. The next command opens a new connection, which succeeds within the connect timeout after a heal.
//!
//! Once the kernel gives up, it delivers nothing more. But if the client closes a connection, for example because WAIT was
//! not answered, the kernel continues to deliver for the same timeout. In both cases a command may already have arrived,
//! or may be executed late, so its outcome is unknown.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use redis::{PushInfo, Value};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::kind::{Compared, Driven, Request, replaced};
use super::pool::{Lease, Pool};
use super::table::Table;
use crate::cluster::roster::{Endpoint, Roster};
use crate::history::{Explanation, Reason};
use crate::suite::{ReadFrom, WaitSpec, WorkloadSpec};
use crate::units::NodeNo;
use crate::wire::{Caller, CommandError, ConnectError, Link, command, redirect, text};

/// The pause after a failed connection. Operations in the meantime fail at once, as in clients that reject commands while
/// disconnected.
const RECONNECT_AFTER: Duration = Duration::from_millis(100);

/// The shortest interval between refreshes that errors cause.
const REFRESH_PAUSE: Duration = Duration::from_millis(100);

/// The time limit of a refresh for nodes that do not answer.
const REFRESH_WITHIN: Duration = Duration::from_millis(500);

/// A client with its own connections and slot table.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    refresher: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    /// Tells whose address a server names. It also stands for a name of the whole cluster that resolves to the present
    /// addresses, as that of a headless service does.
    roster: Arc<Roster>,
    /// Where each node is, as far as this client was told.
    known: Mutex<Vec<Endpoint>>,
    caller: Caller,
    settings: WorkloadSpec,
    table: Mutex<Table>,
    links: Mutex<HashMap<(SocketAddr, Use), SharedLink>>,
    pools: Mutex<HashMap<SocketAddr, Arc<Pool>>>,
    refresh: Notify,
}

/// The purpose of a connection. READONLY applies to a connection, and a refresh must not queue behind commands to a paused
/// node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Use {
    Master,
    /// Writes with WAIT.
    MasterAndWait,
    Replica,
    Refresh,
}

/// A connection for commands.
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

    /// All answers have arrived.
    fn give_back(self) {
        if let Self::Own(lease) = self {
            lease.give_back();
        }
    }
}

/// Callers that need a connection which is being opened wait for its lock.
type SharedLink = Arc<tokio::sync::Mutex<LinkState>>;

#[derive(Debug, Default)]
struct LinkState {
    link: Option<Link>,
    failed: Option<(Instant, Explanation)>,
}

/// The result of one command.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The answer, or why the command was not served.
    pub result: Result<Value, Unserved>,
    /// The node that answered, or the last one that the command was sent to.
    pub node: Option<NodeNo>,
    /// MOVED and ASK redirections that were followed.
    pub redirects: u8,
}

/// Why a command was not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unserved {
    /// The command was certainly not executed.
    Failed(Explanation),
    /// The command may have been executed.
    Unknown(Explanation),
}

impl Client {
    /// A client of these nodes that connects as `caller`. Its slot table is empty until [`Client::refresh`].
    pub fn new(roster: Arc<Roster>, caller: Caller, settings: WorkloadSpec) -> Self {
        let known = Mutex::new(roster.endpoints());
        let shared = Arc::new(Shared {
            roster,
            known,
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

    /// Reads the slot table from every node that answers. Returns false if none answers.
    pub async fn refresh(&self) -> bool {
        self.shared.refresh_once().await
    }

    /// Sends a write to the master of the slot. With the setting `wait`, sends WAIT too: the write is served only if that
    /// many replicas have it.
    pub async fn write(&self, slot: u16, request: &Request) -> Reply {
        let role = if self.shared.settings.wait.is_some() { Use::MasterAndWait } else { Use::Master };
        let candidates: Vec<(NodeNo, Use)> = self.shared.owner(slot).into_iter().map(|master| (master, role)).collect();
        self.shared.execute(slot, request, &candidates).await
    }

    /// Replaces the number of a key if it is still the one that this reads first. Returns the number that it expected and
    /// whether that was still there, as far as it was told; both are None where the key could not be read, and then nothing
    /// was written.
    pub async fn compare_and_set(&self, slot: u16, driven: &Driven, number: u32) -> (Reply, Option<u32>, Option<bool>) {
        let Some(owner) = self.shared.owner(slot) else {
            return (Reply { result: Err(Unserved::Failed(no_owner())), node: None, redirects: 0 }, None, None);
        };
        let read = self.shared.execute(slot, &driven.read(), &[(owner, Use::Master)]).await;
        let expected = match &read.result {
            Ok(answer) => Driven::expected(answer),
            Err(Unserved::Failed(why) | Unserved::Unknown(why)) => {
                let result = Err(Unserved::Failed(why.clone()));
                return (Reply { result, ..read }, None, None);
            }
        };
        let Some(expected) = expected else {
            let why = Explanation::new(Reason::OtherReply, "the key holds what the workload never wrote");
            return (Reply { result: Err(Unserved::Failed(why)), ..read }, None, None);
        };
        let reply = match driven.compared(expected, number) {
            Compared::Script(request) => self.write(slot, &request).await,
            Compared::Watched { watch, transaction } => {
                match self.shared.watched(slot, &watch, driven, expected).await {
                    Err(reply) => reply,
                    // Somebody wrote between the two reads.
                    Ok((node, line, false)) => {
                        drop(line);
                        return (served(node, Value::Nil), Some(expected), Some(false));
                    }
                    Ok((node, line, true)) => self.shared.commit(node, line, &transaction).await,
                }
            }
        };
        let told = reply.result.as_ref().ok().map(replaced);
        (reply, Some(expected), told)
    }

    /// The owner of a slot, as the client knows it.
    pub(super) fn owner(&self, slot: u16) -> Option<NodeNo> {
        self.shared.owner(slot)
    }

    /// A connection of its own to the owner of a slot, for commands that block it or for messages of channels. None if
    /// there is no owner or it cannot be reached.
    pub(super) async fn connect_to_owner(
        &self,
        slot: u16,
        pushes: Option<mpsc::UnboundedSender<PushInfo>>,
    ) -> Option<(NodeNo, Link)> {
        let owner = self.shared.owner(slot)?;
        let caller = Caller { pushes, ..self.shared.caller.clone() };
        let at = self.shared.known(owner).reached;
        if let Ok(link) = Link::connect(at, &caller, self.shared.settings.connect_timeout.0).await {
            return Some((owner, link));
        }
        self.shared.suspect();
        None
    }

    /// Something was not as the slot table says.
    pub(super) fn suspect(&self) {
        self.shared.suspect();
    }

    /// Sends a read to the node that the settings prefer.
    pub async fn read(&self, slot: u16, request: &Request) -> Reply {
        let mut candidates = Vec::new();
        if let Some(master) = self.shared.owner(slot) {
            if self.shared.settings.read_from == ReadFrom::ReplicaPreferred {
                let table = self.shared.table.lock().expect("no holder panics");
                candidates.extend(table.replicas(master).iter().map(|&replica| (replica, Use::Replica)));
            }
            candidates.push((master, Use::Master));
        }
        self.shared.execute(slot, request, &candidates).await
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

    fn known(&self, node: NodeNo) -> Endpoint {
        self.known.lock().expect("no holder panics")[node.index()]
    }

    /// From now on the client believes a node to be there.
    fn place(&self, node: NodeNo, at: Endpoint) {
        self.known.lock().expect("no holder panics")[node.index()] = at;
    }

    /// Tries to connect to the candidates in turn, then follows redirections.
    async fn execute(&self, slot: u16, wanted: &Request, candidates: &[(NodeNo, Use)]) -> Reply {
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
            let answer = send(link, asking, wanted, until).await;
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
            let Some(redirect) = redirect(&refusal, self.known(node).announced) else {
                // An error reply to a command on one key, and to EXEC, means that nothing was executed.
                return reply(Err(Unserved::Failed(Explanation::reply(refusal))));
            };
            if redirects == self.settings.max_redirects {
                let text = format!("more than {redirects} redirections");
                return reply(Err(Unserved::Failed(Explanation::new(Reason::TooManyRedirects, text))));
            }
            let Some((next, endpoint)) = self.roster.whose(redirect.addr) else {
                let text = format!("redirected to {}, which is no node of ours", redirect.addr);
                return reply(Err(Unserved::Failed(Explanation::new(Reason::RedirectedElsewhere, text))));
            };
            redirects += 1;
            asking = redirect.ask;
            self.place(next, endpoint);
            if !asking {
                self.table.lock().expect("no holder panics").moved(slot, next);
            }
            // A replica of another shard names the owner of the slot, which needs no READONLY.
            let role = if role == Use::Replica { Use::Master } else { role };
            reached = self.line(next, role, until).await.map(|line| (next, role, line)).map_err(|reason| {
                let named = if redirect.ask { "ASK" } else { "MOVED" };
                (Some(next), Explanation { text: format!("{} (named by {named})", reason.text), ..reason })
            });
        }
    }

    /// Watches a key on a connection of its own to the owner of its slot, and reads it: whether it is as expected.
    async fn watched(
        &self,
        slot: u16,
        watch: &redis::Cmd,
        driven: &Driven,
        expected: u32,
    ) -> Result<(NodeNo, Line, bool), Reply> {
        let until = Instant::now() + self.settings.timeout.0;
        let candidates: Vec<(NodeNo, Use)> =
            self.owner(slot).into_iter().map(|owner| (owner, Use::MasterAndWait)).collect();
        let failed = |node, why| {
            self.suspect();
            Reply { result: Err(Unserved::Failed(why)), node, redirects: 0 }
        };
        let (node, _, mut line) =
            self.first_line(&candidates, until).await.map_err(|(node, reason)| failed(node, reason))?;
        let request = [vec![watch.clone()], driven.read()].concat();
        match send(line.link(), false, &request, until).await {
            Ok(answer) => Ok((node, line, Driven::expected(&answer) == Some(expected))),
            // Nothing was written yet, whatever became of them.
            Err(CommandError::Reply(refusal)) => Err(failed(Some(node), Explanation::reply(refusal))),
            Err(CommandError::TimedOut) => {
                let text = format!("no answer to WATCH within {}", self.settings.timeout);
                Err(failed(Some(node), Explanation::new(Reason::NoAnswer, text)))
            }
            Err(CommandError::Broken(why)) => {
                Err(failed(Some(node), Explanation::new(Reason::ConnectionLost, format!("WATCH: {why}"))))
            }
        }
    }

    /// Sends a transaction on the connection that watches its key.
    async fn commit(&self, node: NodeNo, mut line: Line, transaction: &Request) -> Reply {
        let until = Instant::now() + self.settings.timeout.0;
        let result = match send(line.link(), false, transaction, until).await {
            Ok(answer) => {
                line.give_back();
                Ok(answer)
            }
            Err(CommandError::Reply(refusal)) => {
                self.suspect();
                // EXEC answers an error to a transaction of which a command was refused, and executes nothing.
                Err(Unserved::Failed(Explanation::reply(refusal)))
            }
            Err(unanswered) => Err(self.unknown(&unanswered, "")),
        };
        Reply { result, node: Some(node), redirects: 0 }
    }

    /// Whether the write that was just acknowledged on this connection has reached its replicas. The write itself was
    /// executed in any case.
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

    /// The outcome of a command without an answer.
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
        let mut last = (None, no_owner());
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
        let at = self.known(node).reached;
        let pool = Arc::clone(self.pools.lock().expect("no holder panics").entry(at).or_insert_with(Pool::new));
        pool.lease(until, RECONNECT_AFTER, self.connect((node, at), role, until)).await.map(Line::Own)
    }

    /// An open connection to a node. Callers during an attempt wait for it and share its failure.
    async fn link(&self, node: NodeNo, role: Use, until: Instant) -> Result<Link, Explanation> {
        let at = self.known(node).reached;
        let slot = {
            let mut links = self.links.lock().expect("no holder panics");
            Arc::clone(links.entry((at, role)).or_default())
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
        match self.connect((node, at), role, until).await {
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

    async fn connect(&self, (node, at): (NodeNo, SocketAddr), role: Use, until: Instant) -> Result<Link, Explanation> {
        let within = self.settings.connect_timeout.0.min(until.saturating_duration_since(Instant::now()));
        let deadline = Instant::now() + within;
        let mut link = Link::connect(at, &self.caller, within).await.map_err(|error| explain(&error))?;
        if role == Use::Replica {
            let answer = link.send(&command(&["READONLY"]), deadline).await;
            answer.map_err(|error| {
                Explanation::new(Reason::ConnectFailed, format!("{node} did not accept READONLY: {error}"))
            })?;
        }
        Ok(link)
    }

    /// Requests a refresh, because the slot table was wrong.
    fn suspect(&self) {
        if self.settings.adaptive_refresh {
            self.refresh.notify_one();
        }
    }

    async fn refresh_regularly(self: Arc<Self>) {
        loop {
            // The pause limits the refreshes when many commands fail.
            tokio::time::sleep(REFRESH_PAUSE).await;
            let period = self.settings.refresh_every.0.saturating_sub(REFRESH_PAUSE);
            let _ = tokio::time::timeout(period, self.refresh.notified()).await;
            self.refresh_once().await;
        }
    }

    async fn refresh_once(&self) -> bool {
        if self.refresh_from_known().await {
            return true;
        }
        let now = self.roster.endpoints();
        let is_news = std::mem::replace(&mut *self.known.lock().expect("no holder panics"), now.clone()) != now;
        is_news && self.refresh_from_known().await
    }

    /// Asks the nodes where the client believes them to be. Returns false if none answers.
    async fn refresh_from_known(&self) -> bool {
        let until = Instant::now() + REFRESH_WITHIN;
        let known: Vec<Endpoint> = self.known.lock().expect("no holder panics").clone();
        let ask = |(index, at): (usize, SocketAddr)| async move {
            let node = NodeNo::from_index(index);
            let mut link = tokio::time::timeout_at(until, self.link(node, Use::Refresh, until)).await.ok()?.ok()?;
            let answer = link.send(&command(&["CLUSTER", "NODES"]), until).await;
            if !matches!(answer, Ok(_) | Err(CommandError::Reply(_))) {
                self.links.lock().expect("no holder panics").remove(&(at, Use::Refresh));
            }
            Some((node, text(&answer.ok()?)))
        };
        let answers = join_all(known.iter().map(|endpoint| endpoint.reached).enumerate().map(ask)).await;
        let answers = answers.iter().flatten().map(|(node, text)| (*node, text.as_str()));
        match Table::from_answers(answers, |addr| self.roster.whose(addr).map(|(node, _)| node)) {
            Some(table) => {
                for (node, addr) in table.places() {
                    if let Some((_, endpoint)) = self.roster.whose(addr).filter(|&(whose, _)| whose == node) {
                        self.place(node, endpoint);
                    }
                }
                *self.table.lock().expect("no holder panics") = table;
                true
            }
            None => false,
        }
    }
}

fn no_owner() -> Explanation {
    Explanation::new(Reason::NoOwner, "no owner of the slot is known")
}

fn served(node: NodeNo, answer: Value) -> Reply {
    Reply { result: Ok(answer), node: Some(node), redirects: 0 }
}

/// Why a connection could not be opened.
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

/// Sends a request, and ASKING before it if the node was named by ASK: it applies to the next command on the same
/// connection. The answer is that to the last command; one error reply fails them all.
async fn send(link: &mut Link, asking: bool, wanted: &Request, until: Instant) -> Result<Value, CommandError> {
    if let ([command], false) = (wanted.as_slice(), asking) {
        return link.send(command, until).await;
    }
    let mut pipeline = redis::pipe();
    if asking {
        pipeline.add_command(command(&["ASKING"]));
    }
    for command in wanted {
        pipeline.add_command(command.clone());
    }
    let mut answers = link.send_all(&pipeline, wanted.len() + usize::from(asking), until).await?;
    answers.pop().ok_or_else(|| CommandError::Broken("no answer to the last command".to_owned()))
}
