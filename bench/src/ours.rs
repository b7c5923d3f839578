//! Every use of greenloom: what it does in each figure, and its echo server.

use std::io;

use crate::figures::{Sample, Scale, Skip};

fn not_yet() -> Skip {
    Skip::absent("greenloom is not there yet")
}

pub fn switch(_: Scale) -> Result<Sample, Skip> {
    Err(not_yet())
}

pub fn yielding(_: Scale) -> Result<Sample, Skip> {
    Err(not_yet())
}

pub fn spawn(_: Scale) -> Result<Sample, Skip> {
    Err(not_yet())
}

pub fn spawn_from_main(_: Scale) -> Result<Sample, Skip> {
    Err(not_yet())
}

pub fn hop(_: Scale) -> Result<Sample, Skip> {
    Err(not_yet())
}

pub fn sleepers(_: Scale, _stack_size: Option<usize>) -> Result<Sample, Skip> {
    Err(not_yet())
}

pub fn serve(_threads: usize) -> io::Result<()> {
    Err(io::Error::other("greenloom is not there yet"))
}
