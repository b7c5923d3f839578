//! Hubs that do not come to look at timers and I/O, since something blocks their OS thread.
//!
//! A hub is looked at from outside, by what it counts anyway: nothing is asked of it, and nothing is noted on its way.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

/// How long a hub may not move, if nobody says otherwise.
pub const DEFAULT_LIMIT: Duration = Duration::from_millis(100);

/// A hub, as it is seen from outside at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// Its number.
    pub hub: u64,
    /// The system's number of its OS thread, if it is known.
    pub os_thread: Option<i32>,
    /// What grows as long as the hub moves: how often it has looked at timers and I/O, or has switched.
    pub steps: u64,
    /// Whether it is kept by nobody: it waits for something to do, or there is nothing that it keeps waiting.
    pub is_free: bool,
}

/// What the watchdog has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A hub has not moved for longer than it may.
    Blocked(Pulse, Duration),
    /// It moves again, after so long.
    Moves(Pulse, Duration),
}

impl Found {
    /// The hub, if it is one that has not moved.
    pub fn blocked(&self) -> Option<&Pulse> {
        match self {
            Found::Blocked(pulse, _) => Some(pulse),
            Found::Moves(..) => None,
        }
    }
}

/// What is known of the hubs.
#[derive(Debug)]
pub struct Watchdog {
    limit: Duration,
    hubs: HashMap<u64, Known>,
}

#[derive(Debug)]
struct Known {
    steps: u64,
    since: Instant,
    is_told: bool,
}

impl Watchdog {
    /// Hubs may not move for `limit`.
    pub fn new(limit: Duration) -> Watchdog {
        Watchdog { limit, hubs: HashMap::new() }
    }

    /// How long until it wants to look again.
    pub fn interval(&self) -> Duration {
        (self.limit / 4).max(Duration::from_millis(1))
    }

    /// Whoever looks has waited for the next look. If that was much longer than it wanted, the process was stopped (by
    /// a debugger, say) or had no processor, and the hubs with it: that is not held against them.
    pub fn wake(&mut self, waited: Duration) {
        let kept = waited.saturating_sub(self.interval());
        if kept > self.interval() {
            self.hubs.values_mut().for_each(|known| known.since += kept);
        }
    }

    /// Looks at the hubs. Each block is found once, and its end.
    pub fn look(&mut self, now: Instant, pulses: &[Pulse]) -> Vec<Found> {
        self.hubs.retain(|hub, _| pulses.iter().any(|pulse| pulse.hub == *hub));
        let mut found = Vec::new();
        for pulse in pulses {
            let fresh = Known { steps: pulse.steps, since: now, is_told: false };
            let known = self.hubs.entry(pulse.hub).or_insert_with(|| Known { ..fresh });
            let lasts = now.saturating_duration_since(known.since);
            if pulse.is_free || pulse.steps != known.steps {
                if known.is_told {
                    found.push(Found::Moves(pulse.clone(), lasts));
                }
                *known = Known { steps: pulse.steps, since: now, is_told: false };
            } else if !known.is_told && lasts >= self.limit {
                known.is_told = true;
                found.push(Found::Blocked(pulse.clone(), lasts));
            }
        }
        found
    }

    /// For how long a hub has not moved, if that was found.
    pub fn blocked(&self, hub: u64) -> Option<Duration> {
        self.hubs.get(&hub).filter(|known| known.is_told).map(|known| known.since.elapsed())
    }
}

/// What an OS thread of this process does, as the system sees it: that it runs, or which system call it is in.
///
/// ```
/// let id = rustix::thread::gettid().as_raw_nonzero().get();
/// assert!(greenloom_inspect::watchdog::activity(id).is_some());
/// ```
pub fn activity(os_thread: i32) -> Option<String> {
    let line = fs::read_to_string(format!("/proc/self/task/{os_thread}/syscall")).ok()?;
    let mut words = line.split_whitespace();
    match words.next()? {
        "running" => Some("it runs".into()),
        "-1" => Some("it waits in the kernel".into()),
        number => {
            let number: u32 = number.parse().ok()?;
            let first = words.next().unwrap_or("?");
            Some(match CALLS.iter().find(|(known, _)| *known == number) {
                Some((_, "futex")) => format!("it waits for a lock (futex {first})"),
                Some((_, name)) => format!("it is in the system call {name}"),
                None => format!("it is in system call {number}"),
            })
        }
    }
}

/// Whether an [`activity`] is a wait for a lock.
pub(crate) fn is_wait_for_lock(activity: &str) -> bool {
    activity.contains("(futex ")
}

