//! Field tables: arguments of declarations, headers of messages, properties of peers.

use std::borrow::Cow;

use super::wire::{Field, Malformed, Reader, is_short};

/// What is nested deeper is kept unread: a frame of 128 KiB could otherwise nest tens of thousands of times and
/// overflow the stack.
const MAX_DEPTH: usize = 16;

/// A value of a [`Table`], with the types that RabbitMQ knows.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is what it holds")]
pub enum Value {
    Bool(bool),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    F32(f32),
    F64(f64),
    /// A number with so many digits after the point.
    Decimal {
        scale: u8,
        digits: u32,
    },
    Text(String),
    /// Bytes, or a text that is not UTF-8.
    Bytes(Vec<u8>),
    Array(Vec<Value>),
    /// Seconds since 1970.
    Timestamp(u64),
    Table(Table),
    Void,
}

impl Value {
    /// A whole number, of whichever type.
    pub fn as_integer(&self) -> Option<i64> {
        Some(match *self {
            Value::I8(number) => number.into(),
            Value::U8(number) => number.into(),
            Value::I16(number) => number.into(),
            Value::U16(number) => number.into(),
            Value::I32(number) => number.into(),
            Value::U32(number) => number.into(),
            Value::I64(number) => number,
            _ => return None,
        })
    }

    /// A text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn has_depth_within(&self, levels: usize) -> bool {
        match self {
            Value::Table(table) => levels > 0 && table.has_depth_within(levels - 1),
            Value::Array(values) => levels > 0 && values.iter().all(|value| value.has_depth_within(levels - 1)),
            _ => true,
        }
    }

    fn read(from: &mut Reader<'_>, depth: usize) -> Result<Value, Malformed> {
        Ok(match u8::read(from)? {
            b't' => Value::Bool(u8::read(from)? != 0),
            b'b' => Value::I8(i8::read(from)?),
            b'B' => Value::U8(u8::read(from)?),
            b's' => Value::I16(i16::read(from)?),
            b'u' => Value::U16(u16::read(from)?),
            b'I' => Value::I32(i32::read(from)?),
            b'i' => Value::U32(u32::read(from)?),
            // py-amqp writes whole numbers beyond 32 bits as `L`, signed as well.
            b'l' | b'L' => Value::I64(i64::read(from)?),
            b'f' => Value::F32(f32::read(from)?),
            b'd' => Value::F64(f64::read(from)?),
            b'D' => Value::Decimal { scale: u8::read(from)?, digits: u32::read(from)? },
            b'S' => text_or_bytes(<&[u8]>::read(from)?),
            b'x' => Value::Bytes(<&[u8]>::read(from)?.to_vec()),
            b'A' => Value::Array(read_array(from, deeper(depth)?)?),
            b'T' => Value::Timestamp(u64::read(from)?),
            b'F' => Value::Table(Table::read_at(from, deeper(depth)?)?),
            b'V' => Value::Void,
            _ => return Err(Malformed("a value of an unknown type")),
        })
    }

    fn put(&self, to: &mut Vec<u8>) {
        fn tagged<'a>(tag: u8, field: impl Field<'a>, to: &mut Vec<u8>) {
            to.push(tag);
            field.put(to);
        }
        match self {
            Value::Bool(value) => tagged(b't', *value as u8, to),
            Value::I8(value) => tagged(b'b', *value, to),
            Value::U8(value) => tagged(b'B', *value, to),
            Value::I16(value) => tagged(b's', *value, to),
            Value::U16(value) => tagged(b'u', *value, to),
            Value::I32(value) => tagged(b'I', *value, to),
            Value::U32(value) => tagged(b'i', *value, to),
            Value::I64(value) => tagged(b'l', *value, to),
            Value::F32(value) => tagged(b'f', *value, to),
            Value::F64(value) => tagged(b'd', *value, to),
            Value::Decimal { scale, digits } => {
                tagged(b'D', *scale, to);
                digits.put(to);
            }
            Value::Text(text) => tagged(b'S', text.as_bytes(), to),
            Value::Bytes(bytes) => tagged(b'x', bytes.as_slice(), to),
            Value::Array(values) => {
                to.push(b'A');
                with_length(to, |to| values.iter().for_each(|value| value.put(to)));
            }
            Value::Timestamp(seconds) => tagged(b'T', *seconds, to),
            Value::Table(table) => {
                to.push(b'F');
                table.put(to);
            }
            Value::Void => to.push(b'V'),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Value {
        Value::I32(number)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::I64(number)
    }
}

impl From<Table> for Value {
    fn from(table: Table) -> Value {
        Value::Table(table)
    }
}

fn text_or_bytes(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::Text(text.to_owned()),
        Err(_) => Value::Bytes(bytes.to_vec()),
    }
}

fn deeper(depth: usize) -> Result<usize, Malformed> {
    if depth < MAX_DEPTH { Ok(depth + 1) } else { Err(Malformed("tables nested too deeply")) }
}

