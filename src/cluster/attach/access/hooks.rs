//! Hooks: the user's shell commands that stop, start, pause, isolate and observe servers, for example with ssh,
//! systemctl, kubectl or a cloud's tool.
//!
//! `sh -c` runs a hook. Its environment holds the request: `SLOTQUAKE_HOOK` (the hook's name), `SLOTQUAKE_NODE`
//! (`node-1`), `SLOTQUAKE_HOST`, `SLOTQUAKE_PORT`, `SLOTQUAKE_ID` (the 40 hexadecimal digits). A hook succeeds when it
//! ends with status 0. `state` prints `running`, `paused` or `gone` first, and `log` prints the server's log.
//! [`cuts`](crate::cluster::attach::links::cuts) describes `cut`, `heal` and `knock`, and
//! [`hosts`](crate::cluster::attach::access::hosts) `clock`, `disk` and `disk-state`. The harness verifies the effect of a hook
//! from outside.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::{hosts, not_ours};
use crate::cluster::ProcessState;
use crate::cluster::attach::error::AttachError;
use crate::history::{EventKind, NodeInfo};
use crate::network::knock::{self, Heard};
use crate::plan::Need;
use crate::subprocess::Gathered;
use crate::suite;
use crate::units::{NodeNo, Span};

/// The time limit of a hook where the file sets none.
const WITHIN: Duration = Duration::from_secs(30);

/// The number of bytes at the end of a hook's output that are recorded.
const OUTPUT_MAX: usize = 4096;

/// The environment variable with the password. Hooks do not receive it.
pub const PASSWORD_VARIABLE: &str = "SLOTQUAKE_PASSWORD";

/// A file of hooks.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Commands {
    stop: Option<String>,
    kill: Option<String>,
    start: Option<String>,
    pause: Option<String>,
    resume: Option<String>,
    state: Option<String>,
    log: Option<String>,
    cut: Option<String>,
    heal: Option<String>,
    knock: Option<String>,
    clock: Option<String>,
    disk: Option<String>,
    disk_state: Option<String>,
    /// The time limit of each hook.
    within: Option<Span>,
}

/// The user's shell commands.
#[derive(Debug)]
pub struct Hooks {
    commands: Commands,
    file: PathBuf,
    /// The latest answer of each hook that observes, so that only changes are recorded.
    looks: Mutex<BTreeMap<(NodeNo, &'static str), String>>,
}

/// Records the hooks that ran.
pub(crate) type Emit<'t> = &'t (dyn Fn(EventKind) + Sync);

/// A hook to run for a node, with its further environment and its standard input.
#[derive(Debug)]
pub(crate) struct Call<'c> {
    pub hook: &'static str,
    pub node: &'c NodeInfo,
    pub environment: Vec<(&'static str, String)>,
    pub input: Option<String>,
}

impl<'c> Call<'c> {
    pub fn new(hook: &'static str, node: &'c NodeInfo) -> Self {
        Self { hook, node, environment: Vec::new(), input: None }
    }
}

/// The result of a hook.
struct Ended {
    /// None if a signal ended it or it exceeded the time limit.
    status: Option<i32>,
    how: String,
    took: Duration,
    output: String,
}

impl Ended {
    /// The end of what it printed.
    fn output_end(&self) -> &str {
        let from = self.output.len().saturating_sub(OUTPUT_MAX)..;
        from.into_iter().find_map(|from| self.output.get(from..)).unwrap_or_default()
    }
}

impl Hooks {
    /// Reads a YAML file that maps the names of hooks to commands.
    pub async fn read(file: &Path) -> Result<Self, AttachError> {
        let wrong = |error: String| AttachError::Hooks(format!("hooks: {error}"));
        let text = tokio::fs::read_to_string(file)
            .await
            .map_err(|error| wrong(format!("cannot read \"{}\": {error}", file.display())))?;
        let commands = suite::read_yaml(&text, file).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { commands, file: file.to_owned(), looks: Mutex::default() })
    }

    fn command(&self, hook: &str) -> Option<&str> {
        let commands = &self.commands;
        match hook {
            "stop" => &commands.stop,
            "kill" => &commands.kill,
            "start" => &commands.start,
            "pause" => &commands.pause,
            "resume" => &commands.resume,
            "state" => &commands.state,
            "log" => &commands.log,
            "cut" => &commands.cut,
            "heal" => &commands.heal,
            "knock" => &commands.knock,
            hosts::CLOCK => &commands.clock,
            hosts::DISK => &commands.disk,
            hosts::DISK_STATE => &commands.disk_state,
            _ => &None,
        }
        .as_deref()
    }

