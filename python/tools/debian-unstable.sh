#!/bin/sh
# debian-unstable.sh COMMAND...: runs a command on a copy of this tree in Debian unstable, which has CPython 3.14
# and 3.15. It is set up in target/debian-unstable by debootstrap, as root, with the network settings of this machine.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
root=$(dirname "$here")
debian="$root/target/debian-unstable"
[ "$(id -u)" = 0 ] && command -v debootstrap >/dev/null || { echo "this needs root and debootstrap" >&2; exit 1; }
. "$here/tools/debian.sh"

if [ ! -e "$debian/ready" ]; then
    rm -rf "$debian"
    mkdir -p "$root/target"
    pythons=python3.14-dev,python3.14-venv,python3.15-dev,python3.15-venv
    debootstrap --variant=minbase \
        --include="$pythons,cargo,gcc,gdb,make,pkg-config,git,ca-certificates,procps" \
        unstable "$debian" "$(mirror)" >"$root/target/debootstrap.log" 2>&1 \
        || { tail "$root/target/debootstrap.log" >&2; exit 1; }
    # A mirror that is a snapshot has a Release file that has expired.
    echo 'Acquire::Check-Valid-Until "false";' >"$debian/etc/apt/apt.conf.d/90snapshot"
    touch "$debian/ready"
fi
network_settings "$debian"
mkdir -p "$debian/greenloom"
# All but what was built.
find "$debian/greenloom" -mindepth 1 -maxdepth 1 ! -name target ! -name '.venv*' -exec rm -rf {} +
git -C "$root" archive HEAD | tar -x -C "$debian/greenloom"
# In a mount namespace of its own, so that the mounts go with it.
exec unshare --mount --propagation private sh -ec '
    debian=$1
    shift
    mount --bind /dev "$debian/dev"
    mount --bind /dev/pts "$debian/dev/pts"
    mount -t proc proc "$debian/proc"
    exec chroot "$debian" env HOME="$HOME" sh -c "cd /greenloom && exec \"\$@\"" sh "$@"
' sh "$debian" "$@"
