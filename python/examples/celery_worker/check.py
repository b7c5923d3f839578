"""Runs a Celery worker with -P eventlet: many tasks that wait, chords, retries, errors, remote control.

Its broker is Redis; with a RabbitMQ (crates/rpc/tests/rabbitmq/broker.sh run ...) that, and Redis keeps the results.
"""

import os
import pathlib
import shutil
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from programs import free_port, rabbitmq, running, until, whose  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent


def main():
    if not shutil.which("redis-server"):
        sys.exit("this example needs redis-server (Debian: redis-server)")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, running(
        "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder, port=port
    ):
        os.environ.update(REDIS_URL=f"redis://127.0.0.1:{port}/0", PYTHONWARNINGS="ignore")
        if broker := rabbitmq():
            os.environ["BROKER_URL"] = f"pyamqp://guest:guest@{broker}/"
        worker = ["-m", "celery", "-A", "tasks", "worker", "-P", "eventlet", "-c", "50", "--loglevel", "INFO"]
        with running(sys.executable, *worker, cwd=HERE) as process:
            use()
        # That of the task that fails on purpose.
        assert process.output.count("Traceback") == 1, process.output
    print("the Celery worker works", "over RabbitMQ" if broker else "over Redis", whose())


def use():
    sys.path.insert(0, str(HERE))
    import tasks

    control = tasks.application.control
    until(lambda: control.ping(timeout=0.5), 60, "the worker answers")
    assert tasks.add.delay(2, 3).get(timeout=10) == 5

    began = time.monotonic()
    waiting = [tasks.wait.delay(1) for _ in range(50)]
    assert [result.get(timeout=20) for result in waiting] == [1] * 50
    took = time.monotonic() - began
    assert took < 10, f"fifty tasks of one second each took {took:.1f} s: they did not wait at the same time"

    assert tasks.many(100)().get(timeout=20) == 2 * sum(range(100))
    assert tasks.succeed_at_the_third_try.delay().get(timeout=10) == 2
    try:
        tasks.fail.delay().get(timeout=10)
        raise AssertionError("the error did not arrive")
    except ValueError as error:
        assert str(error) == "as it should"

    control.pool_grow(5)
    control.pool_shrink(5)
    assert tasks.add.delay(1, 1).get(timeout=10) == 2
    [stats] = control.inspect(timeout=5).stats().values()
    assert stats["pool"]["implementation"].startswith("celery.concurrency.eventlet"), stats["pool"]


if __name__ == "__main__":
    main()
