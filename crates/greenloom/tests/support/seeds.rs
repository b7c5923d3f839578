//! Bodies that run once a seed, with random numbers from it, and must leave nothing behind.
#![allow(dead_code)]

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use greenloom::testing::explore;
use greenloom::{GreenThread, get_hub, inspect, sleep, yield_now};

pub const SEEDS: u64 = 150;
pub const MILLI: Duration = Duration::from_millis(1);

/// A generator of its own for each green thread, all from one seed.
#[derive(Clone)]
pub struct Random(Rc<Cell<u64>>);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(Rc::new(Cell::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)))
    }

    pub fn below(&self, bound: u64) -> u64 {
        self.0.set(self.0.get().wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407));
        (self.0.get() >> 33) % bound
    }
}

/// Runs `body` with a generator, once a seed, and checks that nothing is left behind in the hub.
pub fn for_seeds(body: impl Fn(Random) + Send + Sync) {
    explore(SEEDS, |seed| {
        let stacks = inspect::pool_stats().in_use;
        body(Random::new(seed));
        sleep(Duration::from_secs(60));
        assert_eq!((get_hub().timers_count(), get_hub().ready_count()), (0, 0), "timers and ready work left");
        assert_eq!(inspect::pool_stats().in_use, stacks, "stacks in use");
    });
}

/// Kills some of `threads` at random times and waits for the rest.
pub fn harass<T: 'static>(random: &Random, threads: Vec<GreenThread<T>>) {
    for thread in threads {
        if random.below(4) == 0 {
            sleep(MILLI * random.below(5) as u32);
            thread.kill();
        }
        let _ = thread.wait();
    }
}

/// A number that is counted for as long as it lives, clones included.
pub struct Counted {
    pub number: u64,
    live: Rc<Cell<i64>>,
}

impl Counted {
    pub fn new(number: u64, live: &Rc<Cell<i64>>) -> Counted {
        live.set(live.get() + 1);
        Counted { number, live: Rc::clone(live) }
    }
}

impl Clone for Counted {
    fn clone(&self) -> Counted {
        Counted::new(self.number, &self.live)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.live.set(self.live.get() - 1);
    }
}

/// Runs `body` once a seed, with a counter of what lives, which must be none in the end.
pub fn for_seeds_counted(body: impl Fn(&Random, &Rc<Cell<i64>>) + Send + Sync) {
    for_seeds(|random| {
        let live = Rc::new(Cell::new(0));
        body(&random, &live);
        // What was killed by something that unwound ends when it next runs.
        sleep(MILLI);
        assert_eq!(live.get(), 0, "values that are kept for nobody");
    });
}

/// Lets some time pass, or others run, or neither.
pub fn pause(random: &Random) {
    match random.below(3) {
        0 => sleep(MILLI * random.below(3) as u32),
        1 => yield_now(),
        _ => {}
    }
}
