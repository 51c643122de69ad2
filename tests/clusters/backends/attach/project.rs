//! The project's own Compose file, up for one test.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::engine::{self, docker, run};
use crate::support;
use crate::turn::{self, Turn};

const SUBNET: &str = "10.214.90";

/// The name of the Compose project.
pub const PROJECT: &str = "slotquake-attach-test";

static ALONE: Mutex<()> = Mutex::new(());

/// A running project; it is taken down with this.
pub struct Project {
    folder: tempfile::TempDir,
    /// `docker-compose`, or `docker compose`.
    compose: Vec<&'static str>,
    _alone: MutexGuard<'static, ()>,
    _turn: Turn,
}

impl Project {
    /// The cluster, formed; None, with the reason printed, where it cannot be had.
    pub fn up() -> Option<Self> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = turn::shared(1)?;
        let compose = match engine::compose() {
            Ok(compose) => compose,
            Err(reason) => {
                support::skipped("attach --compose", &reason);
                return None;
            }
        };
        // Its containers have fixed names, which may be somebody's already.
        let text = fs::read_to_string("docker-compose.yaml").expect("the Compose file");
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains("container_name:")).collect();
        let folder = tempfile::tempdir().expect("a temporary directory");
        fs::write(folder.path().join("docker-compose.yaml"), lines.join("\n") + "\n").expect("a Compose file");
        let project = Self { folder, compose, _alone: alone, _turn: turn };
        project.compose(&["up", "-d"]);
        let ids = docker(&[
            "ps",
            "-aq",
            "--filter",
            &label(),
            "--filter",
            "label=com.docker.compose.service=redis-cluster-init",
        ]);
        assert_eq!(docker(&["wait", &ids]), "0", "{}", docker(&["logs", &ids]));
        Some(project)
    }

    fn compose(&self, args: &[&str]) {
        let output = self.try_compose(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn try_compose(&self, args: &[&str]) -> Output {
        let words = [&self.compose[1..], &["-p", PROJECT], args].concat();
        let mut command = Command::new(self.compose[0]);
        command.args(words).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("SLOTQUAKE_SUBNET", SUBNET).env("SLOTQUAKE_PORTS", "74").env("SLOTQUAKE_IMAGE", "redis:6.2");
        command.output().expect("Compose runs")
    }

    /// Every container of the project with its state.
    pub fn containers() -> Vec<String> {
        let listed = docker(&["ps", "-a", "--filter", &label(), "--format", "{{.Names}} {{.State}}"]);
        let mut lines: Vec<String> = listed.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Containers that carry the label of a run.
    #[cfg(feature = "docker")]
    pub fn of_run(run: &str) -> String {
        docker(&["ps", "-aq", "--filter", &format!("label=slotquake.run={run}")])
    }

    /// The fixed address of a node.
    pub fn address(node: u8) -> String {
        format!("{SUBNET}.{}", 10 + node)
    }

    /// The container of a node.
    pub fn id(node: u8) -> String {
        let filter = format!("label=com.docker.compose.service=redis-node-{node}");
        docker(&["ps", "-q", "--filter", &label(), "--filter", &filter])
    }

    /// What a node answers.
    pub fn cli(node: u8, words: &[&str]) -> String {
        docker(&[&["exec", &Self::id(node), "redis-cli"], words].concat())
    }

    /// What a program says in the network of a node's container.
    pub fn in_network(node: u8, words: &[&str]) -> String {
        let pid = docker(&["inspect", "-f", "{{.State.Pid}}", &Self::id(node)]);
        run("nsenter", &[&["-t", &pid, "-n"], words].concat()).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        self.try_compose(&["down", "--volumes", "--timeout", "1"]);
    }
}

fn label() -> String {
    format!("label=com.docker.compose.project={PROJECT}")
}
