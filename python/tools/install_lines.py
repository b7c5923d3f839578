"""Runs the lines of docs/install.md that are marked `sh`, each block in a folder of its own, against an index.

    install_lines.py PYTHON DIST

PYTHON stands for `python3` in the lines, for their index the one in DIST/simple, which has a wheel for that Python, and
for their repository this tree.
"""

import functools
import http.server
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "install.md"
INDEX = "https://packages.example/simple"
REPOSITORY = "git+https://github.com/greenloom/greenloom"


def main():
    python = os.path.abspath(sys.argv[1])
    blocks = re.findall(r"^```sh\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    server = serve(os.path.abspath(sys.argv[2]))
    with tempfile.TemporaryDirectory() as tools:
        subprocess.run([python, "-m", "venv", tools], check=True)
        pip = [f"{tools}/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "uv"], check=True)
        commands = pathlib.Path(tools, "bin")
        failed = sum(not run(block, server.server_port, commands) for block in blocks)
    lines = sum(len(block.splitlines()) for block in blocks)
    print(f"{DOCUMENT.name}: {lines} lines in {len(blocks)} blocks, {failed} of which failed")
    sys.exit(1 if failed or not blocks else 0)


def serve(folder):
    handler = functools.partial(Quiet, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


def run(block, port, commands):
    """Whether all lines of a block succeed; what the first that fails says is printed."""
    local = block.replace(INDEX, f"http://127.0.0.1:{port}/simple").replace(REPOSITORY, f"git+file://{ROOT}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    environment["PATH"] = f"{commands}{os.pathsep}{os.environ['PATH']}"
    environment["CARGO_TARGET_DIR"] = str(ROOT / "target" / "install")
    environment["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        for documented, line in zip(block.splitlines(), local.splitlines()):
            done = subprocess.run(
                ["sh", "-c", line], cwd=folder, env=environment, timeout=500, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )
            print("ok    " if done.returncode == 0 else "FAILED", documented)
            if done.returncode:
                print(done.stdout)
                return False
    return True


if __name__ == "__main__":
    main()
