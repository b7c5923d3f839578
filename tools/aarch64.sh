#!/bin/bash
# The tests of fiber, hub and greenloom for 64-bit ARM, under qemu's emulation of a process, with both switches.
# It wants Debian's gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user-static, and a rustup that has the target.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in aarch64-linux-gnu-gcc qemu-aarch64-static; do
    command -v "$tool" >/dev/null || {
        echo "no $tool: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static" >&2
        exit 1
    }
done
target=aarch64-unknown-linux-gnu
rustup target list --installed | grep -qx "$target" || {
    echo "no Rust for $target: rustup target add $target" >&2
    exit 1
}
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER='qemu-aarch64-static -L /usr/aarch64-linux-gnu'

# qemu is called by name, with nothing registered in the kernel (binfmt_misc), so a test cannot start its own program
# again in another process. Those that do so are left out:
skipped=(
    a_job_that_calls_for_another_runs_it_where_it_is
    the_size_is_set_by_the_environment_and_by_a_call
    a_stack_overflow_on_an_os_threads_own_stack_is_rusts
    a_stack_overflow_names_the_green_thread_its_size_and_the_setting
    no_fds_for_a_hub_is_an_error
    no_memory_for_stacks_is_an_error_with_the_numbers
    the_child_of_a_fork_goes_on_with_a_fresh_poller
    the_message_of_a_panic_names_the_green_thread
    without_pidfds_the_blocking_pool_waits
    every_call_is_defined_when_the_os_thread_ends
    the_child_of_a_fork_closes_only_what_is_its_own
    work_that_forks_leaves_its_parents_events_alone
    signals_are_waited_for_beside_other_things
    ctrl_c_reaches_a_program_that_waits_in_the_hub
    when_nobody_asks_a_signal_does_what_it_always_does
    when_nobody_asks_any_more_it_does_so_again
    out_of_descriptors_accept_says_so_and_serve_pauses
)
# qemu makes fork of vfork, so the error of a program that does not exist stays in the child.
skipped+=(no_such_program_is_an_error)
# Emulation is too slow for their milliseconds.
skipped+=(
    its_value_comes_back_and_others_run_meanwhile
    what_blocks_the_os_thread_is_the_longest_block_and_makes_timers_late
)
# They measure the memory of the process, to which qemu adds its own.
skipped+=(
    a_short_soak_loses_nothing_and_keeps_its_memory
    a_process_that_locks_its_memory_gets_stacks_that_take_what_they_touch_with_guards
)
arguments=()
for test in "${skipped[@]}"; do arguments+=(--skip "$test"); done

# The portable switch is tested even where the first run fails.
failed=0
cargo test --no-fail-fast --target "$target" -p greenloom-fiber -p greenloom-hub -p greenloom --tests -- \
    "${arguments[@]}" || failed=1
RUSTFLAGS='--cfg greenloom_switch="trampoline"' CARGO_TARGET_DIR=target/trampoline \
    cargo test --no-fail-fast --target "$target" -p greenloom-fiber --tests -- "${arguments[@]}" || failed=1
echo "left out, for the reasons given in $0: ${#skipped[@]} tests"
exit "$failed"
