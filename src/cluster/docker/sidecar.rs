//! A shell with `NET_ADMIN` in another container's network (or the host's): it applies rules, reads their
//! counters and tries connections there. It reads its commands from our connection, so it ends, and is
//! removed by the engine, when the harness ends, however that comes; the rules go before it does.

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
use crate::network::knock::Heard;
use crate::network::rules::TABLE;

/// The image that `docker/netfault.Dockerfile` builds.
pub const NETFAULT_IMAGE: &str = "slotquake-netfault:1";

/// A script that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// The shell.
pub struct Sidecar {
    name: String,
    shell: Mutex<Shell>,
}

struct Shell {
    input: Pin<Box<dyn AsyncWrite + Send>>,
    output: Pin<Box<dyn futures_util::Stream<Item = Result<LogOutput, testcontainers::bollard::errors::Error>> + Send>>,
    /// What was read and not yet used.
    rest: Vec<u8>,
    scripts: u64,
}

impl std::fmt::Debug for Sidecar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sidecar").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Sidecar {
    /// Starts one in the network of a container, `container:ID`, or in the `host`'s.
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

    /// Runs a script in a shell of its own to its end and returns what it printed; the error says what it
    /// printed if it failed.
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

    /// Gives nft commands to carry out.
    pub async fn nft(&self, commands: &str) -> Result<(), DockerError> {
        self.run(&format!("nft -f - <<'SLOTQUAKE'\n{commands}SLOTQUAKE\n")).await.map(drop)
    }

    /// Tries connections from here, all at once.
    pub async fn knock(&self, to: &[SocketAddrV4], within: Duration) -> Result<Vec<Heard>, DockerError> {
        read_knocks(&self.run(&knock_script(to, within)).await?, to.len())
            .map_err(|reason| DockerError::Sidecar { name: self.name.clone(), reason })
    }
}

impl Shell {
    /// Lines of an earlier script, whose caller went away, are passed over: each is marked by number.
    async fn run(&mut self, script: &str) -> Result<(i64, String), String> {
        self.scripts += 1;
        let (begins, ends) =
            (format!("slotquake-begins-{}", self.scripts), format!("slotquake-ends-{} ", self.scripts));
        // Output that lacks its last newline must not swallow the mark.
        let text = format!("echo {begins}; (\n{script}\n) 2>&1; status=$?; echo; echo \"{ends}$status\"\n");
        self.input.write_all(text.as_bytes()).await.map_err(|error| error.to_string())?;
        self.input.flush().await.map_err(|error| error.to_string())?;
        let mut printed: Option<String> = None;
        loop {
            let line = self.line().await?;
            if let Some(status) = line.strip_prefix(&ends) {
                let status = status.trim().parse().map_err(|_| format!("an unreadable status `{status}`"))?;
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

/// The connections are tried by forks of the shell, so that no program has to start within the time. What each
/// came to is in a file of its own, which stays empty for one that is still being tried when time is up.
fn knock_script(to: &[SocketAddrV4], within: Duration) -> String {
    let mut script = "try() { exec 2>/tmp/knock-$1; exec 3<>/dev/tcp/$2/$3 && echo open >&2; }\ntried=\n".to_owned();
    for (number, addr) in to.iter().enumerate() {
        writeln!(script, "try {number} {} {} & tried=\"$tried $!\"", addr.ip(), addr.port())
            .expect("a string takes text");
    }
    let (within, last) = (within.as_secs_f64(), to.len().saturating_sub(1));
    write!(
        script,
        "(sleep {within}; kill $tried) 2>/dev/null & timer=$!\nwait $tried 2>/dev/null\nkill $timer 2>/dev/null\n\
         for ((number = 0; number <= {last}; number++)); do echo knock $number $(</tmp/knock-$number); done"
    )
    .expect("a string takes text");
    script
}

fn read_knocks(printed: &str, count: usize) -> Result<Vec<Heard>, String> {
    let mut heard = vec![None; count];
    for line in printed.lines().filter_map(|line| line.strip_prefix("knock ")) {
        let (number, said) = line.split_once(' ').unwrap_or((line, ""));
        if let Some(slot) = number.parse().ok().and_then(|number: usize| heard.get_mut(number)) {
            *slot = Some(match said {
                "" => Heard::Silence,
                "open" => Heard::Open,
                said if said.contains("Connection refused") => Heard::Refused,
                said => Heard::Other(said.to_owned()),
            });
        }
    }
    let all: Option<Vec<Heard>> = heard.into_iter().collect();
    all.ok_or_else(|| format!("connections tried said: {printed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_connections_came_to_is_read_by_number() {
        let printed = "knock 2\nknock 0 open\nknock 1 bash: connect: Connection refused\nknock 3 bash: No route\n";
        let expected = [Heard::Open, Heard::Refused, Heard::Silence, Heard::Other("bash: No route".to_owned())];
        assert_eq!(read_knocks(printed, 4).unwrap(), expected);
        assert!(read_knocks(printed, 5).is_err(), "one is missing");
        assert!(read_knocks("sh: bash: not found\n", 1).unwrap_err().contains("not found"));
    }
}
