//! The local backend: each node is a process of this machine with its own address.

mod addresses;
mod clocks;
mod keeper;
mod power;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use addresses::Reservation;
pub use addresses::{MAX_NODES, obstacle as address_obstacle};
use clocks::Clocks;

use super::config::{NODES_CONF, configuration};
use super::crash::crash_report;
use super::folders::{CLOCKS, Folders, WITHOUT_LIBRARY};
use super::scratch::ScratchDir;
use super::{
    Backend, BackendError, DiskReading, EndedProcess, ProcessState, SHOWN_BY_LIBRARY, WITHOUT_CLOCKS,
    waited_for_processor,
};
use crate::fault::{Action, ClockOf, DiskChange, Means, Unsynced};
use crate::network::knock::{self, Heard, Knock};
use crate::network::rules::Rule;
use crate::network::{Counts, Imposed, Network, NetworkError};
use crate::plan::{Need, Plan};
use crate::server::{BackendKind, Server, Version};
use crate::speed::clock::{Skew, Told, preload};
use crate::speed::{self, Library};
use crate::subprocess;
use crate::suite::{Address, Change, Damage, Damaged, DataFile};
use crate::units::{ClientNo, Directive, NodeNo};

/// How much of a log's end is searched for a crash report, which prints the whole of INFO.
const CRASH_REPORT_BYTES: u64 = 1 << 20;

/// A cluster of processes.
#[derive(Debug)]
pub struct Local {
    reservation: Reservation,
    nodes: Vec<Node>,
    logs: PathBuf,
    scratch: Mutex<Option<ScratchDir>>,
    links: Links,
    /// None if the plan changes no clock and no disk: servers then run as users run them. At another speed than 1 they inherit
    /// the library.
    library: Option<Library>,
    clocks: Option<Clocks>,
    folders: Folders,
    /// The processes of each node that a loss of power has ended with its server.
    ended_with: Vec<Mutex<Vec<u32>>>,
}

/// The network whose links can be cut, with the active rules of this cluster by name.
#[derive(Debug, Clone)]
struct Links {
    network: Option<Network>,
    imposed: Arc<Mutex<BTreeMap<String, Imposed>>>,
}

#[derive(Debug)]
struct Node {
    config: PathBuf,
    dir: PathBuf,
    addr: Mutex<SocketAddr>,
    setup: Mutex<Setup>,
    /// What it was before the last change.
    before: Mutex<Option<Setup>>,
    process: Mutex<Process>,
}

/// What the next start of a node runs.
#[derive(Debug, Clone)]
struct Setup {
    server: Server,
    directives: BTreeMap<String, Directive>,
}

#[derive(Debug)]
enum Process {
    Never,
    Child(Child),
    Ended { pid: u32, status: ExitStatus },
}

impl Process {
    /// Whether the process is running. Also records its end.
    fn is_alive(&mut self) -> bool {
        if let Self::Child(child) = self
            && let Ok(Some(status)) = child.try_wait()
        {
            *self = Self::Ended { pid: child.id(), status };
        }
        matches!(self, Self::Child(_))
    }

    fn pid(&self) -> Option<u32> {
        match self {
            Self::Child(child) => Some(child.id()),
            _ => None,
        }
    }
}

