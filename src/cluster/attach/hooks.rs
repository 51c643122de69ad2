//! Hooks: shell commands of the user's that stop, start, freeze and look at servers, by whatever means: ssh,
//! systemctl, kubectl, a cloud's tool.
//!
//! A hook is run by `sh -c` and told by its environment what to do: `SLOTQUAKE_HOOK` (its name), `SLOTQUAKE_NODE`
//! (`node-1`), `SLOTQUAKE_HOST`, `SLOTQUAKE_PORT`, `SLOTQUAKE_ID` (the 40 hexadecimal digits). It has done its part
//! when it ends with status 0; `state` prints `running`, `paused` or `gone` first, `log` the server's log. What a hook
//! says it did is believed only after a look from outside.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::error::AttachError;
use crate::cluster::ProcessState;
use crate::history::{EventKind, NodeInfo};
use crate::plan::Need;
use crate::suite;
use crate::units::Span;

/// How long a hook may take where the file says nothing else.
const WITHIN: Duration = Duration::from_secs(30);

/// What a hook leaves running may hold its output open; what it printed is read for so long after its end.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// As much of a hook's output is kept: its end.
const OUTPUT_MAX: usize = 4096;

/// The variable with the password, which hooks are not given.
pub const PASSWORD_VARIABLE: &str = "SLOTQUAKE_PASSWORD";

/// The hooks of a file.
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
    /// How long each may take.
    within: Option<Span>,
}

/// Shell commands by what they are for.
#[derive(Debug)]
pub struct Hooks {
    commands: Commands,
    file: PathBuf,
}

/// How a hook ended.
struct Ended {
    /// None where it was ended by a signal, or was not done in time.
    status: Option<i32>,
    how: String,
    took: Duration,
    output: String,
}

impl Hooks {
    /// Reads a YAML file: names of hooks, and their commands.
    pub async fn read(file: &Path) -> Result<Self, AttachError> {
        let wrong = |error: String| AttachError::Hooks(format!("hooks: {error}"));
        let text = tokio::fs::read_to_string(file)
            .await
            .map_err(|error| wrong(format!("cannot read `{}`: {error}", file.display())))?;
        let commands = suite::read_yaml(&text, file).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { commands, file: file.to_owned() })
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
            _ => &None,
        }
        .as_deref()
    }

    /// Why a need is not met.
    pub(super) fn lacks(&self, need: Need) -> Option<String> {
        let wanted: &[&str] = match need {
            // What is stopped has to be started again, if only at the end.
            Need::Stop => &["stop", "start"],
            Need::Kill => &["kill", "start"],
            Need::Start => &["start"],
            Need::Freeze => &["pause", "resume"],
            Need::Isolate | Need::Links | Need::Delays | Need::Clients => {
                return Some("hooks cannot cut links yet (hint: --backend local or docker)".to_owned());
            }
        };
        let missing = wanted.iter().find(|hook| self.command(hook).is_none())?;
        Some(format!("there is no hook `{missing}` in `{}`", self.file.display()))
    }

    /// Runs the hook of that name for a node.
    pub(super) async fn act(
        &self,
        hook: &'static str,
        node: &NodeInfo,
        tell: &(dyn Fn(EventKind) + Sync),
    ) -> Result<(), AttachError> {
        let ended = self.run(hook, node).await.ok_or(AttachError::NoWay { what: hook })?;
        tell(EventKind::Hooked {
            hook: hook.to_owned(),
            node: node.node,
            status: ended.status,
            took_ms: ended.took.as_secs_f64() * 1000.0,
            output: ended.output.clone(),
        });
        if ended.status == Some(0) {
            return Ok(());
        }
        let output = if ended.output.is_empty() { "nothing".to_owned() } else { ended.output };
        Err(AttachError::Hook { hook, on: format!("for {}: ", node.node), reason: ended.how, output })
    }

    /// What the hook `state` says; None where there is none.
    pub(super) async fn state(&self, node: &NodeInfo) -> Option<ProcessState> {
        let ended = self.run("state", node).await?;
        let how = format!("hook `state` says `{}`", ended.output.trim());
        Some(match ended.output.split_ascii_whitespace().next().filter(|_| ended.status == Some(0)) {
            Some("running") => ProcessState::Running { how },
            Some("paused") => ProcessState::Paused { how },
            Some("gone") => ProcessState::Gone { how },
            // Nothing is proven by a hook that does not do its part; a server is taken to run until it is known not to.
            _ => ProcessState::Running { how: format!("{how} and {}, which tells nothing", ended.how) },
        })
    }

    /// What the hook `log` prints; None where there is none.
    pub(super) async fn log(&self, node: &NodeInfo, lines: Option<usize>) -> Option<String> {
        let ended = self.run("log", node).await.filter(|ended| ended.status == Some(0))?;
        let all: Vec<&str> = ended.output.lines().collect();
        let first = lines.map_or(0, |lines| all.len().saturating_sub(lines));
        Some(all[first..].join("\n") + "\n")
    }

    async fn run(&self, hook: &str, node: &NodeInfo) -> Option<Ended> {
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
            .env_remove(PASSWORD_VARIABLE)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // So that a terminal's Ctrl-C does not reach it, and all of it can be ended.
            .process_group(0)
            .kill_on_drop(true);
        let ended = |status, how: String, output: String| Ended { status, how, took: began.elapsed(), output };
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return Some(ended(None, format!("could not be run: {error}"), String::new())),
        };
        let group = child.id();
        let limit = if hook == "log" { usize::MAX } else { OUTPUT_MAX };
        let (out, err) = (Output::of(child.stdout.take()), Output::of(child.stderr.take()));
        let result = timeout(within, child.wait()).await;
        let output = [out.end().await, err.end().await].concat();
        let from = output.len().saturating_sub(limit);
        let output = String::from_utf8_lossy(&output[from..]).trim_end().to_owned();
        Some(match result {
            Ok(Ok(status)) => ended(status.code(), format!("ended with {status}"), output),
            Ok(Err(error)) => ended(None, format!("could not be waited for: {error}"), output),
            Err(_) => {
                if let Some(group) = group {
                    // Already gone is as good.
                    let _ = killpg(Pid::from_raw(group.cast_signed()), Signal::SIGKILL);
                }
                ended(None, format!("had not ended within {}", Span(within)), output)
            }
        })
    }
}

/// What a stream gives, gathered while it does.
struct Output {
    bytes: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
    reading: tokio::task::JoinHandle<()>,
}

impl Output {
    fn of<R: AsyncRead + Unpin + Send + 'static>(stream: Option<R>) -> Self {
        let bytes = std::sync::Arc::<std::sync::Mutex<Vec<u8>>>::default();
        let gathered = std::sync::Arc::clone(&bytes);
        let reading = tokio::spawn(async move {
            let Some(mut stream) = stream else { return };
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut part).await {
                gathered.lock().expect("no holder panics").extend_from_slice(&part[..length]);
            }
        });
        Self { bytes, reading }
    }

    async fn end(mut self) -> Vec<u8> {
        let _ = timeout(LAST_WORDS, &mut self.reading).await;
        self.reading.abort();
        std::mem::take(&mut *self.bytes.lock().expect("no holder panics"))
    }
}