fn read_array(from: &mut Reader<'_>, depth: usize) -> Result<Vec<Value>, Malformed> {
    let mut inner = Reader::new(<&[u8]>::read(from)?);
    let mut values = Vec::new();
    while !inner.is_empty() {
        values.push(Value::read(&mut inner, depth)?);
    }
    Ok(values)
}

/// Appends what `body` appends, with its length in front.
fn with_length(to: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let at = to.len();
    to.extend_from_slice(&[0; 4]);
    body(to);
    let length = (to.len() - at - 4) as u32;
    to[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Names with values, in the order in which they were set.
///
/// ```
/// use greenloom_amqp::{Table, Value};
///
/// let arguments = Table::new().with("x-expires", 1_800_000).with("x-queue-type", "classic");
/// assert_eq!(arguments.get("x-expires").and_then(Value::as_integer), Some(1_800_000));
/// ```
///
/// Two are equal if they have the same names with the same values, in whichever order: brokers keep none.
#[derive(Clone, Debug, Default)]
pub struct Table {
    entries: Vec<(String, Value)>,
    /// What follows the entries and could not be read, as it came.
    unread: Vec<u8>,
}

impl Table {
    /// An empty one.
    pub const fn new() -> Table {
        Table { entries: Vec::new(), unread: Vec::new() }
    }

    /// Sets a name and returns the table.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Table {
        self.set(name, value);
        self
    }

    /// Sets a name, of at most 255 bytes.
    ///
    /// # Panics
    /// If the name is longer.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        assert!(is_short(name), "a name in a field table has at most 255 bytes: {name:?}");
        let value = value.into();
        match self.entries.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => *old = value,
            None => self.entries.push((name.to_owned(), value)),
        }
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.entries.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// All names with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.unread.is_empty()
    }

    /// What followed the entries and could not be read: types that nobody knows, names that are no text, nesting that
    /// is too deep. It is sent again as it came.
    pub fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Whether this client's own reader takes it: whether it is nested no deeper than that goes.
    pub fn is_readable(&self) -> bool {
        self.has_depth_within(MAX_DEPTH)
    }

    fn has_depth_within(&self, levels: usize) -> bool {
        self.entries.iter().all(|(_, value)| value.has_depth_within(levels))
    }

    fn read_at(from: &mut Reader<'_>, depth: usize) -> Result<Table, Malformed> {
        let mut inner = Reader::new(<&[u8]>::read(from)?);
        let mut table = Table::new();
        while !inner.is_empty() {
            let rest = inner.rest();
            let entry = |inner: &mut Reader<'_>| {
                Ok::<_, Malformed>((<&str>::read(inner)?.to_owned(), Value::read(inner, depth)?))
            };
            match entry(&mut inner) {
                // As it comes: a name that is there twice is the sender's matter, and looking for it would be
                // quadratic.
                Ok(entry) => table.entries.push(entry),
                Err(_) => {
                    table.unread = rest.to_vec();
                    break;
                }
            }
        }
        Ok(table)
    }
}

impl PartialEq for Table {
    fn eq(&self, other: &Table) -> bool {
        fn sorted(table: &Table) -> Vec<&(String, Value)> {
            let mut entries: Vec<_> = table.entries.iter().collect();
            entries.sort_by(|(left, _), (right, _)| left.cmp(right));
            entries
        }
        self.entries.len() == other.entries.len()
            && self.unread == other.unread
            && (self.entries == other.entries || sorted(self) == sorted(other))
    }
}

impl Field<'_> for Table {
    fn read(from: &mut Reader<'_>) -> Result<Table, Malformed> {
        Table::read_at(from, 0)
    }

    fn put(&self, to: &mut Vec<u8>) {
        with_length(to, |to| {
            for (name, value) in &self.entries {
                name.as_str().put(to);
                value.put(to);
            }
            to.extend_from_slice(&self.unread);
        });
    }
}

/// A method that is sent borrows its table, one that comes in owns it.
impl<'a> Field<'a> for Cow<'a, Table> {
    fn read(from: &mut Reader<'a>) -> Result<Cow<'a, Table>, Malformed> {
        Table::read(from).map(Cow::Owned)
    }

    fn put(&self, to: &mut Vec<u8>) {
        (**self).put(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nested_too_deeply_is_kept_as_it_came() {
        let mut bytes = vec![0; 4];
        for _ in 0..1_000 {
            let mut outer = Vec::with_capacity(bytes.len() + 8);
            with_length(&mut outer, |to| {
                to.extend_from_slice(b"\x01aF");
                to.extend_from_slice(&bytes);
            });
            bytes = outer;
        }
        let table = Table::read(&mut Reader::new(&bytes)).unwrap();
        assert!(table.is_readable());
        let mut again = Vec::new();
        table.put(&mut again);
        assert_eq!(again, bytes);
    }

    #[test]
    fn the_order_of_entries_makes_no_difference() {
        let (one, other) = (Table::new().with("a", 1).with("b", "x"), Table::new().with("b", "x").with("a", 1));
        assert_eq!(one, other);
        assert_ne!(one, other.with("a", 2));
        assert_ne!(one, Table::new().with("a", 1));
    }
}