impl Local {
    /// Reserves addresses, and creates a directory and a configuration file for each node of the plan. Logs go to
    /// `folder/logs`. Data goes to `folder/data` with `keep`, else to a directory in `scratch`, a file system that ends with
    /// the harness, or else to a temporary directory. Network faults are imposed on `network`.
    pub fn prepare(
        plan: &Plan,
        server: &Server,
        folder: &Path,
        keep: bool,
        scratch: Option<&Path>,
        network: Option<Network>,
    ) -> Result<Self, BackendError> {
        let reservation = addresses::reserve(plan.nodes.len())?;
        let logs = folder.join("logs");
        make_dir(&logs)?;
        let scratch = (!keep).then(|| scratch.map_or_else(ScratchDir::create, ScratchDir::create_in)).transpose();
        let scratch = scratch.map_err(|source| io("cannot create a directory for data", source))?;
        let data = scratch.as_ref().map_or_else(|| folder.join("data"), |scratch| scratch.path().to_owned());
        let data =
            std::path::absolute(&data).map_err(|source| io("cannot resolve the path of the data directory", source))?;
        let mut nodes = Vec::new();
        for planned in &plan.nodes {
            let dir = data.join(planned.node.to_string());
            make_dir(&dir)?;
            let config = dir.join("node.conf");
            let addr = reservation.nodes[planned.node.index()];
            let setup = Setup { server: server.clone(), directives: plan.config.clone() };
            let (addr, setup, process) = (Mutex::new(addr), Mutex::new(setup), Mutex::new(Process::Never));
            let node = Node { config, dir, addr, setup, before: Mutex::default(), process };
            node.configure()?;
            nodes.push(node);
        }
        let dirs = || nodes.iter().map(|node| node.dir.as_path());
        let clocks = plan.needs_to(Need::Clocks).then(|| Clocks::create(dirs())).transpose();
        let clocks = clocks.map_err(|source| io("cannot create the clocks of the nodes", source))?;
        let folders = Folders::create(dirs().map(Path::to_owned).collect(), &plan.needs());
        let folders = folders.map_err(|source| io("cannot create the disks of the nodes", source))?;
        let needs_library = speed::current().is_real() && (clocks.is_some() || folders.needs_library());
        let library = needs_library.then(preload).transpose();
        let library = library.map_err(|source| io("cannot open the library for clocks and disks", source))?;
        let ended_with = nodes.iter().map(|_| Mutex::default()).collect();
        let links = Links { network, imposed: Arc::default() };
        Ok(Self { reservation, nodes, logs, scratch: Mutex::new(scratch), links, library, clocks, folders, ended_with })
    }

    fn node(&self, node: NodeNo) -> &Node {
        &self.nodes[node.index()]
    }

    /// The process of a node, if it runs.
    fn living(&self, node: NodeNo) -> Option<u32> {
        let mut process = self.node(node).process.lock().expect("no holder panics");
        if process.is_alive() { process.pid() } else { None }
    }

    fn log_path(&self, node: NodeNo) -> PathBuf {
        self.logs.join(format!("{node}.log"))
    }

    fn signal(&self, node: NodeNo, signal: Signal) -> Result<(), BackendError> {
        let mut process = self.node(node).process.lock().expect("no holder panics");
        if !process.is_alive() {
            return Err(BackendError::NotRunning(node));
        }
        let pid = process.pid().expect("a living process has an id");
        kill(Pid::from_raw(pid.cast_signed()), signal).map_err(|source| BackendError::Signal { node, source })
    }

    async fn start(&self, node: NodeNo) -> Result<(), BackendError> {
        if self.node(node).process.lock().expect("no holder panics").is_alive() {
            return Err(BackendError::AlreadyRunning(node));
        }
        let log_path = self.log_path(node);
        let log = File::options()
            .create(true)
            .append(true)
            .open(&log_path)
            .map_err(|source| io(format!("cannot open {}", log_path.display()), source))?;
        let errors = log.try_clone().map_err(|source| io("cannot open the log twice", source))?;
        let server = self.node(node).setup.lock().expect("no holder panics").server.clone();
        let mut command = crate::server::command(&server);
        command
            .arg(&self.node(node).config)
            .current_dir(&self.node(node).dir)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        speed::inherit(&mut command);
        if let Some(library) = &self.library {
            library.load_into(&mut command);
        }
        if let Some(clocks) = &self.clocks {
            clocks.give(node, &mut command);
        }
        command.envs(self.folders.variables(node));
        let child = keeper::spawn(command).await.map_err(|source| BackendError::Spawn {
            program: server.path.display().to_string(),
            node,
            source,
        })?;
        *self.node(node).process.lock().expect("no holder panics") = Process::Child(child);
        Ok(())
    }

