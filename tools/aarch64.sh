#!/bin/bash
# The tests of fiber, hub and greenloom for 64-bit ARM, under qemu's emulation of a process, with both switches.
# It wants Debian's gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user-static, and a rustup that has the target.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v aarch64-linux-gnu-gcc >/dev/null || {
    echo "no aarch64-linux-gnu-gcc: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross" >&2
    exit 1
}
target=aarch64-unknown-linux-gnu
rustup target list --installed | grep -qx "$target" || {
    echo "no Rust for $target: rustup target add $target" >&2
    exit 1
}
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export QEMU_LD_PREFIX=/usr/aarch64-linux-gnu

skipped=(
    # qemu makes fork of vfork, so the error of a program that does not exist stays in the child.
    no_such_program_is_an_error
    # qemu keeps no limit of the address space.
    no_memory_for_stacks_is_an_error_with_the_numbers
    # The root of a user namespace may lock no more memory than anybody.
    a_process_that_locks_its_memory_gets_stacks_that_take_what_they_touch_with_guards
    # qemu follows no advice, so guards are made by mprotect, and there are not mappings enough for so many.
    a_hundred_thousand_sleepers_wake_in_order_and_give_everything_back
    # Emulation is too slow for their milliseconds.
    what_blocks_the_os_thread_is_the_longest_block_and_makes_timers_late
    others_run_while_one_waits_for_a_child
    without_pidfds_the_blocking_pool_waits
    # The system tells of qemu's own system calls, by the other processor's numbers.
    the_watchdog_names_a_green_thread_that_waits_for_a_lock_of_std
    the_watchdog_tells_the_name_of_what_had_blocked_the_hub
    # qemu copies no memory for process_vm_readv, and the system tells of qemu's registers and signals.
    the_watchdog_names_a_function_that_computes
    one_that_runs_is_copied_and_goes_on_as_if_nothing_was
    one_that_waits_is_copied_and_its_system_call_goes_on
    one_that_blocks_all_signals_is_told_of_and_is_sent_none
    a_signal_that_the_program_handles_is_left_to_it
    a_fiber_whose_stack_is_all_but_full_is_copied
)
arguments=()
for test in "${skipped[@]}"; do arguments+=(--skip "$test"); done

# The portable switch is tested even where the first run fails.
failed=0
tools/qemu-aarch64.sh cargo test --no-fail-fast --target "$target" -p greenloom-fiber -p greenloom-hub -p greenloom \
    --tests -- "${arguments[@]}" || failed=1
RUSTFLAGS='--cfg greenloom_switch="trampoline"' CARGO_TARGET_DIR=target/trampoline tools/qemu-aarch64.sh \
    cargo test --no-fail-fast --target "$target" -p greenloom-fiber --tests -- "${arguments[@]}" || failed=1
echo "left out, for the reasons given in $0: ${#skipped[@]} tests"
exit "$failed"
