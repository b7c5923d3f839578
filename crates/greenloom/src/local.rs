//! Green-thread locals.
