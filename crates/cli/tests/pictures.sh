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

# What draws is built before there is something to draw.
cargo test --quiet --no-run -p greenloom-cli --test top
mkfifo "$folder/said"

# The arguments of the program, what is to be seen first, the keys, what is to be seen then, the picture.
picture() {
    GREENLOOM_INSPECT=1 "$python" "$root/python/examples/stuck.py" $1 >"$folder/said" 2>/dev/null &
    program=$!
    # It says that it has begun; one that ends before says nothing.
    read -r _ <"$folder/said"
    PICTURE_OF=$program PICTURE_BEGINS="$2" PICTURE_KEYS="$3" PICTURE_SHOWS="$4" \
        PICTURE="$root/docs/$5" PICTURE_WITHOUT="$root/" \
        cargo test --quiet -p greenloom-cli --test top -- --ignored --exact picture
    kill "$program"
    program=
}

picture "" "deadlock:" "" "waiting" top.svg
picture "" "deadlock:" "/ t r a n s f e r enter enter enter" "waited for" top-one.svg
picture busy "green threads at" "" "STUCK" top-stuck.svg
