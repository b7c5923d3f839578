"""compare.py VENV_PYTHON STOCK_FOLDER RESULTS.json: our greenlet beside stock greenlet, in turns, with ratios.

The interpreter must have ours installed; stock lies in a folder that goes first on the path for its turns.
"""

import json
import os
import sys

from turns import in_turns, keep, output_of

FLOORS = {
    "switch_pair_ns": 0.25,
    "switch_pair_deep_ns": 0.05,
    "create_run_die_ns": 0.04,
    "resident_bytes_each": 0.85,
}
TURNS = 3
HERE = os.path.dirname(os.path.abspath(__file__))


def run(python, stock, *arguments, env=None):
    env = {**os.environ, **(env or {})}
    if stock:
        env["PYTHONPATH"] = stock
    return json.loads(output_of([python, os.path.join(HERE, "greenlets.py"), *arguments], timeout=600, env=env))


def main(python, stock, results):
    turns, problems = in_turns(("ours", "stock"), lambda side: run(python, stock if side == "stock" else None), TURNS)
    if problems:
        sys.exit(str(problems))
    ours, theirs = turns.values()
    memory = {"ours": run(python, None, "100000"), "stock": run(python, stock, "100000")}
    million = {
        "default stack size": run(python, None, "1000000"),
        "GREENLOOM_STACK_SIZE=256K": run(python, None, "1000000", env={"GREENLOOM_STACK_SIZE": "256K"}),
    }
    best = {
        name: [min(turn[name] for turn in ours), min(turn[name] for turn in theirs)] for name in ours[0]
    }
    best["resident_bytes_each"] = [memory[side]["resident_bytes_each"] for side in ("ours", "stock")]
    version = output_of([python, "-V"]).strip()
    print(f"{version}: Greenloom beside greenlet 3.5.6")
    for name, (mine, stock_figure) in best.items():
        ratio = mine / stock_figure
        verdict = "within" if ratio <= FLOORS[name] else "MISSES"
        print(f"  {name:22} {mine:10.1f} {stock_figure:10.1f}   {ratio:.3f}x   {verdict} {FLOORS[name]}x")
    for name, figures in million.items():
        print(f"  1,000,000 suspended, {name}: {figures['total_gigabytes']:.2f} GB with page tables")
    keep(results, python, best=best, turns=turns, memory=memory, million=million)


if __name__ == "__main__":
    main(*sys.argv[1:])
