#!/bin/sh
# Prints a line "version path" for each CPython that Greenloom supports and that this machine has with its headers.
# PYTHON=3.12, or PYTHON=/path/to/python, asks for one.

supported="3.10 3.11 3.12 3.13 3.14 3.15"

usable() {
    "$1" -c '
import os, sys, sysconfig
version = "%d.%d" % sys.version_info[:2]
ok = (sys.implementation.name == "cpython" and version in sys.argv[1].split()
      and not sysconfig.get_config_var("Py_GIL_DISABLED")
      and os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))
print(version, sys.executable) if ok else sys.exit(1)
' "$supported" 2>/dev/null
}

find_version() {
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/"python$1" /usr/bin/"python$1"; do
        command -v "$candidate" >/dev/null 2>&1 && usable "$candidate" && return 0
    done
    return 1
}

case "${PYTHON:-}" in
'') for version in $supported; do find_version "$version" || :; done ;;
3.*) find_version "$PYTHON" || { echo "no CPython $PYTHON with headers was found here" >&2; exit 1; } ;;
*)
    usable "$PYTHON" || {
        echo "$PYTHON is not a CPython that is supported ($supported, built with the GIL), with headers" >&2
        exit 1
    }
    ;;
esac
