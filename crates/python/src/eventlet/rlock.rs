//! `RLock`, the lock of threads that are green threads: its owner is a green thread, of any OS thread, and may take it
//! again.
//!
//! Who gives it back hands it to the first that waits, so that nobody is overtaken. No Python object is made and no
//! Python code runs on the way: a finalizer or a signal handler, which may take the same lock, finds the state whole.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ffi::{CStr, c_ulong};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use greenloom_hub::Time;

use super::clock::{self, Patience};
use super::fairness::spend_one;
use super::hub_ref;
use super::park::park_until;
use super::ticket::{Outcome, Ticket};
use crate::greenlet::wait::{self, At, Awaited, Life, Wait};
use crate::greenlet::{here, leave_others_behind};
use crate::py::ffi;
use crate::py::names::{Name, intern};
use crate::py::object::{Object, list, size, tuple};
use crate::py::{self, Args, Class, ClassCell, Gil, Owned, Payload, Pending, Raised, Result, This};

/// How often its owner may take a lock again before that spends of the owner's time slice. A turn for others would be
/// one while the lock is held, and a signal handler may want it in the hub, which cannot wait: it is for who does
/// nothing else.
const AGAIN_FOR_NOTHING: u32 = 256;

/// The state of a lock.
pub struct RLock {
    owner: Cell<Option<Claimant>>,
    /// How often the owner has taken it and not given it back.
    count: Cell<usize>,
    /// How often the owner has taken it again so far.
    again: Cell<u32>,
    /// Who took it, if that is noted.
    taker: Cell<Option<Life>>,
    waiting: RefCell<VecDeque<Waiter>>,
}

/// Who owns the lock or wants to.
#[derive(Clone, Copy)]
struct Claimant {
    /// The address of a greenlet; while the interpreter ends, and there are none, the identifier of the OS thread.
    who: usize,
    os_thread: c_ulong,
}

struct Waiter {
    claimant: Claimant,
    ticket: Ticket,
}

/// In the child of a fork that has left all green threads but one behind, that one; else 0.
static ALONE: AtomicUsize = AtomicUsize::new(0);

static RLOCK: ClassCell = ClassCell::unbuilt();

impl Payload for RLock {
    const NAME: &'static CStr = c"eventlet.green.thread.RLock";
    const DOC: &'static CStr = c"RLock()\n--\n\n\
      A lock that its owner, a green thread of any OS thread, may take again. First come, first served.";

    fn cell() -> &'static ClassCell {
        &RLOCK
    }

    fn new() -> RLock {
        RLock {
            owner: Cell::new(None),
            count: Cell::new(0),
            again: Cell::new(0),
            taker: Cell::new(None),
            waiting: RefCell::new(VecDeque::new()),
        }
    }
}

impl Claimant {
    /// Who calls.
    #[inline]
    fn here(gil: Gil<'_>) -> Claimant {
        if let Ok(thread) = here(gil) {
            return Claimant { who: thread.current() as usize, os_thread: thread.ident() };
        }
        // SAFETY: the token says that the lock is held. The interpreter ends, and finalizers still take locks.
        let os_thread = unsafe {
            ffi::PyErr_Clear();
            ffi::PyThread_get_thread_ident()
        };
        Claimant { who: os_thread as usize, os_thread }
    }
}

impl RLock {
    #[inline]
    fn is_owned_by(&self, claimant: Claimant) -> bool {
        self.owner.get().is_some_and(|owner| owner.who == claimant.who)
    }

    #[inline]
    fn give_to(&self, claimant: Claimant, taker: Option<Life>) {
        self.owner.set(Some(claimant));
        self.count.set(1);
        self.again.set(0);
        self.taker.set(taker);
    }

    /// Takes it if it is free, when nobody waits, or the caller's.
    #[inline]
    fn try_acquire(&self, gil: Gil<'_>, me: Claimant) -> bool {
        match self.owner.get() {
            None => self.give_to(me, wait::taker(gil)),
            Some(owner) if owner.who == me.who => self.count.set(self.count.get() + 1),
            Some(_) => return false,
        }
        true
    }

