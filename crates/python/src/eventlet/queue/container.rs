//! The container of a queue: an ordinary deque or list, filled and emptied by the functions of its order, or by what a
//! subclass overrides.

use std::ffi::CStr;

use super::Queue;
use crate::py::ffi::{self, PyTypeObject};
use crate::py::names::{Name, intern};
use crate::py::object::Object;
use crate::py::{self, GlobalObject, Owned, Raised, Result, This};

/// In which order items come out.
pub struct Order {
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

/// The first in comes out first.
pub static FIFO: Order = Order::new(Some([c"append", c"popleft"]));
/// The last in comes out first.
pub static LIFO: Order = Order::new(Some([c"append", c"pop"]));
/// The smallest comes out first.
pub static PRIORITY: Order = Order::new(None);

/// Which methods a subclass has of its own.
#[derive(Clone, Copy, Default)]
pub struct Overrides {
    pub init: bool,
    pub put: bool,
    pub get: bool,
    pub size: bool,
}

/// The methods that subclasses override.
pub static INIT: Name = Name::new(c"_init");
static PUT: Name = Name::new(c"_put");
static GET: Name = Name::new(c"_get");
static QSIZE: Name = Name::new(c"qsize");

impl Overrides {
    /// Those of a type derived from `base`.
    ///
    /// # Safety
    /// Live types; the interpreter's lock is held.
    pub unsafe fn of(kind: *mut PyTypeObject, base: *mut PyTypeObject) -> Result<Overrides> {
        // SAFETY: live types, with the lock held.
        let differs = |name: &Name| unsafe {
            let own = Owned::new(ffi::PyObject_GetAttr(kind.cast(), name.object()))?;
            let ours = Owned::new(ffi::PyObject_GetAttr(base.cast(), name.object()))?;
            Ok(own.as_ptr() != ours.as_ptr())
        };
        Ok(Overrides { init: differs(&INIT)?, put: differs(&PUT)?, get: differs(&GET)?, size: differs(&QSIZE)? })
    }
}

impl Queue {
    /// Counts an item, for join().
    pub fn count_task(&self) {
        if self.counts_tasks.get() {
            self.unfinished.set(self.unfinished.get() + 1);
        }
    }
}

/// The container. Before `__init__` there is none.
pub fn items(this: This<'_, Queue>) -> Result<Owned> {
    this.items.object().map_or_else(|| py::attribute_error(this.gil(), "queue"), Ok)
}

/// Makes an empty container.
pub fn init_container(this: This<'_, Queue>) -> Result<()> {
    // SAFETY: a type, which lives for ever; `This` says that the lock is held.
    let items = unsafe { py::call(this.order.get().container.object(), [])? };
    this.items.set(Some(items));
    Ok(())
}

/// Whether the container is one of the order's own type, or is treated as one.
#[inline]
fn is_ordinary(order: &Order, items: &Owned) -> bool {
    // SAFETY: a live object.
    order.names.is_none() || unsafe { ffi::Py_TYPE(items.as_ptr()) }.cast() == order.container.object()
}

/// The method of another container that does what the function with this index in `names` does.
#[cold]
fn method(order: &Order, items: &Owned, index: usize) -> Result<Owned> {
    let name = order.names.map_or(c"", |names| names[index]);
    // SAFETY: a live object, which says that the lock is held.
    unsafe { Owned::new(ffi::PyObject_GetAttrString(items.as_ptr(), name.as_ptr())) }
}

/// Adds an item to the container and counts it.
pub fn add(this: This<'_, Queue>, item: Object<'_>) -> Result<()> {
    let (items, order) = (items(this)?, this.order.get());
    // SAFETY: live objects, and `This` says that the lock is held.
    unsafe {
        if is_ordinary(order, &items) {
            py::call(order.put.object(), [items.as_ptr(), item.as_ptr()])?;
        } else {
            py::call(method(order, &items, 0)?.as_ptr(), [item.as_ptr()])?;
        }
    }
    this.count_task();
    Ok(())
}

/// Takes the next item out of the container.
pub fn remove(this: This<'_, Queue>) -> Result<Owned> {
    let (items, order) = (items(this)?, this.order.get());
    // SAFETY: live objects, and `This` says that the lock is held.
    unsafe {
        if is_ordinary(order, &items) {
            py::call(order.get.object(), [items.as_ptr()])
        } else {
            py::call(method(order, &items, 1)?.as_ptr(), [])
        }
    }
}

/// How many items are in the container.
pub fn count_items(this: This<'_, Queue>) -> Result<i64> {
    let items = items(this)?;
    // SAFETY: a live object, and `This` says that the lock is held.
    match unsafe { ffi::PyObject_Size(items.as_ptr()) } {
        -1 => Err(Raised),
        size => Ok(size as i64),
    }
}

impl Queue {
    /// How many items are in the container, where no Python code is needed to know that.
    pub fn plain_len(&self) -> Option<usize> {
        let items = self.items.object()?;
        // SAFETY: a live object, whose type is one of CPython's own: its size is a number that it has.
        unsafe {
            let is_plain = ffi::Py_TYPE(items.as_ptr()).cast() == self.order.get().container.object();
            usize::try_from(if is_plain { ffi::PyObject_Size(items.as_ptr()) } else { -1 }).ok()
        }
    }
}

/// The container by way of what a subclass overrides.
pub trait Container {
    fn size(self) -> Result<i64>;
    fn store(self, item: Object<'_>) -> Result<()>;
    fn fetch(self) -> Result<Owned>;
}

impl Container for This<'_, Queue> {
    #[inline]
    fn size(self) -> Result<i64> {
        if !self.overrides.get().size {
            return count_items(self);
        }
        // SAFETY: a live object, and `This` says that the lock is held.
        let size = unsafe { py::call_method(self.as_ptr(), QSIZE.object(), [])? };
        Object::of(&size).number()
    }

