//! The type of hubs, as Python sees it.
//!
//! Over 500 lines: a quarter of it is the table of methods with their docstrings.

use std::ffi::c_int;
use std::ptr;

use greenloom_hub::Time;

use super::clock::{after, from_seconds, monotonic, seconds};
use super::hub::timer::Timer;
use super::hub::{ASKED, DEFAULT_SLEEP, FAST, Hub, Runner, Stage, c_name, call_hub, is_own, note_overrides};
use super::hub_ref::{self, is_plain};
use super::park;
use super::polling::{Polling, closed_error};
use super::ticket::Outcome;
use super::work::Work;
use crate::greenlet::{self, here};
use crate::py::ffi;
use crate::py::object::Object;
use crate::py::{self, Args, Class, Gil, GlobalObject, Owned, Raised, Result, This};

/// The type.
pub fn class() -> Class<Hub> {
    Class::new()
        .init(init)
        .set_attribute(set_attribute)
        .method(
            c"_run",
            run_loop,
            c"_run($self)\n--\n\nThe loop, until abort() is called. It runs in the hub's greenlet.",
        )
        .method(
            c"switch",
            switch_to_hub,
            c"switch($self)\n--\n\nSuspends the current greenlet, which must have arranged to be woken, and goes on \
              with the hub. Returns what it is woken with.",
        )
        .method(
            c"ensure_greenlet",
            ensure_greenlet,
            c"ensure_greenlet($self)\n--\n\nReplaces the hub's greenlet if it has ended.",
        )
        .method(
            c"schedule_call_global",
            schedule_call_global,
            c"schedule_call_global($self, seconds, cb, *args, **kw)\n--\n\nCalls *cb* in the hub's \
              greenlet after that many seconds.",
        )
        .method(
            c"add_timer",
            add_timer,
            c"add_timer($self, timer)\n--\n\nStarts a timer; returns the time at which it is due, by the hub's clock.",
        )
        .method(
            c"timer_canceled",
            timer_canceled,
            c"timer_canceled($self, timer)\n--\n\nA timer was cancelled: takes note of it.",
        )
        .method(
            c"prepare_timers",
            prepare_timers,
            c"prepare_timers($self)\n--\n\nDoes nothing: new timers take part at once.",
        )
        .method(
            c"fire_timers",
            fire_timers,
            c"fire_timers($self, when)\n--\n\nRuns what is ready, and what is due at the time *when*.",
        )
        .method(c"sleep_until", sleep_until, c"sleep_until($self)\n--\n\nWhen the next timer is due.")
        .method(
            c"default_sleep",
            default_sleep,
            c"default_sleep($self)\n--\n\nHow many seconds to wait at most without timers.",
        )
        .method(
            c"wait",
            wait,
            c"wait($self, seconds=None)\n--\n\nWaits for I/O, and leaves it to the loop to tell the waiters.",
        )
        .method(
            c"get_timers_count",
            timers_count,
            c"get_timers_count($self)\n--\n\nHow many timers there are, cancelled ones included.",
        )
        .method(
            c"_poller_fileno",
            poller_fileno,
            c"_poller_fileno($self)\n--\n\nA file descriptor that can be read when wait(0) has something to do: what \
              other OS threads made ready. For hubs that wait in their own way.",
        )
        .method(
            c"_wait_for",
            wait_for,
            c"_wait_for($self, fileno, seconds)\n--\n\nFor hubs that wait in their own way: until a descriptor can be \
              read, for *seconds*, or with None without a limit. Handlers of signals may wait meanwhile.",
        )
        .method(
            c"_renew_if_closed",
            |this: This<'_, Hub>, _: Args<'_>| {
                let renewed = this.renew_if_closed(here(this.gil())?)?;
                Ok(Owned::bool(this.gil(), renewed))
            },
            c"_renew_if_closed($self)\n--\n\nDescriptors were closed by their numbers: if the hub's own were among \
              them, it gets new ones, and the waiters try again.",
        )
        .method(
            c"notify_close",
            forget,
            c"notify_close($self, fileno)\n--\n\nA file descriptor is being closed by its owner: its waiters get an \
              IOClosed.",
        )
        .method(
            c"mark_as_reopened",
            forget,
            c"mark_as_reopened($self, fileno)\n--\n\nA file descriptor has just been opened: who still waits on its \
              number means a file that is closed, and gets an IOClosed.",
        )
        .method(
            c"_note_looked",
            note_looked,
            c"_note_looked($self)\n--\n\nFor hubs that wait in their own way: I/O was looked at, and what it wakes \
              runs now.",
        )
        .method(c"_note_closed", note_closed, c"_note_closed($self)\n--\n\nThere is something in `closed`.")
        .method(
            c"statistics",
            statistics,
            c"statistics($self)\n--\n\nWhat the hub has done and how late it was: switches, timers fired, turns; \
              timer_lag and longest_timer_lag, longest_block in seconds; ready, timers_pending, readers_and_writers.",
        )
        .property(c"greenlet", get_greenlet, set_greenlet, c"The greenlet that the loop runs in.")
        .property(c"clock", get_clock, set_clock, c"A function that returns the time in seconds.")
        .flag(c"running", |hub| &hub.running, c"Whether the loop runs.")
        .flag(c"stopping", |hub| &hub.stopping, c"Whether the loop ends with this turn.")
        .flag(c"debug_blocking", |hub| &hub.debug_blocking, c"Whether to raise in code that blocks the loop too long.")
        .getter(
            c"timers",
            timers,
            c"Pending timers as a new list of pairs: the time at which it is due, and the timer.",
        )
        .getter(c"next_timers", |this| empty_list(this.gil()), c"Always empty: new timers take part at once.")
        .property(
            c"timers_canceled",
            |this| integer(this.gil(), this.count_canceled()),
            |_, _| Ok(()),
            c"How many cancelled timers are counted by get_timers_count().",
        )
}