    fn kill_all(&self) {
        for node in &self.nodes {
            if let Process::Child(child) = &mut *node.process.lock().expect("no holder panics") {
                let _ = child.kill();
            }
        }
        for node in &self.nodes {
            let mut process = node.process.lock().expect("no holder panics");
            if let Process::Child(child) = &mut *process
                && let Ok(status) = child.wait()
            {
                *process = Process::Ended { pid: child.id(), status };
            }
        }
    }
}

impl Node {
    fn addr(&self) -> SocketAddr {
        *self.addr.lock().expect("no holder panics")
    }

    /// Writes the configuration file.
    fn configure(&self) -> Result<(), BackendError> {
        let text = {
            let setup = self.setup.lock().expect("no holder panics");
            configuration(&setup.directives, &setup.server, self.addr(), &self.dir)
        };
        File::create(&self.config)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|source| io(format!("cannot write {}", self.config.display()), source))
    }
}

impl Links {
    /// nft takes some milliseconds, so it must not block the runtime's threads. It completes even if the caller stops
    /// waiting.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Network, &mut BTreeMap<String, Imposed>) -> Result<T, NetworkError> + Send + 'static,
    ) -> Result<T, NetworkError> {
        let Self { network, imposed } = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let network = network.ok_or(NetworkError::NoNetwork)?;
            work(&network, &mut imposed.lock().expect("no holder panics"))
        });
        done.await.expect("it does not panic")
    }
}

/// Ends the servers of a run that panics or is dropped early.
impl Drop for Local {
    fn drop(&mut self) {
        self.kill_all();
    }
}

impl Backend for Local {
    const KIND: BackendKind = BackendKind::Local;

    fn size(&self) -> usize {
        self.nodes.len()
    }

    fn addr(&self, node: NodeNo) -> SocketAddr {
        self.node(node).addr()
    }

    fn client_ip(&self, client: ClientNo) -> Option<IpAddr> {
        self.reservation.client(client)
    }

    fn plants_for(&self) -> Option<Version> {
        self.nodes.first().map(|node| node.setup.lock().expect("no holder panics").server.version)
    }

    fn plant(&self, node: NodeNo, nodes_conf: &str) -> Result<(), BackendError> {
        let path = self.node(node).dir.join(NODES_CONF);
        std::fs::write(&path, nodes_conf).map_err(|source| io(format!("cannot write {}", path.display()), source))
    }

    async fn act(&self, node: NodeNo, action: Action) -> Result<(), BackendError> {
        match action.means() {
            Means::Start => self.start(node).await,
            Means::Signal(name) => self.signal(node, name.parse().expect("the name of a signal")),
            Means::Freeze => self.signal(node, Signal::SIGSTOP),
            Means::Thaw => self.signal(node, Signal::SIGCONT),
        }
    }

    async fn change(&self, node: NodeNo, change: &Change, server: Option<&Server>) -> Result<String, BackendError> {
        let each = self.node(node);
        if each.process.lock().expect("no holder panics").is_alive() {
            return Err(BackendError::AlreadyRunning(node));
        }
        {
            let mut setup = each.setup.lock().expect("no holder panics");
            *each.before.lock().expect("no holder panics") = Some(setup.clone());
            setup.directives.extend(change.config.clone());
            if let Some(server) = server {
                setup.server.clone_from(server);
            }
        }
        match change.address {
            Address::Kept => {}
            Address::New => {
                let another = self.reservation.another();
                let another = another.map_err(|reason| BackendError::NoOtherAddress { node, reason })?;
                *each.addr.lock().expect("no holder panics") = another;
            }
        }
        each.configure()?;
        self.folders.lose(node, change.data)
    }

    async fn take_back(&self, node: NodeNo) -> Result<(), BackendError> {
        let each = self.node(node);
        let Some(before) = each.before.lock().expect("no holder panics").take() else { return Ok(()) };
        *each.setup.lock().expect("no holder panics") = before;
        each.configure()
    }

