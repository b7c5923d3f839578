"""What the checks of the example programs share."""

import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def rabbitmq():
    """Host and port of the RabbitMQ that crates/rpc/tests/rabbitmq/broker.sh has started; None without."""
    folder = os.environ.get("GREENLOOM_RABBITMQ")
    return folder and "127.0.0.1:" + re.search(r"^AMQP=(\d+)", pathlib.Path(folder, "ports").read_text(), re.M)[1]


@contextlib.contextmanager
def running(*command, port=None, patience=30, stop=signal.SIGTERM, **options):
    """A program that runs, and listens on *port*; told to stop at the end; its output is shown when things fail."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    try:
        if port is not None:
            until(lambda: connects(port) or process.poll() is not None, patience, f"{command} listens")
        yield process
        process.send_signal(stop)
        output, _ = process.communicate(timeout=patience)
    except BaseException:
        process.kill()
        output, _ = process.communicate()
        print(f"--- output of {' '.join(map(str, command))}\n{output}---", file=sys.stderr)
        raise
    process.output = output


def connects(port):
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


def until(condition, seconds, what):
    """Waits for a condition; AssertionError when it does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def whose():
    """Says whose eventlet is under test; stock's only where STOCK is set."""
    import importlib.metadata

    version = importlib.metadata.version("eventlet")
    assert "greenloom" in version or os.environ.get("STOCK"), f"this is stock eventlet {version}"
    return f"on eventlet {version}"
