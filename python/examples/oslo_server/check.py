"""Runs the oslo server in its own process, and with two workers; each answers and stops when told."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from programs import running, whose  # noqa: E402

SERVER = pathlib.Path(__file__).with_name("server.py")


def main():
    for workers in (1, 2):
        with running(sys.executable, "-W", "ignore", SERVER, str(workers)) as process:
            for _ in range(workers):
                line = process.stdout.readline()
                while line and line != "answered\n":
                    line = process.stdout.readline()
                assert line, "a worker did not answer"
        assert process.output.count("stopped") == workers, process.output
        assert "Traceback" not in process.output, process.output
        assert process.returncode == 0, process.returncode
    print("the oslo.messaging server in oslo.service works", whose())


if __name__ == "__main__":
    main()
