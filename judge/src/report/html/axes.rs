//! The figures of a suite over a setting that `run --matrix` varied, as small charts. Pure.

use std::collections::BTreeSet;

use crate::plan::matrix::{last_part, natural};
use crate::report::figures::Figures;
use crate::report::statistics::median;
use crate::report::summary::Summary;
use crate::words::page::{figure, length};

/// The size of a plot, in units of its picture.
const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 120.0;

/// The colours of lines. With more lines, they begin again.
const HUES: usize = 4;

/// The charts of one suite over one setting.
pub struct Axis {
    /// The name of the suite.
    pub suite: String,
    /// The path of the setting: `cluster.config.cluster-node-timeout`.
    pub path: String,
    /// The lines by name, each with its class in the style sheet: the servers, and the values of other settings.
    pub lines: Vec<(String, String)>,
    /// One chart for each figure that a run has.
    pub charts: Vec<Chart>,
}

/// A figure over the values of a setting.
pub struct Chart {
    /// The name of the figure.
    pub title: &'static str,
    /// The largest value, in words, at the top of the vertical axis, which begins at 0.
    pub top: String,
    /// The values of the setting with their positions in percent.
    pub ticks: Vec<(String, String)>,
    /// The lines through the medians: class and SVG path data.
    pub paths: Vec<(String, String)>,
    /// Each run: class, x, y, and the text of its tooltip.
    pub dots: Vec<(String, String, String, String)>,
}

