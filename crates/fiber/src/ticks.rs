//! The processor's own clock, for what is measured so often that asking the system takes too long.
//!
//! On x86-64 it is the time stamp counter, where the kernel itself tells the time by it: then it runs at one speed, and
//! alike on all processors. Reading it takes a third of the time of `Instant::now()`. Elsewhere a tick is a nanosecond
//! of the system's clock.

use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A clock that began when it was made. It counts ticks, whose length is known better the longer it runs.
///
/// ```
/// let clock = greenloom_fiber::Ticks::new();
/// let (first, second) = (clock.now(), clock.now());
/// assert!(first <= second);
/// std::thread::sleep(std::time::Duration::from_millis(5));
/// let nanoseconds = (clock.now() - second) as f64 * clock.length();
/// assert!(nanoseconds >= 4.9e6);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    began: Instant,
    /// What the counter said then; `None` where it is not used.
    first: Option<u64>,
}

impl Ticks {
    /// A clock that begins now.
    pub fn new() -> Ticks {
        Ticks { began: Instant::now(), first: counter_is_time().then(counter) }
    }

    /// How many ticks it has run.
    #[inline]
    pub fn now(&self) -> u64 {
        match self.first {
            Some(first) => counter().saturating_sub(first),
            None => self.began.elapsed().as_nanos() as u64,
        }
    }

    /// How many nanoseconds a tick takes.
    pub fn length(&self) -> f64 {
        let Some(first) = self.first else { return 1.0 };
        let (nanoseconds, ticks) = (self.began.elapsed().as_nanos(), counter().saturating_sub(first));
        if ticks == 0 { 1.0 } else { nanoseconds as f64 / ticks as f64 }
    }
}

impl Default for Ticks {
    fn default() -> Ticks {
        Ticks::new()
    }
}

/// The times of births, which are noted only since [`begin`](Births::begin), and told by a tick as long as somebody
/// [tells](Births::tick) one: to read a clock at each birth would be 3 % of a spawn.
///
/// ```
/// use greenloom_fiber::Births;
///
/// static BIRTHS: Births = Births::new();
/// assert_eq!((BIRTHS.now(), BIRTHS.age(7)), (0, None));
/// BIRTHS.begin();
/// let one = BIRTHS.now();
/// assert!(one > 0 && BIRTHS.now() >= one && BIRTHS.age(one).is_some());
/// BIRTHS.tick();
/// assert_eq!(BIRTHS.now(), BIRTHS.now());
/// ```
#[derive(Debug)]
pub struct Births {
    clock: OnceLock<Ticks>,
    /// The time that was told last; 0 while nobody tells any.
    tick: AtomicU64,
}

impl Births {
    /// None is noted yet.
    pub const fn new() -> Births {
        Births { clock: OnceLock::new(), tick: AtomicU64::new(0) }
    }

    /// From now on they are.
    pub fn begin(&self) {
        self.clock.get_or_init(Ticks::new);
    }

    /// Whether they are.
    #[inline]
    pub fn are_noted(&self) -> bool {
        self.clock.get().is_some()
    }

    /// From now on births have this time, until the next call.
    pub fn tick(&self) {
        self.tick.store(self.clock.get().map_or(0, Ticks::now), Ordering::Relaxed);
    }

    /// Nobody calls [`tick`](Births::tick) any more.
    pub fn stop_ticking(&self) {
        self.tick.store(0, Ordering::Relaxed);
    }

    /// The time of a birth; 0 if they are not noted, and only then.
    #[inline]
    pub fn now(&self) -> u64 {
        self.clock.get().map_or(0, |clock| match self.tick.load(Ordering::Relaxed) {
            0 => clock.now().max(1),
            tick => tick,
        })
    }

    /// How long ago a birth was, if it was noted.
    pub fn age(&self, birth: u64) -> Option<Duration> {
        let clock = self.clock.get().filter(|_| birth > 0)?;
        let ticks = clock.now().saturating_sub(birth);
        Some(Duration::from_nanos((ticks as f64 * clock.length()) as u64))
    }
}

impl Default for Births {
    fn default() -> Births {
        Births::new()
    }
}

/// Whether the kernel tells the time by the counter.
fn counter_is_time() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let source = fs::read_to_string("/sys/devices/system/clocksource/clocksource0/current_clocksource");
        cfg!(target_arch = "x86_64") && source.is_ok_and(|source| source.trim() == "tsc")
    })
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn counter() -> u64 {
    // SAFETY: every processor of this architecture has it; a kernel that forbids it does not tell the time by it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn counter() -> u64 {
    unreachable!("the counter is used where the kernel says that it is the time, which is on x86-64")
}
