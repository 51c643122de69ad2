//! The docker backend: each node is a container with its own address on the cluster's network.
//!
//! A node's address belongs to an anchor, a container that only sleeps. The server's container joins the anchor's network,
//! as in a Kubernetes pod. Therefore the address remains when the server stops, the port of a dead server refuses
//! connections, and the rules of a network fault stay in force across a restart of the server.

mod archive;
mod changes;
mod isolation;
mod publish;
mod subnet;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{join, join_all};
use testcontainers::bollard::Docker as Client;
use testcontainers::bollard::errors::Error;
use testcontainers::bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, NetworkingConfig, VolumeCreateRequest,
};
use testcontainers::bollard::query_parameters::{
    CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder, KillContainerOptions, StartContainerOptions,
};
use testcontainers::core::Mount;
use testcontainers::runners::AsyncRunner;
use testcontainers::{CopyTargetOptions, GenericImage, ImageExt, ReuseDirective};
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;
use tokio::time::timeout;

use isolation::Isolated;
use subnet::{Subnet, bridge, make_network};

pub use super::containers::{Collected, DockerError, Engine};

use super::config::configuration;
use super::containers::{Labels, Links, Making, Mounted, Owner, Sidecar, all, api, remove_run};
use super::crash::crash_report;
use super::folders::{Folders, WITHOUT_LIBRARY};
use super::{Backend, BackendError, DiskReading, EndedProcess, ProcessState, WITHOUT_CLOCKS, new_run};
use crate::fault::{Action, ClockOf, DiskChange, Means, Unsynced};
use crate::network::knock::{self, Heard, Knock};
use crate::network::rules::{DATA_PORT, Rule};
use crate::network::{Counts, NetworkError};
use crate::plan::{Need, Plan};
use crate::server::{BackendKind, Server};
use crate::speed::clock::{LIBRARY_OF_CLOCKS, Skew, Told};
use crate::speed::not_loaded;
use crate::speed::real_span;
use crate::suite::{Change, Damage, Damaged, DataFile};
use crate::units::{ClientNo, Directive, NodeNo};
use crate::wire::Access;

const DATA: &str = "/data";
const CONFIG: &str = "/etc/slotquake/node.conf";
const NODES_CONF: &str = "nodes.conf";

/// The time limit for a server to read its clock.
const READS_WITHIN: Duration = Duration::from_secs(2);

/// The time limit for the engine to start a server's container.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

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

#[derive(Debug)]
struct Node {
    /// The published address to use instead of its own.
    published: Option<SocketAddr>,
    server: String,
    volume: String,
    setup: std::sync::Mutex<Setup>,
    /// What it was before the last change.
    before: std::sync::Mutex<Option<Setup>>,
    /// Whether the server's container exists.
    created: AtomicBool,
    /// How the server ended whose container was removed.
    ended: std::sync::Mutex<Option<EndedProcess>>,
}

/// What the next container of a server is made of.
#[derive(Debug, Clone)]
struct Setup {
    place: Place,
    image: (String, String),
    server: Server,
    directives: BTreeMap<String, Directive>,
    /// The file by which a node that lost its data is the same node of the cluster.
    nodes_conf: Option<Vec<u8>>,
}

/// Where a node is.
#[derive(Debug, Clone)]
struct Place {
    addr: SocketAddr,
    /// The container that has the address.
    anchor: String,
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

impl Node {
    fn setup(&self) -> MutexGuard<'_, Setup> {
        self.setup.lock().expect("no holder panics")
    }

    fn addr(&self) -> SocketAddr {
        self.setup().place.addr
    }

    fn anchor(&self) -> String {
        self.setup().place.anchor.clone()
    }

    /// Its address, in the engine's format.
    fn address(&self) -> EndpointIpamConfig {
        self.setup().place.address()
    }
}

impl Place {
    fn address(&self) -> EndpointIpamConfig {
        EndpointIpamConfig { ipv4_address: Some(self.addr.ip().to_string()), ..Default::default() }
    }

    fn sidecar(&self) -> String {
        format!("{}-faults", self.anchor)
    }
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
        let image = engine.image.clone().map_or_else(|| engine.image_of(&server.asked), Ok)?;
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

    /// Starts an anchor for a node. Returns its published port, if there is one.
    async fn anchor(&self, node: &Node, place: Place) -> Result<Option<SocketAddr>, DockerError> {
        let endpoint = EndpointSettings { ipam_config: Some(place.address()), ..Default::default() };
        let (network, by_ports) = (self.network(), self.engine.by_ports);
        let body = ContainerCreateBody {
            image: Some(format!("{}:{}", self.image.0, self.image.1)),
            hostname: Some(node.server.clone()),
            entrypoint: Some(vec!["sleep".to_owned()]),
            cmd: Some(vec![u32::MAX.to_string()]),
            labels: Some(self.labels.clone()),
            exposed_ports: by_ports.then(|| vec![publish::served()]),
            host_config: Some(HostConfig {
                network_mode: Some(network.clone()),
                port_bindings: by_ports.then(publish::bindings),
                ..Default::default()
            }),
            networking_config: Some(NetworkingConfig { endpoints_config: Some([(network, endpoint)].into()) }),
            ..Default::default()
        };
        let (client, name) = (self.engine.client.clone(), place.anchor.clone());
        let made = self.run.making.to_its_end(async move {
            let options = CreateContainerOptionsBuilder::new().name(&name).build();
            client.create_container(Some(options), body).await?;
            client.start_container(&name, None::<StartContainerOptions>).await
        });
        made.await.map_err(api(format!("starting container {}", place.anchor)))?;
        if by_ports { publish::published(&self.engine, &place.anchor).await.map(Some) } else { Ok(None) }
    }

