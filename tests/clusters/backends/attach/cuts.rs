//! Links that hooks cut: between the containers of a Compose project, by commands of the test's own in their networks.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;
use slotquake::history::EventKind;

use super::killed::ledgers;
use super::project::Project;
use super::{assert_passes, command, only_run, out};
use crate::support::{self, Ended};

/// One command for each hook, and what it takes the place of where a test wants it otherwise.
const HOOKS: [(&str, &str); 4] = [
    ("pid", "pid=$(docker inspect -f {{.State.Pid}} $(cat FOLDER/$SLOTQUAKE_HOST))"),
    (
        "cut",
        "pid; nsenter -t $pid -n nft -f - <<END\ntable ip $SLOTQUAKE_FAULT {\n  chain input {\n    type filter hook input priority 0;\n    ip saddr { $SLOTQUAKE_FROM } tcp dport { $SLOTQUAKE_PORTS } drop\n    ip saddr { $SLOTQUAKE_FROM } tcp sport { $SLOTQUAKE_PORTS } drop\n  }\n}\nEND",
    ),
    ("heal", "pid; nsenter -t $pid -n nft delete table ip $SLOTQUAKE_FAULT"),
    ("knock", "pid; exec nsenter -t $pid -n bash -s"),
];

/// Writes a file of hooks, of which some do something else.
fn hooks(folder: &Path, instead: &[(&str, &str)]) -> String {
    let pid = HOOKS[0].1.replace("FOLDER", &folder.display().to_string());
    let mut text = String::new();
    for (name, usual) in &HOOKS[1..] {
        let script = instead.iter().find(|(other, _)| other == name).map_or(*usual, |(_, script)| script);
        if !script.is_empty() {
            let script = script.replace("pid;", &format!("{pid};")).replace('\n', "\n  ");
            writeln!(text, "{name}: |\n  {script}").expect("a string takes text");
        }
    }
    let file = folder.join("hooks.yaml");
    fs::write(&file, text).expect("a file of hooks");
    file.to_str().expect("a plain path").to_owned()
}

/// The tables that hooks made in the containers' networks, each with its node. The engine has tables there, too.
fn tables() -> Vec<(u8, String)> {
    let of = |node| {
        let listed = Project::in_network(node, &["nft", "list", "tables"]);
        let own =
            listed.lines().filter_map(|line| line.strip_prefix("table ip net2")).map(|rest| format!("net2{rest}"));
        own.map(move |name| (node, name)).collect::<Vec<_>>()
    };
    (1..=6).flat_map(of).collect()
}

fn suite(folder: &Path, name: &str, steps: &str) -> String {
    let invariants = "  - slot-coverage: { at: end }\n  - acked-writes: { may-lose: measured }\n";
    let text = format!("name: {name}\nabout: a cut\nsteps:\n  - settle: 500ms\n{steps}invariants:\n{invariants}");
    let file = folder.join(format!("{name}.yaml"));
    fs::write(&file, text).expect("a suite");
    file.to_str().expect("a plain path").to_owned()
}

const BUS: &str = "
  - partition: { between: [shard-1/master, [shard-2, shard-3, shard-1/replica]], only: bus, name: bus }
  - await: { promoted: shard-1, within: spec }
  - heal: bus
  - await: { role: node-1, is: replica-of node-4, within: spec }
  - await: { converged: all, within: spec }
";

const ALONE: &str = "
  - partition: { between: [node-1, others] }
  - await: { promoted: shard-1, within: spec }
  - heal: all
  - await: { converged: all, within: spec }
";

const SHORT: &str = "
  - partition: { between: [node-5, node-6], one-way: true }
  - settle: 500ms
  - heal: all
";

/// What it waits for does not come.
const STAY: &str = "
  - partition: { between: [node-5, node-6], only: bus }
  - await: { failed: node-1, within: 60s }
";

const LOSSY: &str = "
  - lossy: { between: [node-5, node-6], percent: 50% }
  - heal: all
";

