"""C libraries on green threads: ours with hooks beside stock eventlet, beside a driver in Python, and in Rust.

compare.py OURS STOCK QUERIES RESULTS [TURNS [PART...]]: two interpreters with the drivers, the example `queries` of
tests/synchronous_crates, and the file for the raw figures; all parts, or some of waits, selects, off, rust. Run it
under servers.sh; python/tools/bench-hooks.sh does.
"""

import json
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from turns import in_turns, keep, median, output_of, ratio, shown  # noqa: E402

SELECTS = {"selects": "selects of a number", "rows": "selects of a row by its key"}

#: A figure, a synchronous crate on green threads, its asynchronous peer, the floor and the aim.
RUST = [
    ("PostgreSQL, 100 clients in Rust, small selects", "postgres", "tokio", 0.8, 1),
    ("MariaDB, 100 clients in Rust, small selects", "mysql", "mysql-async", 0.8, 1),
    ("Redis, 100 clients in Rust, ECHO", "redis", "redis-tokio", 0.8, 1),
]


def main(ours, stock, queries, results, turns=5, *parts):
    turns, results, figures = int(turns), pathlib.Path(results), {}
    parts = parts or ("waits", "selects", "off", "rust")

    def beside(name, one, other, measure, floor, aim):
        cpu = {one: [], other: []}

        def rate(which):
            queries, used = map(float, measure(which).split())
            cpu[which].append(used)
            return queries

        values, problems = in_turns([one, other], rate, turns)
        factor = ratio(values[one], values[other])
        figures[name] = {"a second": values, "CPU, us": cpu, "ratio": factor, "problems": problems}
        rates = ", ".join(
            f"{which} {shown(median(values[which]))} ({shown(median(cpu[which]))} us of CPU)" for which in cpu
        )
        print(f"{name}, a second: {rates}: {shown(factor)}x (floor {floor}x, aim {aim}x) {problems or ''}", flush=True)

    for library in ("psycopg2", "mysqlclient") if "waits" in parts else ():
        pythons = {"with hooks": ours, "stock": stock}
        name = f"{library}, 50 green threads, queries that wait 100 ms"
        beside(name, *pythons, lambda which, library=library: work(pythons[which], "waits", library), 20, 40)
    for what, name in SELECTS.items() if "selects" in parts else ():
        name = f"MariaDB, 20 green threads, {name}"
        beside(name, "mysqlclient", "pymysql", lambda library, what=what: work(ours, what, library), 3, 6)
    if "off" in parts:
        with tempfile.TemporaryDirectory() as folder:
            figures["a hooked call off a green thread, ns more"] = off(ours, queries, pathlib.Path(folder), turns)
    if "rust" in parts:

        def queries_of(which):
            # One core for the client; the server is where the system puts it.
            return output_of(["taskset", "-c", "0", queries, which], timeout=120)

        for name, *pair, floor, aim in RUST:
            beside(name, *pair, queries_of, floor, aim)
    # A run of some parts leaves the others' figures as they are.
    before = json.loads(results.read_text())["figures"] if results.exists() else {}
    keep(results, ours, figures={**before, **figures})


def work(python, *arguments):
    return output_of([python, HERE / "work.py", *arguments], timeout=120)


def off(ours, queries, folder, turns):
    library = folder / "poll_nothing.so"
    include = output_of([ours, "-c", "import sysconfig; print(sysconfig.get_path('include'))"]).strip()
    output_of(["cc", "-O2", "-shared", "-fPIC", "-I", include, "-o", library, HERE / "poll_nothing.c"])

    def more(which):
        output = work(ours, "off", library) if which == "Python" else output_of([queries, "off"], timeout=120)
        return float(output.split()[0])

    values, problems = in_turns(["Python", "Rust"], more, turns)
    print(
        f"a hooked call off a green thread: Python +{shown(median(values['Python']))} ns, "
        f"Rust +{shown(median(values['Rust']))} ns (floor 5, aim 2) {problems or ''}",
        flush=True,
    )
    return {"values": values, "problems": problems}


if __name__ == "__main__":
    main(*sys.argv[1:])
