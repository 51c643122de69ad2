//! A shell with `NET_ADMIN` in another container's network (or the host's): it applies rules, reads their counters and
//! tries connections there. It reads its commands from the harness's connection. When the harness ends for any reason, the
//! sidecar removes the rules and ends, and the engine removes it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddrV4;
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use testcontainers::bollard::Docker;
use testcontainers::bollard::container::{AttachContainerResults, LogOutput};
use testcontainers::bollard::models::{ContainerCreateBody, HostConfig};
use testcontainers::bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptionsBuilder, StartContainerOptions,
};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::error::{DockerError, api};
use crate::network::knock::{self, Heard};
use crate::network::rules::TABLE;

/// The image that `docker/netfault.Dockerfile` builds.
pub const NETFAULT_IMAGE: &str = "slotquake-netfault:1";

/// The time limit of a script.
const PATIENCE: Duration = Duration::from_secs(20);

/// The shell.
pub struct Sidecar {
    name: String,
    shell: Mutex<Shell>,
}

struct Shell {
    input: Pin<Box<dyn AsyncWrite + Send>>,
    output: Pin<Box<dyn futures_util::Stream<Item = Result<LogOutput, testcontainers::bollard::errors::Error>> + Send>>,
    /// Output that was read but not yet used.
    rest: Vec<u8>,
    scripts: u64,
}

impl std::fmt::Debug for Sidecar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sidecar").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Sidecar {
    /// Starts a sidecar in the network of a container, `container:ID`, or in the network of the `host`.
    pub async fn start(
        docker: &Docker,
        image: &str,
        name: &str,
        network: &str,
        labels: HashMap<String, String>,
    ) -> Result<Self, DockerError> {
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(vec!["bash".to_owned()]),
            cmd: Some(vec!["-c".to_owned(), format!("bash; nft delete table inet {TABLE} 2>/dev/null")]),
            user: Some("0".to_owned()),
            labels: Some(labels),
            open_stdin: Some(true),
            stdin_once: Some(true),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            host_config: Some(HostConfig {
                network_mode: Some(network.to_owned()),
                cap_drop: Some(vec!["ALL".to_owned()]),
                cap_add: Some(vec!["NET_ADMIN".to_owned()]),
                auto_remove: Some(true),
                ..Default::default()
            }),
            ..Default::default()
        };
        let what = || format!("sidecar {name} from image {image}");
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        docker.create_container(Some(options), body).await.map_err(api(what()))?;
        let streams =
            AttachContainerOptions { stream: true, stdin: true, stdout: true, stderr: true, ..Default::default() };
        let AttachContainerResults { output, input } =
            docker.attach_container(name, Some(streams)).await.map_err(api(what()))?;
        docker.start_container(name, None::<StartContainerOptions>).await.map_err(api(what()))?;
        let shell = Shell { input, output, rest: Vec::new(), scripts: 0 };
        let sidecar = Self { name: name.to_owned(), shell: Mutex::new(shell) };
        sidecar.run("exit 0").await?;
        Ok(sidecar)
    }

    /// Runs a script in a new shell and returns its output. The error contains the output too.
    pub async fn run(&self, script: &str) -> Result<String, DockerError> {
        let mut shell = self.shell.lock().await;
        let failed = |reason: String| DockerError::Sidecar { name: self.name.clone(), reason };
        match timeout(PATIENCE, shell.run(script)).await {
            Err(_) => Err(failed(format!("a script has not ended within {PATIENCE:?}"))),
            Ok(Err(reason)) => Err(failed(reason)),
            Ok(Ok((0, text))) => Ok(text),
            Ok(Ok((status, text))) => Err(failed(format!("ended with status {status}: {}", text.trim()))),
        }
    }

    /// Runs nft commands.
    pub async fn nft(&self, commands: &str) -> Result<(), DockerError> {
        self.run(&format!("nft -f - <<'SLOTQUAKE'\n{commands}SLOTQUAKE\n")).await.map(drop)
    }

    /// Tries all connections at once.
    pub async fn knock(&self, to: &[SocketAddrV4], within: Duration) -> Result<Vec<Heard>, DockerError> {
        let script = format!("cd /tmp\n{}", knock::script(to, within));
        knock::read(&self.run(&script).await?, to.len())
            .map_err(|reason| DockerError::Sidecar { name: self.name.clone(), reason })
    }
}

impl Shell {
    /// Skips lines of an earlier script whose caller stopped waiting: numbered lines mark the output of each script.
    async fn run(&mut self, script: &str) -> Result<(i64, String), String> {
        self.scripts += 1;
        let (begins, ends) =
            (format!("slotquake-begins-{}", self.scripts), format!("slotquake-ends-{} ", self.scripts));
        // The output may lack its last newline.
        let text = format!("echo {begins}; (\n{script}\n) 2>&1; status=$?; echo; echo \"{ends}$status\"\n");
        self.input.write_all(text.as_bytes()).await.map_err(|error| error.to_string())?;
        self.input.flush().await.map_err(|error| error.to_string())?;
        let mut printed: Option<String> = None;
        loop {
            let line = self.line().await?;
            if let Some(status) = line.strip_prefix(&ends) {
                let status = status.trim().parse().map_err(|_| format!("invalid status `{status}`"))?;
                return Ok((status, printed.unwrap_or_default()));
            }
            if line.trim_end() == begins {
                printed = Some(String::new());
            } else if let Some(printed) = &mut printed {
                writeln!(printed, "{line}").expect("a string takes text");
            }
        }
    }

    async fn line(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            match self.output.next().await {
                Some(Ok(part)) => self.rest.extend_from_slice(&part.into_bytes()),
                Some(Err(error)) => return Err(error.to_string()),
                None => return Err("it has ended".to_owned()),
            }
        }
    }
}
