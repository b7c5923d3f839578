"""demo.py OURS_PYTHON [STOCK_PYTHON] [-- ARGUMENTS]: runs the router agent on our eventlet, and on stock's where there
is one.

With one, its usual summary; with both, one table.
"""

import json
import pathlib
import subprocess
import sys

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / "examples"


def agent(python, *arguments):
    return [python, "-W", "ignore", "-m", "router_agent", *arguments]


def figures(python, arguments):
    done = subprocess.run(agent(python, "--json", *arguments), cwd=EXAMPLES, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout)


def main(ours, *rest):
    stock = [argument for argument in rest if argument.endswith("/python")]
    arguments = [argument for argument in rest if argument not in stock]
    if not stock:
        sys.exit(subprocess.run(agent(ours, *arguments), cwd=EXAMPLES).returncode)
    columns = {"Greenloom": figures(ours, arguments), "stock eventlet": figures(stock[0], arguments)}
    print(f"{'Router agent':16}" + "".join(f"{name:>16}" for name in columns))
    for name in columns["Greenloom"]:
        print(f"{name:16}" + "".join(f"{column[name]:>16}" for column in columns.values()))


if __name__ == "__main__":
    main(*sys.argv[1:])
