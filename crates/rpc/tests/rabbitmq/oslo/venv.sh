#!/usr/bin/env bash
# Prints a Python that has oslo.messaging, after it has made one where there is none: `venv.sh FOLDER [PACKAGE ...]`.
set -euo pipefail
folder=$1
shift
packages=("oslo.messaging>=16,<19" "$@")
if [ "$(cat "$folder/packages" 2>/dev/null)" != "${packages[*]}" ]; then
    rm -rf "$folder"
    if ! python3 -m venv "$folder" >/dev/null 2>&1; then
        # Debian's Python has it in a package of its own.
        rm -rf "$folder"
        apt-get update -qq && apt-get install -qq -y python3-venv >/dev/null
        python3 -m venv "$folder"
    fi
    "$folder/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}" >&2
    echo "${packages[*]}" >"$folder/packages"
fi
echo "$folder/bin/python"
