//! Sets, pools, cancellation and select under random operations, kills and timeouts, and random schedules from seeds:
//! nothing is lost, doubled or leaked, and nobody is left waiting. A failing seed is printed; `GREENLOOM_SEED` replays
//! it. Channels are in `channel_properties.rs`.

#[path = "support/seeds.rs"]
mod seeds;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use greenloom::pool::GreenPool;
use greenloom::queue::Queue;
use greenloom::select::Select;
use greenloom::sync::{CancellationToken, broadcast, oneshot, watch};
use greenloom::{GreenThread, JoinError, JoinSet, sleep, spawn, timeout, yield_now};
use seeds::{Counted, MILLI, for_seeds, for_seeds_counted, pause};

#[test]
fn a_join_set_tells_of_each_once_and_ends_what_is_left() {
    for_seeds_counted(|random, live| {
        let started = 20;
        let (told, random_of, live_of) = (Rc::new(RefCell::new(Vec::new())), random.clone(), Rc::clone(live));
        let telling = Rc::clone(&told);
        let keeper = spawn(move || {
            let mut set = JoinSet::new();
            for number in 0..started {
                let (random, counted) = (random_of.clone(), Counted::new(number, &live_of));
                set.spawn(move || {
                    pause(&random);
                    sleep(MILLI * random.below(4) as u32);
                    counted
                });
            }
            while !set.is_empty() {
                let outcome = match random_of.below(3) {
                    0 => set.join_next(),
                    1 => timeout(MILLI * random_of.below(3) as u32, || set.join_next()).unwrap_or(None),
                    _ => set.try_join_next(),
                };
                if let Some(outcome) = outcome {
                    telling.borrow_mut().push(outcome.expect("none of them is killed").number);
                }
                pause(&random_of);
            }
            assert_eq!(set.try_join_next().map(drop), None);
        });
        if random.below(2) == 0 {
            sleep(MILLI * random.below(5) as u32);
            keeper.kill();
        }
        let is_whole = match keeper.wait() {
            Err(error) => !matches!(error, JoinError::Killed),
            Ok(()) => true,
        };
        let mut told = told.take();
        let count = told.len();
        told.sort_unstable();
        told.dedup();
        assert_eq!(told.len(), count, "some were told of twice");
        assert!(!is_whole || told.len() as u64 == started, "{} of {started} were told of", told.len());
    });
}

#[test]
fn a_pool_gives_each_result_once_in_any_order_also_to_one_that_times_out() {
    for_seeds_counted(|random, live| {
        let (items, pool) = (24, GreenPool::new(1 + random.below(5) as usize));
        let (random_of, live_of) = (random.clone(), Rc::clone(live));
        let square = move |number: u64| {
            pause(&random_of);
            Counted::new(number, &live_of)
        };
        let mut results = pool.imap_unordered(square, 0..items);
        let mut seen = BTreeSet::new();
        let give_up = (random.below(3) == 0).then(|| random.below(items));
        loop {
            if give_up == Some(seen.len() as u64) {
                break;
            }
            match timeout(MILLI * random.below(3) as u32, || results.next()) {
                Ok(None) => break,
                Ok(Some(result)) => assert!(seen.insert(result.expect("none of them is killed").number), "twice"),
                Err(_) => {}
            }
        }
        drop(results);
        pool.waitall();
        assert_eq!(pool.running(), 0);
        assert!(give_up.is_some() || seen.len() as u64 == items);
    });
}

#[test]
fn a_token_ends_the_waits_on_it_and_below_it_and_no_others() {
    for_seeds(|random| {
        let mut tokens = vec![CancellationToken::new()];
        // Whose child each is; the first is nobody's.
        let mut parents = vec![0];
        for _ in 1..12 {
            let parent = random.below(tokens.len() as u64) as usize;
            tokens.push(tokens[parent].child_token());
            parents.push(parent);
        }
        let cancelled: Rc<RefCell<BTreeSet<usize>>> = Rc::default();
        let ancestors = move |mut number: usize| {
            let mut line = BTreeSet::from([number]);
            while number != 0 {
                number = parents[number];
                line.insert(number);
            }
            line
        };
        let mut waiting: Vec<(usize, GreenThread<()>)> = Vec::new();
        for _ in 0..20 {
            let number = random.below(12) as usize;
            let (token, random, line, cancelled) =
                (tokens[number].clone(), random.clone(), ancestors(number), Rc::clone(&cancelled));
            waiting.push((
                number,
                spawn(move || {
                    loop {
                        let told = match random.below(4) {
                            0 => {
                                token.wait();
                                true
                            }
                            1 => token.wait_timeout(MILLI * random.below(4) as u32),
                            2 => timeout(MILLI * random.below(4) as u32, || token.wait()).is_ok(),
                            _ => Select::new().cancelled(&token, || true).timeout(MILLI, || false).wait(),
                        };
                        let ought = !line.is_disjoint(&cancelled.borrow());
                        assert!(!told || ought, "told of a cancellation that was not");
                        assert_eq!(token.is_cancelled(), ought);
                        if told {
                            return;
                        }
                        pause(&random);
                    }
                }),
            ));
        }
        for (_, thread) in waiting.iter().filter(|_| random.below(5) == 0) {
            sleep(MILLI * random.below(2) as u32);
            thread.kill();
        }
        for _ in 0..4 {
            sleep(MILLI * random.below(4) as u32);
            let number = random.below(12) as usize;
            match random.below(2) {
                0 => tokens[number].cancel(),
                // Also by a guard, which may go while something unwinds.
                _ => {
                    let guard = tokens[number].clone().drop_guard();
                    let holder = spawn(move || {
                        let _guard = guard;
                        sleep(MILLI * 1000);
                    });
                    yield_now();
                    // It unwinds before anybody else runs.
                    cancelled.borrow_mut().insert(number);
                    holder.kill();
                }
            }
            cancelled.borrow_mut().insert(number);
        }
        sleep(MILLI * 20);
        for (number, thread) in &waiting {
            let ought = !ancestors(*number).is_disjoint(&cancelled.borrow());
            assert!(thread.is_dead() || !ought, "{number} waits for what has come");
        }
        tokens[0].cancel();
        cancelled.borrow_mut().insert(0);
        for (_, thread) in waiting {
            assert!(matches!(thread.wait(), Ok(()) | Err(JoinError::Killed)));
        }
    });
}

