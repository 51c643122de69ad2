//! Numbers in words for a page. A report may come from anywhere: whatever the number, the text stays
//! short.

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
    if number == 1 { format!("1 {noun}") } else { format!("{} {noun}s", count(number)) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_number_its_words_stay_short() {
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
