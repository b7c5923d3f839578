#!/bin/sh
# clean-root.sh SUITE ARCHITECTURE VERSIONS COMMAND...: runs a command in a root of Debian that has the CPythons of
# those VERSIONS, such as "3.14 3.15", musl, and no compiler. This tree is /src there. The root is kept in
# target/clean-roots. It needs root and debootstrap, and qemu for another architecture than this machine's.
set -eu
tools=$(cd "$(dirname "$0")" && pwd)
tree=$(dirname "$(dirname "$tools")")
suite=$1 architecture=$2 versions=$3
shift 3
[ "$(id -u)" = 0 ] && command -v debootstrap >/dev/null || { echo "this needs root and debootstrap" >&2; exit 1; }
. "$tools/debian.sh"

clean="$tree/target/clean-roots/$suite-$architecture"
if [ ! -e "$clean/ready" ]; then
    rm -rf "$clean"
    mkdir -p "$clean"
    packages=$(for version in $versions; do printf 'python%s-venv,' "$version"; done)
    debootstrap --foreign --arch="$architecture" --variant=minbase --include="${packages}ca-certificates,musl" \
        "$suite" "$clean" "$(mirror)" >"$clean.log" 2>&1 || { tail "$clean.log" >&2; exit 1; }
    # Unpacked and not configured, since that would run programs of the root's architecture.
    for package in "$clean"/var/cache/apt/archives/*.deb; do dpkg -x "$package" "$clean"; done
    rm -rf "$clean"/var/cache/apt/archives "$clean/debootstrap"
    mkdir -p "$clean/src"
    echo 'root:x:0:0::/root:/bin/sh' >"$clean/etc/passwd"
    touch "$clean/ready"
fi
network_settings "$clean"

enter='
    clean=$1 tree=$2
    shift 2
    mount --rbind /dev "$clean/dev"
    mount --rbind /proc "$clean/proc"
    mount --bind "$tree" "$clean/src"
    exec chroot "$clean" env -i HOME=/root PATH=/usr/bin:/bin LC_ALL=C.UTF-8 "$@"
'
case "$architecture" in
"$(dpkg --print-architecture)") namespace='unshare --mount --propagation private' ;;
arm64) namespace="$tree/tools/qemu-aarch64.sh" ;;
*) echo "no emulation of $architecture is set up" >&2; exit 1 ;;
esac
exec $namespace sh -ec "$enter" sh "$clean" "$tree" "$@"
