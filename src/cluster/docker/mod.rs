//! The docker backend: each node is a container with its own address on the cluster's network.
//!
//! A node's address belongs to an anchor, a container that only sleeps. The server's container joins the anchor's network,
//! as in a Kubernetes pod. Therefore the address remains when the server stops, the port of a dead server refuses
//! connections, and the rules of a network fault stay in force across a restart of the server.

mod archive;
mod changes;
mod isolation;
mod nodes;
mod publish;
mod subnet;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{join, join_all};
use testcontainers::bollard::Docker as Client;
use testcontainers::bollard::errors::Error;
use testcontainers::bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, KillContainerOptions, StartContainerOptions,
};
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;
use tokio::time::timeout;

use isolation::Isolated;
use nodes::{Node, Place, Setup, name_and_tag, place};
use subnet::{Subnet, bridge, make_network};

pub use super::containers::{Collected, DockerError, Engine};

use super::containers::{Labels, Links, Making, Mounted, Owner, all, api, remove_run};
use super::crash::crash_report;
use super::folders::{Folders, WITHOUT_LIBRARY};
use super::{
    Backend, BackendError, DiskReading, EndedProcess, ProcessState, SHOWN_BY_LIBRARY, WITHOUT_CLOCKS, new_run,
};
use crate::fault::{Action, ClockOf, DiskChange, Means, Unsynced};
use crate::network::knock::{self, Heard, Knock};
use crate::network::rules::Rule;
use crate::network::{Counts, NetworkError};
use crate::plan::{Need, Plan};
use crate::server::{BackendKind, Server};
use crate::speed::clock::{LIBRARY_OF_CLOCKS, Skew, Told};
use crate::speed::not_loaded;
use crate::speed::real_span;
use crate::suite::{Change, Damage, Damaged, DataFile};
use crate::units::{ClientNo, NodeNo};
use crate::wire::Access;

const DATA: &str = "/data";
const NODES_CONF: &str = "nodes.conf";

/// The time limit for a server to read its clock.
const READS_WITHIN: Duration = Duration::from_secs(2);

/// The time limit for removing the containers of a run that panicked.
const CLEANUP_WITHIN: Duration = Duration::from_secs(30);

/// Whether this build can run containers: it has the feature `docker`.
pub const IS_BUILT_IN: bool = true;

/// How many lines of a log's end are searched for a crash report, which prints the whole of INFO.
const CRASH_REPORT_LINES: &str = "5000";

/// A cluster of containers.
#[derive(Debug)]
pub struct Docker {
    engine: Engine,
    run: Guard,
    labels: Labels,
    image: (String, String),
    subnet: Subnet,
    /// The number of addresses that were given to a node.
    addresses: AtomicUsize,
    nodes: Vec<Node>,
    clients: Clients,
    logs: PathBuf,
    /// What servers see of this machine, if they live at another speed, have clocks of their own, or are to lose files.
    mounted: Option<Mounted>,
    /// The directory for the nodes' data, if the run keeps it.
    data: Option<PathBuf>,
    /// The links, if the run has sidecars.
    links: Option<Links>,
    isolated: Mutex<Isolated>,
}

/// The source addresses of clients.
#[derive(Debug, Clone, Copy)]
enum Clients {
    /// The system chooses.
    Anywhere,
    /// This many clients, each with its own address.
    Apart(usize),
    /// The host's address on the network, for all clients.
    Together,
}

/// Removes everything of a run if it is dropped while armed, for example after a panic or an error.
#[derive(Debug)]
struct Guard {
    run: String,
    client: Client,
    armed: AtomicBool,
    /// The servers' containers.
    making: Making,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.armed.load(Ordering::Relaxed) {
            return;
        }
        let (run, client, making) = (self.run.clone(), self.client.clone(), self.making.clone());
        // Use a new thread and runtime, because the current runtime may be shutting down.
        let cleaning = std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
            // The next run removes what this leaves.
            let _ = runtime
                .block_on(async { timeout(real_span(CLEANUP_WITHIN), remove_when_made(&client, &run, &making)).await });
        });
        let _ = cleaning.join();
    }
}

/// Removes everything of a run after the creations in progress.
async fn remove_when_made(client: &Client, run: &str, making: &Making) -> Result<Collected, Error> {
    // A creation that takes too long is reported as left behind.
    let _nothing_is_made = making.ended().await;
    remove_run(client, run).await
}

