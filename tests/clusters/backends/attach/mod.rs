//! The attach backend on real clusters that the tests start themselves: what is found, what is done, what is told,
//! and that nothing of it stays.

mod cluster;
mod cuts;
mod deal;
mod hosts;
mod killed;
#[cfg(feature = "docker")]
mod links;
pub mod programs;
mod project;

use std::fs;
use std::path::Path;

use serde_json::Value;
use slotquake::cluster::attach::{Attach, ServerAccessSettings, Settings};
use slotquake::history::{Event, EventKind};
use slotquake::run::{BackendSettings, Notice, Options};
use slotquake::server::Server;
use slotquake::slot::Deal;
use slotquake::wire::{Access, Login, Tls, TlsSettings};

use crate::support::{self, Ended, Places, fetched};
use cluster::{Cluster, Kind};
use project::{PROJECT, Project};

const PASSWORD: &str = "hunter2-and-more";

fn out() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let out = folder.path().join("reports").to_str().expect("a plain path").to_owned();
    (folder, out)
}

/// Runs a suite against a cluster, with a password in the environment where one is given.
fn attach(cluster: &Cluster, out: &str, password: Option<&str>, more: &[&str]) -> Ended {
    support::conclusive(|| command(&cluster.seed(1), out, password, more))
}

fn command(seed: &str, out: &str, password: Option<&str>, more: &[&str]) -> std::process::Command {
    let mut command = program(out);
    command.args(["run", "--backend", "attach", "--nodes", seed, "--format", "json", "--out", out]).args(more);
    command.args(support::QUICK).env_remove("SLOTQUAKE_PASSWORD");
    command.envs(password.map(|password| ("SLOTQUAKE_PASSWORD", password)));
    command
}

/// A run of a suite against the Compose project.
fn of_project(suite: &str, out: &str) -> std::process::Command {
    let mut command = program(out);
    command.args(["run", suite, "--backend", "attach", "--compose", PROJECT, "--allow-faults", "-v"]);
    command.args(["--format", "json", "--out", out]).args(support::QUICK);
    command
}

/// The built binary, which keeps its ledgers beside these reports.
fn program(out: &str) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_slotquake"));
    command.env("SLOTQUAKE_STATE", Path::new(out).with_file_name("state"));
    command
}

/// Every file below a folder that holds a text.
fn files_with(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files_with(&entry.path(), text));
        } else if let Ok(bytes) = fs::read(entry.path()) {
            let is_packed = entry.path().extension().is_some_and(|extension| extension == "zst");
            let bytes = if is_packed { zstd::decode_all(&bytes[..]).expect("a history") } else { bytes };
            if bytes.windows(text.len()).any(|part| part == text.as_bytes()) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}

fn only_run(ended: &Ended) -> Value {
    let document = ended.json();
    let [run] = document["runs"].as_array().expect("runs").as_slice() else { panic!("{}", ended.whole()) };
    run.clone()
}

fn assert_passes(ended: &Ended) {
    assert_eq!(ended.code(), Some(0), "{}", ended.whole());
    assert_eq!(only_run(ended)["verdict"], "pass", "{}", ended.whole());
}

/// A cluster that lets nobody in without [`PASSWORD`].
fn with_password() -> Kind {
    let mut kind =
        Kind { access: Access { login: Some(Login::new(None, PASSWORD)), ..Access::default() }, ..Kind::default() };
    kind.config.extend([format!("requirepass {PASSWORD}"), format!("masterauth {PASSWORD}")]);
    kind
}

#[test]
fn leaves_a_cluster_with_a_password_unchanged() {
    let _places = Places::take(1);
    let server = fetched("redis:6.2");
    let cluster = Cluster::start(&server, &with_password());
    let before = cluster.write_foreign_keys();
    let (folder, out) = out();
    let ended = attach(&cluster, &out, Some(PASSWORD), &["formation", "-v"]);
    assert_passes(&ended);
    assert_eq!(cluster.digest(), before, "{}", ended.whole());
    let run = only_run(&ended);
    let report = slotquake::report::read(run["report"].as_str().expect("a folder").as_ref()).expect("a report");
    assert_eq!((report.header.host.backend.word(), report.header.server.asked.as_str()), ("attach", "redis:6.2.14"));
    assert!(ended.stderr.contains("keys below `slotquake:"), "{}", ended.whole());
    assert!(!ended.whole().contains(PASSWORD));
    assert_eq!(files_with(folder.path(), PASSWORD), Vec::<String>::new());
    assert!(!files_with(folder.path(), "cluster-node-timeout").is_empty(), "the search finds what is there");
}

