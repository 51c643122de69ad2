//! Checks what this machine supports: servers, addresses, Docker, packet filters, namespaces, open files. For
//! everything that is missing it gives the reason and a hint.
//!
//! Each probe uses the feature itself where that is harmless (binds an address, loads rules in a sandbox that
//! ends with the probe), because an installed program may still not work.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::network::nft::Nft;
use crate::network::{Network, netem};
use crate::sandbox::{self, SandboxError};
use crate::server::{Entry, Finder, ServerError};
use crate::subprocess::{self, last_line};

/// How long one probe may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A number of open files that is enough for a run of six nodes with its clients.
const ENOUGH_FILES: u64 = 4096;

/// One thing that a run may need of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capability {
    /// Its name, such as `server redis:6.2` or `docker`.
    pub name: String,
    /// Whether it is available.
    pub state: State,
    /// What the probe found, as text.
    pub detail: String,
    /// How to fix it, where something is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Whether a capability is available.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Available and working.
    Ok,
    /// Partly available: `detail` says what works and what does not.
    Limited,
    /// Not available.
    Missing,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Limited => "limited",
            Self::Missing => "missing",
        })
    }
}

impl Capability {
    fn new(name: &str, state: State, detail: impl Into<String>, hint: Option<&str>) -> Self {
        Self { name: name.to_owned(), state, detail: detail.into(), hint: hint.map(str::to_owned) }
    }
}

/// Probes everything. Downloads nothing and leaves nothing behind; may take a few seconds. Only a process with
/// one thread can probe what needs the sandbox.
pub fn examine() -> Vec<Capability> {
    let finder = Finder::from_environment();
    let mut found: Vec<Capability> = finder.catalogue.iter().map(|entry| server(&finder, entry)).collect();
    found.extend([addresses(), docker()]);
    found.extend(isolation());
    found.extend([speed(), open_files()]);
    found
}

fn server(finder: &Finder, entry: &Entry) -> Capability {
    let name = format!("server {}", entry.name());
    let installed = finder.installed(entry.wanted());
    let broken = appended(&installed.broken);
    if let Some(server) = installed.server {
        let state = if broken.is_empty() { State::Ok } else { State::Limited };
        let detail = format!("{} ({}, {}){broken}", server.version, server.origin, server.path.display());
        return Capability::new(&name, state, detail, None);
    }
    match finder.preview(entry) {
        Ok(words) => Capability::new(&name, State::Ok, format!("can be fetched: {words}{broken}"), None),
        Err(ServerError::Fetch { reason, hint, .. }) => {
            Capability::new(&name, State::Missing, format!("{reason}{broken}"), Some(&hint))
        }
        Err(error) => Capability::new(&name, State::Missing, format!("{error}{broken}"), None),
    }
}

/// The lines as text to append to a sentence.
fn appended(lines: &[String]) -> String {
    lines.iter().flat_map(|line| ["; ", line]).collect()
}

/// Whether each node can have an address of its own.
fn addresses() -> Capability {
    const NAME: &str = "addresses";
    let refused = (1..=6).map(|node| Ipv4Addr::new(127, 77, 0, node)).find_map(|address| {
        let error = TcpListener::bind((address, 0)).err()?;
        Some(format!("{address}: {error}"))
    });
    match refused {
        None => Capability::new(NAME, State::Ok, "each node can have its own address 127.k.0.n", None),
        Some(refused) => Capability::new(
            NAME,
            State::Limited,
            format!("{refused}; nodes share 127.0.0.1 with a port each"),
            Some("Linux answers on all of 127.0.0.0/8; on other systems add aliases to the loopback interface"),
        ),
    }
}

/// Whether programs can live faster than in real time.
fn speed() -> Capability {
    const NAME: &str = "speed";
    match crate::speed::probe() {
        Ok(()) => {
            Capability::new(NAME, State::Ok, "`--speed` works: the clocks of other programs can be dilated", None)
        }
        Err(why) => Capability::new(NAME, State::Missing, why, Some("run suites without `--speed`")),
    }
}

/// Whether Docker's engine answers a request.
fn docker() -> Capability {
    const NAME: &str = "docker";
    let host = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    let endpoint = host.clone().unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
    match engine_version(&endpoint) {
        Ok(version) => Capability::new(NAME, State::Ok, format!("Engine {version} at {endpoint}"), None),
        Err(error) => {
            // The docker command also supports contexts and endpoints with TLS or ssh.
            let command = run("docker", &["version", "--format", "{{.Server.Version}}"]);
            if let Some(output) = command.filter(|output| output.status.success()) {
                let version = last_line(&output.stdout);
                let detail = format!("the docker command reaches Engine {version}, but {endpoint} does not: {error}");
                return Capability::new(NAME, State::Limited, detail, Some("set DOCKER_HOST to the engine's socket"));
            }
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => "join the group that owns the socket (`docker` on most systems)",
                _ if host.is_some() => "check that DOCKER_HOST is right and that the engine is running",
                _ => "install Docker and start it, or set DOCKER_HOST",
            };
            Capability::new(NAME, State::Missing, format!("{endpoint}: {error}"), Some(hint))
        }
    }
}

