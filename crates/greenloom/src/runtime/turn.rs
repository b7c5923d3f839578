//! The loop of an OS thread's hub, in a greenlet of its own: what [`greenloom_hub::run_turn`] asks for.

use std::convert::Infallible;
use std::sync::atomic::Ordering;

use greenloom_fiber::die;
use greenloom_hub::{Budget, Cause, Loop, Others};

use super::node::Wake;
use super::registry::{self, Message};
use super::state::{Runtime, call_safely};
use super::watch::Event;
use super::work::Work;

/// What the loop's greenlet does.
pub(super) fn run_loop(runtime: &'static Runtime) {
    while !runtime.is_ending() {
        let Ok(()) = greenloom_hub::run_turn(&Turns(runtime));
    }
}

struct Turns(&'static Runtime);

impl Loop for Turns {
    type Error = Infallible;

    #[inline]
    fn budget(&self) -> &Budget {
        &self.0.budget
    }

    fn is_ending(&self) -> bool {
        self.0.is_ending()
    }

    #[inline]
    fn renew(&self) -> Result<(), Infallible> {
        self.0.renew_after_fork();
        Ok(())
    }

    #[inline]
    fn receive(&self) -> Result<(), Infallible> {
        if self.0.with_core(|core| core.inbox().has_messages()) == Some(true) {
            self.0.receive();
        }
        Ok(())
    }

    // Always inlined, as all that switches is.
    #[inline(always)]
    fn run_next(&self) -> Result<bool, Infallible> {
        let runtime = self.0;
        let Some(work) = runtime.ready.borrow_mut().pop() else { return Ok(false) };
        let Some(slot) = work.as_thread() else {
            let call = runtime.calls.borrow_mut().remove(work.as_call());
            if runtime.watch.is_on() {
                runtime.watch.tell(&Event::Call);
            }
            call_safely(call);
            return Ok(true);
        };
        let thread = runtime.threads.borrow().get(slot).cloned();
        let Some(thread) = thread else { return Ok(true) };
        if thread.is_dead() {
            // Cancelled before it began.
            runtime.retire(&thread);
        } else {
            runtime.switch_to(&thread);
        }
        Ok(true)
    }

    fn look(&self) -> Result<(), Infallible> {
        self.0.look();
        Ok(())
    }
}

impl Runtime {
    fn look(&self) {
        let others = if self.outstanding.get() > 0 { Others::Working } else { self.others.get() };
        let mut fired = self.fired.take();
        let idle = self.ready.borrow().is_empty().then_some(others);
        self.publish_counts();
        if self.watch.is_on() {
            self.watch.tell(&Event::Look);
        }
        let result = self.with_core(|core| core.turn(idle, &mut fired));
        if self.watch.is_on() {
            let timer = fired.iter().any(|(_, cause)| *cause == Cause::Timer);
            let timer_lag = timer.then(|| self.counters.statistics.counts().timer_lag);
            self.watch.tell(&Event::Turn { fired: fired.len(), timer_lag });
        }
        for (work, cause) in fired.drain(..) {
            let cause = match cause {
                Cause::Timer => Wake::TimedOut,
                Cause::Io => Wake::Woken,
                Cause::Closed => Wake::Closed,
            };
            self.perform(work, cause);
        }
        self.fired.set(fired);
        match result {
            Some(Ok(true)) | None => {}
            Some(Ok(false)) => match self.on_deadlock.take() {
                Some(report) => report(),
                None => panic!("nothing can happen any more, and nobody asked to be told"),
            },
            // Without the poller nothing can be waited for; to go on would be to spin or to hang.
            Some(Err(error)) => die(&format!("the hub cannot wait for I/O: {error}; the process ends")),
        }
    }

    #[cold]
    fn receive(&self) {
        let messages = self.with_core(|core| core.inbox().take()).unwrap_or_default();
        if self.watch.is_on() {
            self.watch.tell(&Event::Messages { count: messages.len() });
        }
        for message in messages {
            match message {
                Message::Wake { slot, ticket, cause } => {
                    self.wake(slot, ticket, cause);
                }
                Message::Call(call) => self.call_soon(call),
                Message::RemoveSource(key) => self.remove_source(key, None),
                Message::RouseSource(key, direction) => self.rouse_source(key, direction),
            }
        }
    }

    /// Whether the running process is the child of a fork and the poller the parent's; then makes a new one.
    #[inline]
    pub fn renew_after_fork(&self) {
        let forks = greenloom_fiber::fork_generation();
        if self.forks.replace(forks) != forks {
            self.renew();
        }
    }

    #[cold]
    fn renew(&self) {
        let waiting = match self.with_core(|core| core.renew()) {
            Some(Ok(waiting)) => waiting,
            Some(Err(error)) => panic!("no hub in the child of a fork: {error}"),
            None => return,
        };
        // Wakers that are out keep their good: the hub's number stays.
        if let Some(inbox) = self.inbox() {
            registry::replace(self.id(), inbox);
        }
        #[cfg(feature = "inspect")]
        super::inspector::after_fork();
        for work in waiting {
            if !matches!(work, Work::Call(_)) {
                // They try again and register anew.
                self.perform(work, Wake::Woken);
            }
        }
    }
}

impl Runtime {
    /// Lets other OS threads read what is counted here.
    pub fn publish_counts(&self) {
        self.counters.green_threads.store(self.enrolled_count() as u64, Ordering::Relaxed);
        self.counters.statistics.set_switches(self.switches.get());
    }
}
