//! Several sides beside one base: a row for each verdict and figure, and two columns for each side.

use std::collections::BTreeSet;
use std::fmt::Write;

use tabled::builder::Builder;

use super::compare::Compared;
use super::compare_table::{Shown, conclusions, remarks, rows};
use super::layout::{Style, draw};
use super::run::short_server;
use crate::words::visible;

/// A suite on a server, on all sides.
pub(super) struct Beside<'c> {
    /// The name of the suite.
    pub suite: &'c str,
    /// The server in the base.
    pub server: &'c str,
    /// Its verdicts and figures.
    pub lines: Vec<Line>,
}

/// A verdict or a figure on all sides.
pub(super) struct Line {
    /// Its name.
    pub what: String,
    /// What it is in the base.
    pub base: String,
    /// What it is on each other side; None if that side has no such suite or figure.
    pub sides: Vec<Option<Cell>>,
}

/// A verdict or a figure on one side.
pub(super) struct Cell {
    /// What it is.
    pub new: String,
    /// How it changed, in one word.
    pub change: &'static str,
    /// By how much.
    pub difference: String,
}

/// The suites that any side has in common with the base, with the verdicts and figures that are to be shown for any side.
pub(super) fn beside(sides: &[Compared], shown: Shown) -> Vec<Beside<'_>> {
    let pairs = || sides.iter().flat_map(|side| &side.comparison.pairs);
    let keys: BTreeSet<(&str, &str)> = pairs().map(|pair| (pair.suite.as_str(), pair.server.as_str())).collect();
    keys.into_iter()
        .map(|(suite, server)| {
            let mut wanted = BTreeSet::new();
            let mut lines: Vec<Line> = Vec::new();
            for (index, side) in sides.iter().enumerate() {
                let pair = side
                    .comparison
                    .pairs
                    .iter()
                    .find(|pair| (pair.suite.as_str(), pair.server.as_str()) == (suite, server));
                let Some(pair) = pair else { continue };
                wanted.extend(rows(pair, shown).into_iter().map(|row| row.what));
                for row in rows(pair, Shown::All) {
                    let position = lines.iter().position(|line| line.what == row.what).unwrap_or_else(|| {
                        let sides = sides.iter().map(|_| None).collect();
                        lines.push(Line { what: row.what, base: row.base, sides });
                        lines.len() - 1
                    });
                    let (new, change, difference) = (row.new, row.change, row.difference);
                    lines[position].sides[index] = Some(Cell { new, change, difference });
                }
            }
            lines.retain(|line| wanted.contains(&line.what));
            Beside { suite, server, lines }
        })
        .collect()
}

/// A table of the verdicts and figures of all sides that differ from the base, then what else differs and a conclusion for
/// each side. Figures without a significant change are only shown for a single suite, or with `verbose`.
pub fn render_sides(base: &str, sides: &[Compared], style: Style) -> String {
    let suites = beside(sides, Shown::Telling).len();
    let shown = if style.verbose || suites == 1 { Shown::Undecided } else { Shown::Telling };
    let mut builder = Builder::default();
    let names = sides.iter().flat_map(|side| [side.name.clone(), String::new()]);
    let head = ["suite", "server", "what"].map(str::to_owned).into_iter().chain([base.to_owned()]).chain(names);
    builder.push_record(head.map(|cell| visible(&cell)));
    for Beside { suite, server, lines } in beside(sides, shown) {
        for (index, line) in lines.into_iter().enumerate() {
            let name = |text: &str| if index == 0 { text.to_owned() } else { String::new() };
            let mut record = vec![name(suite), name(&short_server(server)), line.what, line.base];
            for cell in line.sides {
                let (new, change) = cell.map_or_else(|| ("-".to_owned(), ""), |cell| (cell.new, cell.change));
                record.extend([new, if change == "same" { String::new() } else { change.to_owned() }]);
            }
            builder.push_record(record.iter().map(|cell| visible(cell)));
        }
    }
    let mut text = draw(builder, 2, std::iter::empty(), style);
    for Compared { name, comparison } in sides {
        let _ = writeln!(text, "\n{} against {}:", visible(name), visible(base));
        for line in remarks(comparison).into_iter().chain(conclusions(comparison)) {
            let _ = writeln!(text, "  {}", visible(&line));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::compare::compare;
    use super::super::fixture::report;
    use super::*;
    use crate::check::Verdict;

    #[test]
    fn shows_every_side_beside_the_base() {
        let base = [report("role-swap", Verdict::Pass), report("formation", Verdict::Pass)];
        let mut lossy = base.clone();
        lossy[0].ledger.lost = 12;
        let fewer = [report("role-swap", Verdict::Fail)];
        let sides = [("before", &base[..]), ("lossy", &lossy), ("fewer", &fewer)]
            .map(|(name, side)| Compared { name: name.to_owned(), comparison: compare(&base, side) });
        let shown = render_sides("base", &sides, Style::default());
        assert_eq!(
            format!("\n{shown}"),
            "
suite      server     what                       base  before    lossy         fewer
-------------------------------------------------------------------------------------------
formation  redis:6.2  verdict                    pass    pass     pass             -
role-swap  redis:6.2  verdict                    pass    pass     pass          fail  worse
                      acked-writes (may-lose 0)  pass    pass     pass          fail  worse
                      lost                          0       0       12  worse      0

before against base:
  2 compared by verdict: 0 worse, 0 better, 2 alike

lossy against base:
  2 compared by verdict: 0 worse, 0 better, 2 alike; of those not worse, 1 with a worse figure
  regression: worse figures in role-swap redis:6.2

fewer against base:
  only in base  redis:6.2: formation
  1 compared by verdict: 1 worse, 0 better, 0 alike; 1 of the base missing
  regression: worse verdicts in role-swap redis:6.2; missing in new: formation redis:6.2
"
        );
    }
}
