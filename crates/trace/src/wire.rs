//! Protobuf's wire format, as much of it as is written here: numbers, texts, and messages inside messages.

/// A message under construction.
#[derive(Debug, Default)]
pub(crate) struct Message {
    pub bytes: Vec<u8>,
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;

impl Message {
    pub fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3 | VARINT);
        self.varint(value);
    }

    pub fn fixed64(&mut self, field: u64, value: u64) {
        self.varint(field << 3 | FIXED64);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub fn text(&mut self, field: u64, text: &str) {
        self.delimited(field, text.as_bytes());
    }

    pub fn message(&mut self, field: u64, message: &Message) {
        self.delimited(field, &message.bytes);
    }

    /// Makes it empty, with its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    fn delimited(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | LENGTH_DELIMITED);
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example messages of protobuf's documentation of the encoding.
    #[test]
    fn the_documented_examples() {
        let mut inner = Message::default();
        inner.number(1, 150);
        assert_eq!(inner.bytes, [0x08, 0x96, 0x01]);
        let mut text = Message::default();
        text.text(2, "testing");
        assert_eq!(text.bytes, [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67]);
        let mut outer = Message::default();
        outer.message(3, &inner);
        assert_eq!(outer.bytes, [0x1a, 0x03, 0x08, 0x96, 0x01]);
    }
}
