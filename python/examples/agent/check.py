"""Runs the agent, gives it updates, and sees that SIGTERM ends it although its threads still wait."""

import pathlib
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import programs  # noqa: E402

UPDATES = 20


def main():
    agent = pathlib.Path(__file__).with_name("agent.py")
    command = [sys.executable, "-W", "ignore", str(agent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = int(process.stdout.readline().split()[-1])
            with socket.create_connection(("127.0.0.1", port), timeout=20) as client, client.makefile("rw") as lines:
                for number in range(UPDATES):
                    print("router", number, file=lines, flush=True)
                    answer = lines.readline()
                    assert answer == f"queued router {number}\n", answer
            process.terminate()
            last = process.stdout.readline()
            said = time.monotonic()
            status = process.wait(20)
            seconds = time.monotonic() - said
        finally:
            process.kill()
    assert last.startswith("stopped: "), last
    assert status == 0, status
    # Its threads are given a moment, the periodic work does not make it more.
    assert seconds < 5, seconds
    print(f"agent {programs.whose()}: SIGTERM ended it in {seconds:.1f} s while its threads waited")


if __name__ == "__main__":
    main()
