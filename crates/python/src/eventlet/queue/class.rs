//! The types of queues, as Python sees them.

use std::ffi::CStr;

use super::container::{self, Container, FIFO, INIT, LIFO, Overrides, PRIORITY};
use super::wait::{self, get, put, room, settle};
use super::{LIGHT_QUEUE, Queue};
use crate::eventlet::semaphore::to_number;
use crate::py::ffi::{self, PyObject};
use crate::py::object::Object;
use crate::py::{self, Args, Class, ClassCell, Gil, Owned, Result, This, number};

static QUEUE: ClassCell = ClassCell::unbuilt();
static PRIORITY_QUEUE: ClassCell = ClassCell::unbuilt();
static LIFO_QUEUE: ClassCell = ClassCell::unbuilt();

/// The argument `block`.
fn whether_to_block(block: Option<Object<'_>>) -> Result<bool> {
    block.map_or(Ok(true), Object::truth)
}

/// A limit: none for None. A fraction counts as room for one more.
fn to_limit(value: Option<Object<'_>>) -> Result<Option<i64>> {
    let Some(value) = value.and_then(Object::unless_none) else { return Ok(None) };
    // SAFETY: reads the type of a live object.
    if unsafe { ffi::PyFloat_Check(value.as_ptr()) } != 0 {
        let limit = value.float()?.ceil();
        return Ok((limit < i64::MAX as f64).then_some(limit as i64));
    }
    value.number().map(Some)
}

fn init(this: This<'_, Queue>, args: Args<'_>) -> Result<()> {
    let ([], [maxsize]) = args.parse("Queue", [], ["maxsize"])?;
    this.limit.set(to_limit(maxsize)?.filter(|limit| *limit >= 0));
    // SAFETY: a live object; types live for ever.
    let kind = unsafe { ffi::Py_TYPE(this.as_ptr()) };
    // SAFETY: types that live for ever.
    let is = |base: &ClassCell| kind == base.kind() || unsafe { ffi::PyType_IsSubtype(kind, base.kind()) } != 0;
    this.counts_tasks.set(is(&QUEUE));
    this.order.set(match () {
        () if is(&PRIORITY_QUEUE) => &PRIORITY,
        () if is(&LIFO_QUEUE) => &LIFO,
        () => &FIFO,
    });
    let native = [&LIGHT_QUEUE, &QUEUE, &PRIORITY_QUEUE, &LIFO_QUEUE].map(ClassCell::kind);
    let is_native = native.contains(&kind);
    // SAFETY: the type of a live object, and one that lives for ever; `This` says that the lock is held.
    let overrides = if is_native { Overrides::default() } else { unsafe { Overrides::of(kind, LIGHT_QUEUE.kind())? } };
    this.overrides.set(overrides);
    if !overrides.init {
        return container::init_container(this);
    }
    // SAFETY: live objects, and `This` says that the lock is held.
    unsafe {
        let maxsize = maxsize.map_or(ffi::Py_None(), Object::as_ptr);
        py::call_method(this.as_ptr(), INIT.object(), [maxsize]).map(drop)
    }
}

fn set_limit(this: This<'_, Queue>, limit: Option<Object<'_>>) -> Result<()> {
    this.limit.set(to_limit(limit)?);
    settle(this)
}

fn limit(gil: Gil<'_>, queue: &Queue) -> Result<Owned> {
    queue.limit.get().map_or_else(|| Ok(Owned::none(gil)), |limit| number(gil, limit))
}

const PUT_DOC: &CStr =
    c"put($self, item, block=True, timeout=None)\n--\n\nPuts an item in. Waits while there is no room, at most \
      *timeout* seconds, and raises Full then. With block=False it raises Full at once, unless somebody waits for an \
      item. The timeout is checked as that of threading.Lock, but may be negative.";

const GET_DOC: &CStr =
    c"get($self, block=True, timeout=None)\n--\n\nTakes an item out. Waits while there is none, at most *timeout* \
      seconds, and raises Empty then. With block=False it raises Empty at once.";

