//! What the binding needs of CPython: references, exceptions, calls, functions and types. It knows no greenlets.
//!
//! Each file may use those above it:
//!
//! - [`ffi`]: the interpreter's own functions, and the counting of references;
//! - `lock`: the interpreter's lock;
//! - `error`: exceptions;
//! - `owned`: owned references, and the places that keep them;
//! - `pending`: the pending exception, taken out;
//! - `call`, [`names`], `table`: calls, names of attributes, the tables that modules and types are made of;
//! - `args`, `function`: what a function was called with, and Rust functions as Python's;
//! - `instance`, `class`: types with a Rust value inside.

mod args;
mod call;
mod class;
mod error;
pub mod ffi;
mod function;
mod instance;
mod lock;
pub mod names;
mod owned;
mod pending;
pub mod table;

pub use args::Args;
pub use call::{call, call_method, float, integer, string, text, truth};
pub use class::Class;
pub use error::{Raised, Result, error, raise, type_error};
pub use function::{bare_method, function};
pub use instance::{ClassCell, Payload, This, allocate, make};
pub use lock::{is_finalizing, is_gone};
pub use owned::{Global, GlobalObject, Owned, Slot};
pub use pending::{Pending, exception_info};
