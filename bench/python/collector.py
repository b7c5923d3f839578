"""What the garbage collector costs a program that keeps much and makes much, and what its settings save.

    python bench/python/collector.py

The program keeps 300,000 small objects, as one does whose modules and caches are large, and handles 20,000 requests in
green threads, each of which makes 30 objects and lets them go at its end. Each setting runs in processes of its own, in
turns; printed is the CPU time beside that of the defaults, the median of the turns.
"""

import gc
import json
import statistics
import subprocess
import sys
import time

SETTINGS = {
    "defaults": lambda: None,
    "gc.set_threshold(20_000, 50)": lambda: gc.set_threshold(20_000, 50),
    "gc.freeze() after start": gc.freeze,
    "both": lambda: (gc.set_threshold(20_000, 50), gc.freeze()),
    "gc.disable()": gc.disable,
}
TURNS = 3


def handle(number):
    """A request that waits once, with what it keeps meanwhile."""
    import eventlet

    kept = [{"number": number, "place": [place]} for place in range(15)]
    eventlet.sleep(0)
    return len(kept)


def work(setting):
    """CPU seconds of the requests under a setting."""
    import eventlet

    _kept = [{"key": [number]} for number in range(150_000)]
    SETTINGS[setting]()
    pool = eventlet.GreenPool(200)
    begun = time.process_time()
    for number in range(20_000):
        pool.spawn_n(handle, number)
    pool.waitall()
    return time.process_time() - begun


def main():
    if len(sys.argv) > 1:
        print(json.dumps(work(sys.argv[1])))
        return
    turns = []
    for _ in range(TURNS):
        command = [sys.executable, "-W", "ignore", __file__]
        turn = {name: json.loads(subprocess.check_output([*command, name])) for name in SETTINGS}
        turns.append({name: value / turn["defaults"] for name, value in turn.items()})
    for name in SETTINGS:
        print(f"{name:32} {statistics.median(turn[name] for turn in turns):.2f}x")


if __name__ == "__main__":
    main()
