//! Shows a problem of a suite: the message, the position, and the line with a mark under the
//! offending text.

use super::tree::Place;

/// Writes a message with its position in the file:
///
/// ```text
/// unknown key "clusters" (did you mean `cluster`?)
///   --> suites/role-swap.yaml:3:1
///    |
///  3 | clusters:
///    | ^^^^^^^^
/// ```
pub(super) fn show(message: &str, origin: &str, text: &str, place: Option<&Place>) -> String {
    let Some(place) = place else {
        return format!("{message}\n  --> {origin}");
    };
    let start = floor(text, place.start);
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    let number = text[..line_start].matches('\n').count() + 1;
    let before = &text[line_start..start];
    let column = before.chars().count() + 1;
    let end = floor(text, place.end.max(start)).min(line_start + line.len()).max(start);
    let marked = text[start..end].trim_end().chars().count().max(1);
    let margin = " ".repeat(number.to_string().len());
    // Keep tabs, so that the mark is under its text at every tab width of a terminal.
    let indent: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let mark = "^".repeat(marked);
    format!("{message}\n  --> {origin}:{number}:{column}\n {margin} |\n {number} | {line}\n {margin} | {indent}{mark}")
}

fn floor(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|&index| text.is_char_boundary(index)).unwrap_or(0)
}

/// The word of `words` that was most likely meant, if one is near enough: a few letters off, or one
/// a part of the other (`cluster-ok` for `ok`).
pub(crate) fn nearest<'a>(word: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase().replace('_', "-");
    let allowed = (word.chars().count() / 3).max(1);
    words
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(candidate, &word);
            let contained = word.len() >= 4 && (candidate.contains(&word) || word.contains(candidate));
            // Containment is a weaker sign than a similar spelling, so it ranks after it.
            (
                if distance <= allowed {
                    distance
                } else if contained {
                    100 + distance
                } else {
                    usize::MAX
                },
                candidate,
            )
        })
        .filter(|(distance, _)| *distance < usize::MAX)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `did you mean ...?`, or a hint that lists all words.
pub(super) fn suggestion(word: &str, words: &[&str]) -> String {
    match nearest(word, words.iter().copied()) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => format!("hint: one of {}", list(words)),
    }
}

/// Words in backticks, separated by commas.
pub(super) fn list(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_the_offending_text() {
        let text = "name: x\nsteps:\n  - seттle: 5\n";
        for (needle, expected) in [
            ("name", "m\n  --> f:1:1\n   |\n 1 | name: x\n   | ^^^^"),
            ("seттle", "m\n  --> f:3:5\n   |\n 3 |   - seттle: 5\n   |     ^^^^^^"),
            ("5\n", "m\n  --> f:3:13\n   |\n 3 |   - seттle: 5\n   |             ^"),
            ("steps:\n  -", "m\n  --> f:2:1\n   |\n 2 | steps:\n   | ^^^^^^"),
        ] {
            let start = text.find(needle).unwrap();
            assert_eq!(show("m", "f", text, Some(&(start..start + needle.len()))), expected);
        }
        assert_eq!(show("m", "f", "", Some(&(0..0))), "m\n  --> f:1:1\n   |\n 1 | \n   | ^");
        assert_eq!(show("m", "f", text, Some(&(99..120))).lines().nth(1), Some("  --> f:4:1"));
    }

    #[test]
    fn finds_the_nearest_word_if_it_is_near() {
        let words = ["promoted", "failed", "in-sync", "cluster-ok", "cluster-fail", "role", "converged"];
        for (word, expected) in [
            ("promotd", Some("promoted")),
            ("insync", Some("in-sync")),
            ("in_sync", Some("in-sync")),
            ("rol", Some("role")),
            ("Role", Some("role")),
            ("cluster", Some("cluster-ok")),
            ("banana", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, words), expected, "{word}");
        }
    }
}