/// System calls in which programs wait, by their numbers on this processor.
#[cfg(target_arch = "x86_64")]
const CALLS: &[(u32, &str)] = &[
    (0, "read"),
    (1, "write"),
    (7, "poll"),
    (23, "select"),
    (35, "nanosleep"),
    (42, "connect"),
    (43, "accept"),
    (44, "sendto"),
    (45, "recvfrom"),
    (46, "sendmsg"),
    (47, "recvmsg"),
    (61, "wait4"),
    (72, "fcntl"),
    (73, "flock"),
    (74, "fsync"),
    (75, "fdatasync"),
    (202, "futex"),
    (230, "clock_nanosleep"),
    (232, "epoll_wait"),
    (247, "waitid"),
    (257, "openat"),
    (270, "pselect6"),
    (271, "ppoll"),
    (281, "epoll_pwait"),
    (288, "accept4"),
];

/// System calls in which programs wait, by their numbers on this processor.
#[cfg(target_arch = "aarch64")]
const CALLS: &[(u32, &str)] = &[
    (22, "epoll_pwait"),
    (25, "fcntl"),
    (32, "flock"),
    (56, "openat"),
    (63, "read"),
    (64, "write"),
    (72, "pselect6"),
    (73, "ppoll"),
    (82, "fsync"),
    (83, "fdatasync"),
    (95, "waitid"),
    (98, "futex"),
    (101, "nanosleep"),
    (115, "clock_nanosleep"),
    (202, "accept"),
    (203, "connect"),
    (206, "sendto"),
    (207, "recvfrom"),
    (211, "sendmsg"),
    (212, "recvmsg"),
    (242, "accept4"),
    (260, "wait4"),
];

/// System calls have other numbers on each processor.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const CALLS: &[(u32, &str)] = &[];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_told_once_and_its_end_once() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let pulse = |steps, is_free| Pulse { hub: 3, steps, is_free, ..Pulse::default() };
        let mut watchdog = Watchdog::new(Duration::from_millis(100));
        let mut look = |ms, steps, is_free| watchdog.look(at(ms), &[pulse(steps, is_free)]);
        assert_eq!(look(0, 7, false), []);
        assert_eq!(look(90, 7, false), []);
        assert_eq!(look(120, 7, false), [Found::Blocked(pulse(7, false), Duration::from_millis(120))]);
        assert_eq!(look(300, 7, false), []);
        assert_eq!(look(400, 8, false), [Found::Moves(pulse(8, false), Duration::from_millis(400))]);
        assert_eq!(look(450, 8, false), []);
        // It moves, however much it has to do.
        assert_eq!((0..50).map(|n| look(500 + 90 * n, 9 + n, false).len()).sum::<usize>(), 0);
    }

    #[test]
    fn a_hub_of_a_process_that_was_stopped_is_not_blocked_for_that() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let pulse = Pulse { hub: 3, ..Pulse::default() };
        let mut watchdog = Watchdog::new(Duration::from_millis(100));
        assert_eq!(watchdog.look(at(0), std::slice::from_ref(&pulse)), []);
        watchdog.wake(Duration::from_millis(60_025));
        assert_eq!(watchdog.look(at(60_025), std::slice::from_ref(&pulse)), []);
        watchdog.wake(Duration::from_millis(30));
        let found = watchdog.look(at(60_105), std::slice::from_ref(&pulse));
        assert_eq!(found, [Found::Blocked(pulse, Duration::from_millis(105))]);
    }

    #[test]
    fn a_hub_that_waits_is_not_blocked() {
        let begun = Instant::now();
        let mut watchdog = Watchdog::new(Duration::from_millis(100));
        for seconds in 0..10 {
            let pulse = Pulse { is_free: true, ..Pulse::default() };
            assert_eq!(watchdog.look(begun + Duration::from_secs(seconds), &[pulse]), []);
        }
        // Since it has something to do again.
        let busy = begun + Duration::from_millis(9_050);
        assert_eq!(watchdog.look(busy, &[Pulse::default()]), []);
    }

    #[test]
    fn an_os_thread_that_waits_for_a_lock_is_told_from_one_that_sleeps() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let waits = std::thread::spawn(move || {
            sender.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            let _ = ends.recv();
        });
        let id = receiver.recv().unwrap();
        while activity(id).is_some_and(|what| !what.starts_with("it waits for a lock (futex 0x")) {
            std::thread::yield_now();
        }
        drop(end);
        waits.join().unwrap();
        // The system takes it out of its list a little after it is known to have ended.
        while activity(id).is_some() {
            std::thread::yield_now();
        }
    }
}