#[test]
fn hooks_cut_prove_and_heal_links() {
    if let Err(reason) = can_enter_networks() {
        return support::skipped("cuts by hooks", &reason);
    }
    let Some(_project) = Project::up() else { return };
    let (folder, out) = out();
    for node in 1..=6 {
        fs::write(folder.path().join(Project::address(node)), Project::id(node)).expect("a file");
    }
    let seed = format!("{}:6379", Project::address(1));
    let [bus, alone, short, stay, lossy] =
        [("bus", BUS), ("alone", ALONE), ("short", SHORT), ("stay", STAY), ("lossy", LOSSY)]
            .map(|(name, steps)| suite(folder.path(), name, steps));
    let started = |suite: &str, instead: &[(&str, &str)]| {
        let hooks = hooks(folder.path(), instead);
        support::begin_as(command(&seed, &out, None, &[suite, "--hooks", &hooks, "--allow-faults"]))
    };
    let run = |suite: &str, instead: &[(&str, &str)]| started(suite, instead).end();

    let ended = run(&bus, &[]);
    assert_passes(&ended);
    let calls = |name: &str| hooked(&ended).into_iter().filter(|hook| hook == name).count();
    assert_eq!([calls("cut"), calls("heal")], [6, 6], "{}", ended.whole());
    let proofs = proofs(&ended);
    assert!(proofs[0].contains("none of them was before the cut"), "{proofs:?}");
    assert_eq!(tables(), [], "{}", ended.whole());

    // What was node-4 is the master and node-1 now. It is cut off from us as well, and node-1 is again what it was.
    let ended = run(&alone, &[]);
    assert_passes(&ended);
    assert_eq!(tables(), [], "{}", ended.whole());

    for (what, suite, instead, code, expected) in [
        (
            "a cut that does nothing",
            &short,
            &[("cut", "true"), ("heal", "true")][..],
            69,
            "is not in effect: a connection",
        ),
        (
            "a knock that hears nothing",
            &short,
            &[("knock", "echo knock 0 tried; echo knock 1 tried")],
            69,
            "before the cut, too",
        ),
        ("a knock that fails", &short, &[("knock", "echo no such pod >&2; exit 3")], 69, "no such pod"),
        (
            "a cut that fails",
            &short,
            &[("cut", "echo no route >&2; exit 255"), ("heal", "true")],
            69,
            "hook `cut` for node-6",
        ),
        ("no knock", &short, &[("knock", "")], 3, "no hook `knock`"),
        ("a loss", &lossy, &[], 3, "hooks can only cut links"),
    ] {
        let ended = run(suite, instead);
        assert_eq!(ended.code(), Some(code), "{what}: {}", ended.whole());
        assert!(ended.whole().contains(expected), "{what}: {}", ended.whole());
        assert_eq!(tables(), [], "{what}: {}", ended.whole());
    }

    // The hook heals the link but reports a failure: the cut stays in the ledger.
    let denied = format!("{} && echo busy && exit 1", HOOKS[2].1);
    let ended = run(&short, &[("heal", &denied)]);
    assert_eq!(ended.code(), Some(70), "{}", ended.whole());
    let left = format!("links may be cut: node-6 ({}) from {}", Project::address(6), Project::address(5));
    assert!(ended.whole().contains(&left) && ended.whole().contains("output: busy"), "{}", ended.whole());
    assert_eq!(tables(), [], "{}", ended.whole());
    let mut running = started(&stay, &[]);
    running.until_it_says("waiting for node-1 to be flagged FAIL");
    let nodes: Vec<u8> = tables().into_iter().map(|(node, _)| node).collect();
    assert_eq!(nodes, [5, 6]);
    running.signal(Signal::SIGTERM);
    let ended = running.end();
    assert_eq!(ended.code(), Some(130), "{}", ended.whole());
    assert_eq!(tables(), [], "{}", ended.whole());

    // Killed, it heals nothing; the next run does.
    let killed = || {
        let mut running = started(&stay, &[]);
        running.until_it_says("waiting for node-1 to be flagged FAIL");
        running.signal(Signal::SIGKILL);
        running.end();
        let nodes: Vec<u8> = tables().into_iter().map(|(node, _)| node).collect();
        assert_eq!(nodes, [5, 6]);
    };
    killed();
    let ended = run("formation", &[("heal", "echo busy && exit 1")]);
    assert_eq!(ended.code(), Some(69), "{}", ended.whole());
    assert!(ended.stderr.contains("cannot be undone: links may be cut: node-"), "{}", ended.whole());
    assert_eq!(tables().len(), 2, "{}", ended.whole());
    let ended = run("formation", &[]);
    assert_passes(&ended);
    assert_eq!((tables(), ledgers(&out)), (vec![], vec![]), "{}", ended.whole());
    // Killed before it could note that a cut was healed: what is not there cannot be healed again.
    killed();
    for (node, name) in tables() {
        Project::in_network(node, &["nft", "delete", "table", "ip", &name]);
    }
    let ended = run("formation", &[]);
    assert_passes(&ended);
    assert!(ended.stderr.contains("links that `heal` failed on are intact"), "{}", ended.whole());
    assert_eq!((tables(), ledgers(&out)), (vec![], vec![]), "{}", ended.whole());
}

fn can_enter_networks() -> Result<(), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("only root enters containers' networks".to_owned());
    }
    let version = std::process::Command::new("nsenter").arg("--version").output();
    version.map(drop).map_err(|error| format!("nsenter: {error}"))
}

fn events(ended: &Ended) -> Vec<EventKind> {
    let run = only_run(ended);
    let report = slotquake::report::read(run["report"].as_str().expect("a folder").as_ref()).expect("a report");
    report.events.into_iter().map(|event| event.kind).collect()
}

fn hooked(ended: &Ended) -> Vec<String> {
    let hook = |event| if let EventKind::Hooked { hook, .. } = event { Some(hook) } else { None };
    events(ended).into_iter().filter_map(hook).collect()
}

fn proofs(ended: &Ended) -> Vec<String> {
    let proof = |event| if let EventKind::FaultProven { proof, .. } = event { Some(proof) } else { None };
    events(ended).into_iter().filter_map(proof).collect()
}
