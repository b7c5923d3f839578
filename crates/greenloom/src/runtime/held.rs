//! Who has taken something, for whom a green thread waits, and since when there is one: for those who look. All of it
//! is noted only since the process can be looked into.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use greenloom_fiber::Ticks;

use super::{here, try_here};

/// Set since the process can be looked into.
static CLOCK: OnceLock<Ticks> = OnceLock::new();

/// From now on all of it is noted.
#[cfg(feature = "inspect")]
pub(super) fn begin_to_note() {
    CLOCK.get_or_init(Ticks::new);
}

#[inline]
fn clock() -> Option<&'static Ticks> {
    if cfg!(feature = "inspect") { CLOCK.get() } else { None }
}

/// The time, as the OS thread has it that looks at the hubs many times a second; 0 while there is none.
static TICK: AtomicU64 = AtomicU64::new(0);

/// From now on births have this time, until the next call.
#[cfg(feature = "inspect")]
pub(super) fn tick() {
    TICK.store(clock().map_or(0, Ticks::now), Ordering::Relaxed);
}

/// Nobody calls [`tick`] any more.
#[cfg(feature = "inspect")]
pub(super) fn stop_ticking() {
    TICK.store(0, Ordering::Relaxed);
}

/// The time of a birth; 0 if those are not noted.
#[inline]
pub(crate) fn birth() -> u64 {
    clock().map_or(0, |clock| match TICK.load(Ordering::Relaxed) {
        0 => clock.now().max(1),
        tick => tick,
    })
}

/// How long ago a birth was, if it was noted.
#[cfg(feature = "inspect")]
pub(super) fn age(birth: u64) -> Option<std::time::Duration> {
    let clock = clock().filter(|_| birth > 0)?;
    let ticks = clock.now().saturating_sub(birth);
    Some(std::time::Duration::from_nanos((ticks as f64 * clock.length()) as u64))
}

/// A green thread among all that there ever were: its hub's number, and its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    pub hub: u32,
    pub number: u64,
}

impl Who {
    const BITS: u32 = 44;

    fn pack(self) -> u64 {
        u64::from(self.hub) << Who::BITS | self.number & ((1 << Who::BITS) - 1)
    }

    #[cfg(feature = "inspect")]
    fn unpack(packed: u64) -> Who {
        Who { hub: (packed >> Who::BITS) as u32, number: packed & ((1 << Who::BITS) - 1) }
    }
}

/// What a thing that can be taken knows of its takers.
pub(crate) struct Takers {
    units: usize,
    noted: Option<Arc<Taken>>,
}

/// The same, for its waiters to show.
pub(crate) struct Taken {
    pub units: usize,
    last: AtomicU64,
}

impl Takers {
    /// Of a thing of so many units, all of them free.
    pub const fn new(units: usize) -> Takers {
        Takers { units, noted: None }
    }

    /// The running green thread has taken a unit.
    #[inline]
    pub fn take(&mut self) {
        if clock().is_some() {
            self.note().take();
        }
    }

    #[cold]
    fn note(&mut self) -> &Arc<Taken> {
        let units = self.units;
        self.noted.get_or_insert_with(|| Arc::new(Taken { units, last: AtomicU64::new(NOBODY) }))
    }

    /// The running green thread is about to wait for a unit. Returns what it [takes](Taken::take) one from when it was
    /// granted one.
    pub fn wait(&mut self) -> Option<Arc<Taken>> {
        clock()?;
        let taken = Arc::clone(self.note());
        waits_on(WaitsOn::Unit(Arc::clone(&taken)));
        Some(taken)
    }
}

const NOBODY: u64 = u64::MAX;

impl Taken {
    /// The running green thread has taken a unit.
    pub fn take(&self) {
        if let Some(runtime) = try_here() {
            let me = runtime.with_current(|me| Who { hub: runtime.id(), number: me.id() });
            self.last.store(me.pack(), Ordering::Relaxed);
        }
    }

    /// Who has taken one last, where there is only one.
    #[cfg(feature = "inspect")]
    pub fn holder(&self) -> Option<Who> {
        let last = self.last.load(Ordering::Relaxed);
        (self.units == 1 && last != NOBODY).then(|| Who::unpack(last))
    }
}

/// What a green thread waits on.
pub(crate) enum WaitsOn {
    /// A unit of something.
    Unit(Arc<Taken>),
    /// The end of another one.
    End(Who),
}

fn waits_on(what: WaitsOn) {
    here().with_current(|me| me.node().extra.borrow_mut().get_or_insert_default().waits_on = Some(what));
}

/// The running green thread is about to wait for the end of another one of its hub.
#[inline]
pub(crate) fn waits_for_end(number: u64) {
    if clock().is_some() {
        waits_on(WaitsOn::End(Who { hub: here().id(), number }));
    }
}

/// It waits no more.
#[inline]
pub(crate) fn waits_no_more() {
    if clock().is_some() {
        here().with_current(|me| {
            if let Some(extra) = &mut *me.node().extra.borrow_mut() {
                extra.waits_on = None;
            }
        });
    }
}