#[test]
fn reports_each_problem_in_one_message() {
    let _places = Places::take(1);
    let server = fetched("redis:6.2");
    let cluster = Cluster::start(&server, &with_password());
    let (_folder, out) = out();
    let (nobody, name) = ("127.99.0.1:6379", "no-such-host.invalid:6379");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mute = listener.local_addr().expect("an address").to_string();
    let seed = cluster.seed(1);
    for (seeds, password, more, code, expected) in [
        (seed.as_str(), None, &[][..], 2, "set `SLOTQUAKE_PASSWORD`"),
        (&seed, Some("wrong-guess"), &[], 2, "WRONGPASS"),
        (&seed, Some("wrong-guess"), &["--user", "nobody"], 2, "`--password-file` and `--user`"),
        (&seed, None, &["--user", "nobody"], 2, "`--user` requires a password"),
        (&seed, Some(PASSWORD), &["--tls", "--insecure"], 2, "pass `--tls` only if the port uses TLS"),
        (&seed, Some(PASSWORD), &["--cacert", "x.pem"], 2, "--tls"),
        (&seed, Some(PASSWORD), &["--server", "redis:6.2"], 2, "the cluster is already running"),
        (&seed, Some(PASSWORD), &["--jobs", "2"], 2, "would disturb each other"),
        (&seed, Some(PASSWORD), &["--password-file", "/nowhere/x"], 2, "cannot read password file \"/nowhere/x\""),
        (nobody, None, &[], 69, "it refuses connections"),
        (name, None, &[], 2, "is not the address of a node"),
        (&mute, None, &[], 69, "no answer in time"),
    ] {
        let ended = support::begin_as(command(seeds, &out, password, &[&["formation"], more].concat())).end();
        assert_eq!(ended.code(), Some(code), "{seeds} {more:?}: {}", ended.whole());
        assert!(ended.stderr.contains(expected), "{seeds} {more:?}: {}", ended.whole());
        assert!(!ended.whole().contains("wrong-guess") && !ended.whole().contains(PASSWORD), "{}", ended.whole());
    }
    for (state, expected) in [
        (Some("/dev/null/state"), "`/dev/null/state/attached` cannot be written"),
        (None, "none of SLOTQUAKE_STATE, XDG_STATE_HOME and HOME is set"),
    ] {
        let mut nowhere = command(&seed, &out, Some(PASSWORD), &["formation"]);
        nowhere.env_remove("SLOTQUAKE_STATE").env_remove("XDG_STATE_HOME").env_remove("HOME");
        nowhere.envs(state.map(|state| ("SLOTQUAKE_STATE", state)));
        let ended = support::begin_as(nowhere).end();
        assert_eq!(ended.code(), Some(69), "{state:?}: {}", ended.whole());
        assert!(ended.stderr.contains(expected), "{state:?}: {}", ended.whole());
    }
    // One that answers is enough.
    let seeds = format!("{nobody},{seed}");
    let ended = support::begin_as(command(&seeds, &out, Some(PASSWORD), &["formation"])).end();
    assert_passes(&ended);
}

#[test]
fn rejects_a_server_without_cluster_mode() {
    let _places = Places::take(1);
    let server = fetched("redis:6.2");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut alone = slotquake::server::command(&server);
    alone.args(["--port", "7999", "--bind", "127.98.0.1", "--save", ""]).current_dir(folder.path());
    let mut alone = alone.stdout(std::process::Stdio::null()).spawn().expect("the server starts");
    let (_folder, out) = out();
    let wait = || std::net::TcpStream::connect("127.98.0.1:7999").is_ok();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !wait() && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let ended = support::begin_as(command("127.98.0.1:7999", &out, None, &["formation"])).end();
    alone.kill().expect("it runs");
    alone.wait().expect("it ends");
    assert_eq!(ended.code(), Some(2), "{}", ended.whole());
    assert!(ended.stderr.contains("only clusters can be tested"), "{}", ended.whole());
}

