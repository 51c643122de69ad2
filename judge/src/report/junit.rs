//! `junit.xml`, for the test reports of CI systems.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Property, Report, TestCase, TestCaseStatus, TestSuite};

use super::explain::{course_text, explain};
use super::grounds::{grounds, invariant_text};
use super::summary::{Standing, Summary};
use crate::check::{Judgement, Verdict};

/// The name of the test case of a run without a verdict.
const RUN: &str = "run";

/// The runs as `JUnit` XML: a test suite for each run, a test case for each of its invariants.
///
/// An invariant that fails is a `failure`, and an inconclusive one an `error` of type `inconclusive`. A run without a report
/// is an `error` of type `error`, and one that was not run is `skipped`, with the reason.
pub fn junit(runs: &[Summary]) -> String {
    let mut report = Report::new("slotquake");
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for run in runs {
        let repetition = seen.entry(run.label()).or_default();
        *repetition += 1;
        report.add_test_suite(test_suite(run, *repetition));
    }
    let xml = report.to_string().expect("the writer is memory, and quick-junit escapes text");
    // quick-junit removes control characters. XML 1.0 forbids these two as well.
    xml.replace(['\u{fffe}', '\u{ffff}'], "")
}

fn test_suite(run: &Summary, repetition: usize) -> TestSuite {
    let name = if repetition == 1 { run.label() } else { format!("{} ({repetition})", run.label()) };
    let mut suite = TestSuite::new(name);
    suite.add_property(Property::new("seed", run.seed.to_string()));
    if let Some(figures) = run.figures.as_ref().filter(|figures| figures.lost_in_all() > 0) {
        suite.add_property(Property::new("acknowledged-writes-lost", figures.lost_in_all().to_string()));
    }
    if !run.speed.is_real() {
        suite.add_property(Property::new("speed", run.speed.to_string()));
    }
    if let Some(version) = run.version {
        suite.add_property(Property::new("server-version", version.to_string()));
    }
    if let Some(folder) = &run.report {
        suite.add_property(Property::new("report", folder.display().to_string()));
    }
    if let Some(course) = &run.course {
        suite.add_property(Property::new("started-at", course.started_at.clone()));
        suite.set_time(Duration::try_from_secs_f64(course.duration_ms / 1000.0).unwrap_or_default());
        // Stored reports may have no events.
        if !course.lines.is_empty() {
            suite.set_system_out(course_text(course));
        }
    }
    match &run.standing {
        Standing::Judged(_) => {
            suite.add_test_cases(run.invariants.iter().map(|judgement| judged(run, judgement)));
        }
        Standing::Error(why) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_type("error").set_message(first_line(why)).set_description(explain(run));
            suite.add_test_case(case(run, RUN, status));
        }
        Standing::Skipped(why) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(why.as_str());
            suite.add_test_case(case(run, RUN, status));
        }
    }
    suite
}

fn judged(run: &Summary, judgement: &Judgement) -> TestCase {
    let status = match judgement.verdict {
        Verdict::Pass => TestCaseStatus::success(),
        Verdict::Fail => unmet(run, judgement, NonSuccessKind::Failure),
        Verdict::Inconclusive => unmet(run, judgement, NonSuccessKind::Error),
    };
    case(run, &invariant_text(judgement), status)
}

fn unmet(run: &Summary, judgement: &Judgement, kind: NonSuccessKind) -> TestCaseStatus {
    let mut text = grounds(judgement, None);
    if let Some(folder) = &run.report {
        let _ = writeln!(text, "  report    {}", folder.join("report.html").display());
    }
    if let Some(course) = &run.course {
        let _ = writeln!(text, "  again     {}", course.again.command);
    }
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(judgement.verdict.word()).set_message(first_line(&judgement.seen)).set_description(text);
    status
}

fn case(run: &Summary, name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(run.label());
    case
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::fixture;
    use super::*;

    #[test]
    fn maps_each_outcome_to_junit() {
        let mut report = fixture::report("role-swap", Verdict::Fail);
        report.invariants.push(fixture::judgement("agreement", "", Verdict::Inconclusive));
        report.invariants.push(fixture::judgement("epochs", "", Verdict::Pass));
        let without = |standing| Summary::without_report("halves", "redis:6.2", 7, standing, None);
        let runs = [
            Summary::new(&report, Path::new("reports/x")),
            without(Standing::Error("no cluster within 30s\nnode-3: Bad directive".to_owned())),
            without(Standing::Skipped("no nft (hint: install it)".to_owned())),
        ];
        let xml = junit(&runs);
        for expected in [
            r#"<testsuites name="slotquake" tests="5" skipped="1" failures="1" errors="2">"#,
            r#"<testsuite name="role-swap redis:6.2" tests="3" skipped="0" errors="1" failures="1" time="24.512">"#,
            r#"<property name="report" value="reports/x"/>"#,
            r#"<testcase name="acked-writes (may-lose 0)" classname="role-swap redis:6.2">"#,
            r#"<failure message="12 of 4021 acknowledged writes are lost" type="fail">"#,
            "evidence  key-17 = 44, acknowledged at 7.412 s by node-1; 43 was read back",
            "report    reports/x/report.html",
            r#"<error message="12 of 4021 acknowledged writes are lost" type="inconclusive">"#,
            r#"<testcase name="epochs" classname="role-swap redis:6.2"/>"#,
            r#"<error message="no cluster within 30s" type="error">"#,
            r#"<testsuite name="halves redis:6.2 (2)""#,
            r#"<skipped message="no nft (hint: install it)"/>"#,
        ] {
            assert!(xml.contains(expected), "{expected} in:\n{xml}");
        }
    }

    #[test]
    fn escapes_texts_of_servers() {
        let mut report = fixture::report("x", Verdict::Fail);
        report.invariants[0].seen = "]]> <failure> & \" \u{1}\u{fffe}".to_owned();
        report.invariants[0].evidence = vec!["]]></failure></testcase>".to_owned()];
        let xml = junit(&[Summary::new(&report, Path::new("x"))]);
        assert_eq!(xml.matches("</testcase>").count(), 1, "{xml}");
        assert!(!xml.contains('\u{1}') && !xml.contains('\u{fffe}'), "{xml}");
    }
}
