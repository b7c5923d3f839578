//! Deterministic tests: virtual time, replayable schedules, deadlock detection.
//!
//! A [`Simulation`] runs a function in a green thread of a fresh hub on an OS thread of its own. There
//!
//! - **time is virtual**: it stands still while anything can run and jumps to the next timer when nothing can, so a
//!   program that sleeps for an hour is tested in microseconds. Real I/O that is ready is taken before time jumps;
//! - **the schedule can be chosen by a seed**: among the green threads that are ready, the next is picked by a
//!   generator that the seed starts. The same seed gives the same schedule. [`explore`] runs many seeds and prints the
//!   one that fails;
//! - **a deadlock is an error**: with nothing ready, no timer and no I/O to wait for, the simulation ends and
//!   [says](Deadlock) who waits for what.
//!
//! ```
//! use greenloom::{sleep, spawn, testing};
//! use std::time::Duration;
//!
//! let hour = Duration::from_secs(3600);
//! let slept = testing::Simulation::new().run(move || {
//!     let other = spawn(move || sleep(hour));
//!     sleep(hour);
//!     other.wait().unwrap();
//!     greenloom::hub::now()
//! });
//! assert_eq!(slept.unwrap(), hour);
//! ```

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

use greenloom_hub::{Choose, Clock, Others, Time};

use crate::builder::Builder;
use crate::hub::now;
use crate::inspect::{GreenletInfo, green_threads};
use crate::runtime::error::JoinError;
use crate::runtime::make;
use crate::runtime::park::{Waker, park};

/// A clock that moves when it is told to.
///
/// ```
/// use greenloom::testing::VirtualClock;
/// use std::time::Duration;
///
/// let clock = VirtualClock::new();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.elapsed(), Duration::from_secs(60));
/// ```
#[derive(Debug, Default)]
pub struct VirtualClock {
    now: Cell<Time>,
}

impl VirtualClock {
    /// A clock at its beginning.
    pub fn new() -> Rc<VirtualClock> {
        Rc::new(VirtualClock::default())
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        self.now.set(self.now.get() + by);
    }

    /// How far it was moved.
    pub fn elapsed(&self) -> Duration {
        self.now.get() - Time::ZERO
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Time {
        self.now.get()
    }

    fn is_virtual(&self) -> bool {
        true
    }

    fn jump(&self, to: Time) {
        self.now.set(self.now.get().max(to));
    }
}

/// SplitMix64: small, and the same everywhere for ever, which a replay needs.
struct Seeded(u64);

impl Choose for Seeded {
    fn choose(&mut self, ready: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // The remainder's bias is nothing beside the number of schedules.
        ((mixed ^ (mixed >> 31)) % ready as u64) as usize
    }
}

/// Nothing could happen any more, and the function had not returned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deadlock {
    /// The waiters, and what each waits for.
    pub waiting: Vec<GreenletInfo>,
    /// When it was found.
    pub after: Duration,
    /// The seed of the schedule, if it had one.
    pub seed: Option<u64>,
}

