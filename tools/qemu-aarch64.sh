#!/bin/sh
# qemu-aarch64.sh COMMAND...: runs a command that may start programs for 64-bit ARM, as may its children. Debian's
# qemu-user-static runs them. It is registered with the kernel in a user namespace of its own, so that nothing of the
# machine changes; that takes Linux 6.7.
set -eu
format=/usr/lib/binfmt.d/qemu-aarch64.conf
[ -e "$format" ] || { echo "no qemu for aarch64: apt-get install qemu-user-static" >&2; exit 1; }
exec unshare --user --map-root-user --mount --propagation private sh -ec '
    mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc ||
        { echo "the kernel has no binfmt_misc for a user namespace; it takes Linux 6.7" >&2; exit 1; }
    cat "$0" >/proc/sys/fs/binfmt_misc/register
    exec "$@"
' "$format" "$@"
