//! JSON of Python's as a tree, and the way from there into Rust's types.

use std::borrow::Cow;

use serde::de::value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Result};

use super::scan::Cursor;
use super::text;

#[derive(Debug)]
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    /// As it is written.
    Number(&'a str),
    /// One that is not finite.
    Float(f64),
    Text(Cow<'a, str>),
    /// One with half a surrogate pair in it.
    NoText,
    List(Vec<Node<'a>>),
    Map(Vec<(Node<'a>, Node<'a>)>),
}

/// A list or a map of which some is still to come.
enum Open<'a> {
    List(Vec<Node<'a>>),
    Map(Vec<(Node<'a>, Node<'a>)>, Node<'a>),
}

/// Reads a value, without recursion.
pub(super) fn parse(json: &str) -> Result<Node<'_>> {
    let mut cursor = Cursor::new(json);
    let mut open: Vec<Open<'_>> = Vec::new();
    loop {
        let mut node = match cursor.peek() {
            Some(b'[') => {
                cursor.expect(b'[')?;
                if !cursor.take(b']') {
                    open.push(Open::List(Vec::new()));
                    continue;
                }
                Node::List(Vec::new())
            }
            Some(b'{') => {
                cursor.expect(b'{')?;
                if !cursor.take(b'}') {
                    let name = name(&mut cursor)?;
                    open.push(Open::Map(Vec::new(), name));
                    continue;
                }
                Node::Map(Vec::new())
            }
            Some(b'"') => some_text(cursor.text()?)?,
            _ => word(cursor.word()?).ok_or_else(|| cursor.problem("no value"))?,
        };
        // It may be the last of what it is in, and that the last of what that is in.
        loop {
            match open.pop() {
                None => return cursor.finish().map(|()| node),
                Some(Open::List(mut values)) => {
                    values.push(node);
                    if cursor.take(b',') {
                        open.push(Open::List(values));
                        break;
                    }
                    cursor.expect(b']')?;
                    node = Node::List(values);
                }
                Some(Open::Map(mut entries, its_name)) => {
                    entries.push((its_name, node));
                    if cursor.take(b',') {
                        let name = name(&mut cursor)?;
                        open.push(Open::Map(entries, name));
                        break;
                    }
                    cursor.expect(b'}')?;
                    node = Node::Map(entries);
                }
            }
        }
    }
}

fn name<'a>(cursor: &mut Cursor<'a>) -> Result<Node<'a>> {
    let name = some_text(cursor.text()?)?;
    cursor.expect(b':')?;
    Ok(name)
}

fn some_text(json: &str) -> Result<Node<'_>> {
    match text(json) {
        Ok(read) => Ok(Node::Text(read.unwrap_or_default())),
        Err(_) if json.contains("\\ud") || json.contains("\\uD") => Ok(Node::NoText),
        Err(error) => Err(error),
    }
}

fn word(word: &str) -> Option<Node<'_>> {
    Some(match word {
        "null" => Node::Null,
        "true" => Node::Bool(true),
        "false" => Node::Bool(false),
        "NaN" => Node::Float(f64::NAN),
        "Infinity" => Node::Float(f64::INFINITY),
        "-Infinity" => Node::Float(f64::NEG_INFINITY),
        number if number.starts_with(|it: char| it == '-' || it.is_ascii_digit()) => {
            let float: f64 = number.parse().ok()?;
            if float.is_finite() { Node::Number(number) } else { Node::Float(float) }
        }
        _ => return None,
    })
}

/// A number as a float. It was read as one before.
fn float(number: &str) -> f64 {
    number.parse().unwrap_or(f64::NAN)
}

impl<'de> IntoDeserializer<'de, Error> for Node<'de> {
    type Deserializer = Node<'de>;

    fn into_deserializer(self) -> Node<'de> {
        self
    }
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Node::Null => visitor.visit_unit(),
            Node::Bool(value) => visitor.visit_bool(value),
            Node::Number(number) => {
                if let Ok(number) = number.parse() {
                    visitor.visit_u64(number)
                } else if let Ok(number) = number.parse() {
                    visitor.visit_i64(number)
                } else {
                    visitor.visit_f64(float(number))
                }
            }
            // An untyped value would make `null` of it.
            Node::Float(value) => Err(Error::custom(format!("{value} fits only a float"))),
            Node::Text(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            Node::Text(Cow::Owned(text)) => visitor.visit_string(text),
            Node::NoText => Err(Error::custom("a text with half a surrogate pair is none in Rust")),
            Node::List(values) => {
                let mut values = SeqDeserializer::new(values.into_iter());
                let value = visitor.visit_seq(&mut values)?;
                values.end().map(|()| value)
            }
            Node::Map(entries) => {
                let mut entries = MapDeserializer::new(entries.into_iter());
                let value = visitor.visit_map(&mut entries)?;
                entries.end().map(|()| value)
            }
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Node::Number(number) => visitor.visit_f64(float(number)),
            Node::Float(value) => visitor.visit_f64(value),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Node::Number(number) if number.parse::<i128>().is_ok() => visitor.visit_i128(number.parse().unwrap_or(0)),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Node::Number(number) if number.parse::<u128>().is_ok() => visitor.visit_u128(number.parse().unwrap_or(0)),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Node::Null => visitor.visit_none(),
            other => visitor.visit_some(other),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self {
            Node::Text(text) => visitor.visit_enum(text.into_deserializer()),
            Node::Map(entries) if entries.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(MapDeserializer::new(entries.into_iter())))
            }
            _ => Err(Error::custom("expected a text or an object of one entry for an enum")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        struct identifier
    }
}
