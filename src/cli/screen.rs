//! Writing to stdout and stderr.

use std::io::{self, ErrorKind, IsTerminal, Write};

use slotquake::report::Style;
use slotquake_judge::words::visible;

use super::exit::Trouble;

/// The colours of tables, as they begin and end.
const COLOURS: [&str; 4] = ["\u{1b}[31m", "\u{1b}[32m", "\u{1b}[33m", "\u{1b}[39m"];

/// Prints a result to stdout. Control characters are shown as text, but not the colours of tables on a terminal. A closed pipe (`| head`) is not an error; a full disk is.
pub fn print(text: &str) -> Result<(), Trouble> {
    let text = &if style(false).colour { with_colours(text) } else { visible(text) };
    let mut out = io::stdout().lock();
    let written =
        out.write_all(text.as_bytes()).and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") });
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Trouble::unavailable(format!("cannot print the result: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a line to stderr, with control characters as text. Ignores errors.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", visible(text));
}

/// [`visible`], but for [`COLOURS`].
fn with_colours(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        let (before, from) = rest.split_at(at);
        shown.push_str(&visible(before));
        let colour = COLOURS.into_iter().find(|colour| from.starts_with(colour)).unwrap_or("");
        shown.push_str(colour);
        if colour.is_empty() {
            shown.push_str(&visible("\u{1b}"));
        }
        rest = &from[colour.len().max(1)..];
    }
    shown + &visible(rest)
}

/// The style of tables on this stdout. On a terminal they have its width, and colours unless `NO_COLOR` is set. In a pipe
/// they are plain and without a maximum width.
pub fn style(verbose: bool) -> Style {
    let terminal = io::stdout().is_terminal();
    let width = terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0));
    Style { width: width.filter(|_| terminal), colour: terminal && colour_wanted(), verbose }
}

/// Whether to use colours on a terminal (no-color.org).
fn colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|value| value != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_colours_of_tables_reach_a_terminal() {
        for (text, expected) in [
            ("plain\n", "plain\n"),
            ("\u{1b}[31mfail\u{1b}[39m", "\u{1b}[31mfail\u{1b}[39m"),
            ("\u{1b}[2J\u{1b}]0;x\u{7}", "\\u001b[2J\\u001b]0;x\\u0007"),
            ("end\u{1b}", "end\\u001b"),
        ] {
            assert_eq!(with_colours(text), expected);
        }
    }
}
