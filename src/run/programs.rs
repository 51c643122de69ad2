//! Programs of the user's. They run in the time and the network of the cluster, find it in their environment, and end with
//! all that they started.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use super::Run;
use super::status::peer_of;
use crate::cluster::Backend;
use crate::cluster::attach::PASSWORD_VARIABLE;
use crate::cluster::watch::Snapshot;
use crate::history::{EventKind, Exit, Printed, StepProblem};
use crate::sandbox::tie_to_spawner;
use crate::speed;
use crate::subprocess::{Gathered, exit};
use crate::suite::{CommandLine, Wanted};
use crate::topology::Role;
use crate::units::{NodeNo, ShardNo};

/// The variable by which the processes that a program started are found, whatever their groups and sessions are.
const MARK: &str = "SLOTQUAKE_EXEC";

/// The pause before a program is run again.
const PAUSE: Duration = Duration::from_millis(100);

/// A program to run.
pub(super) struct Errand<'a> {
    pub(super) line: &'a CommandLine,
    pub(super) wanted: Wanted<'a>,
    /// The limit of all its runs together.
    pub(super) within: Duration,
    /// Whether it is run again until it does what is wanted.
    pub(super) repeats: bool,
}

/// The programs of a run. Processes that they leave running end when it is dropped.
pub(super) struct Programs {
    mark: String,
    begun: u32,
    /// The phase that programs are told of.
    pub(super) phase: String,
}

impl Programs {
    pub(super) fn new() -> Self {
        let mark = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        Self { mark, begun: 0, phase: "boot".to_owned() }
    }

    fn next_mark(&mut self) -> String {
        self.begun += 1;
        format!("{}.{}", self.mark, self.begun)
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        if self.begun > 0 {
            end_marked(&format!("{}.", self.mark), false);
        }
    }
}

/// A program that has not ended yet. Dropped, it ends with all that it started.
struct Family {
    leader: Pid,
    mark: String,
    /// Whether the leader has ended. Others of its group may go on, and the number of a group that has ended may be given
    /// away again.
    has_ended: bool,
}

impl Drop for Family {
    fn drop(&mut self) {
        if !self.has_ended {
            // An error means that the group has ended already.
            let _ = killpg(self.leader, Signal::SIGKILL);
            end_marked(&self.mark, true);
        }
    }
}

/// Kills every process with that mark in its environment, or with one that begins so.
fn end_marked(mark: &str, is_whole: bool) {
    // A process may have forked after it was passed over.
    const PASSES: usize = 5;
    let has_mark = |environment: &[u8]| {
        environment.split(|byte| *byte == 0).any(|variable| {
            let value = variable.strip_prefix(MARK.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            value.is_some_and(
                |value| if is_whole { value == mark.as_bytes() } else { value.starts_with(mark.as_bytes()) },
            )
        })
    };
    for _ in 0..PASSES {
        let Ok(processes) = std::fs::read_dir("/proc") else { return };
        let mut found = false;
        for process in processes.flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // What belongs to others cannot be read, and was not started here.
            if std::fs::read(process.path().join("environ")).is_ok_and(|environment| has_mark(&environment)) {
                found = true;
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        if !found {
            return;
        }
    }
}

/// What became of one run of a program.
#[derive(Default)]
struct Ran {
    /// None if it was killed.
    exit: Option<Exit>,
    stdout: Printed,
    stderr: Printed,
}

/// Runs a program once. The error says why it could not be started.
async fn run(
    words: &[String],
    environment: BTreeMap<String, String>,
    mark: String,
    by: Instant,
) -> Result<Ran, String> {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).envs(environment).env(MARK, &mark).env_remove(PASSWORD_VARIABLE);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    speed::inherit_for_all(&mut command);
    tie_to_spawner(&mut command);
    let mut child = tokio::process::Command::from(command).spawn().map_err(|error| error.to_string())?;
    let leader = child.id().map(|id| Pid::from_raw(id.cast_signed()));
    let mut family = leader.map(|leader| Family { leader, mark, has_ended: false });
    let stdout = Gathered::of(child.stdout.take(), Printed::MOST);
    let stderr = Gathered::of(child.stderr.take(), Printed::MOST);
    let status = match timeout_at(by, child.wait()).await {
        Ok(status) => Some(status.map_err(|error| error.to_string())?),
        Err(_) => None,
    };
    if let Some(family) = &mut family {
        family.has_ended = status.is_some();
    }
    drop(family);
    let printed = async |gathered: Gathered| {
        let (end, bytes) = gathered.end().await;
        Printed::new(&end, bytes)
    };
    Ok(Ran { exit: status.map(exit), stdout: printed(stdout).await, stderr: printed(stderr).await })
}

/// A node as programs are told of it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Told {
    node: NodeNo,
    host: String,
    port: u16,
    /// Empty if it is not known.
    id: String,
    role: &'static str,
    shard: Option<ShardNo>,
    answers: bool,
}