impl Docker {
    /// Creates the network, and for each node of the plan a volume and its anchor. Logs go to `folder/logs`. With `keep`,
    /// the data of each node goes to an archive in `folder/data`.
    pub async fn prepare(
        engine: &Engine,
        plan: &Plan,
        server: &Server,
        folder: &Path,
        keep: bool,
    ) -> Result<Self, BackendError> {
        let clients = usize::from(plan.workload.clients);
        for (what, count, most) in
            [("nodes", plan.nodes.len(), subnet::MAX_NODES), ("clients", clients, subnet::MAX_CLIENTS)]
        {
            if count > most {
                return Err(DockerError::TooMany { what, count, most }.into());
            }
        }
        let run = new_run();
        let logs = folder.join("logs");
        std::fs::create_dir_all(&logs)
            .map_err(|source| BackendError::Io { what: format!("cannot create {}", logs.display()), source })?;
        let labels = Owner::this_process().labels(&run);
        let (client, making) = (engine.client.clone(), Making::default());
        let guard = Guard { run: run.clone(), client, armed: AtomicBool::new(true), making };
        let subnet = make_network(engine, &run, &labels).await?;
        let image = engine.image_of(&server.asked)?;
        let image = name_and_tag(&image);
        let mounted = Mounted::create(plan.nodes.len(), &plan.needs());
        let mounted = mounted.map_err(|source| BackendError::Io {
            what: "cannot write the files that containers see".to_owned(),
            source,
        })?;
        let nodes = plan.nodes.iter().map(|planned| {
            let name = format!("slotquake-{run}-{}", planned.node);
            let place = place(&name, subnet, planned.node.index());
            Node {
                published: None,
                volume: format!("{name}-data"),
                server: name,
                before: std::sync::Mutex::default(),
                setup: std::sync::Mutex::new(Setup {
                    place,
                    image: image.clone(),
                    server: server.clone(),
                    directives: plan.config.clone(),
                    nodes_conf: None,
                }),
                created: AtomicBool::new(false),
                ended: std::sync::Mutex::default(),
            }
        });
        let mut docker = Self {
            engine: engine.clone(),
            run: guard,
            labels,
            image: image.clone(),
            subnet,
            addresses: plan.nodes.len().into(),
            nodes: nodes.collect(),
            clients: Clients::Anywhere,
            logs,
            mounted,
            data: keep.then(|| folder.join("data")),
            links: None,
            isolated: Mutex::default(),
        };
        all(docker.nodes.iter().map(|node| docker.make_volume(node))).await?;
        let published = all(docker.nodes.iter().map(|node| docker.anchor(node, node.setup().place.clone()))).await?;
        for (node, published) in docker.nodes.iter_mut().zip(published) {
            node.published = published;
        }
        let needs = plan.needs();
        if needs.contains(&Need::Links) || needs.contains(&Need::Isolate) {
            if needs.contains(&Need::Links) || engine.network_obstacle().await.is_none() {
                docker.prepare_faults(clients).await?;
            } else {
                docker.clients = Clients::Together;
            }
        }
        Ok(docker)
    }

    fn network(&self) -> String {
        format!("slotquake-{}", self.run.run)
    }

    /// Starts the sidecars. If clients have separate addresses, adds these to the host's end of the network; they disappear
    /// with the network.
    async fn prepare_faults(&mut self, clients: usize) -> Result<(), DockerError> {
        let mut script = String::from("set -e");
        for index in 0..clients {
            write!(script, "\nip addr add {}/32 dev {}", self.subnet.client(index), bridge(&self.run.run))
                .expect("a string takes text");
        }
        let by_ports = self.engine.by_ports;
        let host = async {
            if by_ports {
                return Ok(());
            }
            let host = self.sidecar(&format!("slotquake-{}-clients", self.run.run), "host").await?;
            host.run(&script).await.map(drop)
        };
        let places: Vec<Place> = self.nodes.iter().map(|node| node.setup().place.clone()).collect();
        let (host, sidecars) = join(host, all(places.iter().map(|place| self.sidecar_at(place)))).await;
        host?;
        self.links = Some(Links::new(places.iter().map(|place| place.addr.ip()).zip(sidecars?)));
        if !by_ports {
            self.clients = Clients::Apart(clients);
        }
        Ok(())
    }

    fn node(&self, node: NodeNo) -> &Node {
        &self.nodes[node.index()]
    }