fn integer(_: Gil<'_>, value: usize) -> Result<Owned> {
    // SAFETY: the token says that the lock is held.
    unsafe { Owned::new(ffi::PyLong_FromSize_t(value)) }
}

fn empty_list(_: Gil<'_>) -> Result<Owned> {
    // SAFETY: the token says that the lock is held.
    unsafe { Owned::new(ffi::PyList_New(0)) }
}

fn init(this: This<'_, Hub>, args: Args<'_>) -> Result<()> {
    let ([], [clock]) = args.parse("Hub", [], ["clock"])?;
    let gil = this.gil();
    if let Some(clock) = clock {
        set_clock(this, Some(clock.owned()))?;
    }
    // SAFETY: live objects.
    unsafe {
        let run = Owned::new(ffi::PyObject_GetAttr(this.as_ptr(), c_name(gil, c"run")?.as_ptr()))?;
        let greenlet = Owned::new(greenlet::construct(gil, run.as_ptr(), ptr::null_mut()))?;
        // A greenlet forgets its function when it begins; the one that follows it needs it.
        if ffi::PyObject_SetAttr(greenlet.as_ptr(), c_name(gil, c"_loop")?.as_ptr(), run.as_ptr()) < 0 {
            return Err(Raised);
        }
        this.greenlet.set(Some(greenlet));
    }
    Ok(())
}

/// `hub.name = value`: what concerns the fast path is looked at anew.
fn set_attribute(this: This<'_, Hub>, name: Object<'_>, value: Option<Object<'_>>) -> Result<()> {
    this.as_object().set_own_attribute(name, value)?;
    if FAST.iter().chain(&ASKED).any(|method| Some(method.to_bytes()) == name.latin1_octets()) {
        hub_ref::look_again(here(this.gil())?.record(), this);
    }
    Ok(())
}

fn run_loop(this: This<'_, Hub>, _: Args<'_>) -> Result<Owned> {
    if this.running.get() {
        return py::runtime_error(this.gil(), "Already running!");
    }
    let thread = here(this.gil())?;
    let keep = this.owned();
    this.running.set(true);
    this.stopping.set(false);
    note_overrides(this);
    let result = Runner::new(this, thread).run_loop();
    this.running.set(false);
    this.stopping.set(false);
    this.at_rest.set(false);
    drop(keep);
    result.map(|()| Owned::none(this.gil()))
}