#[test]
fn works_for_an_acl_user_limited_to_its_keys() {
    let _places = Places::take(1);
    let server = fetched("valkey:9.1");
    let mut kind = Kind::default();
    kind.config.push(format!("user chaos on >{PASSWORD} ~slotquake:* +@all"));
    let cluster = Cluster::start(&server, &kind);
    let before = cluster.write_foreign_keys();
    let (folder, out) = out();
    let file = folder.path().join("password");
    fs::write(&file, format!("{PASSWORD}\n")).expect("a file");
    let suite = folder.path().join("keys.yaml");
    fs::write(&suite, KEYS_SUITE).expect("a suite");
    let file = ["--user", "chaos", "--password-file", file.to_str().expect("a plain path")];
    let more = [&file[..], &[suite.to_str().expect("a plain path")]].concat();
    let ended = attach(&cluster, &out, None, &more);
    assert_passes(&ended);
    assert_eq!(cluster.digest(), before, "{}", ended.whole());

    cluster.must(5, "CONFIG SET cluster-preferred-endpoint-type hostname");
    let ended = attach(&cluster, &out, None, &more);
    assert_eq!(ended.code(), Some(2), "{}", ended.whole());
    assert!(ended.stderr.contains("has `cluster-preferred-endpoint-type hostname`"), "{}", ended.whole());
}

/// Keys in commands, told from arguments that read like them.
const KEYS_SUITE: &str = "
name: keys
about: Keys of commands are renamed, and keep their slots.
steps:
  - command: { send: SET testkey testkey, to: key:testkey/master }
  - command: { send: 'MSET {a}1 x {a}2 y', to: key:a/master }
  - expect: { send: GET testkey, to: key:testkey/master, is: testkey }
  - expect: { send: 'EVAL \"return redis.call(''GET'', KEYS[1])\" 1 {a}2', to: key:a/master, is: y }
  - expect: { send: GET testkey, to: shard-2/master, moved-to: shard-1/master }
  - settle: 500ms
invariants:
  - acked-writes: { may-lose: 0 }
";

#[test]
fn refuses_faults_and_irreversible_commands_before_the_run() {
    let _places = Places::take(1);
    let server = fetched("redis:6.2");
    let cluster = Cluster::start(&server, &Kind::default());
    let before = cluster.write_foreign_keys();
    let (folder, out) = out();
    let suite = |name: &str, step: &str| {
        let path = folder.path().join(format!("{name}.yaml"));
        let text = format!(
            "name: {name}\nabout: one step\nsteps:\n  - {step}\n  - settle: 200ms\ninvariants:\n  - acked-writes: {{ may-lose: 0 }}\n"
        );
        fs::write(&path, text).expect("a suite");
        path.to_str().expect("a plain path").to_owned()
    };
    let flush = suite("flush", "command: { send: FLUSHALL, to: masters }");
    let failover = suite("failover", "command: { send: CLUSTER FAILOVER, to: shard-1/replica }");
    let set = suite("set", "command: { send: CONFIG SET maxmemory 1gb, to: all }");
    let moved = suite("moved", "expect: { send: PING, to: node-7, is: PONG }");
    for (args, code, expected) in [
        (&["role-swap"][..], 2, "suite \"role-swap\", step 4, `stop` is a fault"),
        (&[&failover], 2, "`CLUSTER FAILOVER` is a fault"),
        (&[&set], 2, "`CONFIG SET maxmemory 1gb` is a fault"),
        (&[&flush], 2, "`FLUSHALL` cannot be undone"),
        (&[&flush, "--allow-faults"], 2, "cannot be undone"),
        (
            &["formation", "--allow-faults", "--set", "cluster.config.tls-key-file-pass=x"],
            2,
            "which could lock clients out",
        ),
        (&["role-swap", "--allow-faults"], 3, "requires access to the servers, not only to their ports"),
        (&["formation", "--set", "cluster.config.maxmemory=123456789"], 3, "(node-1 has `0`)"),
        (&[&moved], 2, "node-7 does not exist"),
    ] {
        let ended = attach(&cluster, &out, None, args);
        assert_eq!(ended.code(), Some(code), "{args:?}: {}", ended.whole());
        assert!(ended.stderr.contains(expected), "{args:?}: {}", ended.whole());
    }
    assert_eq!(cluster.digest(), before);
    for args in [&[&failover, "--allow-faults"][..], &[&set, "--allow-faults"]] {
        let ended = attach(&cluster, &out, None, args);
        assert_passes(&ended);
    }
    assert_eq!(cluster.directive("maxmemory"), ["0"; 6]);
    assert_eq!(cluster.digest(), before);
}

