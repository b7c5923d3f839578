"""System calls that the kernel refuses to a process, as in a container or a service with a filter of its own."""

import ctypes
import errno
import functools
import platform
import struct

# By the processor.
_CALLS = ("socket", "accept", "getsockopt", "tgkill", "accept4", "process_vm_readv")
_NUMBERS = {
    "x86_64": dict(zip(_CALLS, (41, 43, 55, 234, 288, 310))),
    "aarch64": dict(zip(_CALLS, (198, 202, 209, 131, 242, 270))),
}

#: Whether it can be told here which calls are meant.
CAN_REFUSE = platform.machine() in _NUMBERS

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_RETURN_ERROR, _RETURN_ALLOW = 0x50000, 0x7FFF0000
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06


def refuses(*calls):
    """A function that has these calls refused to its process and what that starts: "Operation not permitted"."""
    return functools.partial(_refuse, [_NUMBERS[platform.machine()][call] for call in calls])


def _refuse(numbers):
    # The number of the call is the first that a filter is given.
    rules = [(_LOAD, 0, 0, 0)]
    for number in numbers:
        rules += [(_JUMP_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _RETURN_ERROR | errno.EPERM)]
    rules.append((_RETURN, 0, 0, _RETURN_ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules))
    program = ctypes.create_string_buffer(struct.pack("HP", len(rules), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for words in ((_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, program, 0, 0)):
        if libc.prctl(*(word if word is program else ctypes.c_ulong(word) for word in words)):
            raise OSError(ctypes.get_errno(), "no filter for system calls")
