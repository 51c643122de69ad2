//! A matrix: settings of suites with several values each, and a run of each suite for every combination.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::units::{Percent, Rate, Span};

/// One setting of a matrix with its values, as `cluster.config.cluster-node-timeout=1000,5000`. Commas in brackets and braces
/// separate no values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    /// The path of the setting in a suite, as in `--set`.
    pub path: String,
    /// Its values, each once.
    pub values: Vec<String>,
}

impl FromStr for Axis {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hint = "(hint: `cluster.config.cluster-node-timeout=1000,5000`)";
        let Some((path, list)) = text.split_once('=').filter(|(path, _)| !path.trim().is_empty()) else {
            return Err(format!("a setting and its values are needed {hint}"));
        };
        let path = path.trim().to_owned();
        if path == "cluster.server" {
            return Err("servers are an axis of their own (hint: `--server redis:6.2,valkey:9.1`)".to_owned());
        }
        let values: Vec<String> = split(list).into_iter().map(|value| value.trim().to_owned()).collect();
        if values.iter().any(String::is_empty) {
            return Err(format!("a value of `{path}` is empty {hint}"));
        }
        if let Some(twice) = values.iter().enumerate().find(|(index, value)| values[..*index].contains(value)) {
            return Err(format!("`{path}` has the value {} twice (hint: `--repeat` repeats runs)", twice.1));
        }
        Ok(Self { path, values })
    }
}

/// The parts of a list between its commas, but not those in brackets and braces.
fn split(list: &str) -> Vec<&str> {
    let (mut depth, mut from, mut parts) = (0_i32, 0, Vec::new());
    for (at, letter) in list.char_indices() {
        match letter {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            ',' if depth <= 0 => {
                parts.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[from..]);
    parts
}

/// Every combination of values, by path; the values of the last axis change first. One empty combination without axes.
pub fn points(axes: &[Axis]) -> Vec<BTreeMap<String, String>> {
    axes.iter().fold(vec![BTreeMap::new()], |points, axis| {
        let with = |point: &BTreeMap<String, String>, value: &String| {
            let mut point = point.clone();
            point.insert(axis.path.clone(), value.clone());
            point
        };
        points.iter().flat_map(|point| axis.values.iter().map(move |value| with(point, value))).collect()
    })
}

/// The name of a suite with the settings that a matrix varied: `role-swap cluster-node-timeout=1000`.
pub fn variant(suite: &str, matrix: &BTreeMap<String, String>) -> String {
    matrix.iter().fold(suite.to_owned(), |name, (path, value)| format!("{name} {}={value}", last_part(path)))
}

/// `cluster-node-timeout` of `cluster.config.cluster-node-timeout`.
pub fn last_part(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(_, last)| last)
}

/// What values are ordered by: numbers, times, rates and percentages in their order, then texts.
pub fn natural(value: &str) -> (bool, f64, &str) {
    let number = value.parse::<f64>().ok();
    let time = || value.parse::<Span>().ok().map(|span| span.0.as_secs_f64());
    let rate = || value.parse::<Rate>().ok().map(|rate| f64::from(rate.per_second));
    let percent = || value.parse::<Percent>().ok().map(Percent::fraction);
    match number.or_else(time).or_else(rate).or_else(percent) {
        Some(number) if number.is_finite() => (false, number, ""),
        _ => (true, 0.0, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_setting_and_its_values() {
        let read = |text: &str| text.parse::<Axis>().map(|axis| (axis.path, axis.values.join("|")));
        for (text, expected) in [
            ("workload.rate=100/s,1000/s", ("workload.rate", "100/s|1000/s")),
            ("steps[3].kill=[node-1, node-4],node-2", ("steps[3].kill", "[node-1, node-4]|node-2")),
            ("cluster.config.save= 900 1 , 60 1", ("cluster.config.save", "900 1|60 1")),
            ("cluster.masters=3", ("cluster.masters", "3")),
        ] {
            assert_eq!(read(text), Ok((expected.0.to_owned(), expected.1.to_owned())), "{text}");
        }
        for (text, expected) in [
            ("cluster.masters", "a setting and its values are needed"),
            ("=3,5", "a setting and its values are needed"),
            ("cluster.masters=", "a value of `cluster.masters` is empty"),
            ("cluster.masters=3,,5", "a value of `cluster.masters` is empty"),
            ("cluster.masters=3,5,3", "`cluster.masters` has the value 3 twice"),
            ("cluster.server=redis:6.2,redis:7.0", "servers are an axis of their own"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn every_combination_is_a_point() {
        let axes = ["b=1,2", "a=x,y"].map(|text| text.parse::<Axis>().expect("an axis"));
        let names: Vec<String> = points(&axes).iter().map(|point| variant("s", point)).collect();
        assert_eq!(names, ["s a=x b=1", "s a=y b=1", "s a=x b=2", "s a=y b=2"]);
        assert_eq!(points(&[]), [BTreeMap::new()]);
    }

    #[test]
    fn numbers_are_in_their_order() {
        let mut values = ["no", "15000", "1000", "always", "5e2"];
        values.sort_by(|a, b| natural(a).partial_cmp(&natural(b)).expect("numbers are finite"));
        assert_eq!(values, ["5e2", "1000", "15000", "always", "no"]);
        for ordered in [["500ms", "2s", "1m"], ["50/s", "200/s", "1000/s"], ["5%", "20%", "100%"]] {
            let mut values = ordered;
            values.reverse();
            values.sort_by(|a, b| natural(a).partial_cmp(&natural(b)).expect("numbers are finite"));
            assert_eq!(values, ordered);
        }
    }
}
