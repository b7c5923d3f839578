"""Making Greenloom's greenlet, eventlet and amqp those of an environment, for every program that runs in it: a file
``greenloom.pth`` beside this package, which Python reads when it starts.

A path alone in such a file would be appended behind the folder that the file is in, and stock packages in that folder,
be they there now or installed later, would win. So its one line is code, which puts the drop-ins before that folder. It
does so only if the native module is there, built for the interpreter that starts; else stock is used. Such lines run up
to CPython 3.17 (PEP 829).

A user's own folder of packages comes before the system's, so a file there enables it for one user of a Python that
others share.
"""

import contextlib
import importlib.machinery
import importlib.metadata
import os
import re
import site
import sys
import sysconfig

from ._install import DROP_IN, REPLACED

_HERE = os.path.dirname(os.path.abspath(__file__))
_SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
#: Where each drop-in says which release it stands in for; read, since to import it may need what is not installed.
_VERSION_IN = {"greenlet": "__init__.py", "eventlet": "_version.py", "amqp": "__init__.py"}
_STANDS_IN_FOR = re.compile(r'^__version__ = "(.+)"', re.MULTILINE)


class CannotEnable(Exception):
    """The environment cannot be changed; the text says why, and what to do."""


def _folder():
    """The folder of packages that this one is installed in."""
    folder = os.path.dirname(_HERE)
    known = [*site.getsitepackages(), site.getusersitepackages(), sysconfig.get_path("purelib")]
    if os.path.realpath(folder) not in map(os.path.realpath, known):
        raise CannotEnable(
            f"greenloom was imported from {folder}, which Python does not read .pth files in; "
            "install it into an environment: pip install greenloom"
        )
    return folder


def _file(user):
    if not user:
        return os.path.join(_folder(), "greenloom.pth")
    if not site.ENABLE_USER_SITE:
        raise CannotEnable(
            f"programs of {sys.prefix} do not read a user's own packages, as is usual in a virtual environment; "
            "leave out --user"
        )
    return os.path.join(site.getusersitepackages(), "greenloom.pth")


def _refuse_managed(path):
    """Refuses a folder of the system's package manager (PEP 668), as pip does."""
    is_virtual = sys.prefix != sys.base_prefix
    if is_virtual or os.path.realpath(os.path.dirname(path)) == os.path.realpath(site.getusersitepackages()):
        return
    marker = os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    if os.path.exists(marker):
        raise CannotEnable(
            f"{sys.prefix} is managed by the system, whose own programs would be changed too ({marker}); "
            "use --user, or an environment of your own: python -m venv. As with pip, --break-system-packages does it "
            "all the same"
        )


def _line(folder):
    # os and sys are there when the file is read, so it costs a look for one file.
    return (
        f"import os, sys; here = {_from_prefix(folder)}; there = {_from_prefix(_HERE)}; "
        f"os.path.exists(there + {'/_native' + _SUFFIX!r}) and "
        f"sys.path.insert(sys.path.index(here) if here in sys.path else 0, there + '/drop_in')"
    )


def _from_prefix(folder):
    """An expression for *folder*: one that goes with the environment when that is moved or copied, if it is in it."""
    within = folder.removeprefix(sys.prefix)
    return f"sys.prefix + {within!r}" if within.startswith(os.sep) else repr(folder)