fn class() -> Class<Queue> {
    Class::new()
        .init(init)
        .generic()
        .repr(repr)
        .method(
            c"put",
            |this, args| {
                let ([item], [block, timeout]) = args.parse("put", ["item"], ["block", "timeout"])?;
                put(this, item, whether_to_block(block)?, timeout)?;
                Ok(Owned::none(this.gil()))
            },
            PUT_DOC,
        )
        .method(
            c"get",
            |this, args| {
                let ([], [block, timeout]) = args.parse("get", [], ["block", "timeout"])?;
                get(this, whether_to_block(block)?, timeout)
            },
            GET_DOC,
        )
        .method(
            c"put_nowait",
            |this, args| {
                let ([item], []) = args.parse("put_nowait", ["item"], [])?;
                put(this, item, false, None)?;
                Ok(Owned::none(this.gil()))
            },
            c"put_nowait($self, item)\n--\n\nThe same as put(item, block=False).",
        )
        .method(
            c"get_nowait",
            |this, _| get(this, false, None),
            c"get_nowait($self)\n--\n\nThe same as get(block=False).",
        )
        .method(
            c"qsize",
            |this, _| number(this.gil(), container::count_items(this)?),
            c"qsize($self)\n--\n\nHow many items there are.",
        )
        .method(
            c"empty",
            |this, _| Ok(Owned::bool(this.gil(), this.size()? == 0)),
            c"empty($self)\n--\n\nWhether there are no items.",
        )
        .method(
            c"full",
            |this, _| Ok(Owned::bool(this.gil(), room(this, this.size()?) <= 0)),
            c"full($self)\n--\n\nWhether there is no room for an item.",
        )
        .method(
            c"resize",
            |this, args| {
                let ([size], []) = args.parse("resize", ["size"], [])?;
                set_limit(this, Some(size))?;
                Ok(Owned::none(this.gil()))
            },
            c"resize($self, size)\n--\n\nSets how many items it may hold, None for no limit. Those that wait for room \
              go on.",
        )
        .method(
            c"putting",
            |this, _| number(this.gil(), this.putters.len() as i64),
            c"putting($self)\n--\n\nHow many wait for room.",
        )
        .method(
            c"getting",
            |this, _| number(this.gil(), this.getters.len() as i64),
            c"getting($self)\n--\n\nHow many wait for an item.",
        )
        .method(
            c"_init",
            |this, _| {
                container::init_container(this)?;
                Ok(Owned::none(this.gil()))
            },
            c"_init($self, maxsize)\n--\n\nMakes the container. May be overridden.",
        )
        .method(
            c"_put",
            |this, args| {
                let ([item], []) = args.parse("_put", ["item"], [])?;
                container::add(this, item)?;
                Ok(Owned::none(this.gil()))
            },
            c"_put($self, item)\n--\n\nAdds an item to the container. May be overridden.",
        )
        .method(
            c"_get",
            |this, _| container::remove(this),
            c"_get($self)\n--\n\nTakes an item out of the container. May be overridden.",
        )
        .property(
            c"queue",
            container::items,
            |this, value| {
                this.items.set(value);
                Ok(())
            },
            c"The container of the items.",
        )
        .property(
            c"maxsize",
            |this| limit(this.gil(), &this),
            |this, value| set_limit(this, value.as_ref().map(Object::of)),
            c"How many items it may hold; None for no limit.",
        )
}

fn queue_class() -> Class<Queue> {
    Class::new()
        .method(
            c"task_done",
            |this, _| wait::task_done(this).map(|()| Owned::none(this.gil())),
            c"task_done($self)\n--\n\nAn item that was taken out is dealt with. ValueError if called more often than \
              items were put in.",
        )
        .method(
            c"join",
            |this, _| wait::join(this).map(|()| Owned::none(this.gil())),
            c"join($self)\n--\n\nWaits until task_done() was called for all items that were put in.",
        )
        .method(
            c"_put_bookkeeping",
            |this, _| {
                this.count_task();
                Ok(Owned::none(this.gil()))
            },
            c"_put_bookkeeping($self)\n--\n\nCounts an item, for a _put() that does not call the one it overrides.",
        )
        .property(
            c"unfinished_tasks",
            |this| number(this.gil(), this.unfinished.get()),
            |this, value| {
                this.unfinished.set(to_number(this.gil(), value)?);
                Ok(())
            },
            c"How many items task_done() was not called for.",
        )
}

fn repr(queue: This<'_, Queue>) -> Result<Owned> {
    let counts = [
        ("getters", queue.getters.len() as i64),
        ("putters", queue.putters.len() as i64),
        ("tasks", queue.unfinished.get()),
    ];
    let rest: String =
        counts.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!(" {what}[{count}]")).collect();
    let (limit, rest) = (limit(queue.gil(), &queue)?, py::string(queue.gil(), &rest)?);
    let items = queue.items.object().unwrap_or_else(|| Owned::none(queue.gil()));
    // SAFETY: live objects, as the format says.
    unsafe {
        Owned::new(ffi::PyUnicode_FromFormat(
            c"<%s at %p maxsize=%S queue=%R%U>".as_ptr(),
            (*ffi::Py_TYPE(queue.as_ptr())).tp_name,
            queue.as_ptr(),
            limit.as_ptr(),
            items.as_ptr(),
            rest.as_ptr(),
        ))
    }
}

/// Makes the types.
///
/// # Safety
/// Called at import, once.
pub unsafe fn fill(module: *mut PyObject) -> Result<()> {
    // SAFETY: called at import, once.
    unsafe {
        container::fill()?;
        wait::fill()?;
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
            QUEUE.kind(),
        )?;
        *LIFO_QUEUE.get() = Class::<Queue>::new().derive(
            module,
            c"eventlet.queue.LifoQueue",
            c"LifoQueue(maxsize=None)\n--\n\nA Queue of which the newest item comes out first.",
            QUEUE.kind(),
        )?;
    }
    Ok(())
}
