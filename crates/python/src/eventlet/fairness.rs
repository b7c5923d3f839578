//! Turns for others between operations that return at once.

use super::hub::{Hub, TimeSlice};
use super::hub_ref::{self, HubRef};
use super::park::park_for;
use crate::greenlet::{Here, here};
use crate::py::ffi::{self, PyMethodDef};
use crate::py::{self, Args, Gil, Global, Owned, Raised, Result, This, is_finalizing};

/// What a call to the system costs of a time slice, as a multiple of taking a free lock.
pub const SYSTEM_CALL: u32 = 4;

/// To be called before an operation that may return at once: if the running greenlet has run for long without a park,
/// others have their turn first. Does nothing in the hub's own greenlet.
///
/// # Errors
/// What is thrown in meanwhile; the operation has not begun.
#[inline]
pub fn spend(thread: Here<'_>, cost: u32) -> Result<()> {
    let over = match hub_ref::native(&thread) {
        Some(hub) => hub.time_slice.spend(cost),
        None => of_any_hub(thread, |slice| slice.spend(cost)),
    };
    if over { give_turn(thread) } else { Ok(()) }
}

/// How many [`spend_one`] cost nothing before one pays for all: to find the hub costs as much as taking a free lock.
const AT_ONCE: u32 = 16;

/// How many have not been paid for, of all OS threads together.
static UNPAID: Global<u32> = Global::new(0);

/// Spends what taking a free lock costs; for operations that work without a hub too, and while the interpreter ends.
///
/// # Errors
/// Those of [`spend`].
#[inline]
pub fn spend_one(gil: Gil<'_>) -> Result<()> {
    // SAFETY: the token says that the lock is held, which guards the number; nothing runs between the two lines.
    let unpaid = unsafe { &mut *UNPAID.get() };
    *unpaid += 1;
    if *unpaid < AT_ONCE { Ok(()) } else { pay(gil, std::mem::take(unpaid)) }
}

/// As [`spend`], for operations that work without a hub too, and while the interpreter ends.
///
/// # Errors
/// Those of [`spend`].
#[cold]
pub fn pay(gil: Gil<'_>, cost: u32) -> Result<()> {
    match here(gil) {
        Ok(thread) => spend(thread, cost),
        Err(Raised) => {
            // SAFETY: the token says that the lock is held.
            unsafe { ffi::PyErr_Clear() };
            Ok(())
        }
    }
}

#[cold]
fn of_any_hub(thread: Here<'_>, spend: impl FnOnce(&TimeSlice) -> bool) -> bool {
    let hub = hub_ref::object_of(&thread);
    // SAFETY: the thread keeps its hub, and no code runs that could change that.
    !hub.is_null() && unsafe { This::<Hub>::try_of(hub) }.is_some_and(|hub| spend(&hub.time_slice))
}

#[cold]
fn give_turn(thread: Here<'_>) -> Result<()> {
    let hub = HubRef::of(thread)?;
    if is_finalizing() || hub.is_loop(thread)? {
        return Ok(());
    }
    let alarm = hub.wake_me(thread, 0.0)?;
    let parked = park_for(thread, "");
    if let Some(alarm) = alarm {
        alarm.cancel(&thread);
    }
    parked.map(drop)
}

/// The functions of the module about this.
pub fn functions() -> Vec<PyMethodDef> {
    vec![
        py::function(
            c"_spend",
            spend_from_python,
            c"_spend(cost=1)\n--\n\nTo be called before what may return at once again and again: lets others run if \
              the current green thread has run for long without waiting.",
        ),
        py::function(
            c"_spend_look",
            look_from_python,
            c"_spend_look()\n--\n\nAs _spend(), before a look at files, as of select(): others run much sooner.",
        ),
    ]
}

fn look_from_python(args: Args<'_>) -> Result<Owned> {
    let thread = here(args.gil())?;
    if of_any_hub(thread, TimeSlice::look) {
        give_turn(thread)?;
    }
    Ok(Owned::none(args.gil()))
}

fn spend_from_python(args: Args<'_>) -> Result<Owned> {
    let ([], [cost]) = args.parse("_spend", [], ["cost"])?;
    let gil = args.gil();
    match cost {
        Some(cost) => spend(here(gil)?, u32::try_from(cost.number()?).unwrap_or(1))?,
        None => spend_one(gil)?,
    }
    Ok(Owned::none(gil))
}
