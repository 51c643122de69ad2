//! The container engine: connecting to it, its capabilities and its images.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid};
use testcontainers::bollard::Docker as Client;
use testcontainers::bollard::errors::Error;
use testcontainers::bollard::models::{ContainerCreateBody, HostConfig};
use testcontainers::bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, InspectContainerOptions, LogsOptions,
    RemoveContainerOptions, StartContainerOptions, WaitContainerOptions,
};
use testcontainers::core::client::{ClientError, docker_client_instance};
use tokio::time::timeout;

use super::collect::{self, Collected};
use super::error::{DockerError, api};
use super::making::Making;
use super::owner::Owner;
use super::processes::Processes;
use super::sidecar::NETFAULT_IMAGE;
use crate::cluster::{EndedProcess, ProcessState, Reach, new_run};
use crate::history::{Exit, ExitSignal};
use crate::plan::Need;
use crate::server::{Asked, Flavour, Server, Version};
use crate::speed::{self, real_span};

/// The time limit for the first answer of an engine.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// Prints the server's program and its version.
const VERSION_SCRIPT: &str = "for program in valkey-server redis-server; do \
    if command -v $program >/dev/null; then echo $program; exec $program --version; fi; done; exit 127";

/// A connection to an engine. Clones share it.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(in crate::cluster) client: Client,
    /// Its name and version.
    pub about: String,
    /// The image of every server, instead of the image that the suite implies.
    pub image: Option<String>,
    /// The image of sidecars.
    pub netfault_image: String,
    /// Whether its containers run on the kernel of this machine, and so have its clocks.
    pub(super) shares_kernel: bool,
    /// Why its containers cannot be reached by their addresses. None if they can.
    far: Option<&'static str>,
    /// Whether nodes are reached by published ports.
    pub(in crate::cluster) by_ports: bool,
    /// Containers that belong to no cluster.
    making: Making,
    processes: Arc<Processes>,
}

impl Engine {
    /// Connects to the engine in `DOCKER_HOST` or in testcontainers' settings, else to the default one.
    pub async fn connect(image: Option<String>, netfault_image: Option<String>) -> Result<Self, DockerError> {
        let client = docker_client_instance().await.map_err(|error| unreachable(&error))?;
        let answer = timeout(real_span(ANSWERS_WITHIN), client.version()).await;
        let version = match answer {
            Err(_) => {
                return Err(DockerError::Absent {
                    at: place(),
                    reason: format!("no answer within {ANSWERS_WITHIN:?}"),
                });
            }
            Ok(Err(error)) => return Err(unreachable(&ClientError::Init(error))),
            Ok(Ok(version)) => version,
        };
        let api_version = version.api_version.unwrap_or_default();
        if number(&api_version) < number("1.41") {
            return Err(DockerError::TooOld { api_version });
        }
        let info = client.info().await.map_err(api("querying the engine"))?;
        let rootless = info.security_options.iter().flatten().any(|option| option.contains("rootless"));
        let other_kernel = has_other_kernel(info.kernel_version.as_deref());
        let (far, shares_kernel) =
            (if rootless { Some("it is rootless") } else { other_kernel }, other_kernel.is_none());
        let about = format!("engine {} (API {api_version})", version.version.unwrap_or_default());
        let netfault_image = netfault_image.unwrap_or_else(|| NETFAULT_IMAGE.to_owned());
        let (by_ports, making) = (far.is_some(), Making::default());
        let processes = Arc::default();
        Ok(Self { client, about, image, netfault_image, shares_kernel, far, by_ports, making, processes })
    }

    /// The same engine, with nodes reached in this way. Fails if their addresses are required and not reachable.
    pub fn reached_by(self, reach: Reach) -> Result<Self, DockerError> {
        let by_ports = match (reach, self.far) {
            (Reach::Address, Some(reason)) => {
                return Err(DockerError::Unreachable { reason: reason.to_owned() });
            }
            (Reach::Address, None) => false,
            (Reach::Auto, far) => far.is_some(),
            (Reach::Ports, _) => true,
        };
        Ok(Self { by_ports, ..self })
    }

