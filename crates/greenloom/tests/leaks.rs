//! Memory: whatever was spawned, killed, timed out or selected gives all of it back. Every allocation of this program
//! is counted, which is why the test is the only one in its file.

use std::alloc::{GlobalAlloc, Layout, System};
use std::rc::Rc;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Duration;

use greenloom::pool::GreenPool;
use greenloom::queue::Queue;
use greenloom::select::Select;
use greenloom::sync::{Event, Semaphore};
use greenloom::testing::Simulation;
use greenloom::{get_hub, sleep, spawn, timeout, yield_now};

/// Bytes that were allocated and not freed.
static LIVE: AtomicIsize = AtomicIsize::new(0);

struct Counting;

// SAFETY: the system's allocator does the work; we only count.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LONG: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_millis(1);

/// Green threads that end in every way there is, with something on the heap that only unwinding frees.
fn round() {
    let (queue, event) = (Rc::new(Queue::<Vec<u8>>::new(1)), Rc::new(Event::<Vec<u8>>::new()));
    let semaphore = Rc::new(Semaphore::new(1));
    let held = semaphore.acquire();
    let mut threads = Vec::new();
    for number in 0..24u8 {
        let (queue, event, semaphore) = (queue.clone(), event.clone(), semaphore.clone());
        threads.push(spawn(move || {
            let kept = vec![number; 100];
            match number % 6 {
                0 => sleep(LONG),
                1 => drop(timeout(SHORT, || sleep(LONG))),
                2 => drop(queue.put(kept.clone())),
                3 => drop(semaphore.acquire_timeout(SHORT)),
                4 => drop(event.wait()),
                _ => Select::new().get(&queue, drop).event(&event, drop).timeout(SHORT, || ()).wait(),
            }
            assert_eq!(kept.len(), 100);
        }));
    }
    // Some never begin, some are killed while they wait, some give up.
    let unstarted = spawn(|| ());
    unstarted.kill();
    yield_now();
    let pool = GreenPool::new(2);
    let pooled: Vec<_> = (0..4).map(|_| pool.spawn(|| sleep(SHORT))).collect();
    pooled[0].kill();
    sleep(SHORT * 2);
    threads.iter().for_each(|thread| thread.kill());
    for thread in threads {
        let _ = thread.wait();
    }
    pool.waitall();
    drop(held);
}

/// Live bytes after each of some batches of rounds; the first batches fill the caches.
fn live_bytes(rounds: usize, round: fn()) -> Vec<isize> {
    let batches = (0..8).map(|_| {
        (0..rounds).for_each(|_| round());
        LIVE.load(Ordering::Relaxed)
    });
    batches.collect()
}

#[test]
fn live_bytes_stay_flat_over_spawns_kills_timeouts_and_selects() {
    let (batches, timers) = Simulation::new()
        .run(|| (live_bytes(50, round), get_hub().timers_count()))
        .unwrap_or_else(|deadlock| panic!("{deadlock}"));
    assert_eq!(timers, 0, "timers left");
    let grown = batches[7] - batches[3];
    // A greenlet, a waiter or an item that stayed would be 200 times its size.
    assert!(grown.abs() < 1024, "{grown} bytes more after 200 rounds: {batches:?}");

    // The test itself sees a round that keeps something.
    let kept = Simulation::new()
        .run(|| live_bytes(50, || std::mem::forget(Vec::<u8>::with_capacity(16))))
        .unwrap_or_else(|deadlock| panic!("{deadlock}"));
    assert!(kept[7] - kept[3] >= 200 * 16, "a leak of 16 bytes a round is seen: {kept:?}");
}
