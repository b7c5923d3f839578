//! Bounded concurrency.
