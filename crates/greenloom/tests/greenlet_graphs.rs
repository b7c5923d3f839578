//! Random graphs of greenlets from seeds; the fuzz target `greenlet_graph` runs the same.

#[path = "support/graph.rs"]
mod graph;

#[test]
fn whatever_greenlets_do_to_one_another_every_destructor_runs_once() {
    for seed in 0..3_000u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let program: Vec<u8> = (0..400)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 56) as u8
            })
            .collect();
        let outcome = std::panic::catch_unwind(|| graph::run(&program));
        assert!(outcome.is_ok(), "seed {seed} failed");
    }
}
