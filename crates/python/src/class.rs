//! Types with a Rust value inside, declared in a few lines.
//!
//! A type is a [`Payload`] and a [`Class`] that lists its methods and attributes. Its instances have a `__dict__`, can be
//! referred to weakly and be subclassed, as if the class were written in Python.
//!
//! ```text
//! instance:  | object head | __dict__ | weak references | payload |
//! ```
//!
//! Functions are given as plain Rust functions, `fn(This<Event>, Args) -> Result<Owned>`. Each gets a trampoline of its own,
//! compiled for it, so that a call costs no look-up.

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::mem::{offset_of, size_of};
use std::ops::Deref;
use std::ptr;
use std::slice;

use crate::ffi::{self, FastMethod, Global, Owned, Py_ssize_t, PyObject, PyTypeObject, Raised, Result};
use crate::module::fast_method;

/// The Rust value in each instance of a type.
pub trait Payload: Sized + 'static {
    /// The full name, with the module that Python shows.
    const NAME: &'static CStr;
    /// The docstring, with a signature for `help()` in its first line.
    const DOC: &'static CStr;

    /// Where the type is kept.
    fn cell() -> &'static ClassCell;

    /// What an instance begins with, before `__init__`.
    fn new() -> Self;

    /// Runs when an instance is made, before `__init__`, with the same arguments.
    fn made(_this: This<'_, Self>, _args: Args<'_>) -> Result<()> {
        Ok(())
    }

    /// Tells the garbage collector of objects that it holds. Those that it does not name are never part of a garbage cycle.
    fn visit(&self, _visit: &mut dyn FnMut(*mut PyObject)) {}

    /// Lets go of what [`visit`](Self::visit) names.
    fn clear(&self) {}
}

/// Where a type is kept, null until it is made.
pub type ClassCell = Global<*mut PyTypeObject>;

impl ClassCell {
    /// Null, until the class is built.
    pub const fn unbuilt() -> ClassCell {
        Global::new(ptr::null_mut())
    }

    /// The type.
    #[inline]
    pub fn kind(&self) -> *mut PyTypeObject {
        // SAFETY: a plain read under the interpreter's lock.
        unsafe { *self.get() }
    }
}

#[repr(C)]
struct Instance<T> {
    ob_base: PyObject,
    dict: *mut PyObject,
    weak_references: *mut PyObject,
    value: T,
}

/// An instance with its payload, borrowed for a call.
pub struct This<'a, T> {
    object: *mut PyObject,
    value: &'a T,
}

impl<T> Clone for This<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for This<'_, T> {}

impl<T> Deref for This<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.value
    }
}

impl<'a, T: Payload> This<'a, T> {
    /// The payload of an instance.
    ///
    /// # Safety
    /// A live instance of the payload's type, which outlives `'a`.
    #[inline]
    pub unsafe fn of(object: *mut PyObject) -> This<'a, T> {
        // SAFETY: the caller's word.
        This { object, value: unsafe { &(*object.cast::<Instance<T>>()).value } }
    }

    /// The payload of any object, if it is an instance.
    ///
    /// # Safety
    /// A live object, which outlives `'a`.
    pub unsafe fn try_of(object: *mut PyObject) -> Option<This<'a, T>> {
        // SAFETY: the caller's word.
        unsafe { (ffi::PyObject_TypeCheck(object, T::cell().kind()) != 0).then(|| This::of(object)) }
    }

    /// The object, borrowed.
    #[inline]
    pub fn as_ptr(self) -> *mut PyObject {
        self.object
    }

    /// One more reference to the object.
    pub fn owned(self) -> Owned {
        // SAFETY: live.
        unsafe { Owned::borrow(self.object) }
    }

    /// Whether it is of the type itself, so that no method is overridden by a subclass.
    #[inline]
    pub fn is_exact(self) -> bool {
        // SAFETY: live.
        unsafe { ffi::Py_TYPE(self.object) == T::cell().kind() }
    }

    /// Puts another dict, or none, in the place of the instance's attributes. Returns the former one.
    pub fn replace_attributes(self, dict: Option<Owned>) -> Option<Owned> {
        let dict = dict.map_or(ptr::null_mut(), Owned::into_raw);
        // SAFETY: live; the instance owns its dict.
        unsafe { Owned::new(ptr::replace(&raw mut (*self.object.cast::<Instance<T>>()).dict, dict)).ok() }
    }

    /// The attributes that were set on the instance: a dict, borrowed; null if there are none.
    #[inline]
    pub fn dict(self) -> *mut PyObject {
        // SAFETY: live.
        unsafe { (*self.object.cast::<Instance<T>>()).dict }
    }
}

