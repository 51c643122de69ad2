//! A cluster of containers that is kept up and broken from another terminal.

use std::process::Command;

use super::{left_by, out};
use crate::support::{Ended, QUICK, Running, begin_as};
use crate::turn;

#[test]
fn up_breaks_and_repairs_a_cluster_of_containers() {
    let Some(_engine) = turn::shared(1) else { return };
    let (folder, out) = out();
    let begin = |args: &[&str]| -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slotquake"));
        command.args(args).env("XDG_RUNTIME_DIR", folder.path());
        begin_as(command)
    };
    let done = |line: &str| {
        let ended: Ended = begin(&line.split(' ').collect::<Vec<_>>()).end();
        assert_eq!(ended.code(), Some(0), "{line}: {}", ended.whole());
        ended.stdout
    };
    let mut up = begin(&[&["up", "--backend", "docker", "--out", &out][..], &QUICK].concat());
    up.until_it_says("cluster of 6 nodes is ready");
    assert!(left_by(up.pid()).len() > 12, "six containers, their volumes, a network");
    assert!(done("status").contains("16384 of 16384 slots have a master that answers"));
    assert_eq!(done("send SET testkey value").trim_end(), "OK");
    let proof = done("fault partition node-1 others");
    assert!(proof.contains("is met with silence") && proof.contains("packets hit"), "{proof}");
    assert!(done("fault heal all").contains("across is made again"));
    let proof = done("fault kill node-6");
    assert!(proof.contains("refuses connections") || proof.contains("no route"), "{proof}");
    assert!(done("fault start node-6").contains("PING is answered"));
    assert_eq!(done("down").trim_end(), "the cluster is down");
    let ended = up.end();
    assert_eq!((ended.code(), left_by(ended.pid)), (Some(0), vec![]), "{}", ended.whole());
}
