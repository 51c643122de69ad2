//! Serde for a [`Tree`]: deserializes the suite's types, with the path and the place of every error.

use std::fmt::Display;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::diagnostic::{list, suggestion};
use super::tree::{Entry, Node, Place, Segment, Tree};

/// A value that does not match its type.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Refusal {
    pub(super) message: String,
    /// The innermost known place.
    pub(super) place: Option<Place>,
    /// The path, innermost segment first.
    path: Vec<Segment>,
    has_place: bool,
}

impl Refusal {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), place: None, path: Vec::new(), has_place: false }
    }

    /// The path, outermost segment first.
    pub(super) fn path(&self) -> impl Iterator<Item = &Segment> {
        self.path.iter().rev()
    }

    /// Sets the place if no inner value has set it: the innermost place is the nearest to the problem.
    fn at(mut self, place: Option<&Place>) -> Self {
        if !self.has_place {
            self.place = place.cloned();
            self.has_place = true;
        }
        self
    }

    fn under(mut self, segment: Segment) -> Self {
        self.path.push(segment);
        self
    }
}

impl de::Error for Refusal {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            de::Unexpected::Str(text) => format!("\"{text}\""),
            de::Unexpected::Seq => "a list".to_owned(),
            de::Unexpected::Map => "a mapping".to_owned(),
            other => other.to_string(),
        };
        Self::new(format!("expected {expected}, found {found}"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("unknown value \"{variant}\" ({})", suggestion(variant, expected)))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("unknown key \"{field}\" ({})", suggestion(field, expected)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("missing key `{field}`"))
    }
}

impl Tree {
    fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    fn refuse(&self, message: impl Into<String>) -> Refusal {
        Refusal::new(message).at(self.place())
    }

    /// The text of a value that must be a text.
    fn text(&self, wanted: &str) -> Result<&str, Refusal> {
        match &self.node {
            Node::Text(text) => Ok(text),
            Node::Empty => Err(self.refuse(format!("missing value: expected {wanted}"))),
            Node::List(_) => Err(self.refuse(format!("expected {wanted}, found a list"))),
            Node::Map(_) => Err(self.refuse(format!("expected {wanted}, found a mapping"))),
        }
    }

    fn integer<T: std::str::FromStr>(&self, least: impl Display, most: impl Display) -> Result<T, Refusal> {
        let wanted = format!("a whole number from {least} to {most}");
        let text = self.text(&wanted)?;
        text.parse().map_err(|_| self.refuse(format!("\"{text}\" is not {wanted}")))
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty),*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
            let number = self.integer::<$type>(<$type>::MIN, <$type>::MAX)?;
            visitor.$visit(number).map_err(|refusal: Refusal| refusal.at(self.place()))
        })*
    };
}