    #[inline]
    fn acquire(&self, gil: Gil<'_>, patience: Patience) -> Result<bool> {
        let me = Claimant::here(gil);
        if self.is_owned_by(me) && self.again.get() < AGAIN_FOR_NOTHING {
            self.again.set(self.again.get() + 1);
        } else {
            spend_one(gil)?;
        }
        if self.try_acquire(gil, me) {
            return Ok(true);
        }
        match patience {
            Patience::None => Ok(false),
            Patience::Seconds(seconds) => self.wait(gil, me, Some(clock::after(clock::monotonic(), seconds))),
            Patience::Endless => self.wait(gil, me, None),
        }
    }

    /// Waits in the line. Returns false when the time is up.
    #[cold]
    fn wait(&self, gil: Gil<'_>, me: Claimant, deadline: Option<Time>) -> Result<bool> {
        let thread = here(gil)?;
        hub_ref::ensure(thread)?;
        // A hub in the making may let others run.
        if self.try_acquire(gil, me) {
            return Ok(true);
        }
        let mut ticket = Ticket::take(thread);
        self.waiting.borrow_mut().push_back(Waiter { claimant: me, ticket: ticket.clone() });
        loop {
            let woken = park_until(thread, &ticket, &Wait { what: "lock", at: Some(self), until: deadline });
            if self.is_owned_by(me) {
                if woken.is_err() {
                    // Given to it at the same time as something was thrown in. A hub written in Python may be called.
                    let pending = Pending::take(gil);
                    self.give_back(gil);
                    pending.put_back();
                }
                return woken.map(|_| true);
            }
            if !matches!(woken, Ok(Some(_))) {
                self.leave(&ticket);
                return woken.map(|_| false);
            }
            // Somebody else has switched to it. It keeps its place.
            let next = Ticket::take(thread);
            let place = self
                .waiting
                .borrow_mut()
                .iter_mut()
                .find(|waiter| waiter.ticket.is_same(&ticket))
                .map(|waiter| std::mem::replace(&mut waiter.ticket, next.clone()));
            drop(place);
            ticket = next;
        }
    }

    fn leave(&self, ticket: &Ticket) {
        let place = self.waiting.borrow().iter().position(|waiter| waiter.ticket.is_same(ticket));
        // What is taken out is dropped when the line is whole again: that may run Python code.
        let left = place.and_then(|place| self.waiting.borrow_mut().remove(place));
        drop(left);
    }

    /// Gives it back once.
    #[inline]
    fn release(&self, gil: Gil<'_>) -> Result<()> {
        self.ensure_owned(gil)?;
        match self.count.get() {
            1 => self.give_back(gil),
            count => self.count.set(count - 1),
        }
        Ok(())
    }

    #[inline]
    fn ensure_owned(&self, gil: Gil<'_>) -> Result<()> {
        if self.is_owned_by(Claimant::here(gil)) {
            return Ok(());
        }
        py::runtime_error(gil, "cannot release un-acquired lock")
    }

    /// Gives it to the first that waits, however often it was taken.
    #[inline]
    fn give_back(&self, gil: Gil<'_>) {
        self.free();
        while self.owner.get().is_none() {
            let first = self.waiting.borrow_mut().pop_front();
            let Some(Waiter { claimant, ticket }) = first else { return };
            // SAFETY: the ticket keeps its greenlet.
            let taker = wait::is_noted().then(|| unsafe { Life::of(ticket.greenlet()) });
            self.give_to(claimant, taker);
            if !ticket.wake(gil, Outcome::none(gil)) {
                // Its OS thread has ended.
                self.free();
            }
        }
    }

    #[inline]
    fn free(&self) {
        self.owner.set(None);
        self.count.set(0);
        self.taker.set(None);
    }

    /// In a child process: forgets those of OS threads that it does not have. Frees the lock, unless another green
    /// thread holds it that lives on.
    fn after_fork(&self, gil: Gil<'_>) {
        let me = Claimant::here(gil);
        let survivor = ALONE.load(Ordering::Relaxed);
        let is_here =
            |claimant: Claimant| claimant.os_thread == me.os_thread && (survivor == 0 || claimant.who == survivor);
        let waiting = self.waiting.take();
        let (here, gone): (VecDeque<_>, VecDeque<_>) = waiting.into_iter().partition(|waiter| is_here(waiter.claimant));
        self.waiting.replace(here);
        drop(gone);
        if self.is_owned_by(me) || self.owner.get().is_some_and(|owner| !is_here(owner)) {
            self.give_back(gil);
        }
    }
}

