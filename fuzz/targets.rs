//! The fuzz targets: one function for each kind of external text. Each takes arbitrary bytes. It panics if the
//! program would panic or breaks a guarantee. The programs in `fuzz/` and `judge/tests/fuzz.rs` call these functions.
#![allow(dead_code, reason = "each fuzz program calls one of these")]

use std::path::Path;

use slotquake_judge::anatomy::{self, Logs};
use slotquake_judge::facts::Facts;
use slotquake_judge::history::{self, History};
use slotquake_judge::plan::Plan;
use slotquake_judge::report::{self, Report, Style, Summary, html};
use slotquake_judge::suite::Source;
use slotquake_judge::topology::{View, parse_nodes};
use slotquake_judge::units::NodeNo;

/// Longer inputs take more time and find no more bugs.
const MOST_BYTES: usize = 64 * 1024;

/// A suite file: the loader reads it or rejects it with its place, and planning is deterministic.
pub fn suite(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match Source::parse(text, Path::new("fuzzed.yaml")) {
        Err(error) => assert!(error.to_string().contains("fuzzed.yaml"), "an error names the file: {error}"),
        Ok(source) => {
            if let Ok(plan) = Plan::from_source(&source, 7) {
                assert_eq!(Plan::from_source(&source, 7).as_ref(), Ok(&plan), "planning is pure");
            }
        }
    }
}

/// A report: the parser rejects it with the reason, or reads it. A valid report can be written without loss,
/// compared and shown.
pub fn report(data: &[u8]) {
    if data.len() > MOST_BYTES {
        return;
    }
    let Ok(report) = report::parse(data, "fuzzed.json") else { return };
    let written = serde_json::to_vec(&report).expect("what was read can be written");
    let again = report::parse(&written, "again.json").expect("what was written can be read");
    assert_eq!(serde_json::to_vec(&again).expect("it can be written"), written, "the report is unchanged");
    let comparison = report::compare(std::slice::from_ref(&report), std::slice::from_ref(&again));
    assert!(!comparison.regressed(), "a report is not worse than itself");
    report::render_comparison(&comparison, Style::default());
    report::render_comparison_markdown(&comparison);
    show(&report, None);
}

/// The log of a server, used as the log of every node of a run with a failover.
pub fn log(data: &[u8]) {
    if data.len() > MOST_BYTES {
        return;
    }
    let run = report::parse(include_bytes!("seeds/report/master-crash.json"), "seed").expect("the seed is a report");
    let nodes: Vec<NodeNo> = run.nodes().collect();
    let logs: Logs = nodes.into_iter().map(|node| (node, anatomy::read(data))).collect();
    let run = run.with_anatomy(&logs);
    assert!(!run.anatomy.is_empty(), "the failover does not depend on logs");
    for anatomy in &run.anatomy {
        assert!(anatomy.milestones.iter().all(|milestone| milestone.after_ms.is_finite()));
    }
    show(&run, None);
}

/// The reply to CLUSTER NODES.
pub fn nodes(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let Ok(lines) = parse_nodes(text) else { return };
    let info = "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\n\
                cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:6\r\ncluster_size:3\r\n\
                cluster_current_epoch:6\r\n";
    let number = |line: &slotquake_judge::topology::NodeLine| line.addr.map(|addr| NodeNo(addr.port()));
    let view = View::from_answers(&lines, info, "", number).expect("CLUSTER INFO is valid");
    assert!(view.peers.len() + view.strangers.len() <= lines.len());
    for peer in view.peers.values() {
        assert!(peer.slots.iter().all(|&(first, last)| first <= last && last < 16384));
    }
    assert!(view.agrees_with(&view));
}

/// A decompressed history, judged and shown.
pub fn history(data: &[u8]) {
    if data.len() > MOST_BYTES {
        return;
    }
    for cut_off in [false, true] {
        let Ok(history) = history::parse(data, cut_off, "fuzzed") else { continue };
        let report = Report::of(&history).with_anatomy(&Logs::new());
        assert_eq!(report, Report::of(&history).with_anatomy(&Logs::new()), "judging is pure");
        show(&report, Some(&history));
    }
}

/// What the frames of a history hold, each after its length in four bytes, the lowest first. What is read can be written as
/// lines and read again.
pub fn blocks(data: &[u8]) {
    if data.len() > MOST_BYTES {
        return;
    }
    let Ok(history) = history::parse_blocks(frames(data), "fuzzed") else { return };
    let mut lines = Vec::new();
    history::write_lines(&history, &mut lines).expect("memory can be written");
    let again = history::parse(&lines, false, "again").expect("what was written can be read");
    assert_eq!((again.ops.len(), again.events.len()), (history.ops.len(), history.events.len()));
    let report = Report::of(&history).with_anatomy(&Logs::new());
    show(&report, Some(&history));
}

/// The parts of the data, each after its length. The last may be shorter than that.
fn frames(mut data: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk() {
        let length = (u32::from_le_bytes(*length) as usize).min(rest.len());
        frames.push(&rest[..length]);
        data = &rest[length..];
    }
    frames
}

fn show(report: &Report, history: Option<&History>) {
    let page = html::page(report, history.map(Facts::new).as_ref());
    assert_eq!(page.matches("<script").count(), 2, "the page has only its own scripts");
    assert!(page.len() < 4 << 20, "a page stays small: {} bytes", page.len());
    report::render(&[Summary::new(report, Path::new("fuzzed"))], Style { verbose: true, ..Style::default() });
}

fn text(data: &[u8]) -> Option<&str> {
    (data.len() <= MOST_BYTES).then(|| std::str::from_utf8(data).ok())?
}
