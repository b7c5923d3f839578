//! Why a request is not served.

use std::fmt;

/// Why a request is refused, and so its connection closed: after a head that cannot be trusted nobody knows where the
/// next request begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The request line has a byte, a space or a part too many or too few.
    RequestLine,
    /// The request line is as long as [`Limits::request_line`](crate::Limits::request_line).
    RequestLineTooLong,
    /// The version is not HTTP/1 with a minor version of one digit.
    Version,
    /// A field's name is not a token, or a space stands before its colon; a folded line reads so too.
    FieldName,
    /// A field's value has a control character, a carriage return alone among them.
    FieldValue,
    /// A line ends in a line feed without the carriage return.
    LineEnd,
    /// A line is as long as [`Limits::header_line`](crate::Limits::header_line).
    HeaderLineTooLong,
    /// The fields are longer than [`Limits::headers`](crate::Limits::headers) together.
    HeadersTooLarge,
    /// There are more fields than [`Limits::fields`](crate::Limits::fields).
    TooManyFields,
    /// Content-Length is not a number of octets, or is there twice.
    ContentLength,
    /// Both Content-Length and Transfer-Encoding.
    LengthAndEncoding,
    /// Transfer-Encoding is there twice, or does not end the body.
    TransferEncoding,
    /// Transfer-Encoding names a coding other than chunked.
    UnknownEncoding,
    /// Host is there twice or is malformed; or it is absent, where
    /// [`Limits::require_host`](crate::Limits::require_host) asks for it.
    Host,
}

impl Refusal {
    /// The status code to answer.
    pub fn status(self) -> u16 {
        match self {
            Refusal::RequestLineTooLong => 414,
            Refusal::TooManyFields => 431,
            Refusal::UnknownEncoding => 501,
            Refusal::Version => 505,
            _ => 400,
        }
    }

    /// The words behind the status code; eventlet's where it has some of its own.
    pub fn phrase(self) -> &'static str {
        match self {
            Refusal::RequestLineTooLong => "Request URI Too Long",
            Refusal::HeaderLineTooLong => "Header Line Too Long",
            Refusal::HeadersTooLarge => "Headers Too Large",
            Refusal::TooManyFields => "Request Header Fields Too Large",
            Refusal::UnknownEncoding => "Not Implemented",
            Refusal::Version => "HTTP Version Not Supported",
            _ => "Bad Request",
        }
    }

    /// One line for people, about the request that was refused.
    pub fn explanation(self) -> &'static str {
        match self {
            Refusal::RequestLine => "The request line is malformed",
            Refusal::RequestLineTooLong => "The request line is too long",
            Refusal::Version => "This version of HTTP is not served",
            Refusal::FieldName => "A header's name is malformed, or its line is folded",
            Refusal::FieldValue => "A header's value has a control character",
            Refusal::LineEnd => "Lines must end in CR LF",
            Refusal::HeaderLineTooLong => "A header is too long",
            Refusal::HeadersTooLarge => "The headers are too long",
            Refusal::TooManyFields => "There are too many headers",
            Refusal::ContentLength => "Content-Length must be one number",
            Refusal::LengthAndEncoding => "Content-Length and Transfer-Encoding are not allowed together",
            Refusal::TransferEncoding => "Transfer-Encoding must be chunked, once",
            Refusal::UnknownEncoding => "Transfer-Encoding is not known here",
            Refusal::Host => "Host must be one name or address",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.explanation())
    }
}

impl std::error::Error for Refusal {}