impl Awaited for RLock {
    fn at(&self) -> At {
        let is_taken = self.owner.get().is_some();
        At {
            object: ptr::from_ref(self) as usize,
            waiters: self.waiting.borrow().len(),
            holder: self.taker.get(),
            all_taken: is_taken.then_some(1),
        }
    }

    fn detail(&self) -> String {
        format!("count {}", self.count.get())
    }
}

/// CPython's RLock ignores arguments, warns of them or refuses them, by its version.
fn init(this: This<'_, RLock>, args: Args<'_>) -> Result<()> {
    if args.positional.is_empty() && !args.has_keywords() {
        return Ok(());
    }
    if cfg!(Py_3_15) {
        return py::type_error(this.gil(), "RLock() takes no arguments");
    }
    let text = c"Passing arguments to RLock is deprecated and will be removed in 3.15";
    // SAFETY: the lock is held; a category and a text.
    if cfg!(Py_3_13) && unsafe { ffi::PyErr_WarnEx(ffi::PyExc_DeprecationWarning, text.as_ptr(), 1) } < 0 {
        return Err(Raised);
    }
    Ok(())
}

fn acquire(this: This<'_, RLock>, args: Args<'_>) -> Result<Owned> {
    let gil = args.gil();
    let patience = if args.positional.is_empty() && !args.has_keywords() {
        Patience::Endless
    } else {
        let ([], [blocking, timeout]) = args.parse("acquire", [], ["blocking", "timeout"])?;
        clock::patience(gil, blocking, timeout)?
    };
    this.acquire(gil, patience).map(|taken| Owned::bool(gil, taken))
}

fn enter(this: This<'_, RLock>, _: Args<'_>) -> Result<Owned> {
    this.acquire(this.gil(), Patience::Endless).map(|taken| Owned::bool(this.gil(), taken))
}

fn release(this: This<'_, RLock>, args: Args<'_>) -> Result<Owned> {
    args.parse("release", [], [])?;
    exit(this, args)
}

fn exit(this: This<'_, RLock>, _: Args<'_>) -> Result<Owned> {
    this.release(this.gil())?;
    Ok(Owned::none(this.gil()))
}

fn release_save(this: This<'_, RLock>, _: Args<'_>) -> Result<Owned> {
    let gil = this.gil();
    this.ensure_owned(gil)?;
    let state = tuple(gil, [size(gil, this.count.get())?, owner(this)?])?;
    this.give_back(gil);
    Ok(state)
}

fn acquire_restore(this: This<'_, RLock>, args: Args<'_>) -> Result<Owned> {
    let gil = args.gil();
    let [state] = args.exactly()?;
    let Some([count, _]) = state.tuple_items() else {
        return py::type_error(gil, "_acquire_restore() needs what _release_save() has returned");
    };
    let count = count.size()?;
    this.acquire(gil, Patience::Endless)?;
    this.count.set(count);
    Ok(Owned::none(gil))
}

/// The greenlets that wait, as a new list.
fn waiters(this: This<'_, RLock>) -> Result<Owned> {
    // SAFETY: a ticket keeps its greenlet.
    let greenlet = |waiter: &Waiter| unsafe { Owned::borrow(waiter.ticket.greenlet()) };
    let greenlets = this.waiting.borrow().iter().map(greenlet).collect();
    list(this.gil(), greenlets)
}

/// The id() of the greenlet that holds it, or None.
fn owner(this: This<'_, RLock>) -> Result<Owned> {
    let gil = this.gil();
    this.owner.get().map_or_else(|| Ok(Owned::none(gil)), |owner| size(gil, owner.who))
}

static MODULE: Name = Name::new(c"__module__");
static QUALNAME: Name = Name::new(c"__qualname__");