    /// The user of containers whose files are this user's on this machine.
    pub(in crate::cluster) fn own_user(&self) -> String {
        // A rootless engine gives the name of root to its user.
        let is_rootless = self.shares_kernel && self.far.is_some();
        if is_rootless { "0:0".to_owned() } else { format!("{}:{}", Uid::effective(), Gid::effective()) }
    }

    /// Removes what dead harnesses left.
    pub async fn collect_dead(&self) -> Result<Collected, DockerError> {
        collect::dead(&self.client).await.map_err(api("looking for what dead runs left"))
    }

    /// Removes what a run created.
    pub(in crate::cluster) async fn collect_run(&self, run: &str) -> Result<Collected, DockerError> {
        collect::run(&self.client, run).await.map_err(api(format!("removing what run {run} created")))
    }

    /// Removes what this process left.
    pub async fn collect_own(&self) -> Result<Collected, DockerError> {
        let _nothing_is_made = self.making.ended().await;
        collect::own(&self.client).await.map_err(api("looking for what this process left"))
    }

    /// The server in the image that a suite implies. Pulls the image if it is missing. `notice` receives a line for
    /// each slow step.
    pub async fn server(&self, asked: &str, notice: &dyn Fn(&str)) -> Result<Server, DockerError> {
        let image = self.image_of(asked)?;
        self.have(&image, notice).await?;
        let (own, its) = (self.clone(), image.clone());
        let (program, version) = self.making.to_its_end(Box::pin(async move { own.version_of(&its).await })).await?;
        if let (None, Ok(Asked::Version(wanted))) = (&self.image, asked.parse())
            && !wanted.accepts(version)
        {
            return Err(DockerError::Image {
                image,
                reason: format!("it contains {version}, but {wanted} was requested"),
            });
        }
        let server = Server {
            asked: self.image.clone().unwrap_or_else(|| asked.to_owned()),
            version,
            path: PathBuf::from(program),
            origin: format!("image {image}"),
            library_path: None,
        };
        let speed = speed::current();
        if !speed.is_real()
            && let Some(why) = self.library_obstacle(&server, Need::Clocks).await
        {
            return Err(DockerError::Speed { speed, reason: why });
        }
        Ok(server)
    }

    /// The image of every server that the user gave, instead of those that suites imply.
    pub fn given_image(&self) -> Option<&str> {
        self.image.as_deref()
    }

    /// The image of a suite's server: the official one, unless the user gave another.
    pub(in crate::cluster) fn image_of(&self, asked: &str) -> Result<String, DockerError> {
        match &self.image {
            Some(image) => Ok(image.clone()),
            None => official_image(asked),
        }
    }

    /// Why network faults cannot be imposed, with a hint.
    pub async fn network_obstacle(&self) -> Option<String> {
        match self.client.inspect_image(&self.netfault_image).await {
            Ok(_) => None,
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Some(format!(
                "no image `{}` for network faults in containers (hint: `docker build -t {NETFAULT_IMAGE} -f \
                 docker/netfault.Dockerfile docker`, or name another with --netfault-image)",
                self.netfault_image
            )),
            Err(error) => Some(format!("image `{}`: {error}", self.netfault_image)),
        }
    }

    /// Why network faults cannot distinguish clients, with a hint.
    pub fn clients_obstacle(&self) -> Option<String> {
        let hint = match self.far {
            Some(reason) => {
                format!("the engine's containers cannot be reached by address: {reason}; use `--backend local`")
            }
            None => "use `--reach address`".to_owned(),
        };
        self.by_ports.then(|| format!("clients of containers with published ports share one address (hint: {hint})"))
    }

    /// Why a node cannot be given another address, with a hint.
    pub fn addresses_obstacle(&self) -> Option<String> {
        self.by_ports.then(|| {
            "nodes that are reached by published ports keep their addresses (hint: use `--reach address` or `--backend \
             local`)"
                .to_owned()
        })
    }