#[test]
fn runs_on_two_masters_with_two_replicas_each() {
    let _places = Places::take(1);
    let server = fetched("redis:6.2");
    let cluster = Cluster::start(&server, &Kind { deal: Deal::even(2), replicas: 2, ..Kind::default() });
    let (folder, out) = out();
    let suite = folder.path().join("wide.yaml");
    fs::write(&suite, WIDE_SUITE).expect("a suite");
    let ended = attach(&cluster, &out, None, &[suite.to_str().expect("a plain path"), "--allow-faults"]);
    assert_passes(&ended);
    let report = slotquake::report::read(only_run(&ended)["report"].as_str().expect("a folder").as_ref());
    let nodes = report.expect("a report").header.plan.nodes;
    let shards: Vec<u16> = nodes.iter().map(|node| node.shard.0).collect();
    assert_eq!(shards, [1, 2, 1, 2, 1, 2]);
    // The suite of another shape names node-4 for what is something else here.
    let ended = attach(&cluster, &out, None, &["role-swap", "--allow-faults"]);
    assert_eq!(ended.code(), Some(3), "{}", ended.whole());
    assert!(ended.stderr.contains("node-4 is a replica of node-2 in this cluster"), "{}", ended.whole());
}

const WIDE_SUITE: &str = "
name: wide
about: A failover by command, on whatever cluster.
steps:
  - phase: baseline
  - settle: 1s
  - phase: failover
  - command: { send: CLUSTER FAILOVER, to: shard-2/replica }
  - await: { promoted: shard-2, within: 10s }
  - settle: 1s
invariants:
  - slot-coverage: { at: end }
  - agreement: { within: spec }
  - promotions: { shard: shard-2, exactly: 1 }
  - acked-writes: { may-lose: 0 }
  - redirects: { at: end }
  - replica-read-only: { at: end }
";

/// Hooks that stop, start and freeze the processes of a cluster of ours.
fn hooks(cluster: &Cluster, server: &Server, state: bool) -> String {
    let dir = cluster.folder().display();
    let signal = |signal: &str| format!("kill -{signal} $(cat {dir}/$SLOTQUAKE_HOST.pid) && echo sent {signal}");
    let mut lines = vec![
        format!("stop: '{}'", signal("TERM")),
        format!("kill: '{}'", signal("KILL")),
        format!("pause: '{}'", signal("STOP")),
        format!("resume: '{}'", signal("CONT")),
        format!("start: '{}'", cluster.start_command(server)),
        format!("log: 'cat {dir}/$SLOTQUAKE_HOST.log'"),
    ];
    if state {
        // Z: ended, and its parent, this test, has not looked yet.
        lines.push(format!(
            "state: 'case $(ps -o stat= -p $(cat {dir}/$SLOTQUAKE_HOST.pid)) in T*) echo paused;; \"\"|Z*) echo gone;; *) echo running;; esac'"
        ));
    }
    let file = cluster.folder().join("hooks.yaml");
    fs::write(&file, lines.join("\n") + "\n").expect("a file of hooks");
    file.to_str().expect("a plain path").to_owned()
}

#[test]
fn hooks_inject_faults_and_everything_is_restored() {
    for (suite, state) in [("role-swap", true), ("master-freeze", false)] {
        let _places = Places::take(1);
        let server = fetched("redis:6.2");
        let cluster = Cluster::start(&server, &Kind::default());
        let hooks = hooks(&cluster, &server, state);
        let before = cluster.write_foreign_keys();
        let (_folder, out) = out();
        let more = ["--hooks", &hooks, "--allow-faults", "--set", "cluster.config.maxmemory=123456789", suite];
        let ended = attach(
            &cluster,
            &out,
            Some("no-hook-is-told"),
            &more[..0].iter().chain(&more).copied().collect::<Vec<_>>(),
        );
        // The default user has no password, so that one is refused; without, all goes well.
        assert_eq!(ended.code(), Some(2), "{}", ended.whole());
        let ended = attach(&cluster, &out, None, &more);
        assert_passes(&ended);
        assert_eq!(cluster.directive("maxmemory"), ["0"; 6], "{}", ended.whole());
        assert_eq!(cluster.digest(), before, "{}", ended.whole());
        let run = only_run(&ended);
        let folder = Path::new(run["report"].as_str().expect("a folder"));
        let report = slotquake::report::read(folder).expect("a report");
        let mut hooked: Vec<(String, Option<i32>, String)> = report
            .events
            .iter()
            .filter_map(|event| match &event.kind {
                EventKind::Hooked { hook, status, output, .. } => Some((hook.clone(), *status, output.clone())),
                _ => None,
            })
            .collect();
        let looks: Vec<String> =
            hooked.extract_if(.., |(hook, ..)| hook == "state").map(|(_, _, output)| output).collect();
        let expected = if state { &["running", "gone", "running"][..] } else { &[] };
        assert_eq!(looks, expected, "{}", ended.whole());
        let expected = if suite == "role-swap" {
            [("stop", "sent TERM"), ("start", "")]
        } else {
            [("pause", "sent STOP"), ("resume", "sent CONT")]
        };
        let expected = expected.map(|(hook, said)| (hook.to_owned(), Some(0), said.to_owned()));
        assert_eq!(hooked, expected, "{}", ended.whole());
        let log = fs::read_to_string(folder.join("logs/node-4.log")).expect("a log");
        assert!(log.contains("Failover election won"), "{log}");
    }
}