#[test]
fn a_select_over_everything_takes_one_thing_and_leaves_the_others_where_they_were() {
    for_seeds_counted(|random, live| {
        let (jobs, answers) = (Rc::new(Queue::new(1)), Rc::new(Queue::new(1)));
        let (news, mut hearing) = broadcast::channel(4);
        let (level, mut watching) = watch::channel(0u64);
        let stop = CancellationToken::new();
        let asked = spawn({
            let random = random.clone();
            move || sleep(MILLI * random.below(9) as u32)
        });
        let (one, mut another) = oneshot::channel();
        let counts: Rc<[Cell<u64>; 5]> = Rc::default();
        let [got, heard, put, singles, ends] = [0, 1, 2, 3, 4];
        let selecting = spawn({
            let (jobs, answers, stop, counts) =
                (Rc::clone(&jobs), Rc::clone(&answers), stop.clone(), Rc::clone(&counts));
            let (random, live) = (random.clone(), Rc::clone(live));
            move || {
                let count = |what: usize, by: u64| counts[what].set(counts[what].get() + by);
                let (mut single, mut ended, mut level) = (false, false, 0);
                loop {
                    let mut answer = Some(Counted::new(0, &live));
                    let mut select = Select::new()
                        .get(&jobs, |job| {
                            count(got, u64::from(job.is_ok()));
                            true
                        })
                        .put(&answers, &mut answer, |result| {
                            count(put, u64::from(result.is_ok()));
                            true
                        })
                        .recv(&mut hearing, |result: Result<Counted, _>| {
                            count(
                                heard,
                                match result {
                                    Err(broadcast::RecvError::Lagged(missed)) => missed,
                                    result => u64::from(result.is_ok()),
                                },
                            );
                            true
                        });
                    let (mut now_single, mut now_ended) = (false, false);
                    if !single {
                        select = select.oneshot(&mut another, |result: Result<Counted, _>| {
                            count(singles, u64::from(result.is_ok()));
                            now_single = true;
                            true
                        });
                    }
                    if !ended {
                        select = select.end(&asked, || {
                            count(ends, 1);
                            now_ended = true;
                            true
                        });
                    }
                    let goes_on = select
                        .changed(&mut watching, |_| true)
                        .timeout(MILLI * random.below(4) as u32, || true)
                        .cancelled(&stop, || false)
                        .wait();
                    (single, ended) = (single || now_single, ended || now_ended);
                    let newest = *watching.borrow();
                    assert!(newest >= level);
                    level = newest;
                    if !goes_on {
                        // What came at the same time is still there.
                        count(got, std::iter::from_fn(|| jobs.try_get().ok()).count() as u64);
                        loop {
                            match hearing.try_recv() {
                                Ok(_) => count(heard, 1),
                                Err(broadcast::RecvError::Lagged(missed)) => count(heard, missed),
                                Err(_) => break,
                            }
                        }
                        count(singles, u64::from(!single && another.try_recv().is_ok()));
                        return;
                    }
                }
            }
        });
        let (mut jobs_in, mut sent, mut taken) = (0, 0, 0);
        let mut one = Some(one);
        for n in 0..30 {
            match random.below(6) {
                0 | 1 => jobs_in += u64::from(jobs.put_timeout(Counted::new(n, live), MILLI).is_ok()),
                2 => sent += u64::from(news.send(Counted::new(n, live)).is_ok()),
                3 => drop(level.send(n)),
                4 => taken += u64::from(answers.get_timeout(MILLI).is_ok()),
                _ => drop(one.take().map(|one| one.send(Counted::new(n, live)))),
            }
            pause(random);
        }
        let is_single = one.is_none();
        sleep(MILLI * 10);
        let kill = random.below(4) == 0;
        if kill {
            selecting.kill();
        } else {
            stop.cancel();
        }
        let outcome = selecting.wait();
        assert!(kill || outcome.is_ok());
        taken += std::iter::from_fn(|| answers.try_get().ok()).count() as u64;
        let left = std::iter::from_fn(|| jobs.try_get().ok()).count() as u64;
        jobs.try_put(Counted::new(0, live)).expect("there is room");
        assert!(jobs.try_get().is_ok(), "nobody is in the line any more who could have been given it");
        assert_eq!(counts[got].get() + left, jobs_in, "jobs");
        assert_eq!(counts[put].get(), taken, "answers");
        if !kill {
            assert_eq!(counts[heard].get(), sent, "news");
            assert_eq!(counts[singles].get(), u64::from(is_single), "the one value");
        }
        assert!(counts[ends].get() <= 1);
    });
}
