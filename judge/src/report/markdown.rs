//! Texts in Markdown.

/// A text without Markdown and HTML. Names may come from files of others.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '\n' | '\r' => safe.push(' '),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '~' | '#' | '@' | '!' => {
                safe.push('\\');
                safe.push(letter);
            }
            letter => safe.push(letter),
        }
    }
    safe
}

/// A text in a code block. The fence is longer than any in the text.
pub(super) fn verbatim(text: &str) -> String {
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}text\n{}\n{fence}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_names() {
        assert_eq!(escaped("a|b <img> `x`\n@me"), "a\\|b &lt;img&gt; \\`x\\` \\@me");
    }

    #[test]
    fn no_text_ends_its_block() {
        assert_eq!(verbatim("a"), "```text\na\n```\n");
        assert_eq!(verbatim("a\n```\n# b\n"), "````text\na\n```\n# b\n````\n");
    }
}