impl fmt::Display for Deadlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "deadlock after {:?}: nothing is ready, no timer and no I/O is left", self.after)?;
        if let Some(seed) = self.seed {
            write!(f, " (seed {seed})")?;
        }
        for thread in &self.waiting {
            write!(f, "\n  {thread}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Deadlock {}

/// How to run a test; see the [module](self).
#[derive(Clone, Debug, Default)]
#[must_use = "a simulation does nothing until it runs"]
pub struct Simulation {
    seed: Option<u64>,
    other_threads: bool,
}

impl Simulation {
    /// Virtual time; ready green threads run first in, first out.
    pub fn new() -> Simulation {
        Simulation::default()
    }

    /// Lets this seed choose among the green threads that are ready.
    pub fn seed(mut self, seed: u64) -> Simulation {
        self.seed = Some(seed);
        self
    }

    /// Other OS threads take part that this one does not know of, so that it waits for them where it would otherwise
    /// report a deadlock. What [`blocking`](crate::blocking) and [`Hubs`](crate::Hubs) do is known.
    pub fn with_other_threads(mut self) -> Simulation {
        self.other_threads = true;
        self
    }

    /// Runs `body` in a green thread and returns its value when it has ended; green threads that are left are unwound.
    ///
    /// # Errors
    /// [`Deadlock`].
    ///
    /// # Panics
    /// When `body` panics, with its payload; the seed is printed.
    pub fn run<R: Send>(&self, body: impl FnOnce() -> R + Send) -> Result<R, Deadlock> {
        std::thread::scope(|threads| {
            let simulation = std::thread::Builder::new().name("simulation".into());
            let running = simulation.spawn_scoped(threads, || self.run_here(body));
            let running = running.unwrap_or_else(|error| panic!("no OS thread for the simulation: {error}"));
            match running.join() {
                Ok(Ok(Ok(value))) => Ok(value),
                Ok(Ok(Err(deadlock))) => Err(deadlock),
                Ok(Err(error)) => {
                    self.print_seed();
                    error.resume()
                }
                Err(payload) => {
                    self.print_seed();
                    resume_unwind(payload)
                }
            }
        })
    }

    /// By the macro, whose output belongs to a test's.
    #[allow(clippy::print_stderr)]
    fn print_seed(&self) {
        if let Some(seed) = self.seed {
            eprintln!(
                "greenloom: this simulation failed with seed {seed}; GREENLOOM_SEED={seed} replays it in `explore`"
            );
        }
    }

    fn run_here<R: Send>(&self, body: impl FnOnce() -> R + Send) -> Result<Result<R, Deadlock>, JoinError> {
        let seed = self.seed;
        let waker: Rc<Cell<Option<Waker>>> = Rc::default();
        let deadlock: Rc<RefCell<Option<Deadlock>>> = Rc::default();
        let runtime = make(VirtualClock::new()).unwrap_or_else(|error| panic!("no hub for the simulation: {error}"));
        runtime.set_choose(seed.map(|seed| Box::new(Seeded(seed)) as Box<dyn Choose>));
        if !self.other_threads {
            runtime.set_others(Others::Silent);
        }
        let told = (Rc::clone(&waker), Rc::clone(&deadlock));
        runtime.set_on_deadlock(Some(Box::new(move || {
            let (waker, deadlock) = told;
            let mut waiting = green_threads();
            waiting.retain(|thread| thread.id != 0);
            *deadlock.borrow_mut() = Some(Deadlock { waiting, after: now(), seed });
            if let Some(waker) = waker.take() {
                waker.wake();
            }
        })));
        let result = crate::scope(|scope| {
            let main = scope.spawn_with(Builder::new().name("main"), body).unwrap_or_else(|error| error.raise());
            loop {
                if main.is_dead() {
                    return main.wait().map(Ok);
                }
                if let Some(deadlock) = deadlock.take() {
                    main.kill();
                    return Ok(Err(deadlock));
                }
                main.on_end(&waker);
                park("simulation", |new| waker.set(Some(new)))?;
            }
        });
        // What is left is unwound while there is a hub to do it in.
        runtime.kill_all();
        result
    }
}

/// Runs `body` under many schedules, one a seed from 0 to `seeds`, which it is given, too, and panics with the first
/// failure, its seed printed. With the environment variable `GREENLOOM_SEED` set, runs that seed alone.
///
/// ```
/// use greenloom::{spawn, testing};
///
/// testing::explore(20, |_seed| {
///     let threads: Vec<_> = (0..3).map(|number| spawn(move || number)).collect();
///     let sum: i32 = threads.into_iter().map(|thread| thread.wait().unwrap()).sum();
///     assert_eq!(sum, 3);
/// });
/// ```
///
/// # Panics
/// When `body` panics or deadlocks under one of them.
pub fn explore(seeds: u64, body: impl Fn(u64) + Send + Sync) {
    let seeds = match std::env::var("GREENLOOM_SEED") {
        Err(_) => 0..seeds,
        Ok(text) => {
            let seed = text.parse().unwrap_or_else(|_| panic!("GREENLOOM_SEED={text:?} is no number"));
            seed..seed + 1
        }
    };
    for seed in seeds {
        let simulation = Simulation::new().seed(seed);
        if let Err(deadlock) = simulation.run(|| body(seed)) {
            simulation.print_seed();
            panic!("{deadlock}");
        }
    }
}
