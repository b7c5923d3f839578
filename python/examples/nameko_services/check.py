"""Runs nameko services on a RabbitMQ (crates/rpc/tests/rabbitmq/broker.sh run ...): calls, events, timers, HTTP."""

import contextlib
import pathlib
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from programs import free_port, rabbitmq, running, until, whose  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent


def main():
    if not rabbitmq():
        sys.exit("this example needs a RabbitMQ: crates/rpc/tests/rabbitmq/broker.sh run python check.py")
    broker, port = f"amqp://guest:guest@{rabbitmq()}/", free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as settings:
        settings.write(f"AMQP_URI: {broker}\nWEB_SERVER_ADDRESS: 127.0.0.1:{port}\nmax_workers: 50\n")
        settings.flush()
        command = [pathlib.Path(sys.executable).with_name("nameko"), "run", "--config", settings.name, "services"]
        with running(*command, cwd=HERE, port=port) as process:
            use(broker, port)
    assert process.returncode == 0, process.output
    # That of the call that fails on purpose.
    assert process.output.count("Traceback") == 1, process.output
    print("nameko's services work", whose())


def answered(services):
    from nameko.exceptions import RemoteError, UnknownService

    with contextlib.suppress(RemoteError, UnknownService):
        return services.adder.add(2, 3) == 5 and services.front.double(21) == 42


def use(broker, port):
    from nameko.exceptions import RemoteError
    from nameko.standalone.rpc import ClusterRpcProxy

    with ClusterRpcProxy({"AMQP_URI": broker}, timeout=20) as services:
        until(lambda: answered(services), 20, "both services are known to the broker")
        began = time.monotonic()
        waiting = [services.adder.wait.call_async(1) for _ in range(40)]
        assert [reply.result() for reply in waiting] == [1] * 40
        took = time.monotonic() - began
        assert took < 8, f"forty calls of one second each took {took:.1f} s: they did not wait at the same time"
        try:
            services.adder.fail()
            raise AssertionError("the error did not arrive")
        except RemoteError as error:
            assert error.exc_type == "ValueError", error
        for number in range(10):
            services.adder.tell(number)
        until(lambda: services.front.noticed()["heard"] == list(range(10)), 10, "all events arrive")
        until(lambda: services.front.noticed()["ticks"] > 3, 10, "the timer fires")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/double/21", timeout=10) as response:
        assert response.read() == b"42"


if __name__ == "__main__":
    main()