    /// The directories of the nodes' data on this machine; None if it is in volumes.
    fn folders(&self) -> Option<&Folders> {
        self.mounted.as_ref()?.folders()
    }

    /// Where the data of a node is in its container.
    fn data_dir(&self, node: NodeNo) -> &Path {
        self.folders().map_or(Path::new(DATA), |folders| folders.dir(node))
    }

    fn node_with(&self, address: Ipv4Addr) -> Option<usize> {
        self.nodes.iter().position(|node| node.addr().ip() == IpAddr::V4(address))
    }

    /// Converts the result of a request about the server's container.
    async fn done(&self, node: NodeNo, done: impl Future<Output = Result<(), Error>>) -> Result<(), BackendError> {
        match done.await {
            Ok(()) => Ok(()),
            Err(Error::DockerResponseServerError { status_code: 404 | 409, message })
                if message.contains("not running") =>
            {
                Err(BackendError::NotRunning(node))
            }
            Err(error) => Err(api(format!("{node}, container {}", self.node(node).server))(error).into()),
        }
    }

    async fn start(&self, node: NodeNo) -> Result<(), BackendError> {
        if matches!(self.state(node).await, ProcessState::Running { .. } | ProcessState::Paused { .. }) {
            return Err(BackendError::AlreadyRunning(node));
        }
        let (own, client) = (self.node(node), &self.engine.client);
        let noted = self.mounted.as_ref().map_or(Ok(()), |mounted| mounted.starts(node));
        noted.map_err(|source| BackendError::Io { what: format!("cannot prepare the disk of {node}"), source })?;
        if own.created.swap(true, Ordering::Relaxed) {
            return self.done(node, client.start_container(&own.server, None::<StartContainerOptions>)).await;
        }
        Ok(self.create(node, own).await?)
    }

    fn with_folders(&self, node: NodeNo) -> Result<&Folders, BackendError> {
        self.folders().ok_or_else(|| BackendError::Disk { node, reason: WITHOUT_LIBRARY.to_owned() })
    }

    async fn signal(&self, node: NodeNo, signal: &str) -> Result<(), BackendError> {
        if !self.node(node).created.load(Ordering::Relaxed) {
            return Err(BackendError::NotRunning(node));
        }
        let options = KillContainerOptions { signal: signal.to_owned() };
        self.done(node, self.engine.client.kill_container(&self.node(node).server, Some(options))).await
    }

    /// Appends the log of a server's container to the log of its node.
    async fn save_log(&self, number: NodeNo, node: &Node) {
        let log = self.engine.logs(&node.server, "all", 0).await.unwrap_or_else(|error| format!("no log: {error}\n"));
        let path = self.logs.join(format!("{number}.log"));
        // The report is still useful without them.
        if let Ok(mut file) = tokio::fs::File::options().create(true).append(true).open(path).await {
            let _ = file.write_all(log.as_bytes()).await;
            let _ = file.flush().await;
        }
    }

    /// Saves the log of a node, and its data if the run keeps it.
    async fn save(&self, number: NodeNo, node: &Node) {
        if !node.created.load(Ordering::Relaxed) {
            return;
        }
        self.save_log(number, node).await;
        let Some(data) = &self.data else { return };
        let dir = self.data_dir(number).display().to_string();
        let options = DownloadFromContainerOptionsBuilder::default().path(&dir).build();
        let mut archive = Box::pin(self.engine.client.download_from_container(&node.server, Some(options)));
        let _ = tokio::fs::create_dir_all(data).await;
        if let Ok(mut file) = tokio::fs::File::create(data.join(format!("{number}.tar"))).await {
            while let Some(Ok(part)) = archive.next().await {
                if file.write_all(&part).await.is_err() {
                    break;
                }
            }
            let _ = file.flush().await;
        }
    }
}

impl Backend for Docker {
    const KIND: BackendKind = BackendKind::Docker;

    fn size(&self) -> usize {
        self.nodes.len()
    }

    fn addr(&self, node: NodeNo) -> SocketAddr {
        let node = self.node(node);
        node.published.unwrap_or_else(|| node.addr())
    }

    fn announced(&self, node: NodeNo) -> SocketAddr {
        self.node(node).addr()
    }

    fn access(&self) -> Access {
        Access { relayed: self.engine.by_ports, ..Access::default() }
    }