def enable(user=False, break_system_packages=False):
    """Makes ``import greenlet``, ``import eventlet`` and ``import amqp`` mean Greenloom's in every program of this
    environment, from its next start on, whatever is installed there later. Doing it again changes nothing.

    :param user: only in the programs of this user, by a file in the user's own folder of packages.
    :param break_system_packages: also where the system's package manager owns the environment.
    :returns: the file that was written.
    :raises CannotEnable: when it cannot be written.
    """
    path = _file(user)
    if all(map(_is_labelled, REPLACED)):
        raise CannotEnable(
            f"{', '.join(REPLACED[:-1])} and {REPLACED[-1]} of this environment are Greenloom's already, as "
            "distributions of those names; there is nothing to enable"
        )
    if not break_system_packages:
        _refuse_managed(path)
    folder = os.path.dirname(path)
    # Under another name first: a program that starts meanwhile, or a full disk, must not meet half a line.
    draft = path + ".new"
    try:
        if user:
            os.makedirs(folder, exist_ok=True)
        with open(draft, "w", encoding="utf-8") as file:
            file.write(_line(folder) + "\n")
        os.replace(draft, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.remove(draft)
        raise CannotEnable(f"{path} cannot be written: {error.strerror}; {_instead(user)}") from error
    return path


def _instead(user):
    if user or not site.ENABLE_USER_SITE:
        return "run this as the owner of the environment, or make one of your own: python -m venv"
    return "run this as the owner of the environment, or with --user, or make one of your own: python -m venv"


def disable(user=False):
    """Takes back what :func:`enable` did with the same *user*, for programs that start from now on.

    :returns: the file that was removed, or None if there was none.
    :raises CannotEnable: when it cannot be removed.
    """
    path = _file(user)
    try:
        os.remove(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CannotEnable(f"{path} cannot be removed: {error.strerror}; run this as its owner") from error
    return path


def status():
    """Which greenlet, eventlet and amqp a program of this environment gets, and who asks for them.

    :returns: text of several lines.
    """
    lines = [f"greenloom {importlib.metadata.version('greenloom')} in {sys.prefix}: {state()}"]
    for name in REPLACED:
        spec = importlib.machinery.PathFinder.find_spec(name)
        if spec is None or spec.origin is None:
            lines.append(f"{name}: none")
            continue
        is_drop_in = os.path.realpath(spec.origin).startswith(os.path.realpath(DROP_IN) + os.sep)
        ours = is_drop_in or _is_labelled(name)
        unused = _unused(name, os.path.dirname(spec.origin)) if is_drop_in else ""
        lacks = ours and name == "amqp" and importlib.machinery.PathFinder.find_spec("vine") is None
        missing = "; it needs vine, which is not installed: pip install vine" if lacks else ""
        who = "Greenloom" if ours else "stock"
        lines.append(f"{name}: {who}, from {os.path.dirname(spec.origin)}{unused}{missing}")
    users = sorted(set(_users()))
    lines.append("used by: " + (", ".join(users) or "no other distribution of this environment"))
    return "\n".join(lines)


def state():
    """Whether programs of this environment use Greenloom, and which files say so, in a few words."""
    files = [_file(user=True)] if site.ENABLE_USER_SITE else []
    try:
        files.append(_file(user=False))
    except CannotEnable as error:
        if not any(map(os.path.exists, files)):
            return f"cannot be enabled: {error}"
    # One file twice, where greenloom itself is among the user's packages.
    found = sorted({file for file in files if os.path.exists(file)})
    return f"enabled by {' and '.join(found)}" if found else "not enabled"


def _unused(name, used):
    """What to say of a stock release that is installed beside ours, which stands in for one."""
    try:
        installed = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
    if "+greenloom" in installed:
        return ""
    stood_in_for = _STANDS_IN_FOR.search(_read(os.path.join(used, _VERSION_IN[name])))[1]
    other = "" if installed == stood_in_for else f"; mind that Greenloom's is as {stood_in_for}"
    return f" (stock {installed} is installed and not used{other})"


def _read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def _is_labelled(name):
    try:
        return "+greenloom" in importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False


def _users():
    """The distributions that require one of the replaced packages, extras included."""
    for distribution in importlib.metadata.distributions():
        own = distribution.metadata["Name"]
        if own is None or own in (*REPLACED, "greenloom"):
            continue
        for requirement in distribution.requires or ():
            name = requirement.split(";")[0]
            for end in "[(<>=!~ ":
                name = name.split(end)[0]
            if name.strip().lower() in REPLACED:
                yield own
