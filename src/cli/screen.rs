//! Writing to stdout and stderr.

use std::io::{self, ErrorKind, IsTerminal, Write};

use slotquake::report::Style;

use super::exit::Trouble;

/// Prints a result to stdout. A closed pipe (`| head`) is not an error; a full disk is.
pub fn print(text: &str) -> Result<(), Trouble> {
    let mut out = io::stdout().lock();
    let written =
        out.write_all(text.as_bytes()).and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") });
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Trouble::harness(format!("cannot print the result: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a line to stderr. Ignores errors.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
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
