"""profilers.py [COUNT...]: how many samples a profiler in another process loses while COUNT greenlets switch.

The samples are taken as the sampling profiler of CPython 3.15 takes them, with `_remote_debugging`, which 3.14 has too;
on 3.15 also with the program held still for each, as `--blocking` does. A sample is lost if reading it fails, and wrong
if it is empty or not a stack that the program can have. The program works for about a millisecond between two switches:
what a profiler reads of a program that runs is not of one moment, so each switch and each call meanwhile costs samples.
Run with the interpreter and the greenlet to be measured; prints a line for each COUNT, 1 and 10 if none is given, 0 for
a program without greenlets. SECONDS sets how long each is.
"""

import os
import subprocess
import sys
import time

PROGRAM = """
import sys, greenlet
count = int(sys.argv[1])
def work(left):
    return work(left - 1) if left else sum(range(100_000))
def run():
    while True:
        work(5)
        turn(1)
def turn(step):
    place = ring.index(greenlet.getcurrent())
    ring[(place + step) % len(ring)].switch()
ring = [greenlet.getcurrent()] + [greenlet.greenlet(run) for _ in range(count)]
def main():
    while True:
        work(5)
        turn(1)
print("ready", flush=True)
main()
"""

# The names of each frame's function, innermost first, that a stack of the program ends with.
ENDS = (["run"], ["main", "<module>"])


def unwinder(pid):
    import _remote_debugging

    if sys.version_info >= (3, 15):
        return _remote_debugging.RemoteUnwinder(pid, all_threads=True, cache_frames=True)
    return _remote_debugging.RemoteUnwinder(pid, all_threads=True)


def threads_of(trace):
    """Each thread's frames; 3.15 has interpreters above the threads."""
    for entry in trace:
        for thread in getattr(entry, "threads", [entry]):
            yield thread.frame_info


def is_possible(frames):
    names = [frame.funcname for frame in frames if frame.funcname not in ("<native>", "<GC>")]
    if not any(names[-len(end) :] == end for end in ENDS):
        return False
    inner = [name for name in names if name not in ("run", "main", "<module>")]
    return set(inner) <= {"work", "turn"} and not {"work", "turn"} <= set(inner)


def sample(count, seconds, still=False, least=0):
    """Runs the program for a while, and until so many samples were taken; the numbers of samples, of those lost, of
    those wrong, and the failures' names."""
    child = subprocess.Popen([sys.executable, "-c", PROGRAM, str(count)], stdout=subprocess.PIPE, text=True)
    try:
        child.stdout.readline()
        reader = unwinder(child.pid)
        taken = lost = wrong = 0
        failures = {}
        end = time.monotonic() + seconds
        while time.monotonic() < end or taken < least:
            taken += 1
            try:
                if still:
                    reader.pause_threads()
                try:
                    trace = reader.get_stack_trace()
                finally:
                    if still:
                        reader.resume_threads()
            except (OSError, RuntimeError, UnicodeDecodeError, ValueError) as error:
                lost += 1
                name = f"{type(error).__name__}: {error}"
                failures[name] = failures.get(name, 0) + 1
            else:
                wrong += not all(map(is_possible, threads_of(trace)))
            time.sleep(0.001)
        if child.poll() is not None:
            raise SystemExit(f"the program ended with {child.returncode}")
        return taken, lost, wrong, failures
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def main():
    seconds = float(os.environ.get("SECONDS", 3))
    for count in map(int, sys.argv[1:] or ("1", "10")):
        for still in (False, True) if sys.version_info >= (3, 15) else (False,):
            taken, lost, wrong, failures = sample(count, seconds, still)
            how = "held still" if still else "running"
            print(
                f"{count} greenlets, {how}: {taken} samples, {lost / taken:.1%} lost, {wrong / taken:.1%} wrong",
                flush=True,
            )
            for name, number in sorted(failures.items(), key=lambda item: -item[1])[:3]:
                print(f"    {number}: {name}")


if __name__ == "__main__":
    main()
