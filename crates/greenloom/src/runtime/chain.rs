//! An error and its causes in one line.

use std::error::Error;
use std::fmt;

/// Shows an error and all its [sources](Error::source) in one line, with a colon between them.
///
/// The errors of this crate say only their own words and leave those of their cause to `source()`; what reports them,
/// such as `anyhow`, shows both. This is for programs that print them themselves.
///
/// ```
/// use greenloom::{Chain, spawn};
///
/// # std::panic::set_hook(Box::new(|_| {}));
/// let error = spawn(|| panic!("no such router")).wait().unwrap_err();
/// assert_eq!(error.to_string(), "the green thread panicked");
/// assert_eq!(Chain(&error).to_string(), "the green thread panicked: no such router");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
