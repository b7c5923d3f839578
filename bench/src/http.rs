//! The two messages of the echo, and the care every server takes to find the end of a request.
//!
//! `go/http.go` holds the same response and the same search. The client checks the status, the length and the body of
//! every response; what else is in its head is the server's, as HTTP servers add a date.

/// What the client sends.
pub const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: greenloom-bench\r\nAccept: */*\r\n\r\n";

/// What every server answers.
pub const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: keep-alive\r\nContent-Length: 12\r\n\r\nhello, world";

/// What is in every response.
pub const BODY: &[u8] = b"hello, world";

const STATUS: &[u8] = b"HTTP/1.1 200 OK\r\n";

/// Whether these bytes, which are as many as a response has, are one.
pub fn is_response(bytes: &[u8]) -> bool {
    bytes.starts_with(STATUS) && bytes.ends_with(BODY)
}

/// How long the response at the beginning of `bytes` is; none if its head is not whole or says no length.
pub fn response_length(bytes: &[u8]) -> Option<usize> {
    let head = head_length(bytes)?;
    let lines = bytes[..head].split(|&byte| byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    let (_, length) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    Some(head + length.trim().parse::<usize>().ok()?)
}

/// A server's input buffer, a connection: room for some requests that arrive at once.
pub const BUFFER: usize = 2048;

const END: &[u8] = b"\r\n\r\n";

/// Counts the whole requests in `input`, and says how many bytes they take.
pub fn whole_requests(input: &[u8]) -> (usize, usize) {
    let (mut count, mut taken) = (0, 0);
    while let Some(length) = head_length(&input[taken..]) {
        count += 1;
        taken += length;
    }
    (count, taken)
}

/// The length of a head, with the empty line that ends it.
fn head_length(input: &[u8]) -> Option<usize> {
    let mut from = 0;
    // Look at line feeds alone: a request has a handful of them.
    while let Some(at) = input[from..].iter().position(|&byte| byte == b'\n') {
        from += at + 1;
        if input[..from].ends_with(END) {
            return Some(from);
        }
    }
    None
}

/// The input of one connection: bytes are read into [`room`](Self::room), whole requests leave through
/// [`take`](Self::take).
pub struct Inbox {
    buffer: Box<[u8; BUFFER]>,
    filled: usize,
}

impl Inbox {
    pub fn new() -> Self {
        Self { buffer: Box::new([0; BUFFER]), filled: 0 }
    }

    /// Where the next bytes go. Empty only if a request is larger than the buffer.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled..]
    }

    /// Counts the requests that `arrived` new bytes complete, and drops their bytes.
    pub fn take(&mut self, arrived: usize) -> usize {
        self.filled += arrived;
        let (count, taken) = whole_requests(&self.buffer[..self.filled]);
        self.buffer.copy_within(taken..self.filled, 0);
        self.filled -= taken;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_in_two_parts_counts_once() {
        let mut inbox = Inbox::new();
        let (head, tail) = REQUEST.split_at(REQUEST.len() - 2);
        inbox.room()[..head.len()].copy_from_slice(head);
        assert_eq!(inbox.take(head.len()), 0);
        inbox.room()[..tail.len()].copy_from_slice(tail);
        assert_eq!(inbox.take(tail.len()), 1);
        assert_eq!(inbox.room().len(), BUFFER);
    }

    #[test]
    fn a_response_is_as_long_as_its_head_says() {
        assert_eq!(response_length(RESPONSE), Some(RESPONSE.len()));
        assert_eq!(response_length(&RESPONSE[..RESPONSE.len() - BODY.len() - 1]), None);
        assert!(is_response(RESPONSE) && !is_response(&RESPONSE[1..]));
    }

    #[test]
    fn pipelined_requests_are_all_counted() {
        let twice_and_a_bit = [REQUEST, REQUEST, b"GET"].concat();
        assert_eq!(whole_requests(&twice_and_a_bit), (2, 2 * REQUEST.len()));
    }
}
