//! The part of Clojure's data notation that histories use: nil, booleans, numbers, strings, characters, keywords, symbols, vectors,
//! lists, maps, sets, tags and comments. Keywords, symbols and characters become strings, and so do the keys of maps.

use serde_json::{Map, Number, Value};

/// How deep values may lie in each other.
const DEEPEST: usize = 64;

/// Writes a value. Strings that name a micro-operation become keywords.
pub(super) fn write(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push_str("nil"),
        Value::Array(all) => {
            text.push('[');
            for (position, one) in all.iter().enumerate() {
                if position > 0 {
                    text.push(' ');
                }
                match one {
                    Value::String(word) if position == 0 && ["append", "r", "w"].contains(&word.as_str()) => {
                        text.push(':');
                        text.push_str(word);
                    }
                    one => write(text, one),
                }
            }
            text.push(']');
        }
        // Strings, numbers and booleans are written alike.
        other => text.push_str(&other.to_string()),
    }
}

/// Reads all values of a text. The error says in which line it is wrong.
pub(super) fn read(text: &str) -> Result<Vec<Value>, String> {
    let mut reader = Reader { text: text.as_bytes(), at: 0 };
    let mut all = Vec::new();
    loop {
        reader.skip();
        if reader.peek().is_none() {
            return Ok(all);
        }
        match reader.value(0) {
            Ok(value) => all.push(value),
            Err(error) => {
                let before = &text.as_bytes()[..reader.at.min(text.len())];
                let line = before.split(|&byte| byte == b'\n').count();
                return Err(format!("line {line}: {error}"));
            }
        }
    }
}

struct Reader<'t> {
    text: &'t [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// Skips white space, commas, and comments.
    fn skip(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b';' => {
                    while self.peek().is_some_and(|byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                b',' => self.at += 1,
                byte if byte.is_ascii_whitespace() => self.at += 1,
                _ => return,
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > DEEPEST {
            return Err(format!("values lie deeper than {DEEPEST} in each other"));
        }
        self.skip();
        match self.next() {
            None => Err("the text ends in the middle of a value".to_owned()),
            Some(b'{') => self.map(depth),
            Some(b'[') => self.all_until(b']', depth).map(Value::Array),
            Some(b'(') => self.all_until(b')', depth).map(Value::Array),
            Some(b'"') => self.string().map(Value::String),
            Some(b'\\' | b':') => Ok(Value::String(self.word())),
            Some(b'#') => match self.peek() {
                Some(b'{') => {
                    self.at += 1;
                    self.all_until(b'}', depth).map(Value::Array)
                }
                Some(b'_') => {
                    self.at += 1;
                    self.value(depth + 1)?;
                    self.value(depth + 1)
                }
                // `#jepsen.history.Op{...}` is a map of that type.
                _ => {
                    self.word();
                    self.value(depth + 1)
                }
            },
            Some(byte @ (b'}' | b']' | b')')) => Err(format!("`{}` closes nothing", char::from(byte))),
            Some(_) => {
                self.at -= 1;
                self.atom()
            }
        }
    }

    fn all_until(&mut self, end: u8, depth: usize) -> Result<Vec<Value>, String> {
        let mut all = Vec::new();
        loop {
            self.skip();
            match self.peek() {
                None => return Err(format!("`{}` is missing", char::from(end))),
                Some(byte) if byte == end => {
                    self.at += 1;
                    return Ok(all);
                }
                Some(_) => all.push(self.value(depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, String> {
        let all = self.all_until(b'}', depth)?;
        if all.len() % 2 == 1 {
            return Err("a map has a key without a value".to_owned());
        }
        let mut map = Map::new();
        let mut rest = all.into_iter();
        while let (Some(key), Some(value)) = (rest.next(), rest.next()) {
            map.insert(key.as_str().map_or_else(|| key.to_string(), str::to_owned), value);
        }
        Ok(Value::Object(map))
    }

    fn string(&mut self) -> Result<String, String> {
        let mut bytes = Vec::new();
        loop {
            match self.next() {
                None => return Err("a string has no end".to_owned()),
                Some(b'"') => return String::from_utf8(bytes).map_err(|error| error.to_string()),
                Some(b'\\') => match self.next() {
                    Some(b'n') => bytes.push(b'\n'),
                    Some(b't') => bytes.push(b'\t'),
                    Some(b'r') => bytes.push(b'\r'),
                    Some(byte @ (b'"' | b'\\')) => bytes.push(byte),
                    other => return Err(format!("`\\{}` is no escape", other.map_or(' ', char::from))),
                },
                Some(byte) => bytes.push(byte),
            }
        }
    }

    /// What stands until the next delimiter.
    fn word(&mut self) -> String {
        let from = self.at;
        while self.peek().is_some_and(|byte| !byte.is_ascii_whitespace() && !b",;\"()[]{}".contains(&byte)) {
            self.at += 1;
        }
        String::from_utf8_lossy(&self.text[from..self.at]).into_owned()
    }

    fn atom(&mut self) -> Result<Value, String> {
        let word = self.word();
        Ok(match word.as_str() {
            "" => return Err("a value is expected".to_owned()),
            "nil" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            word => {
                let plain = word.trim_end_matches(['N', 'M']);
                let whole = plain.parse::<i64>().ok().map(Number::from);
                let is_numeric = plain.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
                let number = whole.or_else(|| {
                    let float = plain.parse::<f64>().ok().filter(|_| is_numeric)?;
                    Number::from_f64(float)
                });
                number.map_or_else(|| Value::String(word.to_owned()), Value::Number)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_what_histories_hold() {
        let text = "; a comment\n#jepsen.history.Op{:index 0, :f :cas, :value [\"a\\\"b\" [1 -2]], :error nil}\n\
                    [:ok 1.5 (true false) #{3} #inst \"2026\" \\x sym 7N] #_ {:left out} 8";
        assert_eq!(
            read(text).expect("it is well formed"),
            [
                json!({"index": 0, "f": "cas", "value": ["a\"b", [1, -2]], "error": null}),
                json!(["ok", 1.5, [true, false], [3], "2026", "x", "sym", 7]),
                json!(8),
            ]
        );
    }

    #[test]
    fn says_where_a_text_is_wrong() {
        for (text, wrong) in [
            ("{:a 1}\n{:b", "line 2: `}` is missing"),
            ("{:a}", "line 1: a map has a key without a value"),
            ("\n]", "line 2: `]` closes nothing"),
            ("\"a", "line 1: a string has no end"),
            ("\"\\q\"", "line 1: `\\q` is no escape"),
        ] {
            assert_eq!(read(text).expect_err(text), wrong);
        }
        assert!(read(&"[".repeat(1000)).expect_err("it is too deep").contains("deeper than 64"));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let value = json!([["append", "list-3", 7], ["r", "list-3", [1, 2]], ["w", "x", null]]);
        let mut text = String::new();
        write(&mut text, &value);
        assert_eq!(text, r#"[[:append "list-3" 7] [:r "list-3" [1 2]] [:w "x" nil]]"#);
        assert_eq!(read(&text).expect("it is well formed"), [value]);
    }
}
