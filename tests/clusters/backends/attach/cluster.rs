//! Clusters that somebody else started: plain processes, formed by the test itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use slotquake::server::{Server, harness_options};
use slotquake::slot::Deal;
use slotquake::units::ShardNo;
use slotquake::wire::{Access, Caller, Link, command, text};
use tokio::runtime::Runtime;

/// What forms within this time forms.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most nodes of a cluster here; the address behind them is the reservation's.
const NODES_MAX: u8 = 50;

/// How a cluster is made.
#[derive(Clone)]
pub struct Kind {
    /// How its masters share the slots.
    pub deal: Deal,
    pub replicas: u16,
    /// Lines of every node's configuration.
    pub config: Vec<String>,
    /// What its servers want.
    pub access: Access,
    /// The node whose directory is a file system of 2 MB. That requires root.
    pub small_disk: Option<u16>,
}

impl Default for Kind {
    fn default() -> Self {
        let config = ["cluster-node-timeout 1000", "appendonly yes", "cluster-require-full-coverage no"];
        let config = [&config[..], &["cluster-allow-reads-when-down yes", "protected-mode no"]].concat();
        Self {
            deal: Deal::even(3),
            replicas: 1,
            config: config.into_iter().map(str::to_owned).collect(),
            access: Access::default(),
            small_disk: None,
        }
    }
}

/// A running cluster; its processes end with this.
pub struct Cluster {
    pub addrs: Vec<SocketAddr>,
    folder: tempfile::TempDir,
    children: Vec<Child>,
    caller: Caller,
    runtime: Runtime,
    _reservation: TcpListener,
    small_disk: Option<u16>,
}

impl Cluster {
    /// Starts and forms one; nodes are numbered as a plan numbers them.
    pub fn start(server: &Server, kind: &Kind) -> Self {
        let (k, reservation) = reserve();
        let count = kind.deal.count() * (1 + kind.replicas);
        let addrs: Vec<SocketAddr> =
            (1..=count).map(|n| SocketAddr::from((Ipv4Addr::new(127, k, 0, n as u8), 6379))).collect();
        let mut cluster = Self {
            addrs,
            folder: tempfile::tempdir().expect("a temporary directory"),
            children: Vec::new(),
            caller: Caller { access: kind.access.clone(), ..Caller::default() },
            runtime: Runtime::new().expect("a runtime"),
            _reservation: reservation,
            small_disk: kind.small_disk,
        };
        for number in 1..=count {
            cluster.write_config(server, kind, number);
            let child = cluster.spawn(server, number);
            fs::write(cluster.pid_file(number), child.id().to_string()).expect("a pid file");
            cluster.children.push(child);
        }
        cluster.form(kind);
        cluster
    }

    /// A directory of the cluster's own.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the number of a node's process stands.
    pub fn pid_file(&self, number: u16) -> PathBuf {
        self.folder().join(format!("{}.pid", self.addrs[usize::from(number) - 1].ip()))
    }

    pub fn seed(&self, number: u16) -> String {
        self.addrs[usize::from(number) - 1].to_string()
    }

    fn config_file(&self, number: u16) -> PathBuf {
        self.folder().join(format!("{}.conf", self.addrs[usize::from(number) - 1].ip()))
    }

