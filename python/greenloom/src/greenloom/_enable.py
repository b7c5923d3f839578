"""
Making Greenloom's greenlet and eventlet those of an environment, for every program that runs in it: a file
``greenloom.pth`` beside this package, which Python reads when it starts.

A path alone in such a file would be appended behind the folder that the file is in, and stock packages in that folder,
be they there now or installed later, would win. So its one line is code, which puts the drop-ins before that folder. It
does so only if the native module is there, built for the interpreter that starts; else stock is used.
"""

import importlib.machinery
import importlib.metadata
import os
import site
import sys
import sysconfig

from ._install import DROP_IN, REPLACED

_HERE = os.path.dirname(os.path.abspath(__file__))
_SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


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


def _file():
    return os.path.join(_folder(), "greenloom.pth")


def _line(folder):
    native = os.path.join(_HERE, "_native" + _SUFFIX)
    # os and sys are there when the file is read, so it costs a look for one file.
    return (
        f"import os, sys; os.path.exists({native!r}) and "
        f"sys.path.insert(sys.path.index({folder!r}) if {folder!r} in sys.path else 0, {DROP_IN!r})"
    )


def enable():
    """
    Makes ``import greenlet`` and ``import eventlet`` mean Greenloom's in every program of this environment, from its
    next start on, whatever is installed there later. Doing it again changes nothing.

    :returns: the file that was written.
    :raises CannotEnable: when it cannot be written.
    """
    path = _file()
    labelled = [name for name in REPLACED if _is_labelled(name)]
    if labelled:
        raise CannotEnable(
            f"{' and '.join(labelled)} of this environment {'are' if len(labelled) > 1 else 'is'} Greenloom's already, "
            "as a distribution of that name; there is nothing to enable"
        )
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(_line(os.path.dirname(path)) + "\n")
    except OSError as error:
        raise CannotEnable(
            f"{path} cannot be written: {error.strerror}; run this as the owner of the environment, or make one of "
            "your own: python -m venv"
        ) from error
    return path


def disable():
    """
    Takes back what :func:`enable` did, for programs that start from now on.

    :returns: the file that was removed, or None if there was none.
    :raises CannotEnable: when it cannot be removed.
    """
    path = _file()
    try:
        os.remove(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CannotEnable(f"{path} cannot be removed: {error.strerror}; run this as its owner") from error
    return path


def status():
    """
    Which greenlet and eventlet a program of this environment gets, and who asks for them.

    :returns: text of several lines.
    """
    try:
        enabled = os.path.exists(_file())
        state = "enabled" if enabled else "not enabled"
    except CannotEnable as error:
        state = f"cannot be enabled: {error}"
    lines = [f"greenloom {importlib.metadata.version('greenloom')} in {sys.prefix}: {state}"]
    for name in REPLACED:
        spec = importlib.machinery.PathFinder.find_spec(name)
        if spec is None or spec.origin is None:
            lines.append(f"{name}: none")
            continue
        ours = os.path.realpath(spec.origin).startswith(os.path.realpath(DROP_IN) + os.sep) or _is_labelled(name)
        lines.append(f"{name}: {'Greenloom' if ours else 'stock'}, from {os.path.dirname(spec.origin)}")
    users = sorted(set(_users()))
    lines.append("used by: " + (", ".join(users) or "no other distribution of this environment"))
    return "\n".join(lines)


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