impl<B: Backend> Run<B> {
    /// Runs a program, and records what became of it. That it did not do what is wanted is [`StepProblem::Unmet`].
    pub(super) async fn program(
        &self,
        step: usize,
        errand: &Errand<'_>,
        programs: &mut Programs,
    ) -> Result<(), StepProblem> {
        let began = Instant::now();
        let by = began + errand.within;
        let mut runs = 0;
        let mut last = Ran::default();
        let mut words;
        loop {
            // Roles and addresses may change between two runs.
            words = self.fill_in(errand.line, |node| self.control.backend().addr(node))?;
            let environment = self.environment(step, &programs.phase);
            let ran = run(&words, environment, programs.next_mark(), by).await;
            let ran = ran.map_err(|error| StepProblem::Suite(cannot_run(&words[0], &error)))?;
            runs += 1;
            if runs == 1 || ran.exit.is_some() {
                last = ran;
            }
            let status = last.exit.as_ref().and_then(|exit| exit.status);
            let is_met = errand.wanted.is_met(status, &last.stdout.text);
            if is_met || !errand.repeats || Instant::now() + PAUSE >= by {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        let Ran { exit, stdout, stderr } = last;
        let met = errand.wanted.is_met(exit.as_ref().and_then(|exit| exit.status), &stdout.text);
        let (ended, expected) = (Exit::in_words(exit.as_ref()), errand.wanted.words());
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        self.journal.event(EventKind::Executed {
            step,
            program: words,
            expected: expected.clone(),
            met,
            exit,
            stdout,
            stderr,
            runs,
            took_ms: ms(began.elapsed()),
            within_ms: ms(errand.within),
        });
        if met {
            return Ok(());
        }
        Err(StepProblem::Unmet(format!("`{}` {ended}; expected {expected}", errand.line)))
    }

    /// The variables that tell a program of the run and of the cluster.
    fn environment(&self, step: usize, phase: &str) -> BTreeMap<String, String> {
        let now = self.watch.snapshot();
        let nodes: Vec<Told> = self.control.nodes().map(|node| self.told(node, &now)).collect();
        let all = |each: fn(&Told) -> String| nodes.iter().map(each).collect::<Vec<_>>().join(" ");
        let mut variables = vec![
            ("SUITE".to_owned(), self.plan.name.clone()),
            ("SERVER".to_owned(), self.server.asked.clone()),
            ("PHASE".to_owned(), phase.to_owned()),
            ("STEP".to_owned(), (step + 1).to_string()),
            ("SEED".to_owned(), self.plan.seed.to_string()),
            ("SPEED".to_owned(), speed::current().factor().to_string()),
            ("REPORT".to_owned(), self.folder.to_string_lossy().into_owned()),
            ("NODES".to_owned(), all(|told| told.node.to_string())),
            ("ADDRESSES".to_owned(), all(|told| format!("{}:{}", told.host, told.port))),
            ("CLUSTER".to_owned(), serde_json::to_string(&nodes).expect("texts and numbers")),
        ];
        for told in &nodes {
            let shard = told.shard.map(|shard| shard.to_string()).unwrap_or_default();
            for (what, value) in [
                ("HOST", told.host.clone()),
                ("PORT", told.port.to_string()),
                ("ID", told.id.clone()),
                ("ROLE", told.role.to_owned()),
                ("SHARD", shard),
            ] {
                variables.push((format!("NODE_{}_{what}", told.node.0), value));
            }
        }
        variables.into_iter().map(|(name, value)| (format!("SLOTQUAKE_{name}"), value)).collect()
    }

    fn told(&self, node: NodeNo, now: &Snapshot) -> Told {
        let addr = self.control.backend().addr(node);
        let role = match peer_of(now, node) {
            Some(peer) if peer.role != Role::Master => "replica",
            Some(peer) if !peer.slots.is_empty() => "master",
            // It owns nothing any more, or nobody knows.
            Some(_) | None => "none",
        };
        Told {
            node,
            host: addr.ip().to_string(),
            port: addr.port(),
            id: self.control.roster().id(node).unwrap_or_default(),
            role,
            shard: now.shard_of(node, &self.deal),
            answers: now.views.contains_key(&node),
        }
    }
}

fn cannot_run(program: &str, why: &str) -> String {
    format!("cannot run `{program}`: {why}")
}