#[test]
fn detects_hooks_that_fail_or_do_nothing() {
    let _places = Places::take(1);
    let server = fetched("redis:6.2");
    let cluster = Cluster::start(&server, &Kind::default());
    let (folder, out) = out();
    // A suite that judges nothing of what the fault should have done.
    let suite = folder.path().join("stop.yaml");
    let text = "name: stop\nabout: one step\nsteps:\n  - stop: node-1\ninvariants:\n  - epochs: {}\n";
    fs::write(&suite, text).expect("a suite");
    let suite = suite.to_str().expect("a plain path");
    let file = folder.path().join("hooks.yaml");
    let path = file.to_str().expect("a plain path");
    for (text, code, expected) in [
        (
            "stop: 'echo no such unit >&2; exit 5'\nstart: 'true'\n",
            69,
            "hook `stop` for node-1: ended with exit status: 5; output: no such unit",
        ),
        ("stop: 'true'\nstart: 'true'\n", 69, "stop of node-1 is not in effect"),
        ("stop: 'sleep 600'\nstart: 'true'\nwithin: 300ms\n", 69, "did not end within 300ms"),
        ("kill: 'true'\n", 3, "no hook `stop`"),
        ("stop: 'true'\n", 3, "no hook `start`"),
        ("stopp: 'true'\n", 2, "stopp"),
    ] {
        fs::write(&file, text).expect("a file of hooks");
        let ended = attach(&cluster, &out, None, &[suite, "--allow-faults", "--hooks", path]);
        assert_eq!(ended.code(), Some(code), "{text}: {}", ended.whole());
        assert!(ended.whole().contains(expected), "{text}: {}", ended.whole());
    }
}

#[test]
fn connects_by_tls_with_verified_certificates() {
    let _places = Places::take(1);
    let server = match support::try_fetched("redis:7.0") {
        Ok(server) => server,
        Err(reason) => return support::skipped("TLS", &reason),
    };
    let folder = tempfile::tempdir().expect("a temporary directory");
    if let Err(reason) = certificates(folder.path()) {
        return support::skipped("TLS", &reason);
    }
    let path = |name: &str| folder.path().join(name).display().to_string();
    let settings = TlsSettings {
        ca_cert: Some(path("ca.crt").into()),
        identity: Some((path("node.crt").into(), path("node.key").into())),
        server_name: Some("cluster.test".to_owned()),
        insecure: false,
    };
    let mut kind = Kind::default();
    kind.config.extend([
        "port 0".to_owned(),
        "tls-port 6379".to_owned(),
        "tls-cluster yes".to_owned(),
        "tls-replication yes".to_owned(),
        format!("tls-cert-file {}", path("node.crt")),
        format!("tls-key-file {}", path("node.key")),
        format!("tls-ca-cert-file {}", path("ca.crt")),
    ]);
    kind.access.tls = Some(Tls::new(&settings).expect("certificates"));
    let cluster = Cluster::start(&server, &kind);
    let (_folder, out) = out();
    let (ca, cert, key, other) = (path("ca.crt"), path("node.crt"), path("node.key"), path("other.crt"));
    let identity = ["--tls", "--cert", &cert, "--key", &key];
    for (more, code, expected) in [
        (&["--cacert", &ca, "--tls-server-name", "cluster.test"][..], 0, "found redis 7.0"),
        (&["--insecure"], 0, "found redis 7.0"),
        (&["--cacert", &ca, "--tls-server-name", "other.test"], 2, "certificate not valid for name"),
        (&["--cacert", &ca], 2, "certificate not valid for name"),
        (&["--cacert", &other], 2, "UnknownIssuer"),
        (&["--cacert", &path("nothing.crt")], 2, "cannot read certificates"),
    ] {
        let ended = attach(&cluster, &out, None, &[&["formation"], &identity[..], more].concat());
        assert_eq!(ended.code(), Some(code), "{more:?}: {}", ended.whole());
        assert!(ended.stderr.contains(expected), "{more:?}: {}", ended.whole());
    }
    let ended = attach(&cluster, &out, None, &["formation"]);
    assert_eq!(ended.code(), Some(2), "{}", ended.whole());
    assert!(ended.stderr.contains("pass `--tls` if the port uses TLS"), "{}", ended.whole());
}