fn switch_to_hub(this: This<'_, Hub>, _: Args<'_>) -> Result<Owned> {
    let thread = here(this.gil())?;
    if is_plain(&thread, &this) { park::park(thread) } else { park::leave_to_loop(thread, &this) }
}

fn ensure_greenlet(this: This<'_, Hub>, _: Args<'_>) -> Result<Owned> {
    this.ensure_greenlet()?;
    Ok(Owned::none(this.gil()))
}

fn schedule_call_global(this: This<'_, Hub>, args: Args<'_>) -> Result<Owned> {
    args.led_by("schedule_call_global", &[c"seconds", c"cb"], |args| schedule(this, args))
}

fn schedule(this: This<'_, Hub>, args: Args<'_>) -> Result<Owned> {
    let (rest, kwargs) = args.rest(2)?;
    // SAFETY: live objects.
    unsafe {
        let [delay, callback] = [args.positional[0], args.positional[1]].map(Object::owned);
        let timer = Timer::make(args.gil(), delay, callback, rest, kwargs)?;
        // A plain hub's is its own; what of another one is overridden may have changed.
        let plain = is_plain(here(this.gil())?.record(), &this);
        if plain || is_own(this.gil(), this.as_ptr(), c"add_timer") {
            start_timer(this, &timer)?;
        } else {
            call_hub(this.gil(), this.as_ptr(), c"add_timer", [timer.as_ptr()])?;
        }
        Ok(timer)
    }
}

/// Starts any timer object. Returns when it is due.
///
fn start_timer(this: This<'_, Hub>, timer: &Owned) -> Result<Time> {
    // SAFETY: a live object.
    unsafe {
        let delay = Timer::delay(timer.as_ptr())?;
        if delay == 0.0 && this.clock.get().is_null() {
            let now = monotonic();
            this.make_ready(Work::Timer(timer.clone()));
            return Ok(now);
        }
        let at = after(this.time()?, delay);
        let key = this.add_timer(at, Work::Timer(timer.clone()));
        if let Some(timer) = This::<Timer>::try_of(timer.as_ptr()) {
            timer.started(key, this.owned());
        }
        Ok(at)
    }
}

fn add_timer(this: This<'_, Hub>, args: Args<'_>) -> Result<Owned> {
    let ([timer], []) = args.parse("add_timer", ["timer"], [])?;
    let at = start_timer(this, &timer.owned())?;
    // SAFETY: the lock is held during the call.
    unsafe { Owned::new(ffi::PyFloat_FromDouble(seconds(at))) }
}

fn timer_canceled(this: This<'_, Hub>, args: Args<'_>) -> Result<Owned> {
    let ([timer], []) = args.parse("timer_canceled", ["timer"], [])?;
    let key = timer.instance::<Timer>().and_then(|timer| timer.stop());
    if key.is_none_or(|key| !this.existed(key)) {
        this.canceled_young.set(this.canceled_young.get() + 1);
    } else {
        this.canceled.set(this.canceled.get() + 1);
    }
    let count = count_timers(&this);
    if count > 1000 && count / 2 <= this.count_canceled() {
        this.canceled.set(0);
        this.canceled_young.set(0);
    }
    Ok(Owned::none(this.gil()))
}

fn count_timers(hub: &Hub) -> usize {
    hub.timers.borrow().len() + hub.ready.borrow().len() + hub.count_canceled()
}

fn timers_count(this: This<'_, Hub>, _: Args<'_>) -> Result<Owned> {
    integer(this.gil(), count_timers(&this))
}

fn prepare_timers(_: This<'_, Hub>, args: Args<'_>) -> Result<Owned> {
    Ok(Owned::none(args.gil()))
}

fn fire_timers(this: This<'_, Hub>, args: Args<'_>) -> Result<Owned> {
    let ([when], []) = args.parse("fire_timers", ["when"], [])?;
    this.begin_turn(Some(from_seconds(when.float()?)));
    Runner::new(this, here(this.gil())?).drain()?;
    Ok(Owned::none(this.gil()))
}

