//! What a function was called with.

use std::ffi::CStr;
use std::{ptr, slice};

use super::error::{Raised, Result, type_error};
use super::ffi::{self, Py_ssize_t, PyObject};
use super::lock::Gil;
use super::object::Object;
use super::owned::Owned;

/// What a function was called with, borrowed.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    /// The positional arguments.
    pub positional: &'a [Object<'a>],
    keywords: Keywords<'a>,
}

#[derive(Clone, Copy)]
enum Keywords<'a> {
    /// A tuple of names and their values.
    Array(*mut PyObject, &'a [Object<'a>]),
    /// A dict, or null for none.
    Dict(*mut PyObject),
}

impl<'a> Args<'a> {
    /// # Safety
    /// As the interpreter passes them to a fast method, which outlive `'a`; the lock is held for `'a` as
    /// [`Gil::assume`] asks for.
    pub(super) unsafe fn from_array(args: *const *mut PyObject, count: Py_ssize_t, names: *mut PyObject) -> Args<'a> {
        let count = count as usize;
        if names.is_null() {
            // SAFETY: as many arguments as the interpreter says; without any the pointer may be null.
            let positional = if count == 0 { &[][..] } else { unsafe { slice::from_raw_parts(args.cast(), count) } };
            return Args { positional, keywords: Keywords::Dict(ptr::null_mut()) };
        }
        // SAFETY: a tuple of names, and after the positional arguments a value for each.
        unsafe {
            let more = ffi::PyTuple_GET_SIZE(names) as usize;
            let all = slice::from_raw_parts(args.cast(), count + more);
            Args { positional: &all[..count], keywords: Keywords::Array(names, &all[count..]) }
        }
    }

    /// # Safety
    /// A tuple, and a dict or null, which outlive `'a`; the lock as in `from_array`.
    pub unsafe fn from_tuple(args: *mut PyObject, kwargs: *mut PyObject) -> Args<'a> {
        // SAFETY: a tuple's items lie one after the other.
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

    /// The lock is held during the call.
    #[inline(always)]
    pub fn gil(&self) -> Gil<'a> {
        // SAFETY: the maker of this promised that the lock is held for `'a`, and it is not `Send`.
        unsafe { Gil::assume() }
    }

    /// Whether there are arguments by name.
    pub fn has_keywords(&self) -> bool {
        match self.keywords {
            Keywords::Array(_, values) => !values.is_empty(),
            // SAFETY: a dict or null.
            Keywords::Dict(dict) => !dict.is_null() && unsafe { ffi::PyDict_Size(dict) } > 0,
        }
    }

    /// The arguments of a function whose parameters are `required` and then `optional`, of which there is none where
    /// none was given.
    ///
    /// # Errors
    /// A TypeError, as for a function written in Python.
    #[inline]
    pub fn parse<const R: usize, const O: usize>(
        &self,
        function: &str,
        required: [&str; R],
        optional: [&str; O],
    ) -> Result<([Object<'a>; R], [Option<Object<'a>>; O])> {
        let given = self.positional.len();
        if given > R + O {
            let most = R + O;
            return type_error(self.gil(), &format!("{function}() takes at most {most} arguments ({given} given)"));
        }
        let (mut needed, mut extra) = ([None; R], [None; O]);
        for (place, argument) in needed.iter_mut().zip(self.positional) {
            *place = Some(*argument);
        }
        for (place, argument) in extra.iter_mut().zip(self.positional.iter().skip(R)) {
            *place = Some(*argument);
        }
        if self.has_keywords() {
            self.parse_keywords(function, (&required, &mut needed), (&optional, &mut extra))?;
        }
        match needed.iter().position(Option::is_none) {
            Some(missing) => {
                type_error(self.gil(), &format!("{function}() missing a required argument: '{}'", required[missing]))
            }
            None => Ok((needed.map(|argument| argument.expect("none is missing")), extra)),
        }
    }

    #[cold]
    fn parse_keywords(
        &self,
        function: &str,
        (required, needed): (&[&str], &mut [Option<Object<'a>>]),
        (optional, extra): (&[&str], &mut [Option<Object<'a>>]),
    ) -> Result<()> {
        self.each_keyword(|name, value| {
            let text = name.text()?;
            let index_in = |names: &[&str]| names.iter().position(|known| *known == text);
            let place = match (index_in(required), index_in(optional)) {
                (Some(index), _) => &mut needed[index],
                (None, Some(index)) => &mut extra[index],
                (None, None) => {
                    let message = format!("{function}() got an unexpected keyword argument '{text}'");
                    return type_error(self.gil(), &message);
                }
            };
            match place.replace(value) {
                None => Ok(()),
                Some(_) => type_error(self.gil(), &format!("{function}() got multiple values for argument '{text}'")),
            }
        })
    }

    /// The arguments of a function that takes exactly `N`, none by name.
    pub fn exactly<const N: usize>(&self) -> Result<[Object<'a>; N]> {
        match self.positional.try_into() {
            Ok(arguments) if !self.has_keywords() => Ok(arguments),
            _ => type_error(self.gil(), &format!("{N} arguments are needed, and none by name")),
        }
    }

    /// Calls `go` with these arguments, the first of which are the parameters `names`, also where they were given by
    /// name; what follows them is the function's to pass on.
    ///
    /// # Errors
    /// A TypeError where one of them is missing, or what `go` returns.
    #[inline(always)]
    pub fn led_by<R>(
        &self,
        function: &str,
        names: &[&'static CStr],
        go: impl FnOnce(Args<'_>) -> Result<R>,
    ) -> Result<R> {
        if self.positional.len() >= names.len() {
            return go(*self);
        }
        let (tuple, dict) = self.lead(function, names)?;
        // SAFETY: a tuple and a dict or null, which outlive the call; this has the lock.
        go(unsafe { Args::from_tuple(tuple.as_ptr(), dict.as_ref().map_or(ptr::null_mut(), Owned::as_ptr)) })
    }

    #[cold]
    fn lead(&self, function: &str, names: &[&'static CStr]) -> Result<(Owned, Option<Owned>)> {
        let (tuple, dict) = self.rest(0)?;
        let mut leading = Vec::with_capacity(names.len());
        for name in &names[self.positional.len()..] {
            let named = dict.as_ref().map(|dict| taken(dict, name)).transpose()?.flatten();
            let Some(value) = named else {
                let name = name.to_string_lossy();
                return type_error(self.gil(), &format!("{function}() missing a required argument: '{name}'"));
            };
            leading.push(value);
        }
        // SAFETY: live objects; the tuple is filled before anybody sees it.
        unsafe {
            let named = Owned::new(ffi::PyTuple_New(leading.len() as Py_ssize_t))?;
            for (index, value) in leading.into_iter().enumerate() {
                ffi::PyTuple_SET_ITEM(named.as_ptr(), index as Py_ssize_t, value.into_raw());
            }
            Ok((Owned::new(ffi::PySequence_Concat(tuple.as_ptr(), named.as_ptr()))?, dict))
        }
    }

    fn each_keyword(&self, mut f: impl FnMut(Object<'a>, Object<'a>) -> Result<()>) -> Result<()> {
        // SAFETY: a tuple with as many names as there are values, or a dict that nobody changes meanwhile; both keep
        // what is in them for `'a`.
        unsafe {
            match self.keywords {
                Keywords::Array(names, values) => {
                    for (index, value) in values.iter().enumerate() {
                        f(Object::new(ffi::PyTuple_GET_ITEM(names, index as Py_ssize_t)), *value)?;
                    }
                }
                Keywords::Dict(dict) if dict.is_null() => {}
                Keywords::Dict(dict) => {
                    let (mut position, mut name, mut value) = (0, ptr::null_mut(), ptr::null_mut());
                    while ffi::PyDict_Next(dict, &mut position, &mut name, &mut value) != 0 {
                        f(Object::new(name), Object::new(value))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The positional arguments from the one numbered `from` on as a tuple, and those by name as a dict or null, to
    /// pass them on.
    pub fn rest(&self, from: usize) -> Result<(Owned, Option<Owned>)> {
        // SAFETY: live objects; the tuple is filled before anybody sees it.
        unsafe {
            let rest = self.positional.get(from..).unwrap_or(&[]);
            let tuple = Owned::new(ffi::PyTuple_New(rest.len() as Py_ssize_t))?;
            for (index, argument) in rest.iter().enumerate() {
                ffi::PyTuple_SET_ITEM(tuple.as_ptr(), index as Py_ssize_t, argument.owned().into_raw());
            }
            if !self.has_keywords() {
                return Ok((tuple, None));
            }
            let dict = Owned::new(ffi::PyDict_New())?;
            self.each_keyword(|name, value| {
                let put = ffi::PyDict_SetItem(dict.as_ptr(), name.as_ptr(), value.as_ptr());
                if put == 0 { Ok(()) } else { Err(Raised) }
            })?;
            Ok((tuple, Some(dict)))
        }
    }
}

/// Takes the value of a name out of a dict.
fn taken(dict: &Owned, name: &CStr) -> Result<Option<Owned>> {
    // SAFETY: a dict with strings for keys; the value is held before the dict lets go of it.
    unsafe {
        let value = ffi::PyDict_GetItemString(dict.as_ptr(), name.as_ptr());
        if value.is_null() {
            return Ok(None);
        }
        let value = Owned::borrow(value);
        match ffi::PyDict_DelItemString(dict.as_ptr(), name.as_ptr()) {
            0 => Ok(Some(value)),
            _ => Err(Raised),
        }
    }
}
