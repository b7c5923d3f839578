//! Options for a green thread.

use std::time::Duration;

use crate::green_thread::GreenThread;
use crate::runtime::error::SpawnError;
use crate::runtime::stack_size::default_stack_size;

/// Options for a green thread.
///
/// ```
/// let thread = greenloom::Builder::new().name("worker").stack_size(64 * 1024).spawn(|| ())?;
/// assert_eq!(thread.name(), Some("worker"));
/// # Ok::<(), greenloom::SpawnError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "it does nothing until it spawns"]
pub struct Builder {
    name: Option<String>,
    stack_size: Option<usize>,
}

impl Builder {
    /// No name, and a stack of the default size.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// A name, shown by [`inspect`](crate::inspect) and when the stack overflows.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// The size of the stack in bytes. The default is 256 KiB, or what the environment variable `GREENLOOM_STACK_SIZE`
    /// says.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack_size = Some(bytes);
        self
    }

    /// See [`spawn`](crate::spawn).
    ///
    /// # Errors
    /// [`SpawnError`], with the numbers.
    #[track_caller]
    pub fn spawn<T: 'static>(self, f: impl FnOnce() -> T + 'static) -> Result<GreenThread<T>, SpawnError> {
        let (stack_size, name) = self.options();
        let thread = GreenThread::make(stack_size, name, f)?;
        thread.begin();
        Ok(thread)
    }

    /// See [`spawn_after`](crate::spawn_after).
    ///
    /// # Errors
    /// As [`Builder::spawn`].
    #[track_caller]
    pub fn spawn_after<T: 'static>(
        self,
        delay: Duration,
        f: impl FnOnce() -> T + 'static,
    ) -> Result<GreenThread<T>, SpawnError> {
        let (stack_size, name) = self.options();
        let thread = GreenThread::make(stack_size, name, f)?;
        thread.begin_after(delay);
        Ok(thread)
    }

    fn options(self) -> (usize, Option<String>) {
        (self.stack_size.unwrap_or_else(default_stack_size), self.name)
    }
}
