//! The words that are written everywhere: times, durations, counts and plurals, lists, first lines.
//!
//! Verdicts, tables and progress lines use the functions at the top. Pages use [`page`], which rounds more and keeps
//! every text short.

use std::fmt::Write;

/// A time in nanoseconds from the start of the run: `12.345 s`.
pub fn at(ns: u64) -> String {
    format!("{:.3} s", ns as f64 / 1e9)
}

/// A duration in milliseconds: `850 ms`, `7.412 s`.
pub fn length(ms: f64) -> String {
    if ms < 1000.0 { format!("{} ms", (ms * 10.0).round() / 10.0) } else { format!("{:.3} s", ms / 1000.0) }
}

/// A duration in nanoseconds, as [`length`] writes it.
pub fn length_ns(ns: u64) -> String {
    length(ns as f64 / 1e6)
}

/// `1 write`, `2 writes`.
pub fn count(number: u64, noun: &str) -> String {
    format!("{number} {}", plural(number, noun))
}

/// A list: `node-1, node-2`.
pub fn list<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// `run` or `runs`.
pub fn plural(count: u64, noun: &str) -> String {
    if count == 1 { noun.to_owned() } else { format!("{noun}s") }
}

/// A duration in milliseconds as progress lines write it: `3.2s`.
pub fn seconds(ms: f64) -> String {
    format!("{:.1}s", ms / 1000.0)
}

/// A duration in milliseconds in running text: `5.9 s`, or `60 ms` below a tenth of a second.
pub fn brief(ms: f64) -> String {
    if ms < 99.5 { format!("{ms:.0} ms") } else { format!("{:.1} s", ms / 1000.0) }
}

/// The first line of a server's reply in backticks, with `...` if there are more.
pub fn first_line(reply: &str) -> String {
    let mut lines = reply.lines();
    let first = lines.next().unwrap_or_default();
    if lines.next().is_some() { format!("`{first} ...`") } else { format!("`{first}`") }
}

/// A text as a terminal may show it. Characters that move the cursor, change colours or reverse the direction of writing
/// become `\u001b` and the like, which is valid in JSON, too. Line feeds and tabs stay, and CR LF becomes LF.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.replace("\r\n", "\n").chars() {
        if is_visible(letter) {
            shown.push(letter);
        } else {
            let _ = write!(shown, "\\u{:04x}", u32::from(letter));
        }
    }
    shown
}

fn is_visible(letter: char) -> bool {
    let is_bidirectional =
        matches!(letter, '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    matches!(letter, '\n' | '\t') || !(letter.is_control() || is_bidirectional)
}

/// Numbers for a page. A report may come from anywhere, so the text stays short for every number.
pub mod page {
    /// `12.345 s`, a moment or a length given in nanoseconds.
    pub fn at(ns: u64) -> String {
        format!("{} s", fixed(ns as f64 / 1e9, 3))
    }

    /// `0.42 ms`, `850 ms`, `7.412 s`.
    pub fn length(ms: f64) -> String {
        let size = ms.abs();
        if !size.is_finite() {
            "-".to_owned()
        } else if size == 0.0 {
            "0 ms".to_owned()
        } else if size < 10.0 {
            format!("{} ms", fixed(ms, 2))
        } else if size < 1000.0 {
            format!("{} ms", fixed(ms, 0))
        } else {
            format!("{} s", fixed(ms / 1000.0, if size < 100_000.0 { 3 } else { 0 }))
        }
    }

    /// [`length`], or `-` for what was not observed.
    pub fn length_or_dash(ms: Option<f64>) -> String {
        ms.map_or_else(|| "-".to_owned(), length)
    }

    /// `1,234,567`.
    pub fn count(number: u64) -> String {
        let digits = number.to_string();
        let mut text = String::new();
        for (position, digit) in digits.chars().enumerate() {
            if position > 0 && (digits.len() - position).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        text
    }

    /// `1 write`, `2 writes`.
    pub fn counted(number: u64, noun: &str) -> String {
        format!("{} {}", count(number), super::plural(number, noun))
    }

    /// `0 B`, `1.5 kB`.
    pub fn bytes(number: u64) -> String {
        const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
        if number < 1000 {
            return format!("{number} B");
        }
        let mut size = number as f64;
        let mut unit = "B";
        for next in UNITS {
            if size < 1000.0 {
                break;
            }
            size /= 1000.0;
            unit = next;
        }
        format!("{size:.1} {unit}")
    }

    /// Any figure: whole numbers as they are, others with three digits behind the point.
    pub fn figure(number: f64) -> String {
        if number.fract() == 0.0 && number.abs() < 1e15 { format!("{number:.0}") } else { fixed(number, 3) }
    }

    /// With so many digits behind the point; beyond what anybody measures in powers of ten.
    pub fn fixed(number: f64, digits: usize) -> String {
        if number.abs() < 1e12 { format!("{number:.digits$}") } else { format!("{number:.3e}") }
    }
}

#[cfg(test)]
mod tests {
    use super::page::*;
    use super::visible;

    #[test]
    fn shows_control_characters_as_text() {
        for (text, expected) in [
            ("plain, \u{e4}\u{20ac} \u{1f600}\n\tnext", "plain, \u{e4}\u{20ac} \u{1f600}\n\tnext"),
            ("\u{1b}[31mred\u{1b}]0;title\u{7}", "\\u001b[31mred\\u001b]0;title\\u0007"),
            ("over\rwritten\u{8}\r\n", "over\\u000dwritten\\u0008\n"),
            ("\u{9b}2J\u{7f}", "\\u009b2J\\u007f"),
            ("\u{202e}drawkcab", "\\u202edrawkcab"),
        ] {
            assert_eq!(visible(text), expected);
        }
    }

    #[test]
    fn writes_every_number_in_few_characters() {
        for (text, expected) in [
            (length(0.0), "0 ms"),
            (length(0.4215), "0.42 ms"),
            (length(850.4), "850 ms"),
            (length(7412.0), "7.412 s"),
            (length(f64::MAX), "1.798e305 s"),
            (length(f64::NAN), "-"),
            (length_or_dash(None), "-"),
            (at(12_345_678_901), "12.346 s"),
            (at(u64::MAX), "18446744073.710 s"),
            (count(7), "7"),
            (count(999), "999"),
            (count(1_234_567), "1,234,567"),
            (counted(1, "write"), "1 write"),
            (counted(4021, "write"), "4,021 writes"),
            (bytes(999), "999 B"),
            (bytes(1500), "1.5 kB"),
            (bytes(u64::MAX), "18.4 EB"),
            (figure(12.0), "12"),
            (figure(0.5), "0.500"),
            (figure(1e300), "1.000e300"),
        ] {
            assert_eq!(text, expected);
        }
    }
}
