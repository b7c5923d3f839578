//! HTTP/1 as functions over bytes: request heads, the framing of bodies, chunks, response fields, and websocket frames.
//!
//! Nothing here reads or writes a socket, waits, or keeps a connection; the caller brings bytes and a place to keep
//! what is left. Of two readings of a request this takes the strict one, since a proxy in front may have taken the
//! other: what RFC 9112 lets a server repair is [refused](Refusal) instead, unless the caller asks to be
//! [tolerant](Limits::tolerant). It must not know green threads, Python, or WSGI.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]
#![forbid(unsafe_code)]
#![warn(missing_debug_implementations)]

mod chunked;
mod framing;
mod head;
mod limits;
mod percent;
mod refusal;
pub mod response;
mod target;
pub mod websocket;

pub use chunked::{ChunkError, Chunks, MAX_CHUNK_LINE, Step};
pub use framing::{Body, Framing};
pub use head::{Head, Persistence, with_head};
pub use limits::Limits;
pub use percent::percent_decode;
pub use refusal::Refusal;
pub use target::{absolute_form, is_host};
