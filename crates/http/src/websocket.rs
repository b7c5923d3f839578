//! Websocket frames (RFC 6455, section 5): headers and masking.

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The first octet: FIN, the reserved bits and the opcode.
    pub first: u8,
    /// The mask, if there is one.
    pub mask: Option<[u8; 4]>,
    /// The length of the payload.
    pub payload: u64,
    /// How many octets the header takes.
    pub length: usize,
}

/// Reads the header that `bytes` begin with; none while it is incomplete.
///
/// ```
/// let frame = greenloom_http::websocket::frame(b"\x81\x05hello").unwrap();
/// assert_eq!((frame.first, frame.mask, frame.payload, frame.length), (0x81, None, 5, 2));
/// assert_eq!(greenloom_http::websocket::frame(b"\x81\x7e\x01"), None);
/// ```
pub fn frame(bytes: &[u8]) -> Option<Frame> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    let (payload, rest) = match second & 127 {
        126 => rest.split_first_chunk().map(|(size, rest)| (u16::from_be_bytes(*size).into(), rest))?,
        127 => rest.split_first_chunk().map(|(size, rest)| (u64::from_be_bytes(*size), rest))?,
        size => (size.into(), rest),
    };
    let (mask, rest) = match second & 128 {
        0 => (None, rest),
        _ => rest.split_first_chunk().map(|(mask, rest)| (Some(*mask), rest))?,
    };
    Some(Frame { first, mask, payload, length: bytes.len() - rest.len() })
}

/// Masks `data`, or takes its mask away, where `offset` octets of the payload came before it.
///
/// ```
/// let mut data = *b"hello";
/// greenloom_http::websocket::mask(&mut data[..2], [1, 2, 3, 4], 0);
/// greenloom_http::websocket::mask(&mut data[2..], [1, 2, 3, 4], 2);
/// greenloom_http::websocket::mask(&mut data, [1, 2, 3, 4], 0);
/// assert_eq!(&data, b"hello");
/// ```
pub fn mask(data: &mut [u8], mut key: [u8; 4], offset: usize) {
    key.rotate_left(offset % 4);
    let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
    let (words, rest) = data.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// Appends the header of a frame with `payload` octets to `out`.
pub fn write_header(first: u8, mask: Option<[u8; 4]>, payload: usize, out: &mut Vec<u8>) {
    let masked = if mask.is_some() { 128 } else { 0 };
    out.push(first);
    match payload {
        0..=125 => out.push(masked | payload as u8),
        126..=0xffff => {
            out.push(masked | 126);
            out.extend_from_slice(&(payload as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(payload as u64).to_be_bytes());
        }
    }
    if let Some(mask) = mask {
        out.extend_from_slice(&mask);
    }
}