    fn client_ip(&self, client: ClientNo) -> Option<IpAddr> {
        let index = usize::from(client.0).checked_sub(1)?;
        match self.clients {
            Clients::Anywhere => None,
            Clients::Apart(count) => (index < count).then(|| self.subnet.client(index).into()),
            Clients::Together => Some(self.subnet.gateway().into()),
        }
    }

    async fn act(&self, node: NodeNo, action: Action) -> Result<(), BackendError> {
        let (client, container) = (&self.engine.client, &self.node(node).server);
        match action.means() {
            Means::Start => self.start(node).await,
            Means::Signal(name) => self.signal(node, name).await,
            Means::Freeze => self.done(node, client.pause_container(container)).await,
            Means::Thaw => self.done(node, client.unpause_container(container)).await,
        }
    }

    async fn change(&self, node: NodeNo, change: &Change, server: Option<&Server>) -> Result<String, BackendError> {
        self.change_node(node, change, server).await
    }

    async fn take_back(&self, node: NodeNo) -> Result<(), BackendError> {
        let own = self.node(node);
        let Some(before) = own.before.lock().expect("no holder panics").take() else { return Ok(()) };
        self.set_aside(node).await?;
        let Setup { image, server, directives, place: _, nodes_conf: _ } = before;
        let mut setup = own.setup();
        (setup.image, setup.server, setup.directives) = (image, server, directives);
        Ok(())
    }

    async fn corrupt(&self, node: NodeNo, file: DataFile, damage: Damage, seed: u64) -> Result<Damaged, BackendError> {
        if matches!(self.state(node).await, ProcessState::Running { .. } | ProcessState::Paused { .. }) {
            return Err(BackendError::AlreadyRunning(node));
        }
        let folders = self.folders().ok_or(BackendError::Unchangeable { node, backend: Self::KIND })?;
        let Setup { server, directives, .. } = self.node(node).setup().clone();
        folders.corrupt(node, (&server, &directives), file, damage, seed)
    }

    async fn state(&self, node: NodeNo) -> ProcessState {
        let own = self.node(node);
        if !own.created.load(Ordering::Relaxed) {
            let ended = own.ended.lock().expect("no holder panics");
            let how = ended.as_ref().map_or_else(|| "never started".to_owned(), |ended| ended.exit.how.clone());
            return ProcessState::Gone { how };
        }
        self.engine.state(&own.server).await
    }

    async fn ended(&self, node: NodeNo) -> Option<EndedProcess> {
        let own = self.node(node);
        if own.created.load(Ordering::Relaxed) {
            return self.engine.ended(&own.server).await;
        }
        own.ended.lock().expect("no holder panics").clone()
    }

    async fn crash_report(&self, node: NodeNo) -> Option<Vec<String>> {
        crash_report(&self.engine.logs(&self.node(node).server, CRASH_REPORT_LINES, 0).await.ok()?)
    }

    async fn log_tail(&self, node: NodeNo, lines: usize) -> String {
        self.engine.logs(&self.node(node).server, &lines.to_string(), 0).await.unwrap_or_default().trim_end().to_owned()
    }

    async fn impose(&self, rule: Rule) -> Result<(), NetworkError> {
        match &self.links {
            Some(links) => links.impose(rule).await,
            None => self.isolate(rule).await,
        }
    }

    async fn counts(&self, name: &str) -> Result<Counts, NetworkError> {
        match &self.links {
            Some(links) => links.counts(name).await,
            None => Err(NetworkError::Gone(name.to_owned())),
        }
    }

    async fn lift(&self, name: &str) -> Result<(), NetworkError> {
        match &self.links {
            Some(links) => links.lift(name).await,
            None => self.end_isolation(name).await,
        }
    }

    async fn isolation(&self, name: &str) -> Option<Result<(bool, String), NetworkError>> {
        let index = *self.isolated.lock().await.get(name)?;
        Some(self.is_disconnected(&self.nodes[index]).await.map_err(NetworkError::from))
    }

    /// Connections from a node require its sidecar.
    fn can_knock_from(&self, ip: Ipv4Addr) -> bool {
        match &self.links {
            Some(links) => links.can_knock_from(ip),
            None => self.node_with(ip).is_none(),
        }
    }

    async fn knock(&self, knocks: &[Knock], within: Duration) -> Vec<Heard> {
        match &self.links {
            Some(links) => links.knock(knocks, within).await,
            None => knock::knock_all(knocks, within).await,
        }
    }

