//! The figures that are taken, one file each. What a figure is made of is in [`figure`](crate::figure).

mod callers;
mod calls;
mod echo;
mod hop;
mod http;
mod idle;
mod rabbit_call;
mod rabbit_casts;
mod sleepers;
mod spawn;
mod switch;
mod syscalls;
mod two_cores;
mod yielding;

use std::io;

use crate::figure::Figure;

/// In the order in which they run and are shown.
pub const ALL: [&Figure; 15] = [
    &switch::FIGURE,
    &yielding::FIGURE,
    &spawn::FIGURE,
    &hop::FIGURE,
    &sleepers::FIGURE,
    &echo::FIGURE,
    &http::FIGURE,
    &two_cores::FIGURE,
    &idle::FIGURE,
    &syscalls::FIGURE,
    &calls::FIGURE,
    &callers::FIGURE,
    &rabbit_call::ONE,
    &rabbit_call::HUNDRED,
    &rabbit_casts::FIGURE,
];

pub fn named(name: &str) -> Option<&'static Figure> {
    ALL.into_iter().find(|figure| figure.name == name)
}

/// tokio's current-thread runtime as programs have it: with I/O and timers, which every other contender has always.
fn tokio_current_thread() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
