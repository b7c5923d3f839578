//! What the binding needs of CPython: references, exceptions, calls, functions and types. It knows no greenlets.
//!
//! Each file may use those above it:
//!
//! - [`ffi`]: the interpreter's own functions, and the counting of references;
//! - `lock`: the interpreter's lock, and the token that stands for it;
//! - `error`: exceptions;
//! - `owned`: owned references, and the places that keep them;
//! - [`free_list`]: memory of greenlets that is used again;
//! - `pending`: the pending exception, taken out;
//! - `call`, [`names`], `table`: calls, names of attributes, the tables that modules and types are made of;
//! - [`object`]: live objects, read without `unsafe`, and bytes, numbers and tuples made;
//! - `args`, `function`: what a function was called with, and Rust functions as Python's;
//! - `instance`, `class`: types with a Rust value inside.
//!
//! # Why not PyO3
//!
//! `pyo3-ffi` declares CPython's functions; the layer over it is our own. PyO3's was measured beside it, in one
//! extension module for CPython 3.13 on a shared x86-64 machine, as medians of 15 turns in ns (a plain `pass` is 10 of
//! each):
//!
//! | | here | PyO3, frozen class | PyO3, unsendable class |
//! |---|---|---|---|
//! | a bound method with one argument | 33 | 41 | 49 |
//! | an attribute of an instance | 43 | 51 | 57 |
//! | a method that looks an attribute up | 58 | 78 | 78 |
//! | a method that raises, and the `except` | 380 | 450 | 465 |
//!
//! So a call would cost 7 to 20 ns more, on paths that take 30 to 300. The last row says nothing of that kind: raising
//! varies more from turn to turn than the two differ, and by the fastest turns PyO3 was the faster. The figures alone
//! would not decide it. What does is that PyO3 cannot be used where it would help most: the greenlet type has a layout
//! that C code was compiled against (40 bytes, a static type), which `#[pyclass]` does not give, and a method that
//! switches stacks must be one through which a thread that ends at interpreter shutdown may be unwound (`C-unwind`),
//! with nothing of a guard on its stack. What PyO3 has for the lock, a token without a size, costs nothing and is here
//! too: [`Gil`].

mod args;
mod call;
mod class;
mod error;
pub mod ffi;
pub mod free_list;
mod function;
mod instance;
mod lock;
pub mod names;
pub mod object;
mod owned;
mod pending;
pub mod table;

pub use args::Args;
pub use call::{call, call_method, call_program, equal, float, number, string, text, truth};
pub use class::{Class, method};
pub use error::{
    Raised, Result, assertion_error, attribute_error, error, import_error, memory_error, overflow_error, raise,
    runtime_error, system_error, type_error, value_error,
};
pub use function::{bare_method, function};
pub use instance::{ClassCell, Payload, This, allocate, make};
pub use lock::{Gil, is_finalizing, is_gone, is_held};
pub use owned::{Global, GlobalObject, Owned, Slot};
pub use pending::{Pending, exception_info};