/// As that of CPython's.
fn repr(this: This<'_, RLock>) -> Result<Owned> {
    let state = if this.owner.get().is_some() { c"locked" } else { c"unlocked" };
    // SAFETY: a live object, whose type lives as long; arguments as the format says.
    unsafe {
        let kind = Object::new(ffi::Py_TYPE(this.as_ptr()).cast());
        let module = kind.attribute(Object::new(MODULE.object()))?;
        let name = kind.attribute(Object::new(QUALNAME.object()))?;
        Owned::new(ffi::PyUnicode_FromFormat(
            c"<%s %S.%S object owner=%zu count=%zu at %p>".as_ptr(),
            state.as_ptr(),
            module.as_ptr(),
            name.as_ptr(),
            this.owner.get().map_or(0, |owner| owner.who),
            this.count.get(),
            this.as_ptr(),
        ))
    }
}

/// Makes the type.
///
/// # Safety
/// Called at import, once.
pub unsafe fn fill(module: *mut ffi::PyObject) -> Result<()> {
    // SAFETY: called at import, once.
    unsafe {
        intern(&[&MODULE, &QUALNAME])?;
        class().build(module)
    }
}

/// The function of the module about them.
pub fn function() -> ffi::PyMethodDef {
    py::function(
        c"_alone_after_fork",
        alone_after_fork,
        c"_alone_after_fork(alone)\n--\n\nIn a child process: whether the green thread that calls is the only one \
          that goes on. Locks pass the others over.",
    )
}

fn alone_after_fork(args: Args<'_>) -> Result<Owned> {
    let ([alone], []) = args.parse("_alone_after_fork", ["alone"], [])?;
    let mut survivor = 0;
    if alone.truth()? {
        let thread = here(args.gil())?;
        leave_others_behind(thread);
        survivor = thread.current() as usize;
    }
    ALONE.store(survivor, Ordering::Relaxed);
    Ok(Owned::none(args.gil()))
}

fn class() -> Class<RLock> {
    Class::new()
        .init(init)
        .repr(repr)
        .method(
            c"acquire",
            acquire,
            c"acquire($self, blocking=True, timeout=-1)\n--\n\nTakes the lock; waits for it, at most *timeout* seconds \
              unless that is -1. Returns whether it was taken.",
        )
        .method(
            c"release",
            release,
            c"release($self)\n--\n\nGives the lock back once; RuntimeError if the caller does not hold it.",
        )
        .method(c"__enter__", enter, c"__enter__($self)\n--\n\nAcquires it. Returns True.")
        .method(c"__exit__", exit, c"__exit__($self, *exc_info)\n--\n\nReleases it.")
        .method(
            c"locked",
            |this, _| {
                spend_one(this.gil())?;
                Ok(Owned::bool(this.gil(), this.owner.get().is_some()))
            },
            c"locked($self)\n--\n\nWhether a thread holds it.",
        )
        .method(
            c"_is_owned",
            |this, _| Ok(Owned::bool(this.gil(), this.is_owned_by(Claimant::here(this.gil())))),
            c"_is_owned($self)\n--\n\nWhether the caller holds it.",
        )
        .method(
            c"_recursion_count",
            |this, _| {
                let is_mine = this.is_owned_by(Claimant::here(this.gil()));
                size(this.gil(), if is_mine { this.count.get() } else { 0 })
            },
            c"_recursion_count($self)\n--\n\nHow often the caller has taken it and not given it back.",
        )
        .method(
            c"_release_save",
            release_save,
            c"_release_save($self)\n--\n\nGives it back, however often it was taken. Returns what _acquire_restore() \
              needs.",
        )
        .method(
            c"_acquire_restore",
            acquire_restore,
            c"_acquire_restore($self, state, /)\n--\n\nTakes it as often as it was before _release_save().",
        )
        .method(
            c"_at_fork_reinit",
            |this, _| {
                this.after_fork(this.gil());
                Ok(Owned::none(this.gil()))
            },
            c"_at_fork_reinit($self)\n--\n\nIn a child process: frees the lock, unless another green thread holds it \
              that lives on in the child.",
        )
        .getter(c"_owner", owner, c"The id() of the greenlet that holds it, or None.")
        .getter(c"_count", |this| size(this.gil(), this.count.get()), c"How often its owner has taken it.")
        .getter(c"_waiters", waiters, c"The greenlets that wait, as a new list.")
}
