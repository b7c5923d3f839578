//! Kill and timeout: what makes a park unwind, and how a greenlet is made to end.

use std::panic::resume_unwind;

use super::error::{Expired, GreenletExit, Refused};
use super::node::{ANYTHING, AnyGreenlet, Interrupts, Kind, Wake};
use super::state::Runtime;

impl Runtime {
    /// Unwinds if the running green thread was killed or is in a call of `timeout` that expired. One that swallowed the
    /// unwind meets it here again.
    #[inline]
    pub fn check_interrupts(&self) -> Result<(), Refused> {
        if self.is_current_interrupted() { self.raise_interrupt() } else { Ok(()) }
    }

    #[cold]
    fn raise_interrupt(&self) -> Result<(), Refused> {
        if std::thread::panicking() {
            return Err(Refused::Panicking);
        }
        let me = self.current();
        if me.node().interrupts.get().killed() {
            drop(me);
            resume_unwind(Box::new(GreenletExit));
        }
        let extra = me.node().extra.borrow();
        let outermost = extra.iter().flat_map(|extra| &extra.limits).find(|limit| limit.expired).map(|limit| limit.id);
        drop(extra);
        drop(me);
        match outermost {
            Some(limit) => resume_unwind(Box::new(Expired { limit })),
            None => Ok(()),
        }
    }

    /// Kills a greenlet that has begun, and then unwinds if the running one was interrupted meanwhile. When the hub has
    /// ended, nothing runs any more, and nothing happens.
    pub fn kill(&'static self, target: &AnyGreenlet) {
        self.kill_shielded(target);
        let _ = self.check_interrupts();
    }

    /// As [`Runtime::kill`], without unwinding the running greenlet but by its own kill.
    pub fn kill_shielded(&'static self, target: &AnyGreenlet) {
        if target.is_dead() || self.has_ended() {
            return;
        }
        let node = target.node();
        self.change_interrupts(target, Interrupts::set_killed);
        let me = self.current();
        if target.is(&me) {
            let _ = self.check_interrupts();
            return;
        }
        let may_switch = me.node().kind.get().may_park() && !std::thread::panicking();
        if !may_switch {
            self.wake(node.slot.get(), node.ticket.get(), Wake::Interrupted);
            return;
        }
        self.make_ready(self.slot_of(&me));
        if node.parked.replace(false) || node.receives_at() != 0 {
            node.ticket.set(0);
            node.cause.set(Wake::Interrupted);
            drop(me);
            self.switch_to(target);
        } else {
            // It is ready, ahead of us.
            drop(me);
            self.switch_to_next();
        }
    }

    /// Kills every green thread of the hub. Those that refuse to end are left.
    pub fn kill_all(&'static self) {
        for greenlet in self.enrolled() {
            if greenlet.node().kind.get() != Kind::Root && !greenlet.node().fiber.cancel() {
                self.kill_shielded(&greenlet);
            }
        }
    }

    /// Unwinds a suspended greenlet whose last handle was dropped. The running one is its parent for the while.
    #[cold]
    pub(super) fn unwind_dropped(&'static self, greenlet: AnyGreenlet) {
        if self.has_ended() {
            // Its stack is leaked with what lives on it.
            return std::mem::forget(greenlet);
        }
        if std::thread::panicking() {
            return self.abandon(greenlet.clone());
        }
        let me = self.current();
        self.change_interrupts(&greenlet, Interrupts::set_killed);
        *greenlet.node().parent.borrow_mut() = Some(me.clone());
        let mail = me.node().mail();
        // An error may have come with the switch after which we look after what was abandoned; it is not this one's.
        let (before, pending) = (mail.receives_at.replace(ANYTHING), mail.thrown.take());
        self.watch.will_throw();
        self.switch_to(&greenlet);
        mail.receives_at.set(before);
        // What came back is of no interest: a panic was reported by the panic hook.
        mail.thrown.set(pending);
    }
}
