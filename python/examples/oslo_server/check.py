"""Runs the oslo server in its own process, and with two workers; each answers and stops when told.

With a RabbitMQ (crates/rpc/tests/rabbitmq/broker.sh run ...) over rabbit:// too, and not only within the process.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from programs import rabbitmq, running, whose  # noqa: E402

SERVER = pathlib.Path(__file__).with_name("server.py")


def main():
    urls = ["fake://"]
    if broker := rabbitmq():
        urls.append(f"rabbit://guest:guest@{broker}/")
    for url in urls:
        for workers in (1, 2):
            run(url, workers)
    print("the oslo.messaging server in oslo.service works", "over RabbitMQ too" if broker else "", whose())


def run(url, workers):
    with running(sys.executable, "-W", "ignore", SERVER, str(workers), url) as process:
        for _ in range(workers):
            line = process.stdout.readline()
            while line and line != "answered\n":
                line = process.stdout.readline()
            assert line, "a worker did not answer"
    assert process.output.count("stopped") == workers, process.output
    assert "Traceback" not in process.output, process.output
    assert process.returncode == 0, process.returncode


if __name__ == "__main__":
    main()
