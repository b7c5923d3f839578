//! How much of a request is read, and how strictly.

/// What a request head may have. Lengths are in octets, with the end of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A request line must be shorter.
    pub request_line: usize,
    /// The line of each field must be shorter.
    pub header_line: usize,
    /// All lines of fields together, the empty line with them, may be so long.
    pub headers: usize,
    /// So many fields may be there.
    pub fields: usize,
    /// Whether lines may end in a bare line feed, and a length stand beside a chunked body. For clients that nobody can
    /// repair, with no proxy between.
    pub tolerant: bool,
    /// Whether a request of HTTP/1.1 must have a Host, as RFC 9112 asks. Many a small client and test leaves it out.
    pub require_host: bool,
}

impl Limits {
    /// Nothing behind the longest head that is allowed can matter.
    pub(crate) fn longest(&self) -> usize {
        self.request_line.saturating_add(self.headers)
    }
}

impl Default for Limits {
    /// What eventlet allows.
    fn default() -> Limits {
        let (tolerant, require_host) = (false, false);
        Limits { request_line: 8192, header_line: 8192, headers: 65536, fields: 100, tolerant, require_host }
    }
}