/// Asks an engine for its version. With HTTP 1.0 the engine closes the connection after its answer.
fn engine_version(endpoint: &str) -> io::Result<String> {
    const REQUEST: &[u8] = b"GET /version HTTP/1.0\r\nHost: docker\r\n\r\n";
    let mut answer = Vec::new();
    if let Some(path) = endpoint.strip_prefix("unix://") {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(REQUEST)?;
        stream.read_to_end(&mut answer)?;
    } else if let Some(address) = endpoint.strip_prefix("tcp://") {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let address = address.to_socket_addrs()?.next().ok_or_else(unknown)?;
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(REQUEST)?;
        stream.read_to_end(&mut answer)?;
    } else {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "only unix:// and tcp:// endpoints can be probed directly",
        ));
    }
    version_in_answer(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer does not come from Docker's engine"))
}

fn version_in_answer(answer: &str) -> Option<String> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    if head.split_ascii_whitespace().nth(1) != Some("200") {
        return None;
    }
    let body: serde_json::Value = serde_json::from_str(body.trim()).ok()?;
    let text = |name: &str| body.get(name).and_then(serde_json::Value::as_str);
    Some(format!("{} (API {})", text("Version")?, text("ApiVersion")?))
}

/// Probes what network faults need (namespaces, nft, netem) in a sandbox.
fn isolation() -> [Capability; 3] {
    let trial = sandbox::visit(|inside| {
        let tried = Tried {
            nft: Network::open(inside).map(|_| ()).map_err(|error| error.to_string()),
            netem: netem::detect(inside).map_err(|error| error.to_string()),
        };
        serde_json::to_string(&tried).expect("texts")
    });
    let tried = trial.as_ref().ok().and_then(|text| serde_json::from_str(text).ok());
    let namespaces = match trial {
        Ok(_) => Capability::new(NAMESPACES, State::Ok, "private user, network, PID and mount namespaces", None),
        Err(SandboxError::Refused { reason, hint }) => Capability::new(NAMESPACES, State::Missing, reason, Some(&hint)),
        Err(error @ SandboxError::Threads(_)) => {
            Capability::new(NAMESPACES, State::Limited, format!("not tried: {error}"), None)
        }
    };
    let nft = Nft::find().map(|nft| nft.program().to_owned()).map_err(|error| error.to_string());
    let tc = subprocess::locate("tc").ok_or_else(|| netem::Unavailable::NoTc.to_string());
    let tried: Option<Tried> = tried;
    let (nft_tried, netem_tried) = tried.map(|tried| (tried.nft, tried.netem)).unzip();
    [
        namespaces,
        judge_tool("nft", "loads rules", nft, nft_tried),
        judge_tool("netem", "delays packets", tc, netem_tried),
    ]
}

const NAMESPACES: &str = "namespaces";

/// The results of the probes in the sandbox. An error is a reason with its hint.
#[derive(Serialize, Deserialize)]
struct Tried {
    nft: Result<(), String>,
    netem: Result<(), String>,
}

/// Judges a tool by whether it was found and whether it worked in the sandbox.
fn judge_tool(
    name: &str,
    does: &str,
    program: Result<PathBuf, String>,
    tried: Option<Result<(), String>>,
) -> Capability {
    let missing = |error: String| {
        let (reason, hint) = split_hint(&error);
        Capability::new(name, State::Missing, reason, hint)
    };
    match (program, tried) {
        (Err(error), _) | (Ok(_), Some(Err(error))) => missing(error),
        (Ok(program), Some(Ok(()))) => {
            Capability::new(name, State::Ok, format!("{} {does} in the sandbox", program.display()), None)
        }
        (Ok(program), None) => {
            let detail = format!("{} is installed, but was not tried because there is no sandbox", program.display());
            Capability::new(name, State::Limited, detail, Some("see `namespaces`"))
        }
    }
}

/// Splits a message into the text before its hint, and the hint.
fn split_hint(message: &str) -> (&str, Option<&str>) {
    match message.strip_suffix(')').and_then(|message| message.split_once(" (hint: ")) {
        Some((reason, hint)) => (reason, Some(hint)),
        None => (message, None),
    }
}

