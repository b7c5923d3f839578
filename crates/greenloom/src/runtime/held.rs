//! Who has taken something, for whom a green thread waits, and since when there is one: for those who look. All of it
//! is noted only since the process can be looked into.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use greenloom_fiber::Births;

use super::{here, try_here};

/// They, and all the rest, are noted since the process can be looked into.
pub(super) static BIRTHS: Births = Births::new();

#[inline]
fn is_noted() -> bool {
    cfg!(feature = "inspect") && BIRTHS.are_noted()
}

/// The time of a birth; 0 if those are not noted.
#[inline]
pub(crate) fn birth() -> u64 {
    if cfg!(feature = "inspect") { BIRTHS.now() } else { 0 }
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
        if is_noted() {
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
        is_noted().then(|| {
            let taken = Arc::clone(self.note());
            waits_on(WaitsOn::Unit(Arc::clone(&taken)));
            taken
        })
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
    if is_noted() {
        waits_on(WaitsOn::End(Who { hub: here().id(), number }));
    }
}

/// It waits no more.
#[inline]
pub(crate) fn waits_no_more() {
    if is_noted() {
        here().with_current(|me| {
            if let Some(extra) = &mut *me.node().extra.borrow_mut() {
                extra.waits_on = None;
            }
        });
    }
}
