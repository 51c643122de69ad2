//! What the pages of a real run tell, beside what its report and its history hold.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use slotquake::history;
use slotquake::report::{self, Report};
use slotquake::suite::ClientSet;

/// Checks the page of a run, in its folder, and the index beside it.
pub fn assert_told(folder: &Path) {
    let report = report::read(folder).expect("a report");
    let page = fs::read_to_string(folder.join("report.html")).expect("a page");
    sides(&report, &page);
    losses(&report, &page);
    unsent(folder, &page);
    one_time(&report, &page);
    axis(&page);
    index(folder);
}

/// Clients on the two sides of a cut are apart.
fn sides(report: &Report, page: &str) {
    let is_divided = report.outages.iter().any(|outage| outage.clients != ClientSet::All);
    if is_divided || report.header.plan.name == "minority-partition" {
        assert!(page.contains(", clients that were cut off</div>"), "a lane of those that were cut off");
        assert!(page.contains(", other clients</div>"), "a lane of the rest");
        let mixed = report.outages.iter().filter(|outage| outage.clients == ClientSet::All).count();
        assert_eq!(mixed, 0, "each outage is one side's");
    }
    let short = report.outages.iter().filter(|outage| outage.length_ms() < 100.0).count();
    assert_eq!(
        page.contains("<p class=\"muted\">Shorter than 100 ms: "),
        short > 0,
        "short ones are counted, not listed"
    );
}

/// Writes that were lost and that nobody judges are in the headline, in a colour of their own, and in the picture.
fn losses(report: &Report, page: &str) {
    let lost = report.ledger.lost_in_all();
    assert_eq!(page.contains("<section class=\"verdict pass lossy\">"), lost > 0, "{lost} lost");
    assert_eq!(page.contains(" lost, which this suite measures and does not judge</h1>"), lost > 0, "{lost} lost");
    let in_picture = page.contains(" lost, acknowledged ");
    assert!(in_picture || lost == 0 || report.header.plan.name != "minority-partition", "{lost} lost");
    assert!(lost > 0 || !in_picture, "none was lost");
}

/// What the harness did not send is an area of its own.
fn unsent(folder: &Path, page: &str) {
    let history = history::read(folder).expect("a history");
    let areas = |class: &str| -> Vec<String> {
        let start = format!("<path class=\"{class}\" d=\"");
        let found = page.split(&start).skip(1).map(|rest| rest.split('"').next().unwrap_or_default().to_owned());
        found.collect()
    };
    let (with, without) = (areas("unsent"), areas("unknown"));
    assert!(!with.is_empty() && with.len() == without.len(), "{} and {} areas", with.len(), without.len());
    // One that is lower than a pixel is drawn all the same, or not at all.
    if with != without {
        assert!(history.ops.iter().any(|op| !op.outcome().was_tried()), "nothing was left unsent");
    }
}

/// Every event has one time.
fn one_time(report: &Report, page: &str) {
    let failovers = report.timed_failovers();
    let promoted = failovers.iter().filter(|failover| failover.promotion_ms.is_some()).count();
    let told: BTreeSet<&str> =
        page.split("promoted after ").skip(1).filter_map(|rest| rest.split([',', '<', ';', '.']).next()).collect();
    assert!(told.len() <= promoted.max(1), "{promoted} promotions: {told:?}");
    let by_event = failovers.iter().filter_map(|failover| failover.promotion_ms).collect::<Vec<f64>>();
    for judged in report.invariants.iter().filter(|judged| judged.invariant == "failover-time") {
        if let Some(figure) = judged.figures.get("promotion_ms") {
            assert!(by_event.iter().any(|ms| (ms - figure).abs() < 1e-6), "{figure} is none of {by_event:?}");
        }
    }
}

/// The axis is the first row of the picture, and the legend is above it.
fn axis(page: &str) {
    let picture = page.split("<div class=\"picture\"").nth(1).expect("a picture");
    let row = picture.split("<div class=\"row ").nth(1).expect("a row");
    assert!(row.starts_with("axis"), "the first row is the axis");
    assert!(page.find("class=\"legend\"") < page.find("<div class=\"picture\""), "the legend is above the picture");
    for link in ["../index.html", "report.json", "logs/"] {
        assert!(page.contains(&format!("href=\"{link}\"")), "{link}");
    }
}

/// The index covers every run of its folder, and links each.
fn index(folder: &Path) {
    let out = folder.parent().expect("a folder of reports");
    let index = fs::read_to_string(out.join("index.html")).expect("an index");
    let name = folder.file_name().expect("a name").to_string_lossy();
    assert!(index.contains(&format!("{name}/report.html\"")), "{name} has a link");
    assert!(index.contains("very run in this folder"), "it says which runs it is about");
}
