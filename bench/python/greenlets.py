"""One figure each for the greenlet that can be imported here; `python/tools/bench.sh` runs it for ours and for stock in
turn.

Prints a JSON object. Times are the best of several rounds, in nanoseconds.
"""

import json
import sys
import time

import greenlet

ROUNDS = 5


def best(work, count):
    def once():
        begun = time.perf_counter_ns()
        work(count)
        return (time.perf_counter_ns() - begun) / count

    return min(once() for _ in range(ROUNDS))


def switch_pair():
    """Main to a greenlet and back."""

    def run():
        back = greenlet.getcurrent().parent.switch
        while True:
            back()

    g = greenlet.greenlet(run)
    g.switch()
    there = g.switch

    def work(count):
        for _ in range(count):
            there()

    return best(work, 200_000)


def switch_pair_deep():
    """The same, both sides ten C levels deep."""

    def dive(levels, bottom):
        if levels == 0:
            return bottom()
        sorted([0], key=lambda _: dive(levels - 1, bottom) or 0)

    figure = []

    def run():
        def loop():
            back = greenlet.getcurrent().parent.switch
            while True:
                back()

        dive(10, loop)

    g = greenlet.greenlet(run)

    def measure():
        there = g.switch
        there()

        def work(count):
            for _ in range(count):
                there()

        figure.append(best(work, 20_000))

    dive(10, measure)
    return figure[0]


def create_run_die():
    def nothing():
        pass

    def work(count):
        for _ in range(count):
            greenlet.greenlet(nothing).switch()

    work(1000)
    return best(work, 50_000)


def resident():
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Rss:")) * 1024


def page_tables():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmPTE:")) * 1024


def bytes_per_suspended(count):
    main = greenlet.getcurrent()
    run = lambda: main.switch()
    kept = [None] * count
    resident_before, tables_before = resident(), page_tables()
    begun = time.perf_counter()
    for index in range(count):
        kept[index] = g = greenlet.greenlet(run)
        g.switch()
    seconds = time.perf_counter() - begun
    figures = {
        "count": count,
        "resident_bytes_each": (resident() - resident_before) / count,
        "page_table_bytes_each": (page_tables() - tables_before) / count,
        "total_gigabytes": (resident() + page_tables()) / 1e9,
        "seconds": seconds,
    }
    return figures


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(bytes_per_suspended(int(sys.argv[1]))), flush=True)
        # Ending a million greenlets one by one is not what is measured.
        import os

        os._exit(0)
    print(
        json.dumps(
            {
                "switch_pair_ns": switch_pair(),
                "switch_pair_deep_ns": switch_pair_deep(),
                "create_run_die_ns": create_run_die(),
            }
        )
    )