/// A new instance of the type itself, `__init__` not called.
///
/// # Safety
/// The interpreter's lock is held.
pub unsafe fn make<T: Payload>(value: T) -> Result<Owned> {
    // SAFETY: the caller's word.
    unsafe { allocate(T::cell().kind(), value) }
}

/// A new instance of the type or a subclass, `__init__` not called.
///
/// # Safety
/// The interpreter's lock is held; the type is the payload's or a subclass.
pub unsafe fn allocate<T: Payload>(kind: *mut PyTypeObject, value: T) -> Result<Owned> {
    // SAFETY: the fresh object is zeroed behind its head. It is tracked already, but nothing runs before its value is there.
    unsafe {
        let alloc = (*kind).tp_alloc.unwrap_or(ffi::PyType_GenericAlloc);
        let object = Owned::new(alloc(kind, 0))?;
        (&raw mut (*object.as_ptr().cast::<Instance<T>>()).value).write(value);
        Ok(object)
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn new<T: Payload>(
    kind: *mut PyTypeObject,
    args: *mut PyObject,
    kwargs: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    let object = unsafe {
        allocate(kind, T::new()).and_then(|object| {
            T::made(This::of(object.as_ptr()), Args::from_tuple(args, kwargs))?;
            Ok(object)
        })
    };
    object.map_or(ptr::null_mut(), Owned::into_raw)
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C-unwind" fn dealloc<T: Payload>(this: *mut PyObject) {
    // SAFETY: called by the interpreter when the last reference is gone; the type is a heap type, to which the object holds a
    // reference.
    unsafe {
        ffi::PyObject_GC_UnTrack(this.cast());
        let instance = this.cast::<Instance<T>>();
        if !(*instance).weak_references.is_null() {
            ffi::PyObject_ClearWeakRefs(this);
        }
        ffi::xdecref(std::mem::replace(&mut (*instance).dict, ptr::null_mut()));
        ptr::drop_in_place(&raw mut (*instance).value);
        let kind = ffi::Py_TYPE(this);
        if let Some(free) = (*kind).tp_free {
            free(this.cast());
        }
        ffi::decref(kind);
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn traverse<T: Payload>(this: *mut PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: called by the interpreter; nothing changes meanwhile.
    unsafe {
        let instance = this.cast::<Instance<T>>();
        let mut answer = visit(ffi::Py_TYPE(this).cast(), arg);
        let mut tell = |object: *mut PyObject| {
            if answer == 0 && !object.is_null() {
                answer = visit(object, arg);
            }
        };
        tell((*instance).dict);
        (*instance).value.visit(&mut tell);
        answer
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn clear<T: Payload>(this: *mut PyObject) -> c_int {
    // SAFETY: called by the interpreter.
    unsafe {
        let instance = this.cast::<Instance<T>>();
        ffi::xdecref(std::mem::replace(&mut (*instance).dict, ptr::null_mut()));
        (*instance).value.clear();
    }
    0
}

// ---------------------------------------------------------------------------------------------------------------------
// Arguments

/// What a function was called with, borrowed.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    /// The positional arguments.
    pub positional: &'a [*mut PyObject],
    keywords: Keywords<'a>,
}

#[derive(Clone, Copy)]
enum Keywords<'a> {
    /// A tuple of names and their values.
    Array(*mut PyObject, &'a [*mut PyObject]),
    /// A dict, or null for none.
    Dict(*mut PyObject),
}

impl<'a> Args<'a> {
    /// # Safety
    /// As the interpreter passes them to a fast method.
    unsafe fn from_array(args: *const *mut PyObject, count: Py_ssize_t, names: *mut PyObject) -> Args<'a> {
        let count = count as usize;
        if names.is_null() {
            // SAFETY: the caller's word; without arguments the pointer may be null.
            let positional = if count == 0 { &[][..] } else { unsafe { slice::from_raw_parts(args, count) } };
            return Args { positional, keywords: Keywords::Dict(ptr::null_mut()) };
        }
        // SAFETY: the caller's word.
        unsafe {
            let more = ffi::PyTuple_GET_SIZE(names) as usize;
            let all = slice::from_raw_parts(args, count + more);
            Args { positional: &all[..count], keywords: Keywords::Array(names, &all[count..]) }
        }
    }

    /// # Safety
    /// A tuple, and a dict or null, which outlive `'a`.
    pub unsafe fn from_tuple(args: *mut PyObject, kwargs: *mut PyObject) -> Args<'a> {
        // SAFETY: the caller's word; a tuple's items lie one after the other.
        unsafe {
            let count = ffi::PyTuple_GET_SIZE(args) as usize;
            let positional = if count == 0 {
                &[][..]
            } else {
                slice::from_raw_parts((&raw const (*args.cast::<ffi::PyTupleObject>()).ob_item).cast(), count)
            };
            Args { positional, keywords: Keywords::Dict(kwargs) }
        }
    }

    /// Whether there are arguments by name.
    pub fn has_keywords(&self) -> bool {
        match self.keywords {
            Keywords::Array(_, values) => !values.is_empty(),
            // SAFETY: a dict or null.
            Keywords::Dict(dict) => !dict.is_null() && unsafe { ffi::PyDict_Size(dict) } > 0,
        }
    }

    /// The arguments of a function whose parameters are `names`, the first `required` of them without a default. Those that
    /// were not given are null.
    ///
    /// # Errors
    /// A TypeError, as for a function written in Python.
    pub fn parse<const N: usize>(
        &self,
        function: &str,
        names: [&str; N],
        required: usize,
    ) -> Result<[*mut PyObject; N]> {
        let mut found = [ptr::null_mut(); N];
        if self.positional.len() > N {
            let given = self.positional.len();
            return type_error(&format!("{function}() takes at most {N} arguments ({given} given)"));
        }
        found[..self.positional.len()].copy_from_slice(self.positional);
        if self.has_keywords() {
            self.parse_keywords(function, &names, &mut found)?;
        }
        match found[..required].iter().position(|argument| argument.is_null()) {
            Some(missing) => type_error(&format!("{function}() missing a required argument: '{}'", names[missing])),
            None => Ok(found),
        }
    }

    #[cold]
    fn parse_keywords(&self, function: &str, names: &[&str], found: &mut [*mut PyObject]) -> Result<()> {
        self.each_keyword(|name, value| {
            // SAFETY: keywords are strings.
            let text = unsafe { text(name)? };
            match names.iter().position(|known| *known == text) {
                None => type_error(&format!("{function}() got an unexpected keyword argument '{text}'")),
                Some(index) if !found[index].is_null() => {
                    type_error(&format!("{function}() got multiple values for argument '{text}'"))
                }
                Some(index) => {
                    found[index] = value;
                    Ok(())
                }
            }
        })
    }

    fn each_keyword(&self, mut f: impl FnMut(*mut PyObject, *mut PyObject) -> Result<()>) -> Result<()> {
        // SAFETY: a tuple with as many names as there are values, or a dict that nobody changes meanwhile.
        unsafe {
            match self.keywords {
                Keywords::Array(names, values) => {
                    for (index, value) in values.iter().enumerate() {
                        f(ffi::PyTuple_GET_ITEM(names, index as Py_ssize_t), *value)?;
                    }
                }
                Keywords::Dict(dict) if dict.is_null() => {}
                Keywords::Dict(dict) => {
                    let (mut position, mut name, mut value) = (0, ptr::null_mut(), ptr::null_mut());
                    while ffi::PyDict_Next(dict, &mut position, &mut name, &mut value) != 0 {
                        f(name, value)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The positional arguments from the one numbered `from` on as a tuple, and those by name as a dict or null, to pass them on.
    pub fn rest(&self, from: usize) -> Result<(Owned, Option<Owned>)> {
        // SAFETY: live objects; the tuple is filled before anybody sees it.
        unsafe {
            let rest = self.positional.get(from..).unwrap_or(&[]);
            let tuple = Owned::new(ffi::PyTuple_New(rest.len() as Py_ssize_t))?;
            for (index, argument) in rest.iter().enumerate() {
                ffi::PyTuple_SET_ITEM(tuple.as_ptr(), index as Py_ssize_t, ffi::incref(*argument));
            }
            if !self.has_keywords() {
                return Ok((tuple, None));
            }
            let dict = Owned::new(ffi::PyDict_New())?;
            self.each_keyword(|name, value| match ffi::PyDict_SetItem(dict.as_ptr(), name, value) {
                0 => Ok(()),
                _ => Err(Raised),
            })?;
            Ok((tuple, Some(dict)))
        }
    }
}

/// Raises a TypeError.
#[cold]
pub fn type_error<T>(message: &str) -> Result<T> {
    // SAFETY: functions are called with the interpreter's lock.
    unsafe { ffi::error(ffi::PyExc_TypeError, message) }
}

/// The text of a string.
///
/// # Safety
/// A live object, which outlives the result.
pub unsafe fn text<'a>(object: *mut PyObject) -> Result<&'a str> {
    // SAFETY: the interpreter keeps the UTF-8 form with the string.
    unsafe {
        let mut length = 0;
        let data = ffi::PyUnicode_AsUTF8AndSize(object, &mut length);
        if data.is_null() {
            return Err(Raised);
        }
        Ok(std::str::from_utf8_unchecked(slice::from_raw_parts(data.cast(), length as usize)))
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Trampolines. A function item has no size, so that its type alone says which function is meant.

/// The one value of a function item's type.
fn item<F: Copy>() -> F {
    const { assert!(size_of::<F>() == 0, "a function item or a closure without captures") };
    // SAFETY: a value without a size has no bits that could be wrong, and one was passed to whoever names the type.
    unsafe { std::mem::zeroed() }
}

fn give(result: Result<Owned>) -> *mut PyObject {
    result.map_or(ptr::null_mut(), Owned::into_raw)
}

/// A method for a type's table.
pub fn method<T, F>(name: &'static CStr, _function: F, doc: &'static CStr) -> ffi::PyMethodDef
where
    T: Payload,
    F: Fn(This<'_, T>, Args<'_>) -> Result<Owned> + Copy,
{
    /// # Safety
    /// Called by the interpreter.
    unsafe extern "C-unwind" fn trampoline<T: Payload, F: Fn(This<'_, T>, Args<'_>) -> Result<Owned> + Copy>(
        this: *mut PyObject,
        args: *const *mut PyObject,
        count: Py_ssize_t,
        names: *mut PyObject,
    ) -> *mut PyObject {
        // SAFETY: called by the interpreter, which checked the type.
        give(unsafe { item::<F>()(This::of(this), Args::from_array(args, count, names)) })
    }
    fast_method(name, trampoline::<T, F> as FastMethod, doc)
}

/// A method of a type that is not a [`Class`], whose function gets the object as it is.
pub fn bare_method<F>(name: &'static CStr, _function: F, doc: &'static CStr) -> ffi::PyMethodDef
where
    F: Fn(*mut PyObject, Args<'_>) -> Result<Owned> + Copy,
{
    /// # Safety
    /// Called by the interpreter.
    unsafe extern "C-unwind" fn trampoline<F: Fn(*mut PyObject, Args<'_>) -> Result<Owned> + Copy>(
        this: *mut PyObject,
        args: *const *mut PyObject,
        count: Py_ssize_t,
        names: *mut PyObject,
    ) -> *mut PyObject {
        // SAFETY: called by the interpreter.
        give(unsafe { item::<F>()(this, Args::from_array(args, count, names)) })
    }
    fast_method(name, trampoline::<F> as FastMethod, doc)
}

/// A function for a module's table.
pub fn function<F>(name: &'static CStr, _function: F, doc: &'static CStr) -> ffi::PyMethodDef
where
    F: Fn(Args<'_>) -> Result<Owned> + Copy,
{
    /// # Safety
    /// Called by the interpreter.
    unsafe extern "C-unwind" fn trampoline<F: Fn(Args<'_>) -> Result<Owned> + Copy>(
        _: *mut PyObject,
        args: *const *mut PyObject,
        count: Py_ssize_t,
        names: *mut PyObject,
    ) -> *mut PyObject {
        // SAFETY: called by the interpreter.
        give(unsafe { item::<F>()(Args::from_array(args, count, names)) })
    }
    fast_method(name, trampoline::<F> as FastMethod, doc)
}

/// A type in the making.
pub struct Class<T> {
    methods: Vec<ffi::PyMethodDef>,
    attributes: Vec<ffi::PyGetSetDef>,
    slots: Vec<ffi::PyType_Slot>,
    payload: PhantomData<T>,
}

/// `__init__`, `__call__` and others that get a tuple and a dict.
type Initializer = unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject, *mut PyObject) -> c_int;

impl<T: Payload> Class<T> {
    /// A type without methods.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Class<T> {
        Class { methods: Vec::new(), attributes: Vec::new(), slots: Vec::new(), payload: PhantomData }
    }

    /// Adds a method.
    pub fn method<F>(mut self, name: &'static CStr, function: F, doc: &'static CStr) -> Class<T>
    where
        F: Fn(This<'_, T>, Args<'_>) -> Result<Owned> + Copy,
    {
        self.methods.push(method::<T, F>(name, function, doc));
        self
    }

    /// Adds `__init__`.
    pub fn init<F>(self, _function: F) -> Class<T>
    where
        F: Fn(This<'_, T>, Args<'_>) -> Result<()> + Copy,
    {
        /// # Safety
        /// Called by the interpreter.
        unsafe extern "C-unwind" fn trampoline<T: Payload, F: Fn(This<'_, T>, Args<'_>) -> Result<()> + Copy>(
            this: *mut PyObject,
            args: *mut PyObject,
            kwargs: *mut PyObject,
        ) -> c_int {
            // SAFETY: called by the interpreter.
            match unsafe { item::<F>()(This::of(this), Args::from_tuple(args, kwargs)) } {
                Ok(()) => 0,
                Err(Raised) => -1,
            }
        }
        self.slot(ffi::Py_tp_init, trampoline::<T, F> as Initializer as *mut c_void)
    }

    /// Adds `__call__`.
    pub fn call<F>(self, _function: F) -> Class<T>
    where
        F: Fn(This<'_, T>, Args<'_>) -> Result<Owned> + Copy,
    {
        /// # Safety
        /// Called by the interpreter.
        unsafe extern "C-unwind" fn trampoline<T: Payload, F: Fn(This<'_, T>, Args<'_>) -> Result<Owned> + Copy>(
            this: *mut PyObject,
            args: *mut PyObject,
            kwargs: *mut PyObject,
        ) -> *mut PyObject {
            // SAFETY: called by the interpreter.
            give(unsafe { item::<F>()(This::of(this), Args::from_tuple(args, kwargs)) })
        }
        let trampoline: unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject, *mut PyObject) -> *mut PyObject =
            trampoline::<T, F>;
        self.slot(ffi::Py_tp_call, trampoline as *mut c_void)
    }

    /// Adds a read-only attribute.
    pub fn getter<F>(mut self, name: &'static CStr, _get: F, doc: &'static CStr) -> Class<T>
    where
        F: Fn(This<'_, T>) -> Result<Owned> + Copy,
    {
        self.attributes.push(crate::object::attribute(name, get_trampoline::<T, F>, None, doc));
        self
    }

    /// Adds an attribute that can be set.
    pub fn property<F, G>(mut self, name: &'static CStr, _get: F, _set: G, doc: &'static CStr) -> Class<T>
    where
        F: Fn(This<'_, T>) -> Result<Owned> + Copy,
        G: Fn(This<'_, T>, Option<Owned>) -> Result<()> + Copy,
    {
        let set = Some(set_trampoline::<T, G> as unsafe extern "C" fn(_, _, _) -> _);
        self.attributes.push(crate::object::attribute(name, get_trampoline::<T, F>, set, doc));
        self
    }

    /// Adds an attribute that is true or false, kept in a cell of the payload; any object can be set, and deleting makes it false.
    pub fn flag<F>(self, name: &'static CStr, _cell: F, doc: &'static CStr) -> Class<T>
    where
        F: Fn(&T) -> &Cell<bool> + Copy,
    {
        self.property(
            name,
            |this| Ok(Owned::bool(item::<F>()(&this).get())),
            |this, value| {
                // SAFETY: setters are called with the interpreter's lock.
                let truth = value.map_or(Ok(false), |value| unsafe { ffi::truth(value.as_ptr()) })?;
                item::<F>()(&this).set(truth);
                Ok(())
            },
            doc,
        )
    }

    /// Adds one of the interpreter's slots, such as `Py_tp_repr`; the function must have its form.
    pub fn slot(mut self, slot: c_int, function: *mut c_void) -> Class<T> {
        self.slots.push(ffi::PyType_Slot { slot, pfunc: function });
        self
    }

    /// Lets the type be written with a parameter, as in `Queue[int]`.
    pub fn generic(mut self) -> Class<T> {
        /// # Safety
        /// Called by the interpreter.
        unsafe extern "C" fn class_getitem(kind: *mut PyObject, item: *mut PyObject) -> *mut PyObject {
            // SAFETY: called by the interpreter.
            unsafe { ffi::Py_GenericAlias(kind, item) }
        }
        self.methods.push(ffi::PyMethodDef {
            ml_name: c"__class_getitem__".as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunction: class_getitem },
            ml_flags: ffi::METH_CLASS | ffi::METH_O,
            ml_doc: ptr::null(),
        });
        self
    }

    /// Makes the type, keeps it in the payload's cell and puts it into a module under the last part of its name.
    ///
    /// # Safety
    /// Called at import, once for each type.
    pub unsafe fn build(mut self, module: *mut PyObject) -> Result<()> {
        let get_dict: unsafe extern "C" fn(_, _) -> _ = ffi::PyObject_GenericGetDict;
        self.attributes.push(crate::object::attribute(
            c"__dict__",
            get_dict,
            Some(ffi::PyObject_GenericSetDict),
            c"The attributes.",
        ));
        // SAFETY: the caller's word.
        unsafe {
            let kind = self.make(module, T::NAME, T::DOC, ptr::null_mut())?;
            *T::cell().get() = kind;
        }
        Ok(())
    }

    /// Makes a type derived from the payload's, or from one that was: what is in this class is added to it or replaces what it
    /// has. The type lives for ever.
    ///
    /// # Safety
    /// Called at import, after the base.
    pub unsafe fn derive(
        self,
        module: *mut PyObject,
        name: &'static CStr,
        doc: &'static CStr,
        base: *mut PyTypeObject,
    ) -> Result<*mut PyTypeObject> {
        // SAFETY: the caller's word.
        unsafe { self.make(module, name, doc, base.cast()) }
    }

    /// # Safety
    /// Called at import; a base with the same payload, or null.
    unsafe fn make(
        mut self,
        module: *mut PyObject,
        name: &'static CStr,
        doc: &'static CStr,
        base: *mut PyObject,
    ) -> Result<*mut PyTypeObject> {
        self.methods.push(ffi::PyMethodDef::zeroed());
        self.attributes.push(crate::object::NO_ATTRIBUTE);
        let offset = |name: &'static CStr, offset: usize| ffi::PyMemberDef {
            name: name.as_ptr(),
            type_code: ffi::Py_T_PYSSIZET,
            offset: offset as Py_ssize_t,
            flags: ffi::Py_READONLY,
            doc: ptr::null(),
        };
        let members = Box::leak(Box::new([
            offset(c"__dictoffset__", offset_of!(Instance<T>, dict)),
            offset(c"__weaklistoffset__", offset_of!(Instance<T>, weak_references)),
            // SAFETY: zeroes end the table.
            unsafe { std::mem::zeroed() },
        ]));
        let dealloc: unsafe extern "C-unwind" fn(*mut PyObject) = dealloc::<T>;
        let new: unsafe extern "C-unwind" fn(*mut PyTypeObject, *mut PyObject, *mut PyObject) -> *mut PyObject =
            new::<T>;
        let traverse: ffi::traverseproc = traverse::<T>;
        let clear: ffi::inquiry = clear::<T>;
        let mut slots = vec![
            (ffi::Py_tp_doc, doc.as_ptr() as *mut c_void),
            (ffi::Py_tp_new, new as *mut c_void),
            (ffi::Py_tp_dealloc, dealloc as *mut c_void),
            (ffi::Py_tp_traverse, traverse as *mut c_void),
            (ffi::Py_tp_clear, clear as *mut c_void),
            (ffi::Py_tp_methods, self.methods.leak().as_mut_ptr().cast()),
            (ffi::Py_tp_getset, self.attributes.leak().as_mut_ptr().cast()),
            (ffi::Py_tp_members, members.as_mut_ptr().cast()),
        ]
        .into_iter()
        .map(|(slot, pfunc)| ffi::PyType_Slot { slot, pfunc })
        .chain(self.slots)
        .collect::<Vec<_>>();
        slots.push(ffi::PyType_Slot { slot: 0, pfunc: ptr::null_mut() });
        let mut spec = ffi::PyType_Spec {
            name: name.as_ptr(),
            basicsize: size_of::<Instance<T>>() as c_int,
            itemsize: 0,
            flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC) as _,
            slots: slots.as_mut_ptr(),
        };
        // SAFETY: the tables live for ever, the slots while the type is made.
        unsafe {
            let bases = if base.is_null() { None } else { Some(Owned::new(ffi::PyTuple_Pack(1, base))?) };
            let bases = bases.as_ref().map_or(ptr::null_mut(), Owned::as_ptr);
            let kind = Owned::new(ffi::PyType_FromSpecWithBases(&mut spec, bases))?;
            let name = name.to_bytes_with_nul();
            let short = name.iter().rposition(|byte| *byte == b'.').map_or(0, |dot| dot + 1);
            let short = CStr::from_bytes_with_nul_unchecked(&name[short..]);
            if ffi::PyModule_AddObjectRef(module, short.as_ptr(), kind.as_ptr()) < 0 {
                return Err(Raised);
            }
            Ok(kind.into_raw().cast())
        }
    }
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn get_trampoline<T: Payload, F: Fn(This<'_, T>) -> Result<Owned> + Copy>(
    this: *mut PyObject,
    _: *mut c_void,
) -> *mut PyObject {
    // SAFETY: called by the interpreter.
    give(unsafe { item::<F>()(This::of(this)) })
}

/// # Safety
/// Called by the interpreter.
unsafe extern "C" fn set_trampoline<T: Payload, F: Fn(This<'_, T>, Option<Owned>) -> Result<()> + Copy>(
    this: *mut PyObject,
    value: *mut PyObject,
    _: *mut c_void,
) -> c_int {
    // SAFETY: called by the interpreter, with null to delete the attribute.
    unsafe {
        let value = (!value.is_null()).then(|| Owned::borrow(value));
        match item::<F>()(This::of(this), value) {
            Ok(()) => 0,
            Err(Raised) => -1,
        }
    }
}
