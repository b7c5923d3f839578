//! `LightQueue`, `Queue`, `PriorityQueue` and `LifoQueue`.
//!
//! The items are in an ordinary deque or list, the attribute `queue`. Who waits for an item or for room stands in a
//! [`Line`]; one that brings an item waits with it, so that a getter may take it from there, which is how a queue
//! without any room is a channel.
//!
//! A subclass that overrides `_init`, `_put`, `_get` or `qsize` is asked through these methods.

use std::cell::Cell;
use std::ffi::{CStr, c_void};
use std::ptr;

use super::hub_ref::{HubRef, hub_object, squelch};
use super::line::{Line, Place, Stood};
use super::park::{self, park_until};
use super::semaphore::to_number;
use super::ticket::{Outcome, Ticket};
use crate::greenlet::here;
use crate::greenlet::{Thread, body, is_here};
use crate::py::ffi::{self, PyObject, PyTypeObject};
use crate::py::{
    self, Args, Class, ClassCell, Global, GlobalObject, Owned, Payload, Pending, Raised, Result, Slot, This, assumed,
};

/// In which order items come out.
struct Order {
    /// The type of the container.
    container: GlobalObject,
    /// Functions of the container and the item, and of the container.
    put: GlobalObject,
    get: GlobalObject,
    /// The names of the same for containers of another type.
    names: Option<[&'static CStr; 2]>,
}

impl Order {
    const fn new(names: Option<[&'static CStr; 2]>) -> Order {
        Order { container: GlobalObject::null(), put: GlobalObject::null(), get: GlobalObject::null(), names }
    }
}

static FIFO: Order = Order::new(Some([c"append", c"popleft"]));
static LIFO: Order = Order::new(Some([c"append", c"pop"]));
static PRIORITY: Order = Order::new(None);

/// What who waits for room brings.
#[derive(Clone)]
struct Offer {
    item: Owned,
    /// It leaves as soon as no getter waits.
    impatient: bool,
}

/// The state of a queue.
pub struct Queue {
    order: Cell<&'static Order>,
    /// Which methods a subclass has of its own.
    overrides: Cell<Overrides>,
    items: Slot,
    /// None for no limit.
    limit: Cell<Option<i64>>,
    getters: Line,
    putters: Line<Offer>,
    /// How many of the putters are impatient.
    impatient: Cell<usize>,
    /// Whether tasks are counted, for join().
    counts_tasks: Cell<bool>,
    unfinished: Cell<i64>,
    joining: Line,
}

#[derive(Clone, Copy, Default)]
struct Overrides {
    init: bool,
    put: bool,
    get: bool,
    size: bool,
}

static LIGHT_QUEUE: ClassCell = ClassCell::unbuilt();
static QUEUE: Global<*mut PyTypeObject> = Global::new(ptr::null_mut());
static PRIORITY_QUEUE: Global<*mut PyTypeObject> = Global::new(ptr::null_mut());
static LIFO_QUEUE: Global<*mut PyTypeObject> = Global::new(ptr::null_mut());

static FULL: GlobalObject = GlobalObject::null();
static EMPTY: GlobalObject = GlobalObject::null();
/// The methods that subclasses override.
static INIT: GlobalObject = GlobalObject::null();
static PUT: GlobalObject = GlobalObject::null();
static GET: GlobalObject = GlobalObject::null();
static QSIZE: GlobalObject = GlobalObject::null();

impl Payload for Queue {
    const NAME: &'static CStr = c"eventlet.queue.LightQueue";
    const DOC: &'static CStr = c"LightQueue(maxsize=None)\n--\n\n\
A queue between green threads, also of different OS threads. put() waits while there are *maxsize* items, get() while there \
are none; who waits goes on in the order of coming.\n\n - *maxsize* -- None or a negative number for no limit; 0 for a channel: put() waits \
until the item is taken";

    fn cell() -> &'static ClassCell {
        &LIGHT_QUEUE
    }