fn sleep_until(this: This<'_, Hub>, _: Args<'_>) -> Result<Owned> {
    let next = if this.ready.borrow().is_empty() { this.timers.borrow().next_at() } else { Some(this.time()?) };
    // SAFETY: called by the interpreter.
    next.map_or_else(
        || Ok(Owned::none(this.gil())),
        |next| unsafe { Owned::new(ffi::PyFloat_FromDouble(seconds(next))) },
    )
}

fn default_sleep(_: This<'_, Hub>, _: Args<'_>) -> Result<Owned> {
    // SAFETY: called by the interpreter.
    unsafe { Owned::new(ffi::PyFloat_FromDouble(DEFAULT_SLEEP)) }
}

fn wait(this: This<'_, Hub>, args: Args<'_>) -> Result<Owned> {
    let ([], [timeout]) = args.parse("wait", [], ["seconds"])?;
    let seconds = timeout.and_then(Object::unless_none).map_or(Ok(DEFAULT_SLEEP), Object::float)?;
    let runner = Runner::new(this, here(this.gil())?);
    runner.poll(seconds)?;
    if !this.own_wait.get() {
        // Called by an override of wait: the loop does not know that there may be something.
        this.stage.set(Stage::Io);
        runner.drain_watched()?;
    }
    Ok(Owned::none(this.gil()))
}

fn wait_for(this: This<'_, Hub>, args: Args<'_>) -> Result<Owned> {
    let ([fd, seconds], []) = args.parse("_wait_for", ["fileno", "seconds"], [])?;
    let fd = c_int::try_from(fd.number()?).unwrap_or(-1);
    let seconds = seconds.unless_none().map(Object::float).transpose()?;
    Runner::new(this, here(this.gil())?).wait_for(fd, seconds)?;
    Ok(Owned::none(this.gil()))
}

fn poller_fileno(this: This<'_, Hub>, _: Args<'_>) -> Result<Owned> {
    let thread = here(this.gil())?;
    // SAFETY: used at once.
    unsafe { Owned::new(ffi::PyLong_FromLong(this.polling(thread)?.number().into())) }
}

fn forget(this: This<'_, Hub>, args: Args<'_>) -> Result<Owned> {
    let ([number], []) = args.parse("mark_as_reopened", ["fileno"], [])?;
    let fd = c_int::try_from(number.number()?).unwrap_or(-1);
    forget_file(this, fd)?;
    Ok(Owned::none(this.gil()))
}

/// Tells those that wait on a descriptor that their file is closed.
pub fn forget_file(this: This<'_, Hub>, fd: c_int) -> Result<()> {
    // SAFETY: used at once.
    let polling = || unsafe { this.polling_if_any() }.filter(|polling| polling.is_current());
    if let Some(polling) = polling() {
        let mut waiting = polling.forget(fd).peekable();
        if waiting.peek().is_some() {
            let exception = closed_error(this.gil())?;
            for work in waiting {
                if let Work::Wake(ticket, _) = work {
                    ticket.wake(this.gil(), Outcome::Throw(exception.clone(), None));
                }
            }
        }
    }
    let listens = !this.own_wait.get() || polling().is_some_and(|polling| polling.listens(fd));
    if listens {
        // SAFETY: live objects.
        unsafe {
            let number = Owned::new(ffi::PyLong_FromLong(fd.into()))?;
            call_hub(this.gil(), this.as_ptr(), c"_obsolete", [number.as_ptr()])?;
        }
    }
    Ok(())
}

fn note_looked(this: This<'_, Hub>, _: Args<'_>) -> Result<Owned> {
    this.statistics.looked(this.time()?);
    this.statistics.set_waits(false);
    Ok(Owned::none(this.gil()))
}

fn note_closed(this: This<'_, Hub>, _: Args<'_>) -> Result<Owned> {
    this.has_closed.set(true);
    if this.asleep.get() {
        this.ring();
    }
    Ok(Owned::none(this.gil()))
}

