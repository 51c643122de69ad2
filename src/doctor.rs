//! What this machine can do: servers, addresses, Docker, packet filters, namespaces, open files; for
//! what it cannot, why, and the way out.
//!
//! Each probe tries the thing itself where that is harmless (binds an address, loads a rule into a
//! namespace that ends with the probe), as a program that is merely installed proves nothing.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use serde::Serialize;

use crate::server::{Entry, Finder, ServerError};
use crate::subprocess::{self, last_line};

/// How long one probe may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The open files that a run of six nodes with its clients is safe with.
const ENOUGH_FILES: u64 = 4096;

/// One thing that a run may need of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capability {
    /// What it is, such as `server redis:6.2` or `docker`.
    pub name: String,
    /// Whether it is there.
    pub state: State,
    /// What was found, in words.
    pub detail: String,
    /// The way out, where something is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Whether a capability is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is there and works.
    Ok,
    /// It is there in part: `detail` says what works and what does not.
    Limited,
    /// It is not there.
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

/// Looks at everything. It downloads nothing and leaves nothing behind; it may take a few seconds.
pub fn examine() -> Vec<Capability> {
    let finder = Finder::from_environment();
    let mut found: Vec<Capability> = finder.catalogue.iter().map(|entry| server(&finder, entry)).collect();
    found.extend([addresses(), docker(), namespaces(), nft(), netem(), open_files()]);
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

/// Texts to append to a sentence, or nothing.
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
        None => Capability::new(NAME, State::Ok, "nodes can have 127.k.0.n of their own", None),
        Some(refused) => Capability::new(
            NAME,
            State::Limited,
            format!("{refused}; nodes share 127.0.0.1 with a port each"),
            Some("Linux answers on all of 127.0.0.0/8; elsewhere add aliases to the loopback interface"),
        ),
    }
}

/// Whether Docker's engine answers, asked as its clients ask it.
fn docker() -> Capability {
    const NAME: &str = "docker";
    let host = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    let endpoint = host.clone().unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
    match engine_version(&endpoint) {
        Ok(version) => Capability::new(NAME, State::Ok, format!("Engine {version} at {endpoint}"), None),
        Err(error) => {
            // The command may know another way: a context, or an endpoint that needs TLS or ssh.
            let command = run("docker", &["version", "--format", "{{.Server.Version}}"]);
            if let Some(output) = command.filter(|output| output.status.success()) {
                let version = last_line(&output.stdout);
                let detail = format!("the docker command reaches Engine {version}, but {endpoint} does not: {error}");
                return Capability::new(NAME, State::Limited, detail, Some("set DOCKER_HOST to the engine's socket"));
            }
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => "join the group that owns the socket (`docker` on most systems)",
                _ if host.is_some() => "see whether DOCKER_HOST is right and the engine runs",
                _ => "install Docker and start it, or set DOCKER_HOST",
            };
            Capability::new(NAME, State::Missing, format!("{endpoint}: {error}"), Some(hint))
        }
    }
}

/// Asks an engine for its version: one request of HTTP 1.0, after which it closes the connection.
fn engine_version(endpoint: &str) -> io::Result<String> {
    const REQUEST: &[u8] = b"GET /version HTTP/1.0\r\nHost: docker\r\n\r\n";
    let mut answer = Vec::new();
    if let Some(path) = endpoint.strip_prefix("unix://") {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(REQUEST)?;
        stream.read_to_end(&mut answer)?;
    } else if let Some(address) = endpoint.strip_prefix("tcp://") {
        let unknown = || io::Error::new(io::ErrorKind::NotFound, "it has no address");
        let address = address.to_socket_addrs()?.next().ok_or_else(unknown)?;
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(REQUEST)?;
        stream.read_to_end(&mut answer)?;
    } else {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "only unix:// and tcp:// endpoints are asked directly"));
    }
    version_in_answer(&String::from_utf8_lossy(&answer))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "what answers there is not Docker's engine"))
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

/// Whether an unprivileged process may make namespaces, in which network faults need no root.
fn namespaces() -> Capability {
    const NAME: &str = "namespaces";
    match in_namespace(&["true"], "") {
        Some(output) if output.status.success() => {
            Capability::new(NAME, State::Ok, "private user, network and PID namespaces", None)
        }
        Some(output) => {
            let (cause, hint) = forbidden_by(|path| fs::read_to_string(path).ok());
            let detail = format!("{}{cause}", last_line(&output.stderr));
            Capability::new(NAME, State::Missing, detail, Some(hint))
        }
        None if cfg!(target_os = "linux") => {
            let hint = "install unshare (Debian's package is util-linux)";
            Capability::new(NAME, State::Limited, "not tried: there is no unshare to try it with", Some(hint))
        }
        None => Capability::new(NAME, State::Missing, "this system has none: they are Linux's", None),
    }
}

/// Which setting of the kernel forbids namespaces, to append to a message, and the way out.
fn forbidden_by(read: impl Fn(&str) -> Option<String>) -> (&'static str, &'static str) {
    let value = |name: &str| read(&format!("/proc/sys/{name}")).map(|text| text.trim().to_owned());
    if value("kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") {
        return (
            " (AppArmor's kernel.apparmor_restrict_unprivileged_userns is 1)",
            "as root: `sysctl kernel.apparmor_restrict_unprivileged_userns=0`, or an AppArmor profile for slotquake that allows userns",
        );
    }
    if value("kernel/unprivileged_userns_clone").as_deref() == Some("0") {
        return (" (kernel.unprivileged_userns_clone is 0)", "as root: `sysctl kernel.unprivileged_userns_clone=1`");
    }
    if value("user/max_user_namespaces").as_deref() == Some("0") {
        return (" (user.max_user_namespaces is 0)", "as root: `sysctl user.max_user_namespaces=10000`");
    }
    ("", "in a container, allow it with `--security-opt seccomp=unconfined` or run as root outside of one")
}

