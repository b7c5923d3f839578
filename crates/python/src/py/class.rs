//! Types with a Rust value inside, declared in a few lines.
//!
//! A type is a [`Payload`] and a [`Class`] that lists its methods and attributes. Its instances have a `__dict__`, can
//! be referred to weakly and be subclassed, as if the class were written in Python.

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::mem::{offset_of, size_of};
use std::ptr;

use super::args::Args;
use super::error::{Raised, Result};
use super::ffi::{self, FastMethod, Py_ssize_t, PyObject, PyTypeObject};
use super::function::{give, item};
use super::instance::{self, Instance, Payload, This};
use super::object::Object;
use super::owned::Owned;
use super::table::{NO_ATTRIBUTE, attribute, fast_method};

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
        self.attributes.push(attribute(name, get_trampoline::<T, F>, None, doc));
        self
    }

    /// Adds an attribute that can be set.
    pub fn property<F, G>(mut self, name: &'static CStr, _get: F, _set: G, doc: &'static CStr) -> Class<T>
    where
        F: Fn(This<'_, T>) -> Result<Owned> + Copy,
        G: Fn(This<'_, T>, Option<Owned>) -> Result<()> + Copy,
    {
        let set = Some(set_trampoline::<T, G> as unsafe extern "C" fn(_, _, _) -> _);
        self.attributes.push(attribute(name, get_trampoline::<T, F>, set, doc));
        self
    }

    /// Adds an attribute that is true or false, kept in a cell of the payload; any object can be set, and deleting
    /// makes it false.
    pub fn flag<F>(self, name: &'static CStr, _cell: F, doc: &'static CStr) -> Class<T>
    where
        F: Fn(&T) -> &Cell<bool> + Copy,
    {
        self.property(
            name,
            |this| Ok(Owned::bool(this.gil(), item::<F>()(&this).get())),
            |this, value| {
                let truth = value.map_or(Ok(false), |value| Object::of(&value).truth())?;
                item::<F>()(&this).set(truth);
                Ok(())
            },
            doc,
        )
    }

    /// Adds `__repr__`.
    pub fn repr<F>(self, _function: F) -> Class<T>
    where
        F: Fn(This<'_, T>) -> Result<Owned> + Copy,
    {
        /// # Safety
        /// Called by the interpreter.
        unsafe extern "C-unwind" fn trampoline<T: Payload, F: Fn(This<'_, T>) -> Result<Owned> + Copy>(
            this: *mut PyObject,
        ) -> *mut PyObject {
            // SAFETY: called by the interpreter.
            give(unsafe { item::<F>()(This::of(this)) })
        }
        let trampoline: unsafe extern "C-unwind" fn(*mut PyObject) -> *mut PyObject = trampoline::<T, F>;
        self.slot(ffi::Py_tp_repr, trampoline as *mut c_void)
    }

    /// Adds what runs when nobody refers to an instance any more. Nobody is there to raise to.
    pub fn finalize<F>(self, _function: F) -> Class<T>
    where
        F: Fn(This<'_, T>) + Copy,
    {
        /// # Safety
        /// Called by the interpreter.
        unsafe extern "C-unwind" fn trampoline<T: Payload, F: Fn(This<'_, T>) + Copy>(this: *mut PyObject) {
            // SAFETY: called by the interpreter.
            unsafe { item::<F>()(This::of(this)) }
        }
        let trampoline: unsafe extern "C-unwind" fn(*mut PyObject) = trampoline::<T, F>;
        self.slot(ffi::Py_tp_finalize, trampoline as *mut c_void)
    }

    /// Adds `__getattribute__`, which gets a name.
    pub fn get_attribute<F>(self, _function: F) -> Class<T>
    where
        F: Fn(This<'_, T>, Object<'_>) -> Result<Owned> + Copy,
    {
        /// # Safety
        /// Called by the interpreter.
        unsafe extern "C-unwind" fn trampoline<T: Payload, F: Fn(This<'_, T>, Object<'_>) -> Result<Owned> + Copy>(
            this: *mut PyObject,
            name: *mut PyObject,
        ) -> *mut PyObject {
            // SAFETY: called by the interpreter.
            give(unsafe { item::<F>()(This::of(this), Object::new(name)) })
        }
        let trampoline: unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject) -> *mut PyObject = trampoline::<T, F>;
        self.slot(ffi::Py_tp_getattro, trampoline as *mut c_void)
    }

    /// Adds `__setattr__` and `__delattr__`, which get a name and a value, or none to delete the attribute.
    pub fn set_attribute<F>(self, _function: F) -> Class<T>
    where
        F: Fn(This<'_, T>, Object<'_>, Option<Object<'_>>) -> Result<()> + Copy,
    {
        /// # Safety
        /// Called by the interpreter.
        unsafe extern "C-unwind" fn trampoline<T, F>(
            this: *mut PyObject,
            name: *mut PyObject,
            value: *mut PyObject,
        ) -> c_int
        where
            T: Payload,
            F: Fn(This<'_, T>, Object<'_>, Option<Object<'_>>) -> Result<()> + Copy,
        {
            // SAFETY: called by the interpreter.
            match unsafe { item::<F>()(This::of(this), Object::new(name), Object::new_or_none(value)) } {
                Ok(()) => 0,
                Err(Raised) => -1,
            }
        }
        let trampoline: unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject, *mut PyObject) -> c_int =
            trampoline::<T, F>;
        self.slot(ffi::Py_tp_setattro, trampoline as *mut c_void)
    }

    /// Adds one of the interpreter's slots; the function has its form.
    fn slot(mut self, slot: c_int, function: *mut c_void) -> Class<T> {
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
        self.attributes.push(attribute(c"__dict__", get_dict, Some(ffi::PyObject_GenericSetDict), c"The attributes."));
        // SAFETY: called at import, once.
        unsafe {
            let kind = self.make(module, T::NAME, T::DOC, ptr::null_mut())?;
            *T::cell().get() = kind;
        }
        Ok(())
    }

    /// Makes a type derived from the payload's, or from one that was: what is in this class is added to it or replaces
    /// what it has. The type lives for ever.
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
        // SAFETY: called at import; the base has the same payload.
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
        self.attributes.push(NO_ATTRIBUTE);
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
        let dealloc: unsafe extern "C-unwind" fn(*mut PyObject) = instance::dealloc::<T>;
        let new: unsafe extern "C-unwind" fn(*mut PyTypeObject, *mut PyObject, *mut PyObject) -> *mut PyObject =
            instance::new::<T>;
        let traverse: ffi::traverseproc = instance::traverse::<T>;
        let clear: ffi::inquiry = instance::clear::<T>;
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
