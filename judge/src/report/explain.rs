//! A run as plain text, for the message of a failed test or a log.

use std::fmt::Write;

use super::figures::{Figures, lost_text, outage_cell, promotion_cell, time_text};
use super::grounds::{grounds, invariant_text};
use super::summary::{Course, Standing, Summary};
use crate::check::Verdict;
use crate::words::{count, list};

/// The number of lines of a long course that are shown from its beginning and from its end.
const COURSE_HEAD: usize = 40;
const COURSE_TAIL: usize = 20;

/// Everything that explains a verdict: invariants that do not hold with their evidence, those that hold, the course of the
/// run, the figures, the path of the report and the command to repeat the run. It ends without a newline.
pub fn explain(run: &Summary) -> String {
    let server = run.version.map(|version| format!(" ({version})")).unwrap_or_default();
    let mut text = format!("{} on {}{server}: {}\n", run.variant(), run.server, run.standing.word());
    match &run.standing {
        Standing::Error(why) | Standing::Skipped(why) => {
            let _ = writeln!(text, "\n{why}");
        }
        Standing::Judged(_) => judgements(run, &mut text),
    }
    if let Some(course) = run.course.as_ref().filter(|course| !course.lines.is_empty()) {
        text.push_str("\nwhat happened\n");
        text.push_str(&course_text(course));
    }
    if let Some(figures) = &run.figures {
        let _ = writeln!(text, "\n{}", in_figures(figures));
    }
    text.push('\n');
    if let Some(folder) = &run.report {
        let file = if run.course.is_some() { folder.join("report.html") } else { folder.clone() };
        let _ = writeln!(text, "report  {}", file.display());
    }
    if let Some(course) = &run.course {
        let _ = writeln!(text, "again   {}", course.again.command);
    }
    text.truncate(text.trim_end().len());
    text
}

/// Invariants that do not hold, the worst first, then those that hold.
fn judgements(run: &Summary, text: &mut String) {
    for verdict in [Verdict::Fail, Verdict::Inconclusive] {
        for judgement in run.invariants.iter().filter(|judgement| judgement.verdict == verdict) {
            let _ = writeln!(text, "\n{}  {}", verdict.word().to_uppercase(), invariant_text(judgement));
            text.push_str(&grounds(judgement, None));
        }
    }
    let held = list(run.invariants.iter().filter(|judgement| judgement.verdict == Verdict::Pass).map(invariant_text));
    if !held.is_empty() {
        let _ = writeln!(text, "\nheld: {held}");
    }
}

/// The course of a run, each line with its time. Of a long one the middle is left out.
pub(super) fn course_text(course: &Course) -> String {
    let mut text = String::new();
    let all = &course.lines;
    let left_out = all.len().saturating_sub(COURSE_HEAD + COURSE_TAIL);
    for (index, (at_ns, line)) in all.iter().enumerate() {
        if left_out > 0 && index == COURSE_HEAD {
            let _ = writeln!(text, "       ... {} left out", count(left_out as u64, "line"));
        }
        if index < COURSE_HEAD || index >= COURSE_HEAD + left_out {
            let _ = writeln!(text, "{:>8.3} s  {line}", *at_ns as f64 / 1e9);
        }
    }
    text
}

/// `to FAIL 6.71 s, ...`, without figures that were not observed.
fn in_figures(figures: &Figures) -> String {
    let times = [
        ("to FAIL", figures.fail_ms.map(time_text)),
        (
            "to promotion",
            figures.promotion_ms.map(|_| promotion_cell(figures, |time| time.map_or_else(String::new, time_text))),
        ),
        ("to first write", figures.first_write_ms.map(time_text)),
        (
            "longest read outage",
            figures.read_outage.map(|outage| outage_cell(Some(outage), figures.cut_off_read_outage)),
        ),
        (
            "longest write outage",
            figures.write_outage.map(|outage| outage_cell(Some(outage), figures.cut_off_write_outage)),
        ),
    ];
    let times = times.into_iter().filter_map(|(what, time)| Some(format!("{what} {}", time?)));
    let writes = format!("{} acknowledged, {} lost", count(figures.acknowledged, "write"), lost_text(figures));
    list(times.chain([writes]))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::fixture;
    use super::*;

    #[test]
    fn explains_a_failure() {
        let mut report = fixture::report("role-swap", Verdict::Fail);
        report.invariants.push(fixture::judgement("agreement", "within 5s", Verdict::Pass));
        assert_eq!(
            explain(&Summary::new(&report, Path::new("reports/x"))),
            "role-swap on redis:6.2 (redis 6.2.14): fail

FAIL  acked-writes (may-lose 0)
  expected  no acknowledged write is lost
  seen      12 of 4021 acknowledged writes are lost
  evidence  key-17 = 44, acknowledged at 7.412 s by node-1; 43 was read back
            ... and 11 more
  rests on  4021 observations

held: agreement (within 5s)

what happened
   0.000 s  phase boot

to FAIL 6.71 s, to promotion 7.36 s, to first write 7.42 s, longest read outage 0, longest write outage 7.49 s, \
             4021 writes acknowledged, 0 lost

report  reports/x/report.html
again   slotquake run ./role-swap.yaml --server redis:6.2 --seed 7"
        );
    }

    #[test]
    fn explains_a_missing_report() {
        let why = Standing::Error("no cluster within 30s\nnode-3: Bad directive".to_owned());
        let run = Summary::without_report("formation", "redis:6.2", 7, why, Some(Path::new("reports/y")));
        let expected =
            "formation on redis:6.2: error\n\nno cluster within 30s\nnode-3: Bad directive\n\nreport  reports/y";
        assert_eq!(explain(&run), expected);
    }

    #[test]
    fn cuts_a_long_course_in_the_middle() {
        let run = Summary::new(&fixture::report("role-swap", Verdict::Fail), Path::new("x"));
        let mut course = run.course.expect("a course");
        course.lines = (0..100).map(|second| (second * 1_000_000_000, format!("line {second}"))).collect();
        let shown = course_text(&course);
        assert_eq!(shown.lines().count(), COURSE_HEAD + COURSE_TAIL + 1, "{shown}");
        assert!(shown.contains("line 39\n       ... 40 lines left out\n  80.000 s  line 80\n"), "{shown}");
    }
}
