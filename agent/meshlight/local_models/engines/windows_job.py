"""A Windows job object: all processes in it are killed when its last handle closes, however the service ends."""

import ctypes
import sys
from typing import Any, Protocol, cast

KILL_ON_JOB_CLOSE = 0x2000
_EXTENDED_LIMITS = 9
_SET_QUOTA_AND_TERMINATE = 0x0100 | 0x0001
_DWORD, _SIZE, _LARGE = ctypes.c_uint32, ctypes.c_size_t, ctypes.c_int64


class Kernel(Protocol):
    """The functions of kernel32.dll that are used; each returns 0 (or None) if it fails."""

    def CreateJobObjectW(self, security: None, name: None, /) -> int | None:  # noqa: N802, D102
        ...

    def SetInformationJobObject(self, job: int, kind: int, limits: Any, size: int, /) -> int:  # noqa: N802, D102
        ...

    def OpenProcess(self, access: int, inherit: int, pid: int, /) -> int | None:  # noqa: N802, D102
        ...

    def AssignProcessToJobObject(self, job: int, process: int, /) -> int:  # noqa: N802, D102
        ...

    def TerminateJobObject(self, job: int, code: int, /) -> int:  # noqa: N802, D102
        ...

    def CloseHandle(self, handle: int, /) -> int:  # noqa: N802, D102
        ...


class _BasicLimits(ctypes.Structure):
    _fields_ = (
        ("PerProcessUserTimeLimit", _LARGE),
        ("PerJobUserTimeLimit", _LARGE),
        ("LimitFlags", _DWORD),
        ("MinimumWorkingSetSize", _SIZE),
        ("MaximumWorkingSetSize", _SIZE),
        ("ActiveProcessLimit", _DWORD),
        ("Affinity", _SIZE),
        ("PriorityClass", _DWORD),
        ("SchedulingClass", _DWORD),
    )


class ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (
        ("BasicLimitInformation", _BasicLimits),
        ("IoInfo", ctypes.c_uint64 * 6),
        ("ProcessMemoryLimit", _SIZE),
        ("JobMemoryLimit", _SIZE),
        ("PeakProcessMemoryUsed", _SIZE),
        ("PeakJobMemoryUsed", _SIZE),
    )


class WindowsJob:
    """One job; its handle is held by this process alone. Raises OSError where Windows refuses."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        job = kernel.CreateJobObjectW(None, None)
        if not job:
            raise OSError("Windows made no job object for the engine")
        self._job: int | None = job
        limits = ExtendedLimits()
        limits.BasicLimitInformation.LimitFlags = KILL_ON_JOB_CLOSE
        if not kernel.SetInformationJobObject(
            job, _EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits)
        ):
            self.close()
            raise OSError("Windows did not limit the job object of the engine")

    def add(self, pid: int) -> None:
        """Put a process into the job; what it starts from now on is in it too."""
        process = self._kernel.OpenProcess(_SET_QUOTA_AND_TERMINATE, 0, pid)
        if not process:
            raise OSError("Windows did not open the process of the engine")
        try:
            if self._job is None or not self._kernel.AssignProcessToJobObject(self._job, process):
                raise OSError("Windows did not put the engine into its job object")
        finally:
            self._kernel.CloseHandle(process)

    def kill(self) -> None:
        """End all its processes."""
        if self._job is not None:
            self._kernel.TerminateJobObject(self._job, 1)

    def close(self) -> None:
        """Close the handle, which ends what still runs in it."""
        if self._job is not None:
            self._kernel.CloseHandle(self._job)
            self._job = None


def windows_kernel() -> Kernel:
    """Return kernel32 with its types declared; raises OSError on other systems."""
    if sys.platform == "win32":
        handle = ctypes.c_void_p
        kernel: Any = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.CreateJobObjectW.restype = handle
        kernel.CreateJobObjectW.argtypes = [handle, ctypes.c_wchar_p]
        kernel.SetInformationJobObject.argtypes = [handle, ctypes.c_int, handle, _DWORD]
        kernel.OpenProcess.restype = handle
        kernel.OpenProcess.argtypes = [_DWORD, ctypes.c_int, _DWORD]
        kernel.AssignProcessToJobObject.argtypes = [handle, handle]
        kernel.TerminateJobObject.argtypes = [handle, ctypes.c_uint]
        kernel.CloseHandle.argtypes = [handle]
        return cast("Kernel", kernel)
    raise OSError("job objects are of Windows alone")