    #[inline]
    fn store(self, item: Object<'_>) -> Result<()> {
        if !self.overrides.get().put {
            return add(self, item);
        }
        // SAFETY: live objects, and `This` says that the lock is held.
        unsafe { py::call_method(self.as_ptr(), PUT.object(), [item.as_ptr()]).map(drop) }
    }

    #[inline]
    fn fetch(self) -> Result<Owned> {
        if !self.overrides.get().get {
            return remove(self);
        }
        // SAFETY: a live object, and `This` says that the lock is held.
        unsafe { py::call_method(self.as_ptr(), GET.object(), []) }
    }
}

/// Looks up what the orders need.
///
/// # Safety
/// Called at import, once.
pub unsafe fn fill() -> Result<()> {
    // SAFETY: called at import with the lock held; what is looked up lives for ever.
    unsafe {
        intern(&[&INIT, &PUT, &GET, &QSIZE])?;
        for (slot, module, path) in [
            (&FIFO.container, c"collections", &[c"deque"][..]),
            (&FIFO.put, c"collections", &[c"deque", c"append"]),
            (&FIFO.get, c"collections", &[c"deque", c"popleft"]),
            (&LIFO.container, c"builtins", &[c"list"]),
            (&LIFO.put, c"builtins", &[c"list", c"append"]),
            (&LIFO.get, c"builtins", &[c"list", c"pop"]),
            (&PRIORITY.container, c"builtins", &[c"list"]),
            (&PRIORITY.put, c"heapq", &[c"heappush"]),
            (&PRIORITY.get, c"heapq", &[c"heappop"]),
        ] {
            slot.set(attribute(module, path)?);
        }
    }
    Ok(())
}

/// What a module has under a path of names.
///
/// # Safety
/// The interpreter's lock is held.
pub unsafe fn attribute(module: &CStr, path: &[&CStr]) -> Result<Owned> {
    // SAFETY: the lock is held.
    let mut object = unsafe { Owned::new(ffi::PyImport_ImportModule(module.as_ptr()))? };
    for name in path {
        // SAFETY: a live object, with the lock held.
        object = unsafe { Owned::new(ffi::PyObject_GetAttrString(object.as_ptr(), name.as_ptr()))? };
    }
    Ok(object)
}
