//! Calls that have no other way than to block an OS thread.
