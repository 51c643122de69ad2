//! The page of a comparison: figures side by side, and runs over one time axis.

use std::path::{Path, PathBuf};

use slotquake_judge::facts::Facts;
use slotquake_judge::history::{self, History};
use slotquake_judge::report::html::{MOST_DRAWN, Overlaid, comparison, without_operations};
use slotquake_judge::report::{Compared, Report, compare};

fn stored(name: &str) -> History {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stored").join(name);
    history::read(&folder).expect("a history")
}

/// The page of a run against others.
fn page(base: &History, others: &[(&str, &History)]) -> String {
    let reports: Vec<Report> = [base].into_iter().chain(others.iter().map(|(_, of)| *of)).map(Report::of).collect();
    let facts: Vec<Facts<'_>> = [base].into_iter().chain(others.iter().map(|(_, of)| *of)).map(Facts::new).collect();
    let sides: Vec<Compared> = others
        .iter()
        .zip(&reports[1..])
        .map(|((name, _), report)| Compared {
            name: (*name).to_owned(),
            comparison: compare(&reports[..1], std::slice::from_ref(report)),
        })
        .collect();
    let runs = reports.iter().zip(&facts).enumerate().map(|(side, (report, facts))| (side, report, facts)).collect();
    let plan = &base.header.plan;
    let overlaid = Overlaid { suite: &plan.name, server: &base.header.server.asked, runs };
    comparison("base-side", &sides, &[overlaid])
}

#[test]
fn two_runs_share_one_axis_that_begins_with_their_steps() {
    let (redis, valkey) = (stored("master-freeze-redis-6.2"), stored("master-freeze-valkey-9.1"));
    let page = page(&redis, &[("new-side", &valkey)]);
    assert!(page.contains("<small>time since the steps began</small>") && page.contains("data-from=\"0\""), "{page}");
    for (name, history, class) in [("base-side", &redis, "side-0"), ("new-side", &valkey, "side-1")] {
        assert!(page.contains(&format!("<div class=\"group\">{name}</div>")), "{name}");
        let outage = format!("<title>{name}: write outage on shard-1: ");
        assert!(page.contains(&outage) && page.contains(&format!("class=\"band {class}\"")), "{name}");
        let facts = Facts::new(history);
        assert!(
            page.matches(&format!("<path class=\"{class}\"")).count() >= 12,
            "{name}: reads and writes of each shard"
        );
        // The promotion is where it was after the steps began, not after the run began.
        let steps = facts.steps.expect("it has steps");
        let promoted = Report::of(history).timed_failovers()[0].promotion_ms.expect("promoted");
        let after_s = (facts.failovers[0].from_ns - steps.from_ns) as f64 / 1e9 + promoted / 1e3;
        let guides: Vec<f64> = page
            .split(&format!("<line class=\"{class}\" x1=\""))
            .skip(1)
            .map(|rest| rest.split('%').next().expect("a place").parse().expect("a number"))
            .collect();
        let span_s: f64 =
            page.split("data-span=\"").nth(1).expect("a span").split('"').next().unwrap().parse().unwrap();
        let [guide] = guides[..] else { panic!("one promotion: {guides:?}") };
        assert!((guide / 100.0 * span_s - after_s).abs() < 0.5, "{name}: {guide} % of {span_s} s is not {after_s} s");
    }
    let row = page.split("<th scope=\"row\">promotion</th>").nth(1).expect("figures").split("</tr>").next().unwrap();
    let values: Vec<&str> = row.split("<td>").skip(1).collect();
    assert!(values.len() == 2 && values.iter().all(|value| value.contains(" s</td>")), "both sides have one: {row}");
    assert!(!page.contains("<th scope=\"row\">redirects"), "invariants that did not change are left out");
}

#[test]
fn several_sides_have_colours_of_their_own_and_one_may_lack_its_history() {
    let whole = stored("role-swap-redis-6.2");
    let bare = without_operations(&Report::of(&whole));
    let page = page(&whole, &[("again", &whole), ("bare", &bare)]);
    for class in ["side-0", "side-1"] {
        assert!(page.contains(&format!("<path class=\"{class}\"")), "{class}");
    }
    assert!(!page.contains("<path class=\"side-2\"") && page.contains("<div class=\"group\">bare</div>"));
    assert!(page.contains("of 2 sides are worse than base-side"), "{page}");
    let only_bare = self::page(&bare, &[("bare", &bare)]);
    assert!(only_bare.contains("The histories are not next to the reports"), "{only_bare}");
}

#[test]
fn hostile_names_do_no_harm_and_suites_beyond_the_limit_are_told() {
    let hostile = "</script><img src=x onerror=alert(1)>";
    let mut run = stored("role-swap-redis-6.2");
    run.header.plan.name = hostile.to_owned();
    let page = page(&run, &[(hostile, &run)]);
    assert!(!page.contains("<img"), "{page}");
    let sides = [Compared { name: "new".to_owned(), comparison: compare(&[Report::of(&run)], &[Report::of(&run)]) }];
    let undrawn = comparison("base", &sides, &[]);
    assert!(undrawn.contains(&format!("a page draws {MOST_DRAWN} suites")), "{undrawn}");
}
