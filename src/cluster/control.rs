//! The harness's own connections to the nodes, separate from those of the workload.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::cluster::Backend;
use crate::cluster::roster::{Endpoint, Roster};
use crate::units::NodeNo;
use crate::wire::{Caller, CommandError, ConnectError, Link, command};

/// One persistent connection per node, which reconnects when it breaks.
pub struct Control<B> {
    backend: Arc<B>,
    caller: Caller,
    /// With the address that each leads to.
    links: Vec<Mutex<Option<(SocketAddr, Link)>>>,
    roster: Arc<Roster>,
}

impl<B> std::fmt::Debug for Control<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("nodes", &self.links.len()).finish_non_exhaustive()
    }
}

/// Why a node gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The connection failed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The command failed.
    #[error("{0}")]
    Command(CommandError),
}

impl<B: Backend> Control<B> {
    /// Opens no connection yet: each is opened when it is first used.
    pub fn new(backend: Arc<B>) -> Self {
        let links = (0..backend.size()).map(|_| Mutex::new(None)).collect();
        let caller = Caller { access: backend.access(), ..Caller::default() };
        let endpoint = |node| Endpoint { reached: backend.addr(node), announced: backend.announced(node) };
        let roster = Arc::new(Roster::new((0..backend.size()).map(NodeNo::from_index).map(endpoint)));
        Self { backend, caller, links, roster }
    }

    /// The addresses and ids of the nodes.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// The backend that runs the nodes.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Every node.
    pub fn nodes(&self) -> impl Iterator<Item = NodeNo> + use<B> {
        (0..self.links.len()).map(NodeNo::from_index)
    }

    /// Sends one command to a node and awaits its answer.
    pub async fn ask<W: AsRef<str>>(&self, node: NodeNo, words: &[W], within: Duration) -> Result<Value, AskError> {
        let until = Instant::now() + within;
        let mut link = self.link(node, within).await?;
        let answer = link.send(&command(words), until).await;
        self.settle(node, answer).await
    }

    /// Sends several commands to a node in one pipeline.
    pub async fn ask_all<W: AsRef<str>>(
        &self,
        node: NodeNo,
        commands: &[impl AsRef<[W]>],
        within: Duration,
    ) -> Result<Vec<Value>, AskError> {
        let until = Instant::now() + within;
        let mut link = self.link(node, within).await?;
        let mut pipeline = redis::pipe();
        for words in commands {
            pipeline.add_command(command(words.as_ref()));
        }
        let answers = link.send_all(&pipeline, commands.len(), until).await;
        self.settle(node, answers).await
    }

    /// Sends a command over a new connection, after READONLY if requested. Sends the command even if the server rejects
    /// READONLY, because only the answer to the command matters.
    pub async fn ask_apart<W: AsRef<str>>(
        &self,
        node: NodeNo,
        words: &[W],
        readonly: bool,
        within: Duration,
    ) -> Result<Value, AskError> {
        self.ask_as(&self.caller, node, words, readonly, within).await
    }

    /// Like [`Self::ask`], from another caller, with the credentials that the servers require.
    pub async fn ask_as<W: AsRef<str>>(
        &self,
        caller: &Caller,
        node: NodeNo,
        words: &[W],
        readonly: bool,
        within: Duration,
    ) -> Result<Value, AskError> {
        let until = Instant::now() + within;
        let caller = Caller { access: self.caller.access.clone(), ..caller.clone() };
        let mut link = Link::connect(self.backend.addr(node), &caller, within).await?;
        if readonly {
            match link.send(&command(&["READONLY"]), until).await {
                Ok(_) | Err(CommandError::Reply(_)) => {}
                Err(error) => return Err(AskError::Command(error)),
            }
        }
        link.send(&command(words), until).await.map_err(AskError::Command)
    }

    async fn link(&self, node: NodeNo, within: Duration) -> Result<Link, ConnectError> {
        let mut slot = self.links[node.index()].lock().await;
        let addr = self.backend.addr(node);
        match &*slot {
            Some((to, link)) if *to == addr && !link.is_ended() => Ok(link.clone()),
            _ => {
                *slot = None;
                let link = Link::connect(addr, &self.caller, within).await?;
                Ok(slot.insert((addr, link)).1.clone())
            }
        }
    }

    /// Drops a connection on which an answer is missing, so that the next command does not queue behind it.
    async fn settle<T>(&self, node: NodeNo, answer: Result<T, CommandError>) -> Result<T, AskError> {
        if matches!(answer, Err(CommandError::TimedOut | CommandError::Broken(_))) {
            *self.links[node.index()].lock().await = None;
        }
        answer.map_err(AskError::Command)
    }
}
