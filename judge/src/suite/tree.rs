//! A suite file as a tree of texts, each with its place in the file. The tree ignores YAML's types:
//! `no`, `5000`, `0x10` and `~` stay as typed, and the type that reads a text interprets it.

use std::collections::BTreeMap;
use std::ops::Range;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span};
use serde_json::Value;

/// A value and its place in the file; None if the value does not come from a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tree {
    pub(super) node: Node,
    pub(super) place: Option<Place>,
}

/// A range of bytes in the file.
pub(super) type Place = Range<usize>;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// A key or a list item without a value.
    Empty,
    Text(String),
    List(Vec<Tree>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Option<Place>,
    pub(super) value: Tree,
}

/// Text that is not YAML, or exceeds the limits of a suite.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Malformed {
    pub(super) message: String,
    pub(super) place: Place,
}

/// The deepest nesting of lists and mappings. A suite needs five levels.
const DEPTH_MAX: usize = 32;
/// The most values of a suite, including the values that aliases repeat.
const VALUES_MAX: usize = 100_000;

impl Tree {
    /// Reads one YAML document.
    pub(super) fn from_yaml(text: &str) -> Result<Self, Malformed> {
        let mut options = Options::default();
        options.set_emit_comments(false);
        let mut builder = Builder {
            parser: Parser::new_from_str_with_options(text, options),
            anchors: BTreeMap::new(),
            values: 0,
            end: text.len(),
        };
        builder.document()
    }

    /// Converts a value that does not come from a file. Omits nulls, as a file does.
    pub(super) fn from_value(value: &Value) -> Self {
        let node = match value {
            Value::Null => Node::Empty,
            Value::Bool(flag) => Node::Text(flag.to_string()),
            Value::Number(number) => Node::Text(number.to_string()),
            Value::String(text) => Node::Text(text.clone()),
            Value::Array(items) => Node::List(items.iter().map(Self::from_value).collect()),
            Value::Object(entries) => Node::Map(
                entries
                    .iter()
                    .filter(|(_, value)| !value.is_null())
                    .map(|(key, value)| Entry { key: key.clone(), place: None, value: Self::from_value(value) })
                    .collect(),
            ),
        };
        Self { node, place: None }
    }

    /// Removes the item of a list, or else the entry of a mapping, that has this place or surrounds it. Says whether there was one.
    pub(super) fn remove(&mut self, place: &Place) -> bool {
        let within =
            |outer: Option<&Place>| outer.is_some_and(|outer| outer.start <= place.start && place.end <= outer.end);
        match &mut self.node {
            Node::Empty | Node::Text(_) => false,
            Node::List(items) => {
                let holds = |item: &Self| within(item.place.as_ref()) || item.has(place);
                let Some(position) = items.iter().position(holds) else { return false };
                items.remove(position);
                true
            }
            Node::Map(entries) => {
                if entries.iter_mut().any(|entry| entry.value.remove(place)) {
                    return true;
                }
                let holds = |entry: &Entry| within(entry.place.as_ref()) || within(entry.value.place.as_ref());
                let Some(position) = entries.iter().position(holds) else { return false };
                entries.remove(position);
                true
            }
        }
    }

    /// Whether a key or a value in it has this place.
    fn has(&self, place: &Place) -> bool {
        self.place.as_ref() == Some(place)
            || match &self.node {
                Node::Empty | Node::Text(_) => false,
                Node::List(items) => items.iter().any(|item| item.has(place)),
                Node::Map(entries) => {
                    entries.iter().any(|entry| entry.place.as_ref() == Some(place) || entry.value.has(place))
                }
            }
    }

    /// The place of the deepest part of `path` that exists: for a text its own place; for a list or a
    /// mapping the place of its key; for a mapping in a list the place of its first key.
    pub(super) fn locate(&self, path: &[Segment]) -> Option<Place> {
        let mut tree = self;
        let mut key_place = None;
        for segment in path {
            match (segment, &tree.node) {
                (Segment::Key(key), Node::Map(entries)) => {
                    let Some(entry) = entries.iter().find(|entry| entry.key == *key) else { break };
                    key_place.clone_from(&entry.place);
                    tree = &entry.value;
                }
                (Segment::Index(index), Node::List(items)) => {
                    let Some(item) = items.get(*index) else { break };
                    key_place = None;
                    tree = item;
                }
                _ => break,
            }
        }
        match &tree.node {
            Node::Text(_) => tree.place.clone(),
            Node::Map(entries) if key_place.is_none() => {
                entries.first().and_then(|entry| entry.place.clone()).or_else(|| tree.place.clone())
            }
            _ => key_place.or_else(|| tree.place.clone()),
        }
    }
}

/// One step of a path such as `steps[3].stop`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Key(String),
    Index(usize),
}