    fn new() -> Queue {
        Queue {
            order: Cell::new(&FIFO),
            overrides: Cell::new(Overrides::default()),
            items: Slot::empty(),
            limit: Cell::new(None),
            getters: Line::new(),
            putters: Line::new(),
            impatient: Cell::new(0),
            counts_tasks: Cell::new(false),
            unfinished: Cell::new(0),
            joining: Line::new(),
        }
    }

    fn visit(&self, visit: &mut dyn FnMut(*mut PyObject)) {
        visit(self.items.get());
    }

    fn clear(&self) {
        self.items.set(None);
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// The container

impl Queue {
    /// The container. Before `__init__` there is none.
    fn items(&self) -> Result<Owned> {
        // SAFETY: called with the interpreter's lock.
        self.items.object().map_or_else(|| unsafe { py::error(ffi::PyExc_AttributeError, "queue") }, Ok)
    }

    fn init_container(&self) -> Result<()> {
        // SAFETY: called with the interpreter's lock.
        let items = unsafe { py::call(self.order.get().container.object(), [])? };
        self.items.set(Some(items));
        Ok(())
    }

    /// Adds an item to the container and counts it.
    fn add(&self, item: *mut PyObject) -> Result<()> {
        let (items, order) = (self.items()?, self.order.get());
        // SAFETY: live objects.
        unsafe {
            match order.names {
                Some([put, _]) if ffi::Py_TYPE(items.as_ptr()).cast() != order.container.object() => {
                    let put = Owned::new(ffi::PyObject_GetAttrString(items.as_ptr(), put.as_ptr()))?;
                    py::call(put.as_ptr(), [item])?;
                }
                _ => drop(py::call(order.put.object(), [items.as_ptr(), item])?),
            }
        }
        self.count_task();
        Ok(())
    }

    /// Takes the next item out of the container.
    fn remove(&self) -> Result<Owned> {
        let (items, order) = (self.items()?, self.order.get());
        // SAFETY: live objects.
        unsafe {
            match order.names {
                Some([_, get]) if ffi::Py_TYPE(items.as_ptr()).cast() != order.container.object() => {
                    let get = Owned::new(ffi::PyObject_GetAttrString(items.as_ptr(), get.as_ptr()))?;
                    py::call(get.as_ptr(), [])
                }
                _ => py::call(order.get.object(), [items.as_ptr()]),
            }
        }
    }

    fn count_task(&self) {
        if self.counts_tasks.get() {
            self.unfinished.set(self.unfinished.get() + 1);
        }
    }

    fn count_items(&self) -> Result<i64> {
        // SAFETY: a live object.
        match unsafe { ffi::PyObject_Size(self.items()?.as_ptr()) } {
            -1 => Err(Raised),
            size => Ok(size as i64),
        }
    }
}

/// The container by way of what a subclass overrides.
trait Container {
    fn size(self) -> Result<i64>;
    fn store(self, item: *mut PyObject) -> Result<()>;
    fn fetch(self) -> Result<Owned>;
}

impl Container for This<'_, Queue> {
    #[inline]
    fn size(self) -> Result<i64> {
        if !self.overrides.get().size {
            return self.count_items();
        }
        // SAFETY: a live object.
        unsafe { py::integer(py::call_method(self.as_ptr(), QSIZE.object(), [])?.as_ptr()) }
    }

    #[inline]
    fn store(self, item: *mut PyObject) -> Result<()> {
        if !self.overrides.get().put {
            return self.add(item);
        }
        // SAFETY: live objects.
        unsafe { py::call_method(self.as_ptr(), PUT.object(), [item]).map(drop) }
    }

    #[inline]
    fn fetch(self) -> Result<Owned> {
        if !self.overrides.get().get {
            return self.remove();
        }
        // SAFETY: a live object.
        unsafe { py::call_method(self.as_ptr(), GET.object(), []) }
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Who waits

/// How much room there is for items.
fn room(this: This<'_, Queue>, size: i64) -> i64 {
    this.limit.get().map_or(i64::MAX, |limit| limit - size)
}

/// Calls who can go on: getters for items and offers, putters for room.
fn settle(this: This<'_, Queue>) -> Result<()> {
    if !this.getters.has_waiting() && !this.putters.has_waiting() {
        return Ok(());
    }
    this.getters.forget_dead();
    this.putters.forget_dead();
    let size = this.size()?;
    while (this.getters.called() as i64) < size + this.putters.len() as i64 && this.getters.call() {}
    let room = room(this, size);
    while (this.putters.called() as i64) < room && this.putters.call() {}
    if this.impatient.get() > 0 && this.getters.is_empty() {
        for ticket in this.putters.tickets(|offer| offer.impatient) {
            ticket.wake(Outcome::none());
        }
    }
    Ok(())
}

/// As [`settle`], with an exception pending, which stays.
#[cold]
fn settle_after_exception(this: This<'_, Queue>) {
    // SAFETY: called with the interpreter's lock.
    unsafe {
        let pending = Pending::take(assumed());
        if settle(this).is_err() {
            ffi::PyErr_WriteUnraisable(this.as_ptr());
        }
        pending.put_back();
    }
}

/// An item that can be taken now: from the container, or else the first offer.
fn take(this: This<'_, Queue>) -> Result<Option<Owned>> {
    if this.size()? > 0 {
        let item = this.fetch()?;
        settle(this)?;
        return Ok(Some(item));
    }
    let Some((place, stood)) = this.putters.take_first() else { return Ok(None) };
    let item = pass(this, &place)?;
    if stood == Stood::Waiting {
        place.wake(Outcome::none());
    }
    Ok(Some(item))
}

/// Puts what is offered into the empty container and takes it out again: a subclass may do something in between.
fn pass(this: This<'_, Queue>, place: &Place<Offer>) -> Result<Owned> {
    let overrides = this.overrides.get();
    if !overrides.put && !overrides.get {
        this.count_task();
        return Ok(place.brings.item.clone());
    }
    this.store(place.brings.item.as_ptr())?;
    this.fetch()
}

/// Whether the hub's own greenlet runs, which cannot wait.
fn in_loop(thread: &Thread) -> Result<bool> {
    // SAFETY: called with the interpreter's lock.
    unsafe { HubRef::of(thread)?.is_loop(thread) }
}

/// Lets a waiting greenlet go on: at once if it is of this thread, whose hub's greenlet runs.
fn resume(thread: &Thread, ticket: Ticket) -> Result<()> {
    // SAFETY: called with the interpreter's lock.
    unsafe {
        if !ticket.is_valid() || !is_here(body(ticket.greenlet())) {
            ticket.wake(Outcome::none());
            return Ok(());
        }
        match Owned::new(ticket.resume(Outcome::none())) {
            Err(Raised) if ffi::PyErr_ExceptionMatches(ffi::PyExc_Exception) != 0 => {
                squelch(hub_object(thread)?);
                Ok(())
            }
            resumed => resumed.map(drop),
        }
    }
}

#[cold]
fn refuse<T>(exception: &GlobalObject) -> Result<T> {
    // SAFETY: called with the interpreter's lock.
    unsafe { ffi::PyErr_SetNone(exception.object()) };
    Err(Raised)
}

fn put(this: This<'_, Queue>, item: *mut PyObject, block: bool, timeout: *mut PyObject) -> Result<()> {
    if room(this, this.size()?) > 0 {
        this.store(item)?;
        return settle(this);
    }
    let thread = here(this.gil())?;
    if !block && in_loop(thread)? {
        return put_from_loop(this, thread, item);
    }
    if !block && this.getters.is_empty() {
        return refuse(&FULL);
    }
    put_slowly(this, thread, item, !block, timeout)
}

/// Gives the item to a getter, which runs at once.
#[cold]
fn put_from_loop(this: This<'_, Queue>, thread: &Thread, item: *mut PyObject) -> Result<()> {
    let Some(ticket) = this.getters.call_by_ticket() else { return refuse(&FULL) };
    this.store(item)?;
    resume(thread, ticket)
}

fn put_slowly(
    this: This<'_, Queue>,
    thread: &Thread,
    item: *mut PyObject,
    impatient: bool,
    timeout: *mut PyObject,
) -> Result<()> {
    // SAFETY: called by the interpreter; the item is the caller's.
    unsafe {
        let deadline = if impatient { None } else { park::deadline(timeout)? };
        // Making the hub may let other threads run: it must be there for them to wake us through.
        hub_object(thread)?;
        let offer = Offer { item: Owned::borrow(item), impatient };
        let mut ticket = Ticket::take(thread);
        let number = this.putters.join(ticket.clone(), offer.clone());
        this.impatient.set(this.impatient.get() + usize::from(impatient));
        let result = settle(this).and_then(|()| {
            loop {
                let woken = park_until(thread, &ticket, deadline)?;
                match this.putters.leave(number) {
                    Stood::Gone => return Ok(()),
                    _ if room(this, this.size()?) > 0 => {
                        this.store(item)?;
                        return settle(this);
                    }
                    _ if woken.is_none() || (impatient && this.getters.is_empty()) => return refuse(&FULL),
                    // Somebody who did not stand in the line was faster.
                    _ => {
                        ticket = Ticket::take(thread);
                        this.putters.rejoin(number, ticket.clone(), offer.clone());
                        settle(this)?;
                    }
                }
            }
        });
        this.impatient.set(this.impatient.get() - usize::from(impatient));
        if result.is_err() {
            this.putters.leave(number);
            settle_after_exception(this);
        }
        result
    }
}

fn get(this: This<'_, Queue>, block: bool, timeout: *mut PyObject) -> Result<Owned> {
    if this.size()? > 0 {
        let item = this.fetch()?;
        settle(this)?;
        return Ok(item);
    }
    let thread = here(this.gil())?;
    if !block {
        return if in_loop(thread)? { get_from_loop(this, thread) } else { refuse(&EMPTY) };
    }
    if this.getters.is_empty()
        && let Some(item) = take(this)?
    {
        return Ok(item);
    }
    get_slowly(this, thread, timeout)
}

/// Takes an offer. Who brought it runs at once.
#[cold]
fn get_from_loop(this: This<'_, Queue>, thread: &Thread) -> Result<Owned> {
    let Some((place, stood)) = this.putters.take_first() else { return refuse(&EMPTY) };
    let item = pass(this, &place)?;
    if stood == Stood::Waiting {
        resume(thread, place.into_ticket())?;
    }
    Ok(item)
}

fn get_slowly(this: This<'_, Queue>, thread: &Thread, timeout: *mut PyObject) -> Result<Owned> {
    // SAFETY: called by the interpreter.
    unsafe {
        let deadline = park::deadline(timeout)?;
        // Making the hub may let other threads run: it must be there for them to wake us through.
        hub_object(thread)?;
        let mut ticket = Ticket::take(thread);
        let number = this.getters.join(ticket.clone(), ());
        let result = settle(this).and_then(|()| {
            loop {
                let woken = park_until(thread, &ticket, deadline)?;
                let called = this.getters.leave(number) == Stood::Called;
                if called && let Some(item) = take(this)? {
                    return Ok(item);
                }
                if woken.is_none() {
                    return refuse(&EMPTY);
                }
                // Somebody who did not stand in the line was faster.
                ticket = Ticket::take(thread);
                this.getters.rejoin(number, ticket.clone(), ());
                settle(this)?;
            }
        });
        if result.is_err() {
            this.getters.leave(number);
            settle_after_exception(this);
        }
        result
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// What Python sees

/// The arguments `block` and `timeout`.
fn whether_to_block(block: *mut PyObject) -> Result<bool> {
    // SAFETY: a live object or null.
    if block.is_null() { Ok(true) } else { unsafe { py::truth(block) } }
}

/// A limit: none for None. A fraction counts as room for one more.
fn to_limit(value: *mut PyObject) -> Result<Option<i64>> {
    // SAFETY: a live object or null.
    unsafe {
        if value.is_null() || value == ffi::Py_None() {
            return Ok(None);
        }
        if ffi::PyFloat_Check(value) != 0 {
            let limit = py::float(value)?.ceil();
            return Ok((limit < i64::MAX as f64).then_some(limit as i64));
        }
        py::integer(value).map(Some)
    }
}

fn init(this: This<'_, Queue>, args: Args<'_>) -> Result<()> {
    let [maxsize] = args.parse("Queue", ["maxsize"], 0)?;
    // SAFETY: called by the interpreter; types live for ever.
    unsafe {
        this.limit.set(to_limit(maxsize)?.filter(|limit| *limit >= 0));
        let kind = ffi::Py_TYPE(this.as_ptr());
        let is =
            |base: &Global<*mut PyTypeObject>| kind == *base.get() || ffi::PyType_IsSubtype(kind, *base.get()) != 0;
        this.counts_tasks.set(is(&QUEUE));
        this.order.set(match () {
            () if is(&PRIORITY_QUEUE) => &PRIORITY,
            () if is(&LIFO_QUEUE) => &LIFO,
            () => &FIFO,
        });
        let native = [LIGHT_QUEUE.kind(), *QUEUE.get(), *PRIORITY_QUEUE.get(), *LIFO_QUEUE.get()];
        let overrides = if native.contains(&kind) { Overrides::default() } else { find_overrides(kind)? };
        this.overrides.set(overrides);
        if overrides.init {
            let maxsize = if maxsize.is_null() { ffi::Py_None() } else { maxsize };
            py::call_method(this.as_ptr(), INIT.object(), [maxsize])?;
            return Ok(());
        }
        this.init_container()
    }
}

/// # Safety
/// A subclass; the interpreter's lock is held.
unsafe fn find_overrides(kind: *mut PyTypeObject) -> Result<Overrides> {
    let is_overridden = |name: &GlobalObject| -> Result<bool> {
        // SAFETY: live objects.
        unsafe {
            let found = Owned::new(ffi::PyObject_GetAttr(kind.cast(), name.object()))?;
            let own = Owned::new(ffi::PyObject_GetAttr(LIGHT_QUEUE.kind().cast(), name.object()))?;
            Ok(found.as_ptr() != own.as_ptr())
        }
    };
    Ok(Overrides {
        init: is_overridden(&INIT)?,
        put: is_overridden(&PUT)?,
        get: is_overridden(&GET)?,
        size: is_overridden(&QSIZE)?,
    })
}

fn number(value: i64) -> Result<Owned> {
    // SAFETY: called with the interpreter's lock.
    unsafe { Owned::new(ffi::PyLong_FromLongLong(value)) }
}

fn set_limit(this: This<'_, Queue>, limit: *mut PyObject) -> Result<()> {
    this.limit.set(to_limit(limit)?);
    settle(this)
}

const PUT_DOC: &CStr =
    c"put(item, block=True, timeout=None)\n\nPuts an item in. Waits while there is no room, at most *timeout* \
seconds, and raises Full then. With block=False it raises Full at once, unless somebody waits for an item.";

const GET_DOC: &CStr =
    c"get(block=True, timeout=None)\n\nTakes an item out. Waits while there is none, at most *timeout* seconds, and \
raises Empty then. With block=False it raises Empty at once.";

fn class() -> Class<Queue> {
    let repr: unsafe extern "C-unwind" fn(*mut PyObject) -> *mut PyObject = repr;
    Class::new()
        .init(init)
        .generic()
        .slot(ffi::Py_tp_repr, repr as *mut c_void)
        .method(
            c"put",
            |this, args| {
                let [item, block, timeout] = args.parse("put", ["item", "block", "timeout"], 1)?;
                put(this, item, whether_to_block(block)?, timeout)?;
                Ok(Owned::none(assumed()))
            },
            PUT_DOC,
        )
        .method(
            c"get",
            |this, args| {
                let [block, timeout] = args.parse("get", ["block", "timeout"], 0)?;
                get(this, whether_to_block(block)?, timeout)
            },
            GET_DOC,
        )
        .method(
            c"put_nowait",
            |this, args| {
                let [item] = args.parse("put_nowait", ["item"], 1)?;
                put(this, item, false, ptr::null_mut())?;
                Ok(Owned::none(assumed()))
            },
            c"put_nowait(item)\n\nThe same as put(item, block=False).",
        )
        .method(
            c"get_nowait",
            |this, _| get(this, false, ptr::null_mut()),
            c"get_nowait()\n\nThe same as get(block=False).",
        )
        .method(c"qsize", |this, _| number(this.count_items()?), c"qsize() -> int\n\nHow many items there are.")
        .method(
            c"empty",
            |this, _| Ok(Owned::bool(assumed(), this.size()? == 0)),
            c"empty() -> bool\n\nWhether there are no items.",
        )
        .method(
            c"full",
            |this, _| Ok(Owned::bool(assumed(), room(this, this.size()?) <= 0)),
            c"full() -> bool\n\nWhether there is no room for an item.",
        )
        .method(
            c"resize",
            |this, args| {
                let [size] = args.parse("resize", ["size"], 1)?;
                set_limit(this, size)?;
                Ok(Owned::none(assumed()))
            },
            c"resize(size)\n\nSets how many items it may hold, None for no limit. Who waits for room goes on.",
        )
        .method(c"putting", |this, _| number(this.putters.len() as i64), c"putting() -> int\n\nHow many wait for room.")
        .method(
            c"getting",
            |this, _| number(this.getters.len() as i64),
            c"getting() -> int\n\nHow many wait for an item.",
        )
        .method(
            c"_init",
            |this, _| {
                this.init_container()?;
                Ok(Owned::none(assumed()))
            },
            c"_init(maxsize)\n\nMakes the container. May be overridden.",
        )
        .method(
            c"_put",
            |this, args| {
                let [item] = args.parse("_put", ["item"], 1)?;
                this.add(item)?;
                Ok(Owned::none(assumed()))
            },
            c"_put(item)\n\nAdds an item to the container. May be overridden.",
        )
        .method(c"_get", |this, _| this.remove(), c"_get()\n\nTakes an item out of the container. May be overridden.")
        .property(
            c"queue",
            |this| this.items(),
            |this, value| {
                this.items.set(value);
                Ok(())
            },
            c"The container of the items.",
        )
        .property(
            c"maxsize",
            |this| this.limit.get().map_or_else(|| Ok(Owned::none(assumed())), number),
            |this, value| set_limit(this, value.as_ref().map_or(ptr::null_mut(), Owned::as_ptr)),
            c"How many items it may hold; None for no limit.",
        )
}

fn queue_class() -> Class<Queue> {
    Class::new()
        .method(
            c"task_done",
            task_done,
            c"task_done()\n\nAn item that was taken out is dealt with. ValueError if called more often than items were put in.",
        )
        .method(c"join", join, c"join()\n\nWaits until task_done() was called for all items that were put in.")
        .method(
            c"_put_bookkeeping",
            |this, _| {
                this.count_task();
                Ok(Owned::none(assumed()))
            },
            c"_put_bookkeeping()\n\nCounts an item, for a _put() that does not call the one it overrides.",
        )
        .property(
            c"unfinished_tasks",
            |this| number(this.unfinished.get()),
            |this, value| {
                this.unfinished.set(to_number(value)?);
                Ok(())
            },
            c"How many items task_done() was not called for.",
        )
}

fn task_done(this: This<'_, Queue>, _: Args<'_>) -> Result<Owned> {
    let unfinished = this.unfinished.get() - 1;
    if unfinished < 0 {
        // SAFETY: called by the interpreter.
        return unsafe { py::error(ffi::PyExc_ValueError, "task_done() called too many times") };
    }
    this.unfinished.set(unfinished);
    if unfinished == 0 {
        for place in this.joining.take_all() {
            place.wake(Outcome::none());
        }
    }
    Ok(Owned::none(assumed()))
}

fn join(this: This<'_, Queue>, _: Args<'_>) -> Result<Owned> {
    if this.unfinished.get() <= 0 {
        return Ok(Owned::none(assumed()));
    }
    // SAFETY: called by the interpreter.
    unsafe {
        let thread = here(assumed())?;
        hub_object(thread)?;
        if this.unfinished.get() > 0 {
            let number = this.joining.join(Ticket::take(thread), ());
            let woken = park::park(thread);
            this.joining.leave(number);
            woken?;
        }
    }
    Ok(Owned::none(assumed()))
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn repr(this: *mut PyObject) -> *mut PyObject {
    // SAFETY: called by the interpreter; arguments as the format says.
    unsafe {
        let queue = This::<Queue>::of(this);
        let limit = queue.limit.get().map_or_else(|| Ok(Owned::none(assumed())), number);
        let Ok(limit) = limit else { return ptr::null_mut() };
        let mut rest = String::new();
        for (what, count) in [
            ("getters", queue.getters.len() as i64),
            ("putters", queue.putters.len() as i64),
            ("tasks", queue.unfinished.get()),
        ] {
            if count > 0 {
                rest.push_str(&format!(" {what}[{count}]"));
            }
        }
        let Ok(rest) = py::string(assumed(), &rest) else { return ptr::null_mut() };
        let items = queue.items.object().unwrap_or_else(|| Owned::none(assumed()));
        ffi::PyUnicode_FromFormat(
            c"<%s at %p maxsize=%S queue=%R%U>".as_ptr(),
            (*ffi::Py_TYPE(this)).tp_name,
            this,
            limit.as_ptr(),
            items.as_ptr(),
            rest.as_ptr(),
        )
    }
}

/// Makes the types.
///
/// # Safety
/// Called at import, once.
pub unsafe fn fill(module: *mut PyObject) -> Result<()> {
    // SAFETY: the caller's word; what is looked up lives for ever.
    unsafe {
        for (slot, name) in [(&INIT, c"_init"), (&PUT, c"_put"), (&GET, c"_get"), (&QSIZE, c"qsize")] {
            slot.set(Owned::new(ffi::PyUnicode_InternFromString(name.as_ptr()))?.into_raw());
        }
        let attribute = |module: &CStr, path: &[&CStr]| -> Result<Owned> {
            let mut object = Owned::new(ffi::PyImport_ImportModule(module.as_ptr()))?;
            for name in path {
                object = Owned::new(ffi::PyObject_GetAttrString(object.as_ptr(), name.as_ptr()))?;
            }
            Ok(object)
        };
        for (slot, module, path) in [
            (&FULL, c"queue", &[c"Full"][..]),
            (&EMPTY, c"queue", &[c"Empty"]),
            (&FIFO.container, c"collections", &[c"deque"]),
            (&FIFO.put, c"collections", &[c"deque", c"append"]),
            (&FIFO.get, c"collections", &[c"deque", c"popleft"]),
            (&LIFO.container, c"builtins", &[c"list"]),
            (&LIFO.put, c"builtins", &[c"list", c"append"]),
            (&LIFO.get, c"builtins", &[c"list", c"pop"]),
            (&PRIORITY.container, c"builtins", &[c"list"]),
            (&PRIORITY.put, c"heapq", &[c"heappush"]),
            (&PRIORITY.get, c"heapq", &[c"heappop"]),
        ] {
            slot.set(attribute(module, path)?.into_raw());
        }
        class().build(module)?;
        *QUEUE.get() = queue_class().derive(
            module,
            c"eventlet.queue.Queue",
            c"Queue(maxsize=None)\n--\n\nA LightQueue that counts unfinished tasks, for join().",
            LIGHT_QUEUE.kind(),
        )?;
        *PRIORITY_QUEUE.get() = Class::<Queue>::new().derive(
            module,
            c"eventlet.queue.PriorityQueue",
            c"PriorityQueue(maxsize=None)\n--\n\nA Queue of which the smallest item comes out first.",
            *QUEUE.get(),
        )?;
        *LIFO_QUEUE.get() = Class::<Queue>::new().derive(
            module,
            c"eventlet.queue.LifoQueue",
            c"LifoQueue(maxsize=None)\n--\n\nA Queue of which the newest item comes out first.",
            *QUEUE.get(),
        )?;
    }
    Ok(())
}
