#!/bin/sh
# The pictures of docs/inspect.md: a program that is stuck, as `greenloom top` shows it. The first word is a Python with
# greenloom.
set -eu
python="$1"
root=$(cd "$(dirname "$0")/../../.." && pwd)
folder=$(mktemp -d)
program=

stop() {
    [ -z "$program" ] || kill "$program" 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT

# The arguments of the program, the keys, what is to be seen then, the picture.
picture() {
    GREENLOOM_INSPECT=1 "$python" "$root/python/examples/stuck.py" $1 >"$folder/said" 2>/dev/null &
    program=$!
    until grep -q greenloom "$folder/said"; do sleep 0.1; done
    sleep 2
    PICTURE_OF=$program PICTURE_KEYS="$2" PICTURE_SHOWS="$3" PICTURE="$root/docs/$4" PICTURE_WITHOUT="$root/" \
        cargo test --quiet -p greenloom-cli --test top -- --ignored --exact picture
    kill "$program"
    program=
}

picture "" "" "deadlock:" top.svg
picture "" "/ t r a n s f e r enter enter enter" "waited for" top-one.svg
picture busy "" "STUCK" top-stuck.svg
