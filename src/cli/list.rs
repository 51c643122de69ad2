//! `slotquake list`.

use std::fmt::Write;
use std::path::Path;

use serde_json::json;
use slotquake::report::wrapped;
use slotquake::suite::{self, Suite};

use super::exit::{Exit, Trouble};
use super::{Format, screen};

/// List the built-in suites
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  slotquake list
  slotquake list --long
  slotquake show role-swap")]
pub struct Args {
    /// Show the whole description of each suite
    #[arg(short, long)]
    long: bool,
    /// The format of the result
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Prints each suite's name and description.
pub fn main(args: &Args) -> Result<Exit, Trouble> {
    let read = |(name, text): &(&str, &str)| suite::parse(text, Path::new(name)).map_err(Trouble::harness);
    let suites = suite::shipped().iter().map(read).collect::<Result<Vec<Suite>, Trouble>>()?;
    match args.format {
        Format::Table => screen::print(&table(&suites, args.long, screen::style(false).width))?,
        Format::Json => screen::print(&document(&suites)?)?,
    }
    Ok(Exit::Pass)
}

/// One line a suite, with the first sentence of its description as far as it fits, or with all of it.
fn table(suites: &[Suite], long: bool, width: Option<usize>) -> String {
    let longest = suites.iter().map(|suite| suite.name.len()).max().unwrap_or(0);
    let width = width.unwrap_or(100);
    let mut text = String::new();
    for suite in suites {
        let about = if long {
            wrapped(&suite.about, longest + 2, Some(width))
        } else {
            fitting(first_sentence(&suite.about), width.saturating_sub(longest + 2))
        };
        let _ = writeln!(text, "{:longest$}  {about}", suite.name);
    }
    text
}

fn document(suites: &[Suite]) -> Result<String, Trouble> {
    let row = |suite: &Suite| {
        let masters = suite.cluster.masters;
        json!({"name": suite.name, "about": suite.about, "server": suite.cluster.server, "masters": masters})
    };
    serde_json::to_string_pretty(&suites.iter().map(row).collect::<Vec<_>>()).map_err(Trouble::harness)
}

/// Up to the first end of a sentence.
fn first_sentence(text: &str) -> &str {
    text.find(". ").map_or(text.trim_end(), |end| &text[..=end])
}

/// The words that fit into a line.
fn fitting(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut line = String::new();
    for word in text.split_whitespace() {
        if line.chars().count() + word.chars().count() + 5 > width {
            break;
        }
        line.push_str(word);
        line.push(' ');
    }
    line + "..."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_suite_has_one_line_that_fits() {
        let suites: Vec<Suite> =
            suite::shipped().iter().map(|(name, text)| suite::parse(text, Path::new(name)).expect("a suite")).collect();
        for width in [60, 100, 200] {
            let text = table(&suites, false, Some(width));
            assert_eq!(text.lines().count(), suites.len());
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
        }
        assert!(table(&suites, true, Some(100)).lines().count() > suites.len());
    }

    #[test]
    fn cuts_between_words() {
        assert_eq!(first_sentence("Stop it. Then look."), "Stop it.");
        for (width, expected) in [(13, "Stop a master"), (12, "Stop a ..."), (3, "...")] {
            assert_eq!(fitting("Stop a master", width), expected);
        }
    }
}
