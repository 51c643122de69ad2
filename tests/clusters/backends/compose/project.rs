//! One Compose project of this test, taken down when it goes out of scope.

use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use slotquake::topology::parse_nodes;

use super::walk::{Names, Step};
use crate::engine;
use crate::support;
use crate::turn::{self, Turn};

/// The default of docker-compose.yaml, which docs/exercise.md shows.
const PAGE_SUBNET: &str = "172.28.62";
const SUBNET: &str = "10.213.87";

/// How long something may take to become so. It judges nothing.
const PATIENCE: Duration = Duration::from_secs(120);

/// Its containers' names are fixed, so there is one at a time.
static ALONE: Mutex<()> = Mutex::new(());

pub struct Project {
    image: String,
    /// `docker-compose`, or `docker compose`.
    compose: Vec<&'static str>,
    _alone: MutexGuard<'static, ()>,
    _turn: Turn,
}

impl Project {
    /// None, with the reason printed, where it cannot run.
    pub fn new(image: &str) -> Option<Self> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = turn::shared(1)?;
        match Self::possible() {
            Ok(compose) => Some(Self { image: image.to_owned(), compose, _alone: alone, _turn: turn }),
            Err(reason) => {
                support::skipped("docker-compose.yaml", &reason);
                None
            }
        }
    }

    fn possible() -> Result<Vec<&'static str>, String> {
        let names = engine::run("docker", &["ps", "-a", "--format", "{{.Names}}"])?;
        if let Some(name) = names.lines().find(|name| name.starts_with("redis-node-") || *name == "redis-cluster-init")
        {
            return Err(format!("a container {name} is there already (hint: docker-compose down, or docker rm)"));
        }
        engine::compose()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let own = [
            ("SLOTQUAKE_IMAGE", self.image.as_str()),
            ("SLOTQUAKE_SUBNET", SUBNET),
            ("SLOTQUAKE_PORTS", "73"),
            ("COMPOSE_PROJECT_NAME", "slotquake-test"),
        ];
        command.envs(own).stdin(Stdio::null());
        command
    }

    fn try_compose(&self, args: &[&str]) -> Output {
        let words = [&self.compose[1..], args].concat();
        self.command(self.compose[0]).args(words).output().expect("Compose runs")
    }

    pub fn compose(&self, args: &[&str]) {
        let output = self.try_compose(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts what does not run, and waits for the service that forms the cluster.
    pub fn up(&self) {
        self.compose(&["up", "-d"]);
        assert_eq!(self.docker(&["wait", "redis-cluster-init"]), "0", "{}", self.said_by_init());
    }

    pub fn said_by_init(&self) -> String {
        let output = self.command("docker").args(["logs", "redis-cluster-init"]).output().expect("docker runs");
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
    }

    pub fn cli(&self, node: u8, words: &[&str]) -> String {
        let container = format!("redis-node-{node}");
        self.docker(&[&["exec", &container, "redis-cli"], words].concat())
    }

    fn docker(&self, args: &[&str]) -> String {
        let output = self.command("docker").args(args).output().expect("docker runs");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Each master with its replica, by their numbers, as node 1 has it, in the order of the pairs.
    pub fn pairs(&self) -> Vec<(u8, u8)> {
        let lines = parse_nodes(&self.cli(1, &["cluster", "nodes"])).expect("CLUSTER NODES");
        let number = |id: &str| {
            let line = lines.iter().find(|line| line.id == id).expect("a master that it knows");
            let address = line.addr.expect("a node with an address").ip().to_string();
            address.strip_prefix(&format!("{SUBNET}.1")).and_then(|rest| rest.parse::<u8>().ok()).expect("one of ours")
        };
        let mut pairs: Vec<(u8, u8)> =
            lines.iter().filter_map(|line| Some((number(line.master_id.as_deref()?), number(&line.id)))).collect();
        pairs.sort_by_key(|(master, replica)| *master.min(replica));
        pairs
    }

    pub fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < deadline, "not for {PATIENCE:?}: {what}; {}", self.cli(1, &["cluster", "nodes"]));
            sleep(Duration::from_millis(200));
        }
    }

    /// Runs a command of the page, again and again until it prints what the page shows.
    pub fn follow(&self, step: &Step, names: &mut Names) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (text, is_success) = self.typed(&step.command);
            match names.read(step, &text) {
                Ok(()) if is_success || !step.output.is_empty() => return,
                _ if Instant::now() < deadline => sleep(Duration::from_millis(500)),
                Ok(()) => panic!("$ {} failed: {text}", step.command),
                Err(reason) => panic!("$ {}\n{text}\ndocs/exercise.md has other lines: {reason}", step.command),
            }
        }
    }

    /// Runs it in a terminal, with the addresses that the page shows.
    fn typed(&self, command: &str) -> (String, bool) {
        let command = command.replacen("docker-compose", &self.compose.join(" "), 1);
        let script = self.command("timeout").args(["300", "script", "-qec", &command, "/dev/null"]).output();
        let output = script.expect("util-linux's script runs");
        let text = String::from_utf8_lossy(&output.stdout).replace('\r', "").replace("^@", "").replace('\0', "");
        (text.replace(SUBNET, PAGE_SUBNET), output.status.success())
    }

    /// What there still is of the project.
    pub fn left(&self) -> Vec<String> {
        let label = "label=com.docker.compose.project=slotquake-test";
        [
            &["ps", "-a", "--filter", label, "--format", "{{.Names}}"][..],
            &["network", "ls", "--filter", label, "--format", "{{.Name}}"],
            &["volume", "ls", "--filter", label, "--format", "{{.Name}}"],
        ]
        .iter()
        .flat_map(|args| self.docker(args).lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        self.try_compose(&["down", "--volumes", "--timeout", "1"]);
    }
}
