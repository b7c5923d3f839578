//! The crate `greenloom` as the [`Host`].

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use greenloom::foreign;

use crate::host::{Direction, Host, Wait};

pub(crate) struct Runtime;

// SAFETY: `foreign::run` returns when the job has ended or was dropped, killed or not. What `foreign` has for calls
// beneath C returns how a wait ended, and unwinds nothing.
unsafe impl Host for Runtime {
    fn can_park(&self) -> bool {
        foreign::can_park()
    }

    fn wait_fd(&self, fd: BorrowedFd<'_>, direction: Direction, limit: Option<Duration>) -> io::Result<Wait> {
        let direction = match direction {
            Direction::Read => greenloom::hub::Direction::Read,
            Direction::Write => greenloom::hub::Direction::Write,
        };
        foreign::wait_fd(fd, direction, limit).map(Wait::from)
    }

    fn sleep(&self, duration: Duration) -> Wait {
        // It is refused nowhere where `can_park` is true.
        foreign::sleep(duration).map_or(Wait::Interrupted, Wait::from)
    }

    fn yield_now(&self) {
        let _ = foreign::yield_now();
    }

    fn run(&self, job: Box<dyn FnOnce() + Send>) -> bool {
        foreign::run(job).is_ok()
    }

    fn closing(&self, fd: RawFd) {
        foreign::closing(fd);
    }
}

impl From<foreign::Wait> for Wait {
    fn from(wait: foreign::Wait) -> Wait {
        match wait {
            foreign::Wait::Ready => Wait::Ready,
            foreign::Wait::TimedOut => Wait::TimedOut,
            foreign::Wait::Interrupted => Wait::Interrupted,
            foreign::Wait::Closed => Wait::Closed,
        }
    }
}