    async fn fill(&self, knock: Knock, bytes: u64) {
        if let Some(links) = &self.links {
            links.fill(knock, bytes).await;
        }
    }

    async fn set_clock(&self, node: NodeNo, skew: Skew) -> Result<(), BackendError> {
        let error = |reason: String| BackendError::Clock { node, reason };
        let clock = self.mounted.as_ref().and_then(|mounted| mounted.clock(node));
        let mut clock = clock.ok_or_else(|| error(WITHOUT_CLOCKS.to_owned()))?;
        clock.set(skew).map_err(|source| error(source.to_string()))
    }

    fn clock(&self, node: NodeNo) -> Skew {
        let clock = self.mounted.as_ref().and_then(|mounted| mounted.clock(node));
        clock.map_or(Skew::NONE, |clock| clock.skew())
    }

    fn told(&self, node: NodeNo, of: ClockOf) -> Option<std::io::Result<Told>> {
        Some(self.mounted.as_ref()?.clock(node)?.told(of))
    }

    /// The memory of a container's process may be hidden from this user. But a server that lives by the clock reads it at
    /// each turn of its event loop, and nothing else in its container does.
    async fn clock_obstacle(&self, node: NodeNo) -> Option<String> {
        let told = || self.told(node, ClockOf::Wall).map(|told| told.map_err(|error| error.to_string()));
        let first = match told() {
            None => return Some(WITHOUT_CLOCKS.to_owned()),
            Some(Err(error)) => return Some(error),
            Some(Ok(first)) => first,
        };
        let deadline = tokio::time::Instant::now() + real_span(READS_WITHIN);
        while matches!(self.state(node).await, ProcessState::Running { .. }) {
            if told().is_some_and(|told| told.is_ok_and(|told| told.count != first.count)) {
                return None;
            }
            if tokio::time::Instant::now() > deadline {
                return Some(not_loaded(LIBRARY_OF_CLOCKS));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }

    async fn set_disk(&self, node: NodeNo, change: Option<DiskChange>) -> Result<(), BackendError> {
        self.with_folders(node)?.on_disk(node, |disk| disk.set(change))
    }

    async fn disk(&self, node: NodeNo) -> Result<DiskReading, BackendError> {
        self.with_folders(node)?.on_disk(node, |disk| {
            Ok(DiskReading {
                stands: disk.stands()?,
                taken: Some(disk.is_taken()?),
                counts: disk.counts()?,
                shown_by: SHOWN_BY_LIBRARY,
            })
        })
    }

    async fn waited(&self, node: NodeNo) -> Option<(u32, Duration)> {
        let own = self.node(node);
        if own.created.load(Ordering::Relaxed) { self.engine.waited(&own.server).await } else { None }
    }

    fn disk_obstacle(&self, node: NodeNo) -> Option<String> {
        self.mounted.as_ref()?.disk_obstacle(node)
    }

    /// A container that is paused is so with all its processes, and the kernel ends them with its first one.
    async fn cut_power(&self, nodes: &[NodeNo]) -> Result<(), BackendError> {
        all(nodes.iter().map(|&node| self.act(node, Action::Pause))).await?;
        all(nodes.iter().map(|&node| self.act(node, Action::Kill))).await.map(drop)
    }

    async fn lose_unsynced(&self, node: NodeNo) -> Result<Unsynced, BackendError> {
        self.with_folders(node)?.lose_unsynced(node)
    }

    async fn settle_disks(&self) -> Result<(), BackendError> {
        self.folders().map_or(Ok(()), Folders::settle)
    }

    fn power_obstacle(&self, node: NodeNo) -> Option<String> {
        self.mounted.as_ref()?.power_obstacle(node)
    }

    async fn tear_down(&self) -> Result<(), BackendError> {
        join_all(self.nodes.iter().enumerate().map(|(index, node)| self.save(NodeNo::from_index(index), node))).await;
        let collected = remove_when_made(&self.engine.client, &self.run.run, &self.run.making).await;
        // The error reports what is left, so the guard need not try again.
        self.run.armed.store(false, Ordering::Relaxed);
        match collected.map_err(api(format!("removing what run {} created", self.run.run)))?.leftover() {
            None => Ok(()),
            Some(what) => Err(DockerError::Leftover { what }.into()),
        }
    }
}
