"""Runs programs on Greenloom's greenlet, eventlet and amqp.

    greenloom run script.py args...     a script, an archive or a folder with a __main__.py
    greenloom run NAME args...          a command of this environment, such as celery or gunicorn
    greenloom run -m module args...
    greenloom run -c code args...

    greenloom run --native ...          with green C libraries, too: see docs/native.md

    greenloom enable                    for all programs of this environment, with no change in how they are started
    greenloom enable --user             for all programs of this user that the same Python runs
    greenloom enable --break-system-packages
                                        where the system's package manager owns the environment, as with pip
    greenloom disable [--user]
    greenloom status                    which greenlet, eventlet and amqp they get, and who uses them

    greenloom top PID... [--seconds 1]      what running programs do, in a terminal
    greenloom stacks PID [--json]           all green threads of a running program, grouped by where they wait
    greenloom stacks PID HUB:NUMBER [--json]
                                            one green thread, with its stack
    greenloom metrics PID                   what its hubs have done, as OpenMetrics
    greenloom trace PID [--seconds 5] [-o FILE] [--html] [--events N]
                                            records what it does, for ui.perfetto.dev or as a page of HTML
    greenloom kill PID HUB:NUMBER [--yes]   ends a green thread

    greenloom --version

``python -m greenloom`` does the same.
"""

import importlib.metadata
import os
import pkgutil
import re
import runpy
import shlex
import signal
import sys
import sysconfig

from . import _enable, hooks
from ._install import install

USAGE = (
    "usage: greenloom run [--native] (script.py | NAME | -m module | -c code) [args...]\n"
    "       greenloom enable [--user] [--break-system-packages] | disable [--user] | status | --version | --help\n"
    "       greenloom top PID... | stacks PID [HUB:NUMBER] [--json] | metrics PID | kill PID HUB:NUMBER [--yes]\n"
    "       greenloom trace PID [--seconds 5] [-o FILE] [--html] [--events N]"
)

# Of the program in Rust, which looks into others.
LOOKING = ("top", "stacks", "metrics", "trace", "kill")

FLAGS = {"enable": ("--user", "--break-system-packages"), "disable": ("--user",), "status": ()}


def main():
    command, *rest = sys.argv[1:] or [""]
    if command not in ("run", *LOOKING):
        # Whoever reads what is printed may have read enough.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if command in ("-h", "--help"):
        print(__doc__.strip())
    elif command in ("run", *FLAGS, *LOOKING) and rest[:1] in (["-h"], ["--help"]):
        print(_help(command))
    elif command == "--version" or [command, *rest] == ["run", "--version"]:
        print("greenloom", importlib.metadata.version("greenloom"))
    elif command in FLAGS:
        if unknown := [word for word in rest if word not in FLAGS[command]]:
            _refuse(f"{command} has no option {unknown[0]!r}")
        _change(command, {flag.strip("-").replace("-", "_"): True for flag in rest})
    elif command in LOOKING:
        from ._native import _command_line

        # It waits without Python, which would see to the signal afterwards.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        sys.exit(_command_line([command, *rest]))
    elif command == "run":
        program = rest[rest[:1] == ["--native"] :]
        if program in ([], ["-m"], ["-c"]):
            _refuse(f"it is not said what to run{f', behind {program[0]}' if program else ''}")
        run(program, native=program != rest)
    elif command:
        _refuse(f"there is no command {command!r}")
    else:
        sys.exit(USAGE)


def _refuse(why):
    sys.exit(f"greenloom: {why}\n{USAGE}")


def _help(command):
    """The lines of the text above that are about a command."""
    lines, is_about = [], False
    for line in __doc__.splitlines():
        if not line.startswith("     "):
            is_about = line.split()[:2] == ["greenloom", command]
        if is_about:
            lines.append(line.removeprefix("    "))
    return "usage:\n" + "\n".join(f"  {line}" for line in lines)


def _change(command, flags):
    try:
        if command == "enable":
            print(f"enabled by {_enable.enable(**flags)}; programs that start from now on use Greenloom")
        elif command == "disable":
            path = _enable.disable(**flags)
            state = _enable.state()
            rest = f"; it is still {state}" if state.startswith("enabled") else ""
            print((f"disabled: {path} is gone" if path else "it was not enabled") + rest)
        else:
            print(_enable.status())
    except _enable.CannotEnable as error:
        sys.exit(f"greenloom: {error}")


def run(rest, native=False):
    # What the interpreter puts first is our command's; a program has its own there, even before the drop-ins.
    wants_own = not getattr(sys.flags, "safe_path", False)
    if wants_own:
        del sys.path[0]
    install()
    if native:
        hooks.install()
    if rest[0] == "-m":
        own, sys.argv = os.getcwd(), rest[1:]
    elif rest[0] == "-c":
        own, sys.argv = "", ["-c", *rest[2:]]
    elif entry := _command(rest[0]):
        own = sysconfig.get_path("scripts")
        sys.argv = [os.path.join(own, rest[0]), *rest[1:]]
    else:
        # A folder or archive with a __main__ is put there by runpy.
        is_file = pkgutil.get_importer(rest[0]) is None
        own, sys.argv = os.path.dirname(os.path.realpath(rest[0])) if is_file else None, rest
    if wants_own and own is not None:
        sys.path.insert(0, own)
    if rest[0] == "-m":
        _run_module(rest[1])
    elif rest[0] == "-c":
        run_in_main(compile(rest[1], "<string>", "exec"), None)
    elif entry:
        sys.exit(entry.load()())
    elif os.path.exists(rest[0]):
        runpy.run_path(rest[0], run_name="__main__")
    elif re.fullmatch(r"python[\d.]*", os.path.basename(rest[0])):
        sys.exit(f"greenloom: no interpreter is named: greenloom run {shlex.join(rest[1:]) or 'script.py'}")
    else:
        sys.exit(f"greenloom: there is no file {rest[0]!r}, and no command of that name in {sys.prefix}")


def _run_module(name):
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except ImportError as error:
        trace = error.__traceback__
        while trace.tb_next:
            trace = trace.tb_next
        if trace.tb_frame.f_globals.get("__name__") != "runpy":
            raise
        # There is no such module, or none that can be run: what the interpreter says then, in one line.
        sys.exit(f"{sys.executable}: {error}")


def _command(name):
    """The console script of that name, unless there is something here that can be run: a file, or a folder with a
    ``__main__.py``; any other folder is often a project's own of the command's name."""
    if os.sep in name or os.path.isfile(name) or os.path.exists(os.path.join(name, "__main__.py")):
        return None
    found = importlib.metadata.entry_points(group="console_scripts", name=name)
    return next(iter(found), None)


def run_in_main(code, filename):
    module = type(sys)("__main__")
    module.__file__ = filename
    module.__builtins__ = __builtins__
    sys.modules["__main__"] = module
    exec(code, vars(module))


if __name__ == "__main__":
    main()
