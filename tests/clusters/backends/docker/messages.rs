//! What cannot be is said in one message, with a way out and the right exit code.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::stand_in::StandIn;
use super::{left_by, out, run, suite, through};
use crate::engine::docker;
use crate::support::{Ended, begin_as, slotquake};
use crate::turn;

fn assert_says(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!((ended.code(), left_by(ended.pid)), (Some(code), vec![]), "{}", ended.whole());
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {}", ended.whole());
}

#[test]
fn reports_what_cannot_run() {
    let Some(_engine) = turn::shared(1) else { return };
    let (_folder, out) = out();
    for (args, code, words) in [
        (
            vec!["role-swap", "--image", "slotquake-test.invalid/none:1"],
            69,
            vec!["slotquake-test.invalid/none:1", "ci/images"],
        ),
        (vec!["role-swap", "--image", "slotquake-netfault:1"], 2, vec!["neither a Redis nor a Valkey server"]),
        (vec!["role-swap", "--server", "/usr/bin/redis-server"], 2, vec!["do not contain binaries", "hint: "]),
        (
            vec!["rolling-upgrade", "--image", "redis:6.2"],
            3,
            vec!["skipped: rolling-upgrade", "a step starts ", "`--image` gives every server the image `redis:6.2`"],
        ),
        (vec!["bus-only", "--netfault-image", "none:1"], 3, vec!["skipped: bus-only", "docker/netfault.Dockerfile"]),
        (vec!["role-swap", "--set", "cluster.config.nonsense=1"], 2, vec!["FATAL CONFIG FILE ERROR", "nonsense 1"]),
    ] {
        assert_says(&slotquake(&run(&out, &args)), code, &words);
    }
}

#[test]
fn reports_a_missing_engine() {
    let (_folder, out) = out();
    for (host, cause) in [("unix:///nonexistent/docker.sock", ""), ("tcp://127.0.0.1:1", "Connection refused")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slotquake"));
        command.args(run(&out, &["role-swap"])).env("DOCKER_HOST", host);
        let ended = begin_as(command).end();
        assert_eq!(ended.code(), Some(69), "{}", ended.whole());
        for words in [&format!("no container engine answers at {host}: "), cause, "hint: "] {
            assert!(ended.stderr.contains(words), "no `{words}`: {}", ended.whole());
        }
        assert!(!ended.stderr.contains("hyper"), "{}", ended.whole());
    }
}

#[test]
fn reports_an_engine_that_denies_access() {
    let stand_in = StandIn::new(|_| None);
    let (folder, out) = out();
    let program = folder.path().join("slotquake");
    std::fs::copy(env!("CARGO_BIN_EXE_slotquake"), &program).expect("the binary is copied");
    for (path, mode) in [(folder.path(), 0o755), (program.as_path(), 0o755), (stand_in.path().as_path(), 0o000)] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("it is ours");
    }
    std::fs::set_permissions(stand_in.path().parent().unwrap(), PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = Command::new(&program);
    command.args(run(&out, &["role-swap"])).env("DOCKER_HOST", stand_in.host());
    if nix::unistd::geteuid().is_root() {
        // To root every socket is open.
        command.uid(65534).gid(65534);
    }
    let ended = begin_as(command).end();
    assert_eq!(ended.code(), Some(69), "{}", ended.whole());
    for words in ["may not use the container engine", "ermission denied", "hint: "] {
        assert!(ended.stderr.contains(words), "no `{words}`: {}", ended.whole());
    }
}

#[test]
fn reports_an_engine_that_is_too_old() {
    let Some(_engine) = turn::shared(1) else { return };
    let old = StandIn::new(|request| {
        let is_asked = request.split(' ').nth(1).is_some_and(|path| path.ends_with("/version"));
        is_asked.then(|| (200, r#"{"Version":"19.03.15","ApiVersion":"1.40","MinAPIVersion":"1.12"}"#.to_owned()))
    });
    let (_folder, out) = out();
    assert_says(&through(&old, &run(&out, &["role-swap"])), 69, &["API 1.40", "1.41 is required", "hint: "]);
}

#[test]
fn reports_that_all_subnets_are_in_use() {
    let Some(_engine) = turn::shared(1) else { return };
    let full = StandIn::new(|request| {
        let clash = r#"{"message":"Pool overlaps with other one on this address space"}"#;
        request.starts_with("POST /networks/create").then(|| (403, clash.to_owned()))
    });
    let (_folder, out) = out();
    let words = ["no subnet is free", "10.213.0.0/23", "Pool overlaps", "docker network prune"];
    assert_says(&through(&full, &run(&out, &["role-swap"])), 69, &words);
}

#[test]
fn shows_the_log_of_a_server_that_fails_to_start() {
    const IMAGE: &str = "slotquake-test-dying:1";
    let Some(_engine) = turn::shared(1) else { return };
    let (folder, out) = out();
    let script = folder.path().join("redis-server");
    let text = "#!/bin/sh\n[ \"$1\" != --version ] || { echo Redis server v=6.2.14 sha=0; exit; }\n\
                echo the dog ate the configuration\nexit 9\n";
    std::fs::write(&script, text).expect("a script is written");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("it is ours");
    let container = docker(&["create", "redis:6.2", "sleep", "1"]);
    docker(&["cp", script.to_str().expect("a plain path"), &format!("{container}:/usr/bin/redis-server")]);
    docker(&["commit", &container, IMAGE]);
    docker(&["rm", &container]);
    let ended = slotquake(&run(&out, &[&suite(&folder, "  - settle: 100ms\n"), "--image", IMAGE]));
    docker(&["rmi", IMAGE]);
    assert_says(&ended, 69, &["ended while starting (exit code 9)", "the dog ate the configuration"]);
}