    async fn corrupt(&self, node: NodeNo, file: DataFile, damage: Damage, seed: u64) -> Result<Damaged, BackendError> {
        let each = self.node(node);
        if each.process.lock().expect("no holder panics").is_alive() {
            return Err(BackendError::AlreadyRunning(node));
        }
        let Setup { server, directives } = each.setup.lock().expect("no holder panics").clone();
        self.folders.corrupt(node, (&server, &directives), file, damage, seed)
    }

    async fn state(&self, node: NodeNo) -> ProcessState {
        let pid = {
            let mut process = self.node(node).process.lock().expect("no holder panics");
            process.is_alive();
            match &*process {
                Process::Never => return ProcessState::Gone { how: "never started".to_owned() },
                Process::Ended { status, .. } => return ProcessState::Gone { how: status.to_string() },
                Process::Child(child) => child.id(),
            }
        };
        if is_stopped(pid).await { ProcessState::paused(pid) } else { ProcessState::running(pid) }
    }

    async fn ended(&self, node: NodeNo) -> Option<EndedProcess> {
        let mut process = self.node(node).process.lock().expect("no holder panics");
        process.is_alive();
        let Process::Ended { pid, status } = &*process else { return None };
        Some(EndedProcess { which: pid.to_string(), exit: subprocess::exit(*status) })
    }

    async fn crash_report(&self, node: NodeNo) -> Option<Vec<String>> {
        crash_report(&end_of(&self.log_path(node), CRASH_REPORT_BYTES).ok()?)
    }

    fn log_file(&self, node: NodeNo) -> Option<PathBuf> {
        Some(self.log_path(node))
    }

    async fn log_tail(&self, node: NodeNo, lines: usize) -> String {
        tail(&self.log_path(node), lines).unwrap_or_default()
    }

    async fn impose(&self, rule: Rule) -> Result<(), NetworkError> {
        self.links
            .with(move |network, imposed| {
                let imposition = network.impose(rule)?;
                imposed.insert(imposition.rule().name.clone(), imposition);
                Ok(())
            })
            .await
    }

    async fn counts(&self, name: &str) -> Result<Counts, NetworkError> {
        let name = name.to_owned();
        self.links.with(move |_, imposed| imposed.get(&name).ok_or(NetworkError::Gone(name))?.counts()).await
    }

    async fn lift(&self, name: &str) -> Result<(), NetworkError> {
        let name = name.to_owned();
        self.links.with(move |_, imposed| imposed.remove(&name).map_or(Ok(()), |rule| rule.lift().map(drop))).await
    }

    async fn knock(&self, knocks: &[Knock], within: Duration) -> Vec<Heard> {
        knock::knock_all(knocks, within).await
    }

    async fn fill(&self, knock: Knock, bytes: u64) {
        // The counters show the result.
        let _ = Box::pin(knock::push(knock, bytes)).await;
    }

    async fn set_clock(&self, node: NodeNo, skew: Skew) -> Result<(), BackendError> {
        let error = |reason: String| BackendError::Clock { node, reason };
        let clocks = self.clocks.as_ref().ok_or_else(|| error(WITHOUT_CLOCKS.to_owned()))?;
        clocks.set(node, skew).map_err(|source| error(source.to_string()))
    }

    fn clock(&self, node: NodeNo) -> Skew {
        self.clocks.as_ref().map_or(Skew::NONE, |clocks| clocks.skew(node))
    }

    fn told(&self, node: NodeNo, of: ClockOf) -> Option<std::io::Result<Told>> {
        self.clocks.as_ref().map(|clocks| clocks.told(node, of))
    }

    async fn clock_obstacle(&self, node: NodeNo) -> Option<String> {
        let Some(clocks) = &self.clocks else { return Some(WITHOUT_CLOCKS.to_owned()) };
        clocks.is_read_by(node, self.living(node)?).err()
    }

    async fn set_disk(&self, node: NodeNo, change: Option<DiskChange>) -> Result<(), BackendError> {
        self.folders.on_disk(node, |disk| disk.set(change))
    }