fn open_files() -> Capability {
    const NAME: &str = "open-files";
    let limits = run("sh", &["-c", "ulimit -n; ulimit -Hn"]).map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&limits).into_owned();
    match text.lines().map(limit).collect::<Option<Vec<u64>>>().as_deref() {
        Some(&[soft, hard]) => judge_limits(NAME, soft, hard),
        _ => Capability::new(NAME, State::Limited, "the limit could not be read", None),
    }
}

fn limit(line: &str) -> Option<u64> {
    if line.trim() == "unlimited" { Some(u64::MAX) } else { line.trim().parse().ok() }
}

fn judge_limits(name: &str, soft: u64, hard: u64) -> Capability {
    let words = |limit| if limit == u64::MAX { "unlimited".to_owned() } else { format!("{limit}") };
    let detail = format!("{} (at most {})", words(soft), words(hard));
    if soft >= ENOUGH_FILES {
        return Capability::new(name, State::Ok, detail, None);
    }
    let hint = if hard >= ENOUGH_FILES {
        format!("run `ulimit -n {ENOUGH_FILES}` before you start many runs at once")
    } else {
        format!("ask the administrator to raise the limit to {ENOUGH_FILES} (limits.conf, LimitNOFILE)")
    };
    Capability::new(name, State::Limited, detail, Some(&hint))
}

fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    subprocess::output(Command::new(program).args(arguments), PATIENCE).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_every_capability_once() {
        let found = examine();
        let names: Vec<&str> = found.iter().map(|capability| capability.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "server redis:6.2",
                "server redis:7.0",
                "server redis:8.2",
                "server valkey:8.1",
                "server valkey:9.1",
                "addresses",
                "docker",
                "namespaces",
                "nft",
                "netem",
                "speed",
                "open-files"
            ]
        );
        for capability in &found {
            assert!(!capability.detail.is_empty(), "{capability:?}");
        }
    }

    #[test]
    fn serialises_a_capability_in_kebab_case() {
        let capability = Capability::new("nft", State::Missing, "there is no nft here", None);
        assert_eq!(
            serde_json::to_string(&capability).unwrap(),
            r#"{"name":"nft","state":"missing","detail":"there is no nft here"}"#
        );
    }

    #[test]
    fn a_tool_is_ok_only_if_it_worked() {
        let here = || Ok(PathBuf::from("/usr/sbin/nft"));
        let gone = || Err("nft is not installed (hint: `apt-get install nftables`)".to_owned());
        let refused = || Some(Err("nft -f - failed: no (hint: `modprobe nf_tables` as root)".to_owned()));
        for (program, tried, state, detail, hint) in [
            (here(), Some(Ok(())), State::Ok, "/usr/sbin/nft loads rules in the sandbox", None),
            (here(), refused(), State::Missing, "nft -f - failed: no", Some("`modprobe nf_tables` as root")),
            (here(), None, State::Limited, "/usr/sbin/nft is installed, but was not tried", Some("see `namespaces`")),
            (gone(), None, State::Missing, "nft is not installed", Some("`apt-get install nftables`")),
            (gone(), refused(), State::Missing, "nft is not installed", Some("`apt-get install nftables`")),
        ] {
            let capability = judge_tool("nft", "loads rules", program, tried);
            assert_eq!((capability.state, capability.hint.as_deref()), (state, hint), "{capability:?}");
            assert!(capability.detail.starts_with(detail), "{capability:?}");
        }
    }

    #[test]
    fn reads_the_version_of_an_engine() {
        for (answer, expected) in [
            (
                "HTTP/1.0 200 OK\r\nServer: Docker\r\n\r\n{\"Version\":\"20.10.24\",\"ApiVersion\":\"1.41\"}\n",
                Some("20.10.24 (API 1.41)"),
            ),
            ("HTTP/1.0 403 Forbidden\r\n\r\n{\"Version\":\"1\",\"ApiVersion\":\"1\"}", None),
            ("HTTP/1.0 200 OK\r\n\r\n<html>", None),
            ("", None),
        ] {
            assert_eq!(version_in_answer(answer).as_deref(), expected, "{answer}");
        }
    }

    #[test]
    fn judges_limits_of_open_files() {
        for (soft, hard, state, hint) in [
            (ENOUGH_FILES, u64::MAX, State::Ok, None),
            (1024, 1_048_576, State::Limited, Some("ulimit -n 4096")),
            (1024, 1024, State::Limited, Some("administrator")),
        ] {
            let capability = judge_limits("open-files", soft, hard);
            assert_eq!(capability.state, state, "{soft} {hard}");
            assert_eq!(capability.hint.is_some(), hint.is_some());
            assert!(capability.hint.unwrap_or_default().contains(hint.unwrap_or_default()));
        }
        assert_eq!((limit("unlimited"), limit(" 1024"), limit("x")), (Some(u64::MAX), Some(1024), None));
    }
}