    fn write_config(&self, server: &Server, kind: &Kind, number: u16) {
        let addr = self.addrs[usize::from(number) - 1];
        let dir = self.folder().join(addr.ip().to_string());
        fs::create_dir(&dir).expect("a data directory");
        if kind.small_disk == Some(number) {
            let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "none"]).arg(&dir).status();
            assert!(mounted.is_ok_and(|status| status.success()), "a file system at {}", dir.display());
        }
        let mut lines = vec![
            "daemonize no".to_owned(),
            format!("dir {}", dir.display()),
            "cluster-enabled yes".to_owned(),
            "repl-timeout 10".to_owned(),
        ];
        if !kind.config.iter().any(|line| line.starts_with("tls-port")) {
            lines.push(format!("port {}", addr.port()));
        }
        lines.extend(
            harness_options(server.version, addr.ip()).into_iter().map(|(name, value)| format!("{name} {value}")),
        );
        lines.extend(kind.config.iter().cloned());
        fs::write(self.config_file(number), lines.join("\n") + "\n").expect("a configuration");
    }

    fn spawn(&self, server: &Server, number: u16) -> Child {
        let log = File::options().create(true).append(true).open(self.log_file(number)).expect("a log");
        let mut command: Command = slotquake::server::command(server);
        command.arg(self.config_file(number)).stdin(Stdio::null()).stderr(log.try_clone().expect("a log")).stdout(log);
        command.spawn().expect("the server starts")
    }

    /// What a node said.
    pub fn log_file(&self, number: u16) -> PathBuf {
        self.folder().join(format!("{}.log", self.addrs[usize::from(number) - 1].ip()))
    }

    /// A shell command that starts the node whose address is `$SLOTQUAKE_HOST` again.
    pub fn start_command(&self, server: &Server) -> String {
        let dir = self.folder().display();
        let libraries =
            server.library_path.as_ref().map_or(String::new(), |path| format!("LD_LIBRARY_PATH={} ", path.display()));
        format!(
            "cd {dir}; {libraries}setsid {} $SLOTQUAKE_HOST.conf >>$SLOTQUAKE_HOST.log 2>&1 </dev/null & \
             echo $! >{dir}/$SLOTQUAKE_HOST.pid",
            server.path.display()
        )
    }

    /// The answer of a node, as text.
    pub fn ask(&self, number: u16, line: &str) -> Result<String, String> {
        let words: Vec<&str> = line.split(' ').collect();
        let addr = self.addrs[usize::from(number) - 1];
        self.runtime.block_on(async {
            let within = Duration::from_secs(5);
            let mut link = Link::connect(addr, &self.caller, within).await.map_err(|error| error.to_string())?;
            let answer = link.send(&command(&words), tokio::time::Instant::now() + within).await;
            answer.map(|value| text(&value)).map_err(|error| error.to_string())
        })
    }

    pub fn must(&self, number: u16, line: &str) -> String {
        self.ask(number, line).unwrap_or_else(|error| panic!("node {number}: {line}: {error}"))
    }

    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}; {:?}", self.ask(1, "CLUSTER NODES"));
            sleep(Duration::from_millis(50));
        }
    }

    fn form(&self, kind: &Kind) {
        let (count, masters) = (self.addrs.len() as u16, kind.deal.count());
        for number in 1..=count {
            self.until("PING", || self.ask(number, "PING").is_ok());
            self.must(number, &format!("CLUSTER SET-CONFIG-EPOCH {number}"));
            if number <= masters {
                let slots = kind.deal.slots(ShardNo(number)).iter().flat_map(|&(first, last)| first..=last);
                let slots: Vec<String> = slots.map(|slot| slot.to_string()).collect();
                self.must(number, &format!("CLUSTER ADDSLOTS {}", slots.join(" ")));
            }
        }
        for number in 1..=count {
            for addr in &self.addrs {
                self.must(number, &format!("CLUSTER MEET {} {}", addr.ip(), addr.port()));
            }
        }
        let known = |number: u16| {
            self.ask(number, "CLUSTER NODES")
                .is_ok_and(|nodes| nodes.lines().count() == usize::from(count) && !nodes.contains("handshake"))
        };
        self.until("everybody is known", || (1..=count).all(known));
        for number in masters + 1..=count {
            let master = (number - 1) % masters + 1;
            let id = self.must(master, "CLUSTER MYID");
            self.must(number, &format!("CLUSTER REPLICATE {id}"));
        }
        self.until("whole", || (1..=count).all(|number| self.is_whole(number, masters)));
    }

    fn is_whole(&self, number: u16, masters: u16) -> bool {
        let has = |line: &str, wanted: &str| self.ask(number, line).is_ok_and(|answer| answer.contains(wanted));
        has("CLUSTER INFO", "cluster_state:ok")
            && (number <= masters || has("INFO replication", "master_link_status:up"))
    }

    /// Writes keys that are none of ours, and returns what [`Self::digest`] then says.
    pub fn write_foreign_keys(&self) -> BTreeMap<u16, String> {
        for index in 0..60 {
            for number in 1..=self.addrs.len() as u16 {
                let _ = self.ask(number, &format!("SET somebodys-{index} value-{index}"));
            }
            // A name that a careless clean-up would take for the run's.
            for number in 1..=self.addrs.len() as u16 {
                let _ = self.ask(number, &format!("SET slotquake:{{{index}}} mine"));
            }
        }
        self.digest()
    }

    /// Every key of every node that is a master now, with its value; summed up by slot, since roles change.
    pub fn digest(&self) -> BTreeMap<u16, String> {
        let mut digest = BTreeMap::new();
        for number in 1..=self.addrs.len() as u16 {
            if !self.must(number, "ROLE").starts_with("master") {
                continue;
            }
            for key in self.must(number, "KEYS *").lines().filter(|key| !key.is_empty()) {
                let value = self.must(number, &format!("GET {key}"));
                let slot = slotquake::slot::key_slot(key.as_bytes());
                let entry: &mut String = digest.entry(slot).or_default();
                write!(entry, "{key}={value};").expect("a string takes text");
            }
        }
        digest
    }

    /// A directive of every node.
    pub fn directive(&self, name: &str) -> Vec<String> {
        let value = |number| self.must(number, &format!("CONFIG GET {name}")).lines().nth(1).map(str::to_owned);
        (1..=self.addrs.len() as u16).map(|number| value(number).expect("a directive")).collect()
    }
}

/// Servers that hooks started are known by their pid files.
impl Drop for Cluster {
    fn drop(&mut self) {
        for number in 1..=self.addrs.len() as u16 {
            if let Ok(pid) = fs::read_to_string(self.pid_file(number)) {
                let _ = Command::new("kill").args(["-9", pid.trim()]).stderr(Stdio::null()).status();
            }
        }
        for child in &mut self.children {
            let _ = child.wait();
        }
        if let Some(number) = self.small_disk {
            let dir = self.folder().join(self.addrs[usize::from(number) - 1].ip().to_string());
            let _ = Command::new("umount").arg(dir).status();
        }
    }
}

/// A 127.k.0.0/24 that no other test uses: whoever holds its last address holds it.
fn reserve() -> (u8, TcpListener) {
    for k in 100..250 {
        let at = |n: u8| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, k, 0, n)), 6379);
        if let Ok(held) = TcpListener::bind(at(NODES_MAX + 1))
            && TcpListener::bind(at(251)).is_ok()
            && TcpListener::bind(at(1)).is_ok()
        {
            return (k, held);
        }
    }
    panic!("no addresses are free");
}
