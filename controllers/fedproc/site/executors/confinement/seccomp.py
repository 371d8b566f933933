"""The system calls that no job may make: as a filter program for bwrap, made by the system's libseccomp, and as a
profile for container engines.

The namespaces take away what the kernel keeps apart by namespace. This takes away what it does not: sockets to the
hypervisor and to kernel services (``AF_VSOCK``, ``AF_ALG``, …), the kernel's key rings, and calls that an analysis
has no use for and that are known for their bugs.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import Any

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_EQUAL, _GREATER_EQUAL, _MASKED_EQUAL = 4, 5, 7
_OPTIMIZE, _BY_TREE = 8, 2
_FAMILIES = {1, 2, 10, 16}
"""AF_UNIX, AF_INET, AF_INET6, AF_NETLINK (of the job's own network)"""
_FAMILIES_END = 64
_REFUSED = """
    add_key keyctl request_key bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register
    mount umount umount2 pivot_root chroot move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr setns
    open_by_handle_at name_to_handle_at kexec_load kexec_file_load init_module finit_module delete_module
    acct quotactl quotactl_fd reboot swapon swapoff syslog iopl ioperm settimeofday clock_settime lookup_dcookie
    move_pages mbind migrate_pages vhangup fanotify_init kcmp personality uselib ustat sysfs nfsservctl
    vm86 vm86old modify_ldt
""".split()  # noqa: SIM905 (a list this long reads better so)


_NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
"""the flags of clone(2) that make a namespace"""


class SeccompError(Exception):
    """No filter can be made on this machine."""


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def make_filter(*, namespaces: bool = True) -> bytes:
    """The filter program; without ``namespaces`` none can be made either, to which bwrap sees itself.

    Raises :class:`SeccompError` where libseccomp is missing.
    """
    library = _library()
    context = library.seccomp_init(_ALLOW)
    if not context:
        raise SeccompError("libseccomp does not know this machine's architecture; jobs cannot be confined here")
    try:
        library.seccomp_attr_set(context, _OPTIMIZE, _BY_TREE)
        for name in _REFUSED:
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number >= 0:
                _refuse(library, context, errno.EPERM, number, [])
        _refuse_families(library, context)
        if not namespaces:
            _refuse_namespaces(library, context)
        return _exported(library, context)
    finally:
        library.seccomp_release(context)


def engine_profile(*, namespaces: bool = False) -> dict[str, Any]:
    """The same for a container engine (the OCI's ``linux.seccomp``), and no namespaces, which bwrap sees to itself.

    With ``namespaces`` the first program may make some: one that refuses them itself to what it starts.
    """
    other = [{"index": 0, "op": "SCMP_CMP_EQ", "value": family} for family in _other_families()]
    other.append({"index": 0, "op": "SCMP_CMP_GE", "value": _FAMILIES_END})
    inner = [{"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": flag, "valueTwo": flag} for flag in _NAMESPACES]
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            _refusal(_REFUSED if namespaces else [*_REFUSED, "unshare"], errno.EPERM),
            _refusal(["clone3"], errno.ENOSYS),
            *(_refusal(["socket"], errno.EAFNOSUPPORT, when) for when in other),
            *(_refusal(["clone"], errno.EPERM, when) for when in inner),
        ],
    }


def _refusal(names: list[str], error: int, *when: dict[str, Any]) -> dict[str, Any]:
    return {"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": error, "args": list(when)}


def _other_families() -> list[int]:
    return [family for family in range(_FAMILIES_END) if family not in _FAMILIES]


def _refuse_families(library: ctypes.CDLL, context: int) -> None:
    number = library.seccomp_syscall_resolve_name(b"socket")
    refused = [_Comparison(0, _EQUAL, family) for family in _other_families()]
    for comparison in (*refused, _Comparison(0, _GREATER_EQUAL, _FAMILIES_END)):
        _refuse(library, context, errno.EAFNOSUPPORT, number, [comparison])


def _refuse(library: ctypes.CDLL, context: int, error: int, number: int, when: list[_Comparison]) -> None:
    array = (_Comparison * len(when))(*when)
    result = library.seccomp_rule_add_array(context, _ERRNO | error, number, len(when), array)
    if result != 0:
        raise SeccompError(f"libseccomp refuses a rule: {os.strerror(-result)}")


def _refuse_namespaces(library: ctypes.CDLL, context: int) -> None:
    """``clone3`` takes its flags by a pointer, at which no filter looks: programs then use ``clone``."""
    for name, error in (("unshare", errno.EPERM), ("clone3", errno.ENOSYS)):
        _refuse(library, context, error, library.seccomp_syscall_resolve_name(name.encode()), [])
    number = library.seccomp_syscall_resolve_name(b"clone")
    for flag in _NAMESPACES:
        _refuse(library, context, errno.EPERM, number, [_Comparison(0, _MASKED_EQUAL, flag, flag)])


def _exported(library: ctypes.CDLL, context: int) -> bytes:
    with os.fdopen(os.memfd_create("seccomp"), "rb") as program:
        result = library.seccomp_export_bpf(context, program.fileno())
        if result != 0:
            raise SeccompError(f"libseccomp gives no program: {os.strerror(-result)}")
        program.seek(0)
        return program.read()


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        raise SeccompError("libseccomp.so.2 is missing: install libseccomp2, or jobs cannot be confined") from error
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p,
    ]  # fmt: skip
    return library