    /// The path of the file.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Why the hooks do not meet a need.
    pub(crate) fn lacks(&self, need: Need) -> Option<String> {
        let wanted: &[&str] = match need {
            // The end of the run starts a stopped server again.
            Need::Stop => &["stop", "start"],
            Need::Kill => &["kill", "start"],
            Need::Start => &["start"],
            Need::Freeze => &["pause", "resume"],
            Need::Isolate | Need::Links => &["cut", "heal", "knock"],
            Need::Impairments | Need::Loss | Need::Delays => {
                return Some(format!(
                    "hooks can only cut links, so they do not allow {need} (hint: use `--compose PROJECT` or `--backend \
                     local`)"
                ));
            }
            Need::Clocks => &[hosts::CLOCK],
            Need::Disks => &[hosts::DISK, hosts::DISK_STATE],
            Need::Change | Need::NewAddress | Need::Damage | Need::Logs | Need::PowerLoss => return not_ours(need),
            Need::Clients => {
                return Some(
                    "clients share one address, so hooks cannot distinguish them (hint: cut links between nodes, or one \
                     node from all `others`)"
                        .to_owned(),
                );
            }
        };
        let missing = wanted.iter().find(|hook| self.command(hook).is_none())?;
        Some(format!("no hook `{missing}` in \"{}\"", self.file.display()))
    }

    /// Runs a hook that changes something. Fails unless it ends with status 0.
    pub(crate) async fn act(&self, call: Call<'_>, emit: Emit<'_>) -> Result<(), AttachError> {
        let (hook, node) = (call.hook, call.node.node);
        let ended = self.run(&call).await.ok_or(AttachError::NoAccess { what: hook })?;
        emit(hooked(hook, node, &ended));
        if ended.status == Some(0) {
            return Ok(());
        }
        let output = if ended.output.is_empty() { "nothing" } else { ended.output_end() }.to_owned();
        Err(AttachError::Hook { hook, on: format!("for {node}: "), reason: ended.how, output })
    }

    /// The state that the hook `state` prints; None if there is no such hook.
    pub(crate) async fn state(&self, node: &NodeInfo, emit: Emit<'_>) -> Option<ProcessState> {
        let ended = self.look(&Call::new("state", node), emit).await?;
        let how = format!("hook `state` says `{}`", ended.output_end().trim());
        Some(match ended.output.split_ascii_whitespace().next().filter(|_| ended.status == Some(0)) {
            Some("running") => ProcessState::Running { how },
            Some("paused") => ProcessState::Paused { how },
            Some("gone") => ProcessState::Gone { how },
            _ => ProcessState::Unknown { how: format!("{how} and {}, which is not a state", ended.how) },
        })
    }

    /// The output of a hook that observes. The error says why there is none.
    pub(crate) async fn told(&self, call: &Call<'_>, emit: Emit<'_>) -> Result<String, String> {
        match self.look(call, emit).await {
            Some(Ended { status: Some(0), output, .. }) => Ok(output),
            Some(ended) => Err(format!("hook `{}` {}: {}", call.hook, ended.how, ended.output_end())),
            None => Err(format!("there is no hook `{}`", call.hook)),
        }
    }

    /// The output of the hook `log`; None if there is no such hook or it fails.
    pub(crate) async fn log(&self, node: &NodeInfo, lines: Option<usize>) -> Option<String> {
        let ended = self.run(&Call::new("log", node)).await.filter(|ended| ended.status == Some(0))?;
        let all: Vec<&str> = ended.output.lines().collect();
        let first = lines.map_or(0, |lines| all.len().saturating_sub(lines));
        Some(all[first..].join("\n") + "\n")
    }