    async fn have(&self, image: &str, notice: &dyn Fn(&str)) -> Result<(), DockerError> {
        match self.client.inspect_image(image).await {
            Ok(_) => return Ok(()),
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => {}
            Err(error) => return Err(api(format!("looking for image {image}"))(error)),
        }
        notice(&format!("pulling image {image}"));
        let options = CreateImageOptionsBuilder::default().from_image(image).build();
        let mut pulling = Box::pin(self.client.create_image(Some(options), None, None));
        while let Some(progress) = pulling.next().await {
            progress.map_err(|error| DockerError::NoImage { image: image.to_owned(), reason: error.to_string() })?;
        }
        Ok(())
    }

    /// Runs the server of an image in a container to get its version.
    async fn version_of(&self, image: &str) -> Result<(String, Version), DockerError> {
        let run = new_run();
        let name = format!("slotquake-{run}-version");
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(vec!["sh".to_owned(), "-c".to_owned(), VERSION_SCRIPT.to_owned()]),
            cmd: Some(Vec::new()),
            labels: Some(Owner::this_process().labels(&run)),
            host_config: Some(HostConfig { network_mode: Some("none".to_owned()), ..Default::default() }),
            ..Default::default()
        };
        let printed =
            self.printed_by(&name, body).await.map_err(api(format!("getting the version of image {image}")))?;
        let (program, banner) = printed.split_once('\n').unwrap_or((&printed, ""));
        match Version::from_banner(banner) {
            Some(version) => Ok((program.trim().to_owned(), version)),
            None => Err(DockerError::Image {
                image: image.to_owned(),
                reason: format!("it contains neither a Redis nor a Valkey server; its output is `{}`", printed.trim()),
            }),
        }
    }

    /// What a container prints, which is removed then.
    pub(super) async fn printed_by(&self, name: &str, body: ContainerCreateBody) -> Result<String, Error> {
        let printed = self.printed(name, body).await;
        let force = RemoveContainerOptions { force: true, v: true, ..Default::default() };
        // The next run removes what this leaves.
        let _ = self.client.remove_container(name, Some(force)).await;
        printed
    }

    async fn printed(&self, name: &str, body: ContainerCreateBody) -> Result<String, Error> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        self.client.create_container(Some(options), body).await?;
        self.client.start_container(name, None::<StartContainerOptions>).await?;
        let mut ends = Box::pin(self.client.wait_container(name, None::<WaitContainerOptions>));
        // bollard makes an error of the exit status, but the output is more useful.
        while ends.next().await.is_some() {}
        self.logs(name, "all", 0).await
    }

    /// The state of a container's process.
    pub(in crate::cluster) async fn state(&self, container: &str) -> ProcessState {
        let inspected = self.client.inspect_container(container, None::<InspectContainerOptions>).await;
        let state = match inspected {
            Ok(container) => container.state.unwrap_or_default(),
            Err(error @ Error::DockerResponseServerError { status_code: 404, .. }) => {
                return ProcessState::Gone { how: error.to_string() };
            }
            Err(error) => return ProcessState::Unknown { how: error.to_string() },
        };
        let pid = state.pid.unwrap_or_default() as u32;
        match (state.paused, state.running) {
            (Some(true), _) => ProcessState::paused(pid),
            (_, Some(true)) => ProcessState::running(pid),
            _ => {
                let memory = if state.oom_killed == Some(true) { ", out of memory" } else { "" };
                let error =
                    state.error.filter(|error| !error.is_empty()).map_or_else(String::new, |text| format!(", {text}"));
                ProcessState::Gone { how: format!("exit code {}{memory}{error}", state.exit_code.unwrap_or_default()) }
            }
        }
    }

    /// The process of a container on this machine, and for how long it has waited for a processor, in real time; None if that
    /// is not known.
    pub(in crate::cluster) async fn waited(&self, container: &str) -> Option<(u32, Duration)> {
        if self.shares_kernel { self.processes.waited(&self.client, container).await } else { None }
    }

    /// How a container ended; None if it runs or never ran, or if the engine does not answer.
    pub(in crate::cluster) async fn ended(&self, container: &str) -> Option<EndedProcess> {
        let inspected = self.client.inspect_container(container, None::<InspectContainerOptions>).await;
        let state = inspected.ok()?.state?;
        let code = state.exit_code.filter(|_| state.running == Some(false))?;
        // The engine writes the year 1 where a container has never ended.
        let which = state.finished_at.filter(|at| !at.starts_with("0001"))?;
        let memory = if state.oom_killed == Some(true) { ", out of memory" } else { "" };
        // The engine adds 128 to the number of a signal, as shells do.
        let signal = i32::try_from(code - 128).ok().and_then(|number| Signal::try_from(number).ok());
        let exit = Exit {
            how: format!("exit code {code}{memory}"),
            signal: signal.map(|signal| ExitSignal { number: signal as i32, name: signal.as_str().to_owned() }),
            status: if signal.is_some() { None } else { i32::try_from(code).ok() },
        };
        Some(EndedProcess { which, exit })
    }

    /// The output of a container from `since` on, in seconds since 1970: its last `tail` lines, or `all`.
    pub(in crate::cluster) async fn logs(&self, container: &str, tail: &str, since: i32) -> Result<String, Error> {
        let options = LogsOptions { stdout: true, stderr: true, tail: tail.to_owned(), since, ..Default::default() };
        let mut output = Box::pin(self.client.logs(container, Some(options)));
        let mut bytes = Vec::new();
        while let Some(part) = output.next().await {
            bytes.extend_from_slice(&part?.into_bytes());
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The image of a server: the official one of a version.
fn official_image(asked: &str) -> Result<String, DockerError> {
    match asked.parse() {
        Ok(Asked::Version(wanted)) => Ok(match wanted.flavour {
            Flavour::Redis => wanted.to_string(),
            Flavour::Valkey => format!("valkey/{wanted}"),
        }),
        // The name of any other image, which always has a tag here: without one it would be a path.
        Ok(Asked::Path(_)) if is_image(asked) => Ok(asked.to_owned()),
        Ok(Asked::Path(_)) => Err(DockerError::Asked {
            asked: asked.to_owned(),
            reason: "images do not contain binaries of this machine".to_owned(),
        }),
        Err(error) => Err(DockerError::Asked { asked: asked.to_owned(), reason: error.to_string() }),
    }
}

fn is_image(asked: &str) -> bool {
    !asked.starts_with(['/', '.', '~']) && asked.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

/// Why the engine is not on this machine: another kernel means a virtual machine or a remote host.
fn has_other_kernel(kernel: Option<&str>) -> Option<&'static str> {
    let own = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    match (kernel, own.as_deref()) {
        (Some(kernel), Some(own)) if kernel == own.trim() => None,
        _ => Some("it does not run on this machine's own kernel"),
    }
}

fn number(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// No engine answers, or it denies access.
fn unreachable(error: &ClientError) -> DockerError {
    let reason = match error {
        // Its `source` lacks the system's error.
        ClientError::Init(error) => chain(error),
        error => chain(error),
    };
    if reason.contains("ermission denied") {
        return DockerError::NotPermitted { reason };
    }
    // What the libraries call themselves tells nobody anything.
    let reason = reason.trim_start_matches("Error in the hyper legacy client: client error (Connect): ").to_owned();
    DockerError::Absent { at: place(), reason }
}

/// Where the engine was looked for, if the user said so: errors of a connection do not say it.
fn place() -> String {
    std::env::var("DOCKER_HOST").map_or_else(|_| String::new(), |host| format!(" at {host}"))
}

/// An error with its causes: the outermost alone is often vague.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

/// Labels in the engine's format.
pub(in crate::cluster) type Labels = HashMap<String, String>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_come_from_the_official_images() {
        for (asked, expected) in [
            ("redis:6.2", Ok("redis:6.2")),
            ("redis:7.2.4", Ok("redis:7.2.4")),
            ("valkey:9.1", Ok("valkey/valkey:9.1")),
            ("/usr/bin/redis-server", Err("do not contain binaries")),
            ("radis:6.2", Err("unknown server \"radis:6.2\"")),
        ] {
            match (official_image(asked), expected) {
                (Ok(image), Ok(expected)) => assert_eq!(image, expected),
                (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
                (found, _) => panic!("{asked}: {found:?}"),
            }
        }
    }

    #[test]
    fn compares_api_versions_by_number() {
        assert!(number("1.9") < number("1.41"));
        assert!(number("2.0") > number("1.41"));
    }
}