    async fn disk(&self, node: NodeNo) -> Result<DiskReading, BackendError> {
        let pid = self.living(node);
        self.folders.on_disk(node, |disk| {
            let taken = pid.map(|pid| disk.is_taken_by(pid)).transpose()?;
            Ok(DiskReading { stands: disk.stands()?, taken, counts: disk.counts()?, shown_by: SHOWN_BY_LIBRARY })
        })
    }

    fn disk_obstacle(&self, node: NodeNo) -> Option<String> {
        self.folders.disk(node)?.is_read_by(self.living(node)?).err()
    }

    async fn waited(&self, node: NodeNo) -> Option<(u32, Duration)> {
        let pid = self.node(node).process.lock().expect("no holder panics").pid()?;
        Some((pid, waited_for_processor(pid)?))
    }

    async fn cut_power(&self, nodes: &[NodeNo]) -> Result<(), BackendError> {
        let mut servers = Vec::new();
        for &node in nodes {
            let mut process = self.node(node).process.lock().expect("no holder panics");
            if !process.is_alive() {
                return Err(BackendError::NotRunning(node));
            }
            servers.push(process.pid().expect("a living process has an id"));
        }
        if self.folders.log(nodes[0]).is_none() {
            return Err(BackendError::Power { node: nodes[0], reason: WITHOUT_LIBRARY.to_owned() });
        }
        let error = |source: std::io::Error| BackendError::Power { node: nodes[0], reason: source.to_string() };
        let ended = power::cut(&servers).map_err(error)?;
        for (node, ended) in nodes.iter().zip(ended) {
            *self.ended_with[node.index()].lock().expect("no holder panics") = ended;
        }
        Ok(())
    }

    async fn lose_unsynced(&self, node: NodeNo) -> Result<Unsynced, BackendError> {
        let ended = std::mem::take(&mut *self.ended_with[node.index()].lock().expect("no holder panics"));
        power::await_end(&ended).map_err(|source| BackendError::Power { node, reason: source.to_string() })?;
        self.folders.lose_unsynced(node)
    }

    async fn settle_disks(&self) -> Result<(), BackendError> {
        self.folders.settle()
    }

    fn power_obstacle(&self, node: NodeNo) -> Option<String> {
        let (log, disk) = self.folders.log(node).zip(self.folders.disk(node))?;
        let pid = self.living(node)?;
        disk.is_read_by(pid).and_then(|()| log.is_written_by(pid)).err()
    }

    async fn tear_down(&self) -> Result<(), BackendError> {
        self.kill_all();
        // An interrupted run may have left rules in force.
        let lifting = self.links.with(|_, imposed| {
            imposed.clear();
            Ok(())
        });
        let _ = lifting.await;
        // Dropping it waits for a shell that removes files, which must not block the runtime's thread.
        let scratch = self.scratch.lock().expect("no holder panics").take();
        let _ = tokio::task::spawn_blocking(move || drop(scratch)).await;
        Ok(())
    }
}

async fn is_stopped(pid: u32) -> bool {
    let stat = if cfg!(target_os = "linux") {
        let text = tokio::fs::read_to_string(format!("/proc/{pid}/stat")).await.unwrap_or_default();
        // The state follows the name in parentheses, which may contain spaces and parentheses.
        text.rsplit_once(") ").map(|(_, rest)| rest.to_owned()).unwrap_or_default()
    } else {
        let output = tokio::process::Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().await;
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    stat.starts_with('T')
}

fn tail(path: &Path, lines: usize) -> std::io::Result<String> {
    const ENOUGH: u64 = 16 * 1024;
    let text = end_of(path, ENOUGH)?;
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    Ok(all[all.len().saturating_sub(lines)..].join("\n"))
}

/// The last bytes of a file as text.
fn end_of(path: &Path, bytes: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn make_dir(path: &Path) -> Result<(), BackendError> {
    std::fs::create_dir_all(path).map_err(|source| io(format!("cannot create {}", path.display()), source))
}

fn io(what: impl Into<String>, source: std::io::Error) -> BackendError {
    BackendError::Io { what: what.into(), source }
}
