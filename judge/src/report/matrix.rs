//! The matrix of suites and servers.

use super::figures::{lost_text, time_text};
use super::summary::{Standing, Summary};
use crate::words::list;

/// Runs by suite and server, both in the order of their first appearance.
pub(super) struct Matrix<'a> {
    /// The columns.
    pub servers: Vec<&'a str>,
    /// The rows: a suite with the settings that a matrix varied, and its runs on each server.
    pub rows: Vec<(String, Vec<Cell<'a>>)>,
}

/// The runs of one suite on one server.
pub(super) struct Cell<'a>(pub Vec<&'a Summary>);

impl<'a> Matrix<'a> {
    pub fn new(runs: &'a [Summary]) -> Self {
        let servers = once_each(runs.iter().map(|run| run.server.as_str()));
        let variants: Vec<String> = runs.iter().map(Summary::variant).collect();
        let cell = |variant: &str, server: &str| {
            let named = runs.iter().zip(&variants);
            Cell(named.filter(|(run, own)| *own == variant && run.server == server).map(|(run, _)| run).collect())
        };
        let rows = once_each(variants.iter().map(String::as_str))
            .into_iter()
            .map(|variant| (variant.to_owned(), servers.iter().map(|server| cell(variant, server)).collect()))
            .collect();
        Self { servers, rows }
    }
}

impl Cell<'_> {
    /// One run: `pass, 7.42 s, 3 lost` with the time to the first write after a failover and the number of lost writes, if
    /// there are any. Several runs: `5 pass` or `4 pass, 1 fail`. No run: `-`.
    pub fn words(&self) -> String {
        match self.0.as_slice() {
            [] => "-".to_owned(),
            [only] => one_run(only),
            several => {
                let words = once_each(several.iter().map(|run| run.standing.word()));
                let count = |word: &str| several.iter().filter(|run| run.standing.word() == word).count();
                list(words.iter().map(|word| format!("{} {word}", count(word))))
            }
        }
    }

    /// Whether a run passed and lost acknowledged writes.
    pub fn has_losses(&self) -> bool {
        self.0.iter().any(|run| run.passed_with_losses())
    }

    /// The worst standing of the runs.
    pub fn worst(&self) -> Option<&Standing> {
        self.0.iter().map(|run| &run.standing).max_by_key(|standing| standing.weight())
    }
}

/// The caption of a matrix with [`Cell::words`].
pub(super) const LEGEND: &str = "verdict, time to the first write after a failover, acknowledged writes lost";

fn one_run(run: &Summary) -> String {
    let figures = run.figures.as_ref();
    let first_write = figures.and_then(|figures| figures.first_write_ms).map(time_text);
    let lost =
        figures.filter(|figures| figures.lost_in_all() > 0).map(|figures| format!("{} lost", lost_text(figures)));
    let words = [Some(run.standing.word().to_owned()), first_write, lost];
    list(words.into_iter().flatten())
}

fn once_each<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut once = Vec::new();
    for each in all {
        if !once.contains(&each) {
            once.push(each);
        }
    }
    once
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::fixture;
    use super::*;
    use crate::check::Verdict;
    use crate::report::Figures;

    fn run(suite: &str, server: &str, verdict: Verdict) -> Summary {
        Summary::without_report(suite, server, 7, Standing::Judged(verdict), None)
    }

    #[test]
    fn one_run_shows_its_figures() {
        let mut run = Summary::new(&fixture::report("a", Verdict::Pass), Path::new("x"));
        assert_eq!(Cell(vec![&run]).words(), "pass, 7.42 s");
        run.figures = Some(Figures { lost: 57, ..Figures::default() });
        assert_eq!(Cell(vec![&run]).words(), "pass, 57 lost");
    }

    #[test]
    fn has_a_cell_for_every_suite_and_server() {
        let runs = [
            run("a", "redis:6.2", Verdict::Pass),
            run("a", "valkey:9.1", Verdict::Pass),
            run("a", "valkey:9.1", Verdict::Fail),
            run("a", "valkey:9.1", Verdict::Pass),
            run("b", "redis:6.2", Verdict::Inconclusive),
        ];
        let matrix = Matrix::new(&runs);
        assert_eq!(matrix.servers, ["redis:6.2", "valkey:9.1"]);
        let words: Vec<(&str, Vec<String>)> = matrix
            .rows
            .iter()
            .map(|(suite, cells)| (suite.as_str(), cells.iter().map(Cell::words).collect()))
            .collect();
        assert_eq!(words[0], ("a", vec!["pass".to_owned(), "2 pass, 1 fail".to_owned()]));
        assert_eq!(words[1], ("b", vec!["inconclusive".to_owned(), "-".to_owned()]));
        assert_eq!(matrix.rows[0].1[1].worst(), Some(&Standing::Judged(Verdict::Fail)));
        assert_eq!(matrix.rows[1].1[1].worst(), None);
    }
}
