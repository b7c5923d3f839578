//! Green-thread locals.

use std::any::Any;
use std::fmt;
use std::rc::Rc;

use crate::runtime::here;
use crate::runtime::node::Extra;

/// A static with a value of its own in each green thread, made when it is first used there and dropped when the green
/// thread ends.
///
/// Semantics: eventlet's `corolocal.local`, in the shape of [`std::thread::LocalKey`].
///
/// ```
/// use greenloom::{local::Local, spawn};
/// use std::cell::Cell;
///
/// static REQUEST: Local<Cell<u32>> = Local::new(|| Cell::new(0));
///
/// REQUEST.with(|id| id.set(7));
/// spawn(|| REQUEST.with(|id| assert_eq!(id.get(), 0))).wait()?;
/// REQUEST.with(|id| assert_eq!(id.get(), 7));
/// # Ok::<(), greenloom::JoinError>(())
/// ```
pub struct Local<T: 'static> {
    init: fn() -> T,
}

impl<T: 'static> Local<T> {
    /// A local that begins with what `init` returns.
    pub const fn new(init: fn() -> T) -> Local<T> {
        Local { init }
    }

    /// Calls `f` with the running green thread's value.
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        // Statics have addresses of their own, so this is a name.
        let key = std::ptr::from_ref(self).addr();
        let me = here().current();
        let found = me.node().extra.borrow().as_ref().and_then(|extra| extra.locals.get(&key).cloned());
        let value = found.unwrap_or_else(|| {
            // `init` may use locals itself, so nothing is borrowed meanwhile.
            let value: Rc<dyn Any> = Rc::new((self.init)());
            let mut extra = me.node().extra.borrow_mut();
            let locals = &mut extra.get_or_insert_with(|| Box::new(Extra::default())).locals;
            Rc::clone(locals.entry(key).or_insert(value))
        });
        drop(me);
        let Some(value) = value.downcast_ref() else { unreachable!("a static has one type") };
        f(value)
    }
}

impl<T> fmt::Debug for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Local")
    }
}
