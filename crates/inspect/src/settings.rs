//! How a program is to be looked into, and what the environment says of that.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::watchdog;

/// How a program is to be looked into.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Settings {
    /// The number of a signal that makes the program write all stacks to its standard error.
    pub dump: Option<i32>,
    /// How long a hub may not move until that is written to standard error; `None` for no watchdog.
    pub watchdog: Option<Duration>,
}

impl Settings {
    /// No signal, and no watchdog.
    pub fn new() -> Settings {
        Settings::default()
    }

    /// With a signal that dumps.
    pub fn dump(mut self, signal: Option<i32>) -> Settings {
        self.dump = signal;
        self
    }

    /// With a watchdog.
    pub fn watchdog(mut self, limit: Option<Duration>) -> Settings {
        self.watchdog = limit;
        self
    }

    /// With the watchdog of the environment: `GREENLOOM_WATCHDOG`, in milliseconds, 0 for none.
    pub fn told_watchdog(self) -> Settings {
        let told = std::env::var("GREENLOOM_WATCHDOG").ok().and_then(|told| told.trim().parse().ok());
        let limit = told.map_or(watchdog::DEFAULT_LIMIT, Duration::from_millis);
        self.watchdog(Some(limit).filter(|limit| !limit.is_zero()))
    }
}

/// The number of a signal by its name, such as `USR1`, or by its number.
///
/// # Errors
/// A sentence, for a name that is none.
///
/// ```
/// assert!(greenloom_inspect::signal_named("usr1").is_ok() && greenloom_inspect::signal_named("tea").is_err());
/// ```
pub fn signal_named(name: &str) -> Result<i32, String> {
    use signal_hook::consts::{SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};
    let upper = name.to_ascii_uppercase();
    match upper.strip_prefix("SIG").unwrap_or(&upper) {
        "HUP" => Ok(SIGHUP),
        "QUIT" => Ok(SIGQUIT),
        "USR1" => Ok(SIGUSR1),
        "USR2" => Ok(SIGUSR2),
        "WINCH" => Ok(SIGWINCH),
        other => {
            other.parse().map_err(|_| format!("GREENLOOM_DUMP_SIGNAL must be a signal such as USR1, not {name:?}"))
        }
    }
}

/// A stream that has something to read when the signal has come.
pub(crate) fn dump_on(signal: i32) -> io::Result<UnixStream> {
    if signal_hook::consts::FORBIDDEN.contains(&signal) {
        let message = format!("no program can handle signal {signal} and go on: name another one, such as USR1");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal, writer)?;
    Ok(reader)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_cannot_be_handled_is_an_error_with_its_number() {
        for signal in [signal_hook::consts::SIGKILL, signal_hook::consts::SIGSEGV] {
            assert!(dump_on(signal).unwrap_err().to_string().contains(&format!("signal {signal} ")));
        }
        assert!(dump_on(1000).is_err());
    }
}
