//! A campaign in words: for a terminal, as Markdown, as a page and as `JUnit`.

use std::fmt::Write;

use askama::Template;
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestSuite};

use super::record::{Campaign, Ended, Finding};
use super::{Claim, Failure, SOMETIMES, Stand};
use crate::words::count;

/// The ways to end, in the order of tables.
const ENDS: [Ended; 6] = [Ended::Pass, Ended::Fail, Ended::Unknown, Ended::Inconclusive, Ended::Error, Ended::Skipped];

/// What each way to end means.
fn meaning(ended: Ended) -> &'static str {
    match ended {
        Ended::Pass => "everything that must hold was seen to hold",
        Ended::Fail => "something that must hold did not",
        Ended::Unknown => "something failed, and no rule says whether it may",
        Ended::Inconclusive => "too little was observed to tell",
        Ended::Error => "slotquake could not do the run",
        Ended::Skipped => "this machine cannot do the run",
    }
}

/// The head line: `200 runs, seed 7, profile rough: 2 failures`.
fn headline(campaign: &Campaign) -> String {
    let (seeds, profiles) = campaign.headers.first().map_or((String::new(), String::new()), |header| {
        (format!(", seed {}", header.seed), format!(", profile {}", header.profile))
    });
    let failures = match campaign.failures().len() {
        0 => "no failure".to_owned(),
        number => count(number as u64, "failure"),
    };
    format!("{}{seeds}{profiles}: {failures}", count(campaign.runs.len() as u64, "run"))
}

/// One failure as a row of the tables.
struct Row {
    failure: String,
    runs: String,
    rate: String,
    real: String,
    smallest: String,
    folder: String,
    suite: String,
}

/// The name of the folder in which a failure's files are.
pub fn folder_of(failure: &Failure) -> String {
    let name = format!("{failure}").replace(" (", "-").replace(", ", "-");
    name.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').collect()
}

fn rows(campaign: &Campaign) -> Vec<Row> {
    let finding = |failure: &Failure| campaign.findings.iter().find(|finding| finding.failure == *failure);
    let of = |found: Option<&Finding>, text: &dyn Fn(&Finding) -> String| found.map_or_else(|| "-".to_owned(), text);
    let row = |failure: &Failure, runs: usize, first: u64| {
        let found = finding(failure);
        Row {
            failure: failure.to_string(),
            runs: format!("{runs} of {}, first in run {first}", campaign.runs.len()),
            rate: of(found, &|found| found.smallest.to_string()),
            real: of(found, &|found| if found.real.of == 0 { "-".to_owned() } else { found.real.to_string() }),
            smallest: of(found, &|found| {
                format!("{} after {}", count(found.moves as u64, "step"), count(found.runs.into(), "run"))
            }),
            folder: format!("failures/{}", folder_of(failure)),
            suite: found.map_or_else(String::new, |found| found.suite.clone()),
        }
    };
    campaign
        .failures()
        .into_iter()
        .map(|(failure, runs)| row(failure, runs.len(), runs.first().map_or(0, |run| run.number)))
        .collect()
}

/// How often each claim stood how: `promised 40, may fail 10`.
fn claims(campaign: &Campaign) -> Vec<(&'static str, [usize; 4])> {
    let stood =
        |claim: Claim, stand: Stand| campaign.runs.iter().filter(|run| run.stands.get(&claim) == Some(&stand)).count();
    let row = |claim: Claim| {
        let columns = [Stand::Promised, Stand::Forbidden, Stand::Allowed, Stand::Unknown];
        (claim.word(), columns.map(|stand| stood(claim, stand)))
    };
    Claim::ALL.into_iter().map(row).collect()
}

/// Each situation that a campaign should reach, and in how many runs it did.
fn sometimes(campaign: &Campaign) -> Vec<(&'static str, u64)> {
    let reached = campaign.situations();
    SOMETIMES.iter().map(|&name| (name, reached.get(name).copied().unwrap_or(0))).collect()
}

/// The other situations: pairs of events that followed each other.
fn other_situations(campaign: &Campaign) -> usize {
    campaign.situations().keys().filter(|name| !SOMETIMES.contains(name)).count()
}

