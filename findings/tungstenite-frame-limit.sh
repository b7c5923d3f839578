#!/bin/sh
# Two tungstenite ends with their default limits cannot pass a 17 MiB message, though the limit on messages is 64 MiB.
#
# Version: tungstenite 0.30.0.
#
# Behaviour: send() puts a message of any size into one frame and says Ok. A reader takes at most max_frame_size (16 MiB
# by default) of payload in a frame and at most max_message_size (64 MiB by default) in a message, so that it
# refuses the 17 MiB that the other end sent without complaint: Capacity(MessageTooLong), with the frame's limit as
# max_size. The same bytes cut into two frames are read. Raising max_message_size alone helps nobody, not even at
# both ends: max_frame_size is the limit that counts between two tungstenite ends, since only others split messages.
#
# Why it surprises: RFC 6455, section 5.4, gives fragments no meaning of their own, so that a limit on messages is
# expected to hold however they are cut; a sender under the same configuration is expected to keep to it or fail; and
# the error speaks of the message.
#
# Seen:
#   17 MiB sent by tungstenite         send Ok, 1 frame, read: MessageTooLong, size 17825792, max_size 16777216
#   17 MiB in two frames               read: Ok, 17825792 bytes
#   max_message_size None, one frame   read: MessageTooLong, size 17825792, max_size 16777216
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/src"

cat > "$tmp/Cargo.toml" <<'TOML'
[package]
name = "frame-limit"
version = "0.0.0"
edition = "2021"

[dependencies]
tungstenite = { version = "=0.30.0", default-features = false }

[workspace]
TOML

cat > "$tmp/src/main.rs" <<'RUST'
use std::io::Cursor;
use std::process::exit;

use tungstenite::error::CapacityError;
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};
use tungstenite::{Error, Message};

const SIZE: usize = 17 << 20;

/// What a client makes of these bytes from a server.
fn read(wire: &[u8], config: WebSocketConfig) -> String {
    let mut client = WebSocket::from_raw_socket(Cursor::new(wire.to_vec()), Role::Client, Some(config));
    match client.read() {
        Ok(message) => format!("Ok, {} bytes", message.len()),
        Err(Error::Capacity(CapacityError::MessageTooLong { size, max_size })) => {
            format!("MessageTooLong, size {size}, max_size {max_size}")
        }
        Err(other) => format!("{other:?}"),
    }
}

/// A server's unmasked frame with a 64-bit length.
fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first_byte, 127];
    frame.extend((payload.len() as u64).to_be_bytes());
    frame.extend(payload);
    frame
}

fn main() {
    let payload = vec![0; SIZE];
    let mut server = WebSocket::from_raw_socket(Cursor::new(Vec::new()), Role::Server, None);
    let sent = server.send(Message::binary(payload.clone()));
    let wire = server.into_inner().into_inner();
    let one_frame = sent.is_ok() && wire == frame(0x82, &payload);
    let halves = payload.split_at(SIZE / 2);
    let two_frames = [frame(0x02, halves.0), frame(0x80, halves.1)].concat();

    let defaults = WebSocketConfig::default();
    let any_message = WebSocketConfig::default().max_message_size(None);
    let seen = [read(&wire, defaults), read(&two_frames, defaults), read(&wire, any_message)];
    let send = if one_frame { "send Ok, 1 frame" } else { "send differs" };
    println!("17 MiB sent by tungstenite         {send}, read: {}", seen[0]);
    println!("17 MiB in two frames               read: {}", seen[1]);
    println!("max_message_size None, one frame   read: {}", seen[2]);

    let refused = "MessageTooLong, size 17825792, max_size 16777216";
    if !one_frame || seen != [refused, "Ok, 17825792 bytes", refused] {
        eprintln!("changed: not as stated at the top");
        exit(1);
    }
}
RUST
cargo run -q --manifest-path "$tmp/Cargo.toml" --target-dir "$tmp/target"
