//! Closures that borrow, run by something that wants `'static`.
//!
//! A fiber's function must be `'static`, because nothing ties a fiber to the frame that made it. [`scope`] lets it
//! borrow all the same: it does not return before every closure that was [erased](Eraser::erase) inside it has been run
//! or dropped, whatever happens in between. This is the argument of [`std::thread::scope`], with the waiting left to
//! the caller, who knows how to wait.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

/// What closures are erased through; made by [`scope`].
#[derive(Debug)]
pub struct Eraser<'scope, 'env: 'scope> {
    pending: Rc<Cell<usize>>,
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// Runs `body`, then calls `wait` until every closure erased in it has been run or dropped.
///
/// `wait` should block until the number of pending closures, which it can read through its argument, may have fallen;
/// it is called again as long as there are any. A panic of `body` goes on after that.
///
/// # Panics
/// A panic of `wait` ends the process with a message: the borrows could not be protected any more.
///
/// ```
/// let mut total = 0;
/// let run_later = std::cell::RefCell::new(Vec::new());
/// greenloom_fiber::scope(
///     |_pending| run_later.borrow_mut().drain(..).for_each(greenloom_fiber::Erased::run),
///     |scope| run_later.borrow_mut().push(scope.erase(|| total += 1)),
/// );
/// assert_eq!(total, 1);
/// ```
pub fn scope<'env, R>(
    wait: impl Fn(&Cell<usize>),
    body: impl for<'scope> FnOnce(&'scope Eraser<'scope, 'env>) -> R,
) -> R {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            crate::die("waiting for the green threads of a scope panicked; they borrow, so the process ends");
        }
    }

    let scope = Eraser { pending: Rc::new(Cell::new(0)), scope: PhantomData, env: PhantomData };
    let result = catch_unwind(AssertUnwindSafe(|| body(&scope)));
    let bomb = Bomb;
    while scope.pending.get() > 0 {
        wait(&scope.pending);
    }
    std::mem::forget(bomb);
    result.unwrap_or_else(|panic| resume_unwind(panic))
}

impl<'scope, 'env> Eraser<'scope, 'env> {
    /// Makes a closure that borrows for `'scope` pass as `'static`.
    pub fn erase(&'scope self, closure: impl FnOnce() + 'scope) -> Erased {
        let closure: Box<dyn FnOnce() + 'scope> = Box::new(closure);
        // SAFETY: only the lifetime changes. The closure is called or dropped no later than its `Erased`, whose guard
        // counts it as pending until then, and `scope` does not return while one is pending, nor does it unwind. What
        // it borrows outlives the call of `scope`.
        let closure = unsafe { std::mem::transmute::<Box<dyn FnOnce() + 'scope>, Box<dyn FnOnce()>>(closure) };
        self.pending.set(self.pending.get() + 1);
        Erased { closure, pending: Pending(Rc::clone(&self.pending)) }
    }

    /// How many erased closures have neither run nor been dropped.
    pub fn pending(&self) -> usize {
        self.pending.get()
    }
}

/// A closure without its lifetime; see [`Eraser::erase`]. Fields drop in order: the closure before its guard.
pub struct Erased {
    closure: Box<dyn FnOnce()>,
    pending: Pending,
}

impl fmt::Debug for Erased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Erased").field("pending", &self.pending).finish_non_exhaustive()
    }
}

impl Erased {
    /// Calls the closure.
    pub fn run(self) {
        let Erased { closure, pending } = self;
        // Dropped last, in a panic too: the closure's captures go when the call ends.
        let _pending = pending;
        closure();
    }
}

#[derive(Debug)]
struct Pending(Rc<Cell<usize>>);

impl Drop for Pending {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