/// The campaign as plain text.
pub fn render_campaign(campaign: &Campaign) -> String {
    let mut text = format!("{}\n\n", headline(campaign));
    for ended in ENDS.into_iter().filter(|&ended| campaign.count(ended) > 0) {
        let _ = writeln!(text, "  {:<13}{:>5}  {}", ended.word(), campaign.count(ended), meaning(ended));
    }
    for row in rows(campaign) {
        let _ = writeln!(text, "\n  FAILED  {}: {}", row.failure, row.runs);
        let _ = writeln!(
            text,
            "    smallest schedule: {}; fails in {}; in real time in {}",
            row.smallest, row.rate, row.real
        );
        let _ = writeln!(text, "    {}", row.folder);
    }
    let (reached, never): (Vec<_>, Vec<_>) = sometimes(campaign).into_iter().partition(|(_, runs)| *runs > 0);
    let _ = writeln!(
        text,
        "\n  Reached, with the number of runs, and {} of events that followed each other:",
        count(other_situations(campaign) as u64, "pair")
    );
    for (name, runs) in reached {
        let _ = writeln!(text, "    {runs:>5}  {name}");
    }
    if !never.is_empty() {
        let names: Vec<&str> = never.iter().map(|(name, _)| *name).collect();
        let _ = writeln!(text, "  Never reached: {}", names.join("; "));
    }
    text
}

/// The campaign as Markdown, for a job's summary.
pub fn render_campaign_markdown(campaign: &Campaign) -> String {
    let mut text = format!("## Chaos: {}\n\n| runs | ended | meaning |\n|---:|---|---|\n", headline(campaign));
    for ended in ENDS.into_iter().filter(|&ended| campaign.count(ended) > 0) {
        let _ = writeln!(text, "| {} | {} | {} |", campaign.count(ended), ended.word(), meaning(ended));
    }
    let rows = rows(campaign);
    if !rows.is_empty() {
        text.push_str(
            "\n| failure | runs | smallest schedule | fails in | in real time | files |\n|---|---|---|---|---|---|\n",
        );
        for row in rows {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | `{}` |",
                row.failure, row.runs, row.smallest, row.rate, row.real, row.folder
            );
        }
    }
    text.push_str(
        "\n| claim | promised | forbidden by the profile | may fail | no rule |\n|---|---:|---:|---:|---:|\n",
    );
    for (claim, [promised, forbidden, allowed, unknown]) in claims(campaign) {
        let _ = writeln!(text, "| {claim} | {promised} | {forbidden} | {allowed} | {unknown} |");
    }
    text.push_str("\n| runs | situation |\n|---:|---|\n");
    for (name, runs) in sometimes(campaign) {
        let _ = writeln!(text, "| {runs} | {name} |");
    }
    let _ = writeln!(
        text,
        "\nBeside them {} of events that followed each other.",
        count(other_situations(campaign) as u64, "pair")
    );
    text
}

/// `templates/campaign.html`.
#[derive(Template)]
#[template(path = "campaign.html")]
struct Page {
    headline: String,
    ends: Vec<(&'static str, usize, &'static str)>,
    failures: Vec<Row>,
    claims: Vec<(&'static str, [usize; 4])>,
    sometimes: Vec<(&'static str, u64)>,
    others: usize,
}

/// The campaign as a page that needs no network.
pub fn campaign_page(campaign: &Campaign) -> String {
    let ends = ENDS.into_iter().filter(|&ended| campaign.count(ended) > 0);
    let page = Page {
        headline: headline(campaign),
        ends: ends.map(|ended| (ended.word(), campaign.count(ended), meaning(ended))).collect(),
        failures: rows(campaign),
        claims: claims(campaign),
        sometimes: sometimes(campaign),
        others: other_situations(campaign),
    };
    page.render().expect("the template only writes into memory")
}

/// The campaign as `JUnit` XML: a test case for each claim that must have held in some run, and one for each failure.
pub fn campaign_junit(campaign: &Campaign) -> String {
    let mut suite = TestSuite::new("slotquake chaos");
    let rows = rows(campaign);
    for (claim, [promised, forbidden, ..]) in claims(campaign).into_iter().filter(|(_, stood)| stood[0] + stood[1] > 0)
    {
        let mut case = TestCase::new(format!("{claim}: held where it must"), TestCaseStatus::success());
        case.set_classname("chaos");
        case.set_system_out(format!("promised in {promised}, forbidden to fail in {forbidden} runs"));
        if let Some((failure, runs)) = campaign
            .failures()
            .into_iter()
            .find(|(failure, _)| Claim::of(&failure.invariant, "").is_some_and(|of| of.word() == claim))
        {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(format!("{failure}: {} of {} runs", runs.len(), campaign.runs.len()));
            let suites: Vec<&str> =
                rows.iter().filter(|row| row.failure == failure.to_string()).map(|row| row.suite.as_str()).collect();
            status.set_description(suites.join("\n"));
            case.status = status;
        }
        suite.add_test_case(case);
    }
    let undecided = campaign.count(Ended::Inconclusive) + campaign.count(Ended::Error);
    if undecided > 0 && campaign.count(Ended::Pass) == 0 {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_type("inconclusive").set_message("no run passed");
        suite.add_test_case(TestCase::new("runs", status));
    }
    let mut report = quick_junit::Report::new("slotquake chaos");
    report.add_test_suite(suite);
    report.to_string().expect("the writer is memory, and quick-junit escapes text")
}