impl<'de> Deserializer<'de> for &'de Tree {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match &self.node {
            Node::Empty => Err(self.refuse(format!("missing value: expected {}", &visitor as &dyn de::Expected))),
            Node::Text(text) => visitor.visit_borrowed_str(text),
            Node::List(items) => visitor.visit_seq(Items { items: items.iter().enumerate() }),
            Node::Map(entries) => visitor.visit_map(Entries { entries: entries.iter(), current: None }),
        }
        .map_err(|refusal: Refusal| refusal.at(self.place()))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.text("`true` or `false`")? {
            "true" | "yes" => visitor.visit_bool(true),
            "false" | "no" => visitor.visit_bool(false),
            text => Err(self.refuse(format!("\"{text}\" is neither `true` nor `false`"))),
        }
    }

    integers!(
        deserialize_u8 visit_u8 u8, deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64, deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32, deserialize_i64 visit_i64 i64
    );

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let wanted = (&visitor as &dyn de::Expected).to_string();
        let text = self.text(if wanted == "a string" { "a text" } else { &wanted })?;
        visitor.visit_borrowed_str(text).map_err(|refusal: Refusal| refusal.at(self.place()))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match &self.node {
            Node::List(_) => self.deserialize_any(visitor),
            Node::Empty => Err(self.refuse("missing value: expected a list")),
            Node::Text(text) => Err(self.refuse(format!("expected a list, found \"{text}\""))),
            Node::Map(_) => Err(self.refuse("expected a list, found a mapping (hint: begin each item with `- `)")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match &self.node {
            Node::Map(_) => self.deserialize_any(visitor),
            Node::Empty => Err(self.refuse("missing value: expected a mapping (hint: or omit the key)")),
            Node::Text(text) => Err(self.refuse(format!("expected a mapping, found \"{text}\""))),
            Node::List(_) => Err(self.refuse("expected a mapping, found a list")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        if let Node::Text(text) = &self.node {
            return Err(
                self.refuse(format!("expected a mapping, found \"{text}\" (hint: the keys are {})", list(fields)))
            );
        }
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let what = name.to_lowercase();
        let unknown = |variant: &str| {
            let what = if ["step", "invariant"].contains(&what.as_str()) { what.as_str() } else { "value" };
            format!("unknown {what} \"{variant}\" ({})", suggestion(variant, variants))
        };
        let (variant, place, value) = match &self.node {
            Node::Text(text) => (text, self.place(), None),
            Node::Map(entries) => match entries.as_slice() {
                [entry] => (&entry.key, entry.place.as_ref(), Some(&entry.value)),
                [] => return Err(self.refuse(format!("this {what} is empty"))),
                [_, second, ..] => {
                    let keys: Vec<&str> = entries.iter().map(|entry| entry.key.as_str()).collect();
                    let message = if variants.contains(&second.key.as_str()) {
                        format!(
                            "expected one key for one {what}, found {} (hint: begin each {what} with `- `)",
                            list(&keys)
                        )
                    } else {
                        format!(
                            "expected one key for one {what}, found {} (hint: nest settings, as in `{}: {{ {}: ... }}`)",
                            list(&keys),
                            entries[0].key,
                            second.key
                        )
                    };
                    return Err(Refusal::new(message).at(second.place.as_ref()));
                }
            },
            Node::Empty => return Err(self.refuse(format!("missing value: expected one of {}", list(variants)))),
            Node::List(_) => return Err(self.refuse(format!("expected one {what}, found a list"))),
        };
        if !variants.contains(&variant.as_str()) {
            return Err(Refusal::new(unknown(variant)).at(place));
        }
        visitor.visit_enum(Variant { name: variant, place, value })
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
    }
}

struct Items<'de> {
    items: std::iter::Enumerate<std::slice::Iter<'de, Tree>>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Refusal;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refusal> {
        self.items
            .next()
            .map(|(index, item)| {
                seed.deserialize(item).map_err(|refusal| refusal.at(item.place()).under(Segment::Index(index)))
            })
            .transpose()
    }
}

struct Entries<'de> {
    entries: std::slice::Iter<'de, Entry>,
    current: Option<&'de Entry>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refusal> {
        self.current = self.entries.next();
        self.current
            .map(|entry| {
                let key: StrDeserializer<'de, Refusal> = entry.key.as_str().into_deserializer();
                seed.deserialize(key).map_err(|refusal| refusal.at(entry.place.as_ref()))
            })
            .transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refusal> {
        let entry = self.current.expect("serde asks for a key before its value");
        value_of(&entry.key, entry.place.as_ref(), &entry.value, seed)
    }
}

/// Reads the value of a key. An error of a value that is not a text gets the place of the key.
fn value_of<'de, S: DeserializeSeed<'de>>(
    key: &str,
    place: Option<&Place>,
    value: &'de Tree,
    seed: S,
) -> Result<S::Value, Refusal> {
    seed.deserialize(value).map_err(|refusal| {
        let mut refusal = refusal.at(value.place());
        if refusal.path.is_empty() && !matches!(value.node, Node::Text(_)) && refusal.place == value.place {
            refusal.place = place.cloned();
        }
        refusal.under(Segment::Key(key.to_owned()))
    })
}

struct Variant<'de> {
    name: &'de str,
    place: Option<&'de Place>,
    value: Option<&'de Tree>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Refusal;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Refusal> {
        let variant: StrDeserializer<'de, Refusal> = self.name.into_deserializer();
        Ok((seed.deserialize(variant).map_err(|refusal| refusal.at(self.place))?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'de> {
    type Error = Refusal;

    fn unit_variant(self) -> Result<(), Refusal> {
        match self.value {
            None => Ok(()),
            Some(_) => Err(Refusal::new(format!("`{}` takes no settings", self.name)).at(self.place)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Refusal> {
        match self.value {
            Some(value) => value_of(self.name, self.place, value, seed),
            None => {
                Err(Refusal::new(format!("`{0}` needs a value (hint: write `{0}: ...`)", self.name)).at(self.place))
            }
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _length: usize, visitor: V) -> Result<V::Value, Refusal> {
        self.struct_variant(&[], visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match self.value {
            Some(value) => value.deserialize_any(visitor),
            None => Err(Refusal::new(format!("`{}` needs a value", self.name)).at(self.place)),
        }
    }
}
