//! Intervals, on virtual time.

mod common;

use std::time::Duration;

use common::{millis, simulate};
use greenloom::hub::now;
use greenloom::{MissedTickBehavior, get_hub, interval, interval_after, sleep, spawn, timeout, yield_now};
use proptest::prelude::*;

/// When the ticks come of a loop whose rounds take so many milliseconds each.
fn ticks(behavior: MissedTickBehavior, period: u64, rounds: &[u64]) -> Vec<u64> {
    let rounds = rounds.to_vec();
    simulate(move || {
        let mut interval = interval(millis(period));
        interval.set_missed_tick_behavior(behavior);
        let mut ticks = Vec::new();
        for round in rounds {
            interval.tick();
            ticks.push(u64::try_from(now().as_millis()).unwrap());
            if round > 0 {
                sleep(millis(round));
            }
        }
        ticks
    })
}

#[test]
fn the_first_tick_comes_at_once_and_the_others_do_not_drift() {
    assert_eq!(ticks(MissedTickBehavior::Burst, 10, &[0, 3, 9, 0, 5]), [0, 10, 20, 30, 40]);
    simulate(|| {
        let mut later = interval_after(millis(7), millis(10));
        later.tick();
        assert_eq!(now(), millis(7));
        let due = later.tick();
        assert_eq!((now(), get_hub().now()), (millis(17), due));
        later.reset();
        later.tick();
        assert_eq!(now(), millis(27));
        sleep(millis(4));
        later.reset();
        later.tick();
        assert_eq!(now(), millis(41));
    });
}

#[test]
fn ticks_that_were_missed_come_at_once_shift_the_others_or_are_left_out() {
    let rounds = [35, 0, 0, 0, 0];
    assert_eq!(ticks(MissedTickBehavior::Burst, 10, &rounds), [0, 35, 35, 35, 40]);
    assert_eq!(ticks(MissedTickBehavior::Delay, 10, &rounds), [0, 35, 45, 55, 65]);
    assert_eq!(ticks(MissedTickBehavior::Skip, 10, &rounds), [0, 35, 40, 50, 60]);
}

#[test]
fn a_tick_that_is_a_little_late_is_in_time() {
    let rounds = [14, 0, 0];
    assert_eq!(ticks(MissedTickBehavior::Delay, 10, &rounds), [0, 14, 20]);
    assert_eq!(ticks(MissedTickBehavior::Skip, 10, &rounds), [0, 14, 20]);
}

#[test]
fn a_timeout_around_a_tick_takes_none_away() {
    simulate(|| {
        let mut interval = interval(millis(10));
        interval.tick();
        for _ in 0..3 {
            assert!(timeout(millis(2), || interval.tick()).is_err());
        }
        interval.tick();
        assert_eq!((now(), get_hub().timers_count()), (millis(10), 0));
    });
}

#[test]
fn ticks_that_are_due_already_let_others_run() {
    simulate(|| {
        let other = spawn(yield_now);
        let mut interval = interval(millis(1));
        sleep(Duration::from_secs(1));
        while !other.is_dead() {
            interval.tick();
        }
        assert!(now() < Duration::from_millis(1_001), "they were due all the time");
    });
}

#[test]
#[should_panic(expected = "a period above zero")]
fn a_period_of_zero_is_refused() {
    let _ = interval(Duration::ZERO);
}

proptest! {
    #[test]
    fn ticks_are_never_early_and_keep_to_their_policy(
        period in 1..40u64,
        rounds in prop::collection::vec(0..90u64, 1..20),
    ) {
        let burst = ticks(MissedTickBehavior::Burst, period, &rounds);
        for (number, at) in burst.iter().enumerate() {
            prop_assert!(*at >= number as u64 * period);
        }
        let delay = ticks(MissedTickBehavior::Delay, period, &rounds);
        for pair in delay.windows(2) {
            // A little late counts as in time, so the next may be that much sooner.
            prop_assert!(pair[1] + 5 >= pair[0] + period);
        }
        let skip = ticks(MissedTickBehavior::Skip, period, &rounds);
        for (pair, round) in skip.windows(2).zip(&rounds) {
            prop_assert!(pair[1] % period == 0 || pair[1] == pair[0] + round);
        }
    }
}
