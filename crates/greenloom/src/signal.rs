//! Signals that a green thread waits for, such as Ctrl-C.
//!
//! While somebody asks for a signal it does nothing else; as long as nobody has asked, and when nobody does any more,
//! it does what it does by default.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard};

use greenloom_fiber::ForkMutex;
use greenloom_hub::Direction;
use signal_hook::consts;
use signal_hook::flag;
use signal_hook::low_level::{pipe, signal_name, unregister};

use crate::net::source::Source;
use crate::net::waitable::Choice;

/// A signal.
///
/// ```
/// use greenloom::signal::Signal;
/// assert_eq!(Signal::INT.to_string(), "SIGINT");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

macro_rules! signals {
    ($($name:ident = $number:ident, $what:literal;)+) => {
        impl Signal {
            $(#[doc = concat!("`", stringify!($number), "`: ", $what, ".")]
            pub const $name: Signal = Signal(consts::$number);)+
        }
    };
}

signals! {
    INT = SIGINT, "Ctrl-C";
    TERM = SIGTERM, "please end";
    HUP = SIGHUP, "the terminal is gone; by custom also: read the configuration again";
    QUIT = SIGQUIT, "Ctrl-\\";
    USR1 = SIGUSR1, "what the program takes it for";
    USR2 = SIGUSR2, "what the program takes it for";
    CHLD = SIGCHLD, "a child process has changed its state";
    WINCH = SIGWINCH, "the terminal has another size";
    CONT = SIGCONT, "go on after a stop";
    TSTP = SIGTSTP, "Ctrl-Z";
    KILL = SIGKILL, "end; it cannot be waited for";
    STOP = SIGSTOP, "stop; it cannot be waited for";
}

impl Signal {
    /// The signal of this number on the running system.
    pub const fn from_number(number: i32) -> Signal {
        Signal(number)
    }

    /// Its number on the running system.
    pub const fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match signal_name(self.0) {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Parks until Ctrl-C. It is asked for from the call on; a program that shall not be ended by one that comes earlier
/// makes [`Signals`] at its start.
///
/// # Errors
/// Those of [`Signals::new`] and [`Signals::wait`].
///
/// ```no_run
/// greenloom::spawn(|| {
///     greenloom::signal::ctrl_c()?;
///     println!("stopping");
///     Ok::<(), std::io::Error>(())
/// });
/// ```
pub fn ctrl_c() -> io::Result<()> {
    Signals::new([Signal::INT])?.wait().map(drop)
}

/// Signals that are asked for, until it is dropped. Others may ask for the same ones; each is told.
///
/// ```
/// use greenloom::signal::{Signal, Signals};
///
/// let signals = Signals::new([Signal::HUP, Signal::USR1])?;
/// let me = std::process::id().to_string();
/// greenloom::process::Command::new("kill").args(["-USR1", &me]).status()?;
/// assert_eq!(signals.wait()?, Signal::USR1);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "signals are asked for as long as it lives"]
pub struct Signals {
    asked: Vec<Asked>,
    /// Gets a byte with each signal.
    bell: Source<UnixStream>,
}

impl Signals {
    /// Asks for signals.
    ///
    /// # Errors
    /// `InvalidInput` for one that cannot be waited for (`SIGKILL`, `SIGSTOP`, `SIGSEGV`, `SIGILL`, `SIGFPE`) or is
    /// none; too many open files.
    pub fn new(signals: impl IntoIterator<Item = Signal>) -> io::Result<Signals> {
        let (bell, ringer) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let asked = signals.into_iter().map(|signal| Asked::new(signal, &ringer)).collect::<io::Result<_>>()?;
        Ok(Signals { asked, bell: Source::new(bell) })
    }

    /// Parks until one of the signals arrives, or returns one that has arrived since the last call. The same signal
    /// several times before it is waited for counts once, as the system has it; different ones come in the order they
    /// were asked for.
    ///
    /// # Errors
    /// `ResourceBusy` when another green thread waits on the same `Signals`.
    pub fn wait(&self) -> io::Result<Signal> {
        loop {
            if let Some(signal) = self.arrived() {
                return Ok(signal);
            }
            // The flag is set before the byte is sent, so none is missed between the two.
            self.bell.retry(Direction::Read, |mut bell| bell.read(&mut [0; 64]))?;
        }
    }

    /// Takes a signal that has arrived.
    pub(crate) fn arrived(&self) -> Option<Signal> {
        self.asked.iter().find(|asked| asked.arrived.swap(false, Ordering::SeqCst)).map(|asked| asked.signal)
    }

    /// For `select`: leaves `choice` where the next signal finds it; returns whether one has arrived.
    pub(crate) fn begin_waiting(&self, choice: Choice) -> io::Result<bool> {
        // Bytes of signals that were taken would be readable for ever.
        while matches!(self.bell.inner().read(&mut [0; 64]), Ok(1..)) {}
        if self.asked.iter().any(|asked| asked.arrived.load(Ordering::SeqCst)) {
            return Ok(true);
        }
        self.bell.begin_waiting(Direction::Read, choice.0)
    }

    pub(crate) fn stop_waiting(&self, ticket: u64) {
        self.bell.stop_waiting(Direction::Read, ticket);
    }
}

/// One signal of a [`Signals`].
#[derive(Debug)]
struct Asked {
    signal: Signal,
    arrived: Arc<AtomicBool>,
    actions: [signal_hook::SigId; 2],
}

impl Asked {
    fn new(signal: Signal, ringer: &UnixStream) -> io::Result<Asked> {
        let number = signal.number();
        if consts::FORBIDDEN.contains(&number) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{signal} cannot be waited for")));
        }
        let mut defaults = defaults();
        let default = match defaults.get_mut(&signal) {
            Some(default) => default,
            None => {
                let default = DefaultAction { wanted: Arc::new(AtomicBool::new(true)), asking: 0 };
                flag::register_conditional_default(number, Arc::clone(&default.wanted))?;
                defaults.entry(signal).or_insert(default)
            }
        };
        let arrived = Arc::new(AtomicBool::new(false));
        let ringer = ringer.try_clone()?;
        let first = flag::register(number, Arc::clone(&arrived))?;
        let second = pipe::register(number, ringer).inspect_err(|_| {
            unregister(first);
        })?;
        default.asking += 1;
        default.wanted.store(false, Ordering::SeqCst);
        Ok(Asked { signal, arrived, actions: [first, second] })
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let mut defaults = defaults();
        if let Some(default) = defaults.get_mut(&self.signal) {
            default.asking -= 1;
            default.wanted.store(default.asking == 0, Ordering::SeqCst);
        }
        for action in self.actions {
            unregister(action);
        }
    }
}

/// What a signal does when nobody asks for it: once somebody has, its handler is ours for good.
struct DefaultAction {
    wanted: Arc<AtomicBool>,
    asking: usize,
}

fn defaults() -> MutexGuard<'static, BTreeMap<Signal, DefaultAction>> {
    static DEFAULTS: ForkMutex<BTreeMap<Signal, DefaultAction>> = ForkMutex::new(BTreeMap::new());
    DEFAULTS.lock()
}