/// Splits `steps[3].stop` into its segments; None if the text is not a path.
pub(super) fn split_path(path: &str) -> Option<Vec<Segment>> {
    let mut segments = Vec::new();
    for part in path.split('.') {
        let (key, mut indices) = part.split_at(part.find('[').unwrap_or(part.len()));
        if key.is_empty() {
            return None;
        }
        segments.push(Segment::Key(key.to_owned()));
        while !indices.is_empty() {
            let (index, rest) = indices.strip_prefix('[')?.split_once(']')?;
            segments.push(Segment::Index(index.parse().ok()?));
            indices = rest;
        }
    }
    Some(segments)
}

/// Writes segments as `split_path` reads them.
pub(super) fn join_path<'a>(segments: impl Iterator<Item = &'a Segment>) -> String {
    let mut path = String::new();
    for segment in segments {
        match segment {
            Segment::Key(key) if path.is_empty() => path.push_str(key),
            Segment::Key(key) => path.extend([".", key]),
            Segment::Index(index) => path.extend(["[", &index.to_string(), "]"]),
        }
    }
    path
}

struct Builder<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    /// The trees that aliases repeat. A tree is added when it is complete, so none can contain itself.
    anchors: BTreeMap<usize, Tree>,
    values: usize,
    end: usize,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Place), Malformed> {
        loop {
            let (event, span) = match self.parser.next_event() {
                Some(Ok(next)) => next,
                Some(Err(error)) => {
                    let at = error.marker().byte_offset().unwrap_or(self.end).min(self.end);
                    return Err(Malformed { message: format!("not YAML: {}", error.info()), place: at..at });
                }
                None => return Err(malformed("unexpected end of file", self.end..self.end)),
            };
            let place = self.place(span);
            if !matches!(event, Event::StreamStart | Event::DocumentStart(..)) {
                return Ok((event, place));
            }
        }
    }

    fn document(&mut self) -> Result<Tree, Malformed> {
        let (event, place) = self.next()?;
        if event == Event::StreamEnd {
            return Err(malformed("the suite is empty (hint: `slotquake init` writes one to begin with)", place));
        }
        let tree = self.node(event, place, 0)?;
        loop {
            match self.next()? {
                (Event::DocumentEnd, _) => {}
                (Event::StreamEnd, _) => return Ok(tree),
                (_, place) => {
                    return Err(malformed("a second document begins here (hint: one file contains one suite)", place));
                }
            }
        }
    }

    fn node(&mut self, event: Event<'a>, place: Place, depth: usize) -> Result<Tree, Malformed> {
        self.values += 1;
        if depth > DEPTH_MAX {
            return Err(malformed("too many levels of lists and mappings", place));
        }
        if self.values > VALUES_MAX {
            return Err(malformed("the suite has too many values", place));
        }
        let (node, anchor) = match event {
            Event::Alias(anchor) => {
                let Some(tree) = self.anchors.get(&anchor) else {
                    return Err(malformed("this alias repeats itself", place));
                };
                self.values += tree.size();
                if self.values > VALUES_MAX {
                    return Err(malformed("the suite has too many values", place));
                }
                return Ok(Tree { node: tree.node.clone(), place: Some(place) });
            }
            // The parser reads an empty value as `~`. A typed `~` is not empty.
            Event::Scalar(_, ScalarStyle::Plain, anchor, _) if place.is_empty() => (Node::Empty, anchor),
            Event::Scalar(text, _, anchor, _) => (Node::Text(text.into_owned()), anchor),
            Event::SequenceStart(_, anchor, _) => (Node::List(self.list(depth)?), anchor),
            Event::MappingStart(_, anchor, _) => (Node::Map(self.map(depth)?), anchor),
            _ => return Err(malformed("missing value", place)),
        };
        let tree = Tree { node, place: Some(place) };
        if anchor != 0 {
            self.anchors.insert(anchor, tree.clone());
        }
        Ok(tree)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Tree>, Malformed> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, place) => items.push(self.node(event, place, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Entry>, Malformed> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, place) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            let Node::Text(key) = self.node(event, place.clone(), depth + 1)?.node else {
                return Err(malformed("a key must be a text", place));
            };
            if entries.iter().any(|entry| entry.key == key) {
                return Err(malformed(&format!("duplicate key \"{key}\""), place));
            }
            let (event, value_place) = self.next()?;
            let value = self.node(event, value_place, depth + 1)?;
            entries.push(Entry { key, place: Some(place), value });
        }
    }

    fn place(&self, span: Span) -> Place {
        span.byte_range().unwrap_or(self.end..self.end)
    }
}

fn malformed(message: &str, place: Place) -> Malformed {
    Malformed { message: message.to_owned(), place }
}

impl Tree {
    fn size(&self) -> usize {
        1 + match &self.node {
            Node::Empty | Node::Text(_) => 0,
            Node::List(items) => items.iter().map(Self::size).sum(),
            Node::Map(entries) => entries.iter().map(|entry| entry.value.size()).sum(),
        }
    }
}