/// A certificate for nodes, with the authority that signed it, and another authority.
fn certificates(folder: &Path) -> Result<(), String> {
    let script = "set -e
        key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
        for ca in ca other; do
          openssl req -x509 $key -keyout $ca.key -out $ca.crt -days 2 -subj /CN=$ca
        done
        openssl req $key -keyout node.key -out node.csr -subj /CN=node
        printf 'subjectAltName=DNS:cluster.test\nextendedKeyUsage=serverAuth,clientAuth\n' >node.ext
        openssl x509 -req -in node.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile node.ext -out node.crt";
    let output = std::process::Command::new("sh").args(["-c", script]).current_dir(folder).output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

#[test]
fn stops_and_starts_compose_containers() {
    let Some(_project) = Project::up() else { return };
    let before = Project::containers();
    assert_eq!(Project::cli(1, &["-c", "set", "somebodys", "value"]), "OK");
    for suite in ["role-swap", "shard-loss", "master-freeze"] {
        let (_folder, out) = out();
        let ended = support::conclusive(|| of_project(suite, &out));
        assert_passes(&ended);
        let run = only_run(&ended);
        let folder = Path::new(run["report"].as_str().expect("a folder"));
        let log = fs::read_to_string(folder.join("logs/node-4.log")).expect("a log");
        assert!(log.contains("Failover election won"), "{log}");
        assert!(run["anatomy"][0]["sentence"].as_str().is_some_and(|told| told.contains("vote")), "{}", ended.whole());
        assert_eq!(Project::containers(), before, "{}", ended.whole());
        let timeout = Project::cli(1, &["config", "get", "cluster-node-timeout"]);
        assert_eq!(timeout, "cluster-node-timeout\n5000", "{}", ended.whole());
        assert_eq!(Project::cli(1, &["-c", "get", "somebodys"]), "value");
        let keys: Vec<String> = (1..=6).map(|node| Project::cli(node, &["dbsize"])).collect();
        assert_eq!(keys.iter().filter(|count| *count == "0").count(), 4, "{keys:?}: {}", ended.whole());
    }
    killed::a_frozen_container_is_woken(&before);
}

#[test]
fn undoes_a_run_that_panics() {
    let _places = Places::take(1);
    let server = fetched("redis:6.2");
    let cluster = Cluster::start(&server, &Kind::default());
    let before = cluster.write_foreign_keys();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let settings = Settings {
        seeds: vec![cluster.seed(3)],
        access: Access::default(),
        allow_faults: true,
        servers: ServerAccessSettings::Ports,
        ledgers: folder.path().join("attached"),
    };
    let attach = runtime.block_on(Attach::connect(settings, &|_| ())).expect("a cluster");
    let mut suite = slotquake::suite::load("formation").expect("a suite");
    suite.cluster.config = [("maxmemory".to_owned(), "123456789".into())].into();
    let plan = slotquake::plan::Plan::on_found(&suite, 1, attach.found()).expect("a plan");
    let (_stop, stop) = tokio::sync::watch::channel(None);
    let watcher = |notice: Notice<'_>| match notice {
        Notice::Event(Event { kind: EventKind::Phase { name }, .. }) if name == "final" => panic!("a test's own panic"),
        _ => {}
    };
    let server = attach.server();
    let options = Options {
        folder: folder.path().to_owned(),
        keep: false,
        backend: BackendSettings::Attach(attach),
        other_servers: std::collections::BTreeMap::new(),
        stop,
        watcher: std::sync::Arc::new(watcher),
    };
    let ended = runtime.block_on(runtime.spawn(slotquake::run::run(plan, server, options)));
    assert!(ended.expect_err("it panics").is_panic());
    assert_eq!(cluster.directive("maxmemory"), ["0"; 6]);
    assert_eq!(cluster.digest(), before);
}