fn statistics(this: This<'_, Hub>, _: Args<'_>) -> Result<Owned> {
    let told = this.statistics.counts();
    // SAFETY: called by the interpreter; numbers as the format says.
    unsafe {
        let waiters = this.polling_if_any().map_or(0, Polling::waiters);
        Owned::new(ffi::Py_BuildValue(
            c"{s:K,s:K,s:K,s:d,s:d,s:d,s:n,s:n,s:n}".as_ptr(),
            c"switches".as_ptr(),
            told.switches,
            c"timers".as_ptr(),
            told.timers,
            c"turns".as_ptr(),
            told.turns,
            c"timer_lag".as_ptr(),
            told.timer_lag.as_secs_f64(),
            c"longest_timer_lag".as_ptr(),
            told.longest_timer_lag.as_secs_f64(),
            c"longest_block".as_ptr(),
            told.longest_block.as_secs_f64(),
            c"ready".as_ptr(),
            this.ready.borrow().len(),
            c"timers_pending".as_ptr(),
            this.timers.borrow().len(),
            c"readers_and_writers".as_ptr(),
            waiters,
        ))
    }
}

fn get_greenlet(this: This<'_, Hub>) -> Result<Owned> {
    Ok(this.greenlet.object().unwrap_or_else(|| Owned::none(this.gil())))
}

fn set_greenlet(this: This<'_, Hub>, greenlet: Option<Owned>) -> Result<()> {
    match greenlet {
        // SAFETY: a live object.
        Some(greenlet) if unsafe { greenlet::is_greenlet(greenlet.as_ptr()) } => {
            this.greenlet.set(Some(greenlet));
            Ok(())
        }
        _ => py::type_error(this.gil(), "a hub's greenlet must be a greenlet"),
    }
}

static MONOTONIC: GlobalObject = GlobalObject::null();

fn get_clock(this: This<'_, Hub>) -> Result<Owned> {
    this.clock.object().map_or_else(|| default_clock(this.gil()), Ok)
}

fn set_clock(this: This<'_, Hub>, clock: Option<Owned>) -> Result<()> {
    let monotonic = default_clock(this.gil())?;
    let clock = clock.filter(|clock| !clock.is_none() && clock.as_ptr() != monotonic.as_ptr());
    this.clock.set(clock);
    hub_ref::look_again(here(this.gil())?.record(), this);
    Ok(())
}

/// `time.monotonic`.
fn default_clock(_: Gil<'_>) -> Result<Owned> {
    // SAFETY: live objects, of which the function lives for ever; the token says that the lock is held.
    unsafe {
        if MONOTONIC.object().is_null() {
            let time = Owned::new(ffi::PyImport_ImportModule(c"time".as_ptr()))?;
            MONOTONIC.set(Owned::new(ffi::PyObject_GetAttrString(time.as_ptr(), c"monotonic".as_ptr()))?);
        }
        Ok(Owned::borrow(MONOTONIC.object()))
    }
}

fn timers(this: This<'_, Hub>) -> Result<Owned> {
    // SAFETY: getters are called with the interpreter's lock; the objects are collected before any code can run.
    unsafe {
        let mut found = Vec::new();
        let mut add = |at: Time, work: &Work| {
            let object = match work {
                Work::Timer(timer) => timer.clone(),
                Work::Wake(ticket, _) => Owned::borrow(ticket.greenlet()),
                Work::Start { greenlet, .. } => greenlet.clone(),
                Work::Listener(..) => return,
            };
            found.push((seconds(at), object));
        };
        this.ready.borrow().iter().for_each(|(since, work)| add(*since, work));
        this.timers.borrow().iter().for_each(|(key, work)| add(key.at(), work));
        let list = Owned::new(ffi::PyList_New(0))?;
        for (at, object) in found {
            let pair = Owned::new(ffi::Py_BuildValue(c"dO".as_ptr(), at, object.as_ptr()))?;
            if ffi::PyList_Append(list.as_ptr(), pair.as_ptr()) < 0 {
                return Err(Raised);
            }
        }
        Ok(list)
    }
}