    async fn make_volume(&self, node: &Node) -> Result<(), DockerError> {
        let volume = VolumeCreateRequest {
            name: Some(node.volume.clone()),
            labels: Some(self.labels.clone()),
            ..Default::default()
        };
        let made = self.engine.client.create_volume(volume).await;
        made.map(drop).map_err(api(format!("creating volume {}", node.volume)))
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

    /// Starts the sidecar of an anchor.
    async fn sidecar_at(&self, place: &Place) -> Result<Sidecar, DockerError> {
        self.sidecar(&place.sidecar(), &format!("container:{}", place.anchor)).await
    }

    async fn sidecar(&self, name: &str, network: &str) -> Result<Sidecar, DockerError> {
        let labels = self.labels.clone();
        Sidecar::start(&self.engine.client, &self.engine.netfault_image, name, network, labels).await
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

    /// Creates the server's container and starts it.
    async fn create(&self, number: NodeNo, node: &Node) -> Result<(), DockerError> {
        let (setup, nodes_conf) = {
            let mut setup = node.setup();
            // It is in the volume from then on.
            let nodes_conf = setup.nodes_conf.take();
            (setup.clone(), nodes_conf)
        };
        let network = format!("container:{}", setup.place.anchor);
        let text = configuration(&setup.directives, &setup.server, setup.place.addr, self.data_dir(number));
        let binds = self.mounted.as_ref().map(|mounted| mounted.binds(number));
        let program = setup.server.path.display().to_string();
        let mut image = GenericImage::new(setup.image.0, setup.image.1);
        let mut command = vec![program.as_str(), CONFIG];
        if self.folders().is_some() {
            // The start script of official images would change to a user of its own, whose files this one cannot read.
            image = image.with_entrypoint(command.remove(0));
        }
        // The directory must belong to the server's user: the start script of official images changes the user.
        let config = CopyTargetOptions::new(CONFIG).with_mode(0o644);
        let mut request = image
            .with_container_name(&node.server)
            .with_labels(self.labels.clone())
            // A reusable container outlives its handle, so the run can remove it with everything else. Containers with
            // the same labels are shared, so this label differs between nodes.
            .with_reuse(ReuseDirective::Always)
            .with_label("slotquake.container", &node.server)
            .with_mount(Mount::volume_mount(&node.volume, DATA))
            .with_startup_timeout(real_span(STARTS_WITHIN))
            .with_copy_to(config, text.into_bytes())
            .with_cmd(command)
            // `with_network` would also create a network of that name and leave it.
            .with_host_config_modifier(move |host| {
                host.network_mode = Some(network.clone());
                host.publish_all_ports = Some(false);
                host.port_bindings = None;
                host.binds.clone_from(&binds);
            });
        if let Some(nodes_conf) = nodes_conf {
            // The server's user writes to it, whoever that is.
            let place = CopyTargetOptions::new(format!("{DATA}/{NODES_CONF}")).with_mode(0o666);
            request = request.with_copy_to(place, nodes_conf);
        }
        for (name, value) in self.mounted.iter().flat_map(|mounted| mounted.variables(number)) {
            request = request.with_env_var(name, value);
        }
        if self.folders().is_some() {
            request = request.with_user(self.engine.own_user());
        }
        let made = self.run.making.to_its_end(async move { request.start().await.map(drop) });
        made.await.map_err(|error| DockerError::Api {
            what: format!("starting container {}", node.server),
            reason: error.to_string(),
        })
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

    fn set_disk(&self, node: NodeNo, change: Option<DiskChange>) -> Result<(), BackendError> {
        self.with_folders(node)?.on_disk(node, |disk| disk.set(change))
    }

    fn disk(&self, node: NodeNo) -> Result<DiskReading, BackendError> {
        self.with_folders(node)?.on_disk(node, |disk| {
            Ok(DiskReading { stands: disk.stands()?, taken: Some(disk.is_taken()?), counts: disk.counts()? })
        })
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

/// The place of a node whose address is the one of that index.
fn place(node: &str, subnet: Subnet, index: usize) -> Place {
    let ip = subnet.node(index);
    let [.., last] = ip.octets();
    Place { addr: SocketAddr::from((ip, DATA_PORT)), anchor: format!("{node}-net-{last}") }
}

/// Splits an image into name and tag, as testcontainers requires. A digest counts as a tag: `name@sha256` and `...`.
fn name_and_tag(image: &str) -> (String, String) {
    let after_host = image.rfind('/').map_or(0, |slash| slash + 1);
    match image[after_host..].rfind(':') {
        Some(colon) => (image[..after_host + colon].to_owned(), image[after_host + colon + 1..].to_owned()),
        None => (image.to_owned(), "latest".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_an_image_into_name_and_tag() {
        for (image, name, tag) in [
            ("redis:6.2", "redis", "6.2"),
            ("valkey/valkey:9.1", "valkey/valkey", "9.1"),
            ("host:5000/own/redis", "host:5000/own/redis", "latest"),
            ("host:5000/own/redis:7", "host:5000/own/redis", "7"),
            ("redis@sha256:abc", "redis@sha256", "abc"),
        ] {
            assert_eq!(name_and_tag(image), (name.to_owned(), tag.to_owned()));
        }
    }
}