/// What is drawn: the name of the figure, its value, and whether it is a time.
type Drawn = (&'static str, fn(&Figures) -> Option<f64>, bool);

const DRAWN: [Drawn; 5] = [
    ("time to FAIL", |figures| figures.fail_ms, true),
    ("time to promotion", |figures| figures.promotion_ms, true),
    ("time to first write", |figures| figures.first_write_ms, true),
    ("longest write outage", |figures| figures.write_outage.map(|outage| outage.length_ms), true),
    ("acknowledged writes lost", |figures| Some(figures.lost_in_all() as f64), false),
];

/// The charts of every suite over every setting that has several values.
pub fn axes(runs: &[Summary]) -> Vec<Axis> {
    let suites: BTreeSet<&str> = runs.iter().map(|run| run.suite.as_str()).collect();
    let paths: BTreeSet<&str> = runs.iter().flat_map(|run| run.matrix.keys().map(String::as_str)).collect();
    let pairs = suites.into_iter().flat_map(|suite| paths.iter().map(move |path| (suite, *path)));
    pairs.filter_map(|(suite, path)| axis(runs, suite, path)).collect()
}

fn axis(runs: &[Summary], suite: &str, path: &str) -> Option<Axis> {
    let runs: Vec<(&Summary, &Figures)> = runs
        .iter()
        .filter(|run| run.suite == suite && run.matrix.contains_key(path))
        .filter_map(|run| Some((run, run.figures.as_ref()?)))
        .collect();
    let mut values: Vec<&str> = runs.iter().map(|(run, _)| run.matrix[path].as_str()).collect();
    values.sort_by(|a, b| by_number(a, b));
    values.dedup();
    if values.len() < 2 {
        return None;
    }
    let name = |run: &Summary| {
        let others = run.matrix.iter().filter(|(other, _)| *other != path);
        others.fold(run.server.clone(), |text, (path, value)| format!("{text} {}", setting(path, value)))
    };
    let names: BTreeSet<String> = runs.iter().map(|(run, _)| name(run)).collect();
    let lines: Vec<(String, String)> =
        names.into_iter().enumerate().map(|(index, name)| (name, format!("line-{}", index % HUES))).collect();
    let places = places(&values);
    let chart = |(title, of, is_time): Drawn| {
        let points: Vec<(&Summary, f64)> =
            runs.iter().filter_map(|(run, figures)| Some((*run, of(figures)?))).collect();
        let most = points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        if points.is_empty() || (most == 0.0 && !is_time) {
            return None;
        }
        let words = |value: f64| if is_time { length(value) } else { figure(value) };
        let y = |value: f64| HEIGHT - value / most.max(f64::MIN_POSITIVE) * HEIGHT;
        let x = |value: &str| places[values.iter().position(|each| *each == value).unwrap_or_default()] * WIDTH;
        let mut dots = Vec::new();
        let mut paths = Vec::new();
        for (line, class) in &lines {
            let own: Vec<&(&Summary, f64)> = points.iter().filter(|(run, _)| name(run) == *line).collect();
            for (run, value) in &own {
                let at = &run.matrix[path];
                let title = format!("{line}, {}: {}", setting(path, at), words(*value));
                dots.push((class.clone(), format!("{:.1}", x(at)), format!("{:.1}", y(*value)), title));
            }
            let through = values.iter().filter_map(|value| {
                let at: Vec<f64> =
                    own.iter().filter(|(run, _)| run.matrix[path] == *value).map(|(_, value)| *value).collect();
                Some(format!("{:.1},{:.1}", x(value), y(median(&at)?)))
            });
            let through: Vec<String> = through.collect();
            if through.len() > 1 {
                paths.push((class.clone(), format!("M{}", through.join("L"))));
            }
        }
        let ticks =
            values.iter().zip(&places).map(|(value, place)| ((*value).to_owned(), format!("{:.1}", place * WIDTH)));
        Some(Chart { title, top: words(most), ticks: ticks.collect(), paths, dots })
    };
    Some(Axis {
        suite: suite.to_owned(),
        path: path.to_owned(),
        charts: DRAWN.into_iter().filter_map(chart).collect(),
        lines: lines.clone(),
    })
}

/// `cluster-node-timeout=1000` of a path and a value.
fn setting(path: &str, value: &str) -> String {
    format!("{}={value}", last_part(path))
}

/// Numbers in their order, then texts.
fn by_number(a: &str, b: &str) -> std::cmp::Ordering {
    natural(a).partial_cmp(&natural(b)).unwrap_or(std::cmp::Ordering::Equal).then(a.cmp(b))
}

/// Where values are on an axis from 0 to 1: numbers to scale, others at equal distances.
fn places(values: &[&str]) -> Vec<f64> {
    let numbers: Option<Vec<f64>> =
        values.iter().map(|value| value.parse::<f64>().ok().filter(|number| number.is_finite())).collect();
    let even = |index: usize| index as f64 / (values.len() - 1) as f64;
    match numbers.as_deref() {
        Some([first, .., last]) if last > first => {
            numbers.iter().flatten().map(|number| (number - first) / (last - first)).collect()
        }
        _ => (0..values.len()).map(even).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::check::Verdict;
    use crate::report::fixture;

    fn run(timeout: &str, first_write_ms: f64) -> Summary {
        let mut report = fixture::report("role-swap", Verdict::Pass);
        report.header.plan.matrix = [("cluster.config.cluster-node-timeout".to_owned(), timeout.to_owned())].into();
        report.failovers[0].first_write_ms = Some(first_write_ms);
        Summary::new(&report, Path::new("x"))
    }

    #[test]
    fn draws_figures_over_the_values_of_a_setting() {
        let runs = [run("15000", 15_000.0), run("1000", 1000.0), run("1000", 3000.0), run("5000", 6000.0)];
        let axes = axes(&runs);
        let [axis] = axes.as_slice() else { panic!("one suite over one setting") };
        assert_eq!((axis.suite.as_str(), axis.path.as_str()), ("role-swap", "cluster.config.cluster-node-timeout"));
        let chart = axis.charts.iter().find(|chart| chart.title == "time to first write").expect("it was measured");
        let ticks: Vec<(&str, &str)> = chart.ticks.iter().map(|(value, x)| (value.as_str(), x.as_str())).collect();
        assert_eq!(ticks, [("1000", "0.0"), ("5000", "85.7"), ("15000", "300.0")]);
        assert_eq!(chart.top, "15.000 s");
        // Through the median of the two runs at 1000.
        assert_eq!(chart.paths, [("line-0".to_owned(), "M0.0,104.0L85.7,72.0L300.0,0.0".to_owned())]);
        assert_eq!(chart.dots.len(), 4);
        assert_eq!(chart.dots[1].3, "redis:6.2, cluster-node-timeout=1000: 1.000 s");
    }

    #[test]
    fn one_value_is_no_axis() {
        assert!(axes(&[run("1000", 1.0), run("1000", 2.0)]).is_empty());
        let plain = Summary::new(&fixture::report("role-swap", Verdict::Pass), Path::new("x"));
        assert!(axes(&[plain.clone(), plain]).is_empty());
    }

    #[test]
    fn texts_are_at_equal_distances() {
        assert_eq!(places(&["everysec", "always", "no"]), [0.0, 0.5, 1.0]);
        assert_eq!(places(&["1", "3", "5"]), [0.0, 0.5, 1.0]);
    }
}