/// Whether directed cuts between nodes can be made: the rules of a real cut are loaded.
fn nft() -> Capability {
    const NAME: &str = "nft";
    const RULES: &str = "table inet slotquake {
        set cuts { type ipv4_addr . ipv4_addr; elements = { 127.77.0.1 . 127.77.0.2 } }
        chain input { type filter hook input priority 0; ip saddr . ip daddr @cuts counter drop; }
    }";
    let hint = Some("install nftables (that is Debian's name, too)");
    let Some(program) = subprocess::locate("nft") else {
        return Capability::new(NAME, State::Missing, "there is no nft here", hint);
    };
    let program = program.display().to_string();
    match in_namespace(&[&program, "-f", "-"], RULES) {
        Some(output) if output.status.success() => {
            Capability::new(NAME, State::Ok, format!("{program} loads rules in a private namespace"), None)
        }
        failed => Capability::new(NAME, State::Limited, not_tried(&program, failed), Some(SEE_NAMESPACES)),
    }
}

/// Whether the kernel can delay packets.
fn netem() -> Capability {
    const NAME: &str = "netem";
    let Some(program) = subprocess::locate("tc") else {
        let hint = Some("install iproute2 (that is Debian's name, too)");
        return Capability::new(NAME, State::Missing, "there is no tc here", hint);
    };
    let program = program.display().to_string();
    let output = in_namespace(&[&program, "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"], "");
    match output {
        Some(output) if output.status.success() => {
            Capability::new(NAME, State::Ok, format!("{program} delays packets in a private namespace"), None)
        }
        Some(output) if lacks_module(&String::from_utf8_lossy(&output.stderr)) => Capability::new(
            NAME,
            State::Missing,
            "the kernel lacks the module sch_netem",
            Some("load it with `modprobe sch_netem`, or use a kernel that has it; loss and narrow links work without"),
        ),
        failed => Capability::new(NAME, State::Limited, not_tried(&program, failed), Some(SEE_NAMESPACES)),
    }
}

const SEE_NAMESPACES: &str = "it needs the private namespaces: see `namespaces`";

fn not_tried(program: &str, failed: Option<Output>) -> String {
    match failed.map(|output| last_line(&output.stderr)) {
        Some(words) => format!("{program} is here, but failed in a private namespace: {words}"),
        None => format!("{program} is here; not tried, as there is no unshare to try it with"),
    }
}

/// How tc says that the kernel does not know a discipline.
fn lacks_module(stderr: &str) -> bool {
    ["qdisc kind is unknown", "Unknown qdisc", "RTNETLINK answers: No such file or directory"]
        .iter()
        .any(|words| stderr.contains(words))
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
        format!("`ulimit -n {ENOUGH_FILES}` before many runs at once")
    } else {
        format!("let the administrator raise the limit to {ENOUGH_FILES} (limits.conf, LimitNOFILE)")
    };
    Capability::new(name, State::Limited, detail, Some(&hint))
}

/// Runs a program in private namespaces that end with it; None without util-linux's `unshare`.
fn in_namespace(program: &[&str], input: &str) -> Option<Output> {
    let unshare: PathBuf = subprocess::locate("unshare")?;
    let mut command = Command::new(unshare);
    command.args(["--user", "--map-root-user", "--net", "--pid", "--fork", "--"]).args(program);
    subprocess::output_of(command.env("LC_ALL", "C"), input, PATIENCE).ok()
}

fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    subprocess::output(Command::new(program).args(arguments), PATIENCE).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_is_told_once_and_what_is_missing_has_a_reason() {
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
                "open-files"
            ]
        );
        for capability in &found {
            assert!(!capability.detail.is_empty(), "{capability:?}");
        }
    }

    #[test]
    fn a_capability_is_json_in_kebab_case() {
        let capability = Capability::new("nft", State::Missing, "there is no nft here", None);
        assert_eq!(
            serde_json::to_string(&capability).unwrap(),
            r#"{"name":"nft","state":"missing","detail":"there is no nft here"}"#
        );
    }

    #[test]
    fn the_setting_that_forbids_namespaces_is_named() {
        for (settings, cause, hint) in [
            (&[("kernel/apparmor_restrict_unprivileged_userns", "1\n")][..], "AppArmor", "apparmor_restrict"),
            (&[("kernel/unprivileged_userns_clone", "0\n")], "kernel.unprivileged_userns_clone is 0", "clone=1"),
            (&[("user/max_user_namespaces", "0\n")], "user.max_user_namespaces is 0", "max_user_namespaces=10000"),
            (&[("kernel/unprivileged_userns_clone", "1\n"), ("user/max_user_namespaces", "96000\n")], "", "container"),
            (&[], "", "container"),
        ] {
            let read = |path: &str| {
                let name = path.strip_prefix("/proc/sys/")?;
                settings.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            };
            let (found_cause, found_hint) = forbidden_by(read);
            assert!(found_cause.contains(cause) && found_cause.is_empty() == cause.is_empty(), "{found_cause}");
            assert!(found_hint.contains(hint), "{found_hint}");
        }
    }

    #[test]
    fn an_engine_is_known_by_its_answer() {
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
    fn a_kernel_without_netem_is_told_from_a_refusal() {
        for (stderr, expected) in [
            ("Error: Specified qdisc kind is unknown.", true),
            ("RTNETLINK answers: No such file or directory", true),
            ("RTNETLINK answers: Operation not permitted", false),
            ("unshare: unshare failed: Operation not permitted", false),
        ] {
            assert_eq!(lacks_module(stderr), expected, "{stderr}");
        }
    }

    #[test]
    fn limits_of_open_files_are_judged() {
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