    /// Tries connections from a node's host, by the hook `knock`.
    pub(crate) async fn knock(
        &self,
        node: &NodeInfo,
        to: &[SocketAddrV4],
        within: Duration,
        emit: Emit<'_>,
    ) -> Vec<Heard> {
        // Several knocks may run on one machine at the same time, so each has its own directory.
        let script = knock::script(to, within);
        let input =
            Some(format!("place=$(mktemp -d) && cd \"$place\" || exit 1\n{script}\ncd / && rm -rf \"$place\"\n"));
        let read = match self.look(&Call { input, ..Call::new("knock", node) }, emit).await {
            Some(ended) => knock::read(&ended.output, to.len())
                .map_err(|error| format!("cannot be tested: hook `knock` for {} {}; {error}", node.node, ended.how)),
            None => Err("cannot be tested: no hook `knock`".to_owned()),
        };
        read.unwrap_or_else(|error| vec![Heard::Other(error); to.len()])
    }

    /// Runs a hook that observes. Records it only if its result has changed.
    async fn look(&self, call: &Call<'_>, emit: Emit<'_>) -> Option<Ended> {
        let ended = self.run(call).await?;
        let now = format!("{}: {}", ended.how, ended.output);
        let before = self.looks.lock().expect("no holder panics").insert((call.node.node, call.hook), now.clone());
        if before != Some(now) {
            emit(hooked(call.hook, call.node.node, &ended));
        }
        Some(ended)
    }

    async fn run(&self, call: &Call<'_>) -> Option<Ended> {
        let Call { hook, node, environment, input } = call;
        let script = self.command(hook)?;
        let within = self.commands.within.map_or(WITHIN, |span| span.0);
        let began = Instant::now();
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .env("SLOTQUAKE_HOOK", hook)
            .env("SLOTQUAKE_NODE", node.node.to_string())
            .env("SLOTQUAKE_HOST", node.addr.ip().to_string())
            .env("SLOTQUAKE_PORT", node.addr.port().to_string())
            .env("SLOTQUAKE_ID", &node.id)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .env_remove(PASSWORD_VARIABLE)
            .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A process group of its own keeps Ctrl-C away from the hook, and allows killing all of its processes.
            .process_group(0)
            .kill_on_drop(true);
        let ended = |status, how: String, output: String| Ended { status, how, took: began.elapsed(), output };
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Some(ended(None, format!("could not be run: {error}"), String::new())),
        };
        let group = child.id();
        let (out, err) = (Gathered::of(child.stdout.take(), usize::MAX), Gathered::of(child.stderr.take(), usize::MAX));
        let stdin = child.stdin.take();
        let result = timeout(within, async {
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                // A hook may ignore its input; its output then shows the result.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
            child.wait().await
        })
        .await;
        let printed = [out.end().await.0, err.end().await.0].concat();
        let output = String::from_utf8_lossy(&printed).trim_end().to_owned();
        Some(match result {
            Ok(Ok(status)) => ended(status.code(), format!("ended with {status}"), output),
            Ok(Err(error)) => ended(None, format!("could not be waited for: {error}"), output),
            Err(_) => {
                if let Some(group) = group {
                    // An error means that the group has ended already.
                    let _ = killpg(Pid::from_raw(group.cast_signed()), Signal::SIGKILL);
                }
                ended(None, format!("did not end within {}", Span(within)), output)
            }
        })
    }
}

fn hooked(hook: &str, node: NodeNo, ended: &Ended) -> EventKind {
    EventKind::Hooked {
        hook: hook.to_owned(),
        node,
        status: ended.status,
        took_ms: ended.took.as_secs_f64() * 1000.0,
        output: ended.output_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn documented_hooks_meet_every_possible_need() {
        let page = include_str!("../../../../docs/attach.md");
        let block = page.split("```").find(|block| block.starts_with("yaml\nstop:")).expect("a file of hooks");
        let folder = tempfile::tempdir().expect("a temporary directory");
        let file = folder.path().join("hooks.yaml");
        std::fs::write(&file, block.trim_start_matches("yaml\n")).expect("a file");
        let hooks = Hooks::read(&file).await.expect("hooks");
        for need in
            [Need::Stop, Need::Kill, Need::Start, Need::Freeze, Need::Isolate, Need::Links, Need::Clocks, Need::Disks]
        {
            assert_eq!(hooks.lacks(need), None, "{need}");
        }
        for (need, expected) in [
            (Need::Impairments, "can only cut links, so they do not allow impairing a link"),
            (Need::Delays, "can only cut links, so they do not allow delaying packets"),
            (Need::Clients, "hooks cannot distinguish them"),
            (Need::PowerLoss, "power can only be cut for servers that slotquake starts"),
        ] {
            assert!(hooks.lacks(need).is_some_and(|why| why.contains(expected)), "{need}");
        }
    }
}
