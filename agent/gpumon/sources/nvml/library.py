"""The one door to NVIDIA's library: each call leaves it as a value or a FaultError.

Calls are made by their name in nvml.h, so the catalogue can name them without importing the
binding. The binding's own traps are dealt with here and nowhere else: its exceptions are not
hashable, some of its errors are not NVMLError, and some getters share one buffer between threads.
"""

from __future__ import annotations

import ctypes
import enum
import itertools
import logging
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pynvml

from gpumon.clock import Clock
from gpumon.errors import UnavailableError, printable
from gpumon.model.bounds import is_number
from gpumon.sources.calls import CALL_DEADLINE, Calls, DriverFault, SourceFaultError

log = logging.getLogger(__name__)


class Code(enum.IntEnum):
    """Return codes of nvml.h that change what we do."""

    SUCCESS = 0
    UNINITIALIZED = 1
    INVALID_ARGUMENT = 2
    NOT_SUPPORTED = 3
    NO_PERMISSION = 4
    NOT_FOUND = 6
    INSUFFICIENT_SIZE = 7
    DRIVER_NOT_LOADED = 9
    LIBRARY_NOT_FOUND = 12
    FUNCTION_NOT_FOUND = 13
    GPU_IS_LOST = 15
    RESET_REQUIRED = 16
    LIB_RM_VERSION_MISMATCH = 18
    ARGUMENT_VERSION_MISMATCH = 25
    DEPRECATED = 26
    UNKNOWN = 999


SERIOUS = frozenset(
    {
        Code.UNINITIALIZED,
        Code.DRIVER_NOT_LOADED,
        Code.GPU_IS_LOST,
        Code.RESET_REQUIRED,
        Code.LIB_RM_VERSION_MISMATCH,
    }
)
"""Return codes about the whole GPU or driver, no matter which value was asked for; any other code
means that this one value is not available."""

FINAL = frozenset(
    {
        Code.INVALID_ARGUMENT,
        Code.NOT_SUPPORTED,
        Code.NO_PERMISSION,
        Code.FUNCTION_NOT_FOUND,
        Code.ARGUMENT_VERSION_MISMATCH,
        Code.DEPRECATED,
    }
)
"""Answers to a probe that will not change while this driver is loaded; any other may pass, as when
the fabric is not up yet."""

DRIVER_GONE = frozenset({Code.UNINITIALIZED, Code.DRIVER_NOT_LOADED, Code.LIB_RM_VERSION_MISMATCH})
"""Answers which mean that every handle is dead: the driver was reloaded or upgraded under us, and
all has to be initialized and enumerated again. INVALID_ARGUMENT says so too, of a handle that was
good before."""


class FaultError(SourceFaultError):
    """NVML answered with an error code."""

    def __init__(self, code: int, function: str, text: str) -> None:
        """Keep the code of nvml.h, the function that gave it, and the driver's words for it."""
        super().__init__(f"{function}: {text}")
        self.code = code
        self.fault = _FAULTS.get(code, DriverFault.OTHER)


_FAULTS: dict[int, DriverFault] = {
    Code.GPU_IS_LOST: DriverFault.LOST,
    Code.RESET_REQUIRED: DriverFault.RESET_REQUIRED,
    Code.INVALID_ARGUMENT: DriverFault.HANDLE_REFUSED,
    Code.NO_PERMISSION: DriverFault.DENIED,
    **dict.fromkeys(DRIVER_GONE, DriverFault.DRIVER_GONE),
    **dict.fromkeys(
        (Code.NOT_SUPPORTED, Code.FUNCTION_NOT_FOUND, Code.DEPRECATED), DriverFault.UNSUPPORTED
    ),
}

_STRUCTS: Mapping[str, tuple[str, ...]] = {
    "nvmlDeviceGetGpuFabricInfoV": ("c_nvmlGpuFabricInfo_v3_t", "c_nvmlGpuFabricInfo_v2_t"),
    "nvmlDeviceGetGpuFabricInfo": ("c_nvmlGpuFabricInfo_t",),
    "nvmlDeviceGetSramEccErrorStatus": ("c_nvmlEccSramErrorStatus_v1_t",),
    "nvmlDeviceGetPlatformInfo": ("c_nvmlPlatformInfo_v2_t", "c_nvmlPlatformInfo_v1_t"),
    "nvmlDeviceWorkloadPowerProfileGetCurrentProfiles": (
        "c_nvmlWorkloadPowerProfileCurrentProfiles_v1_t",
    ),
}
"""Getters that fill in a struct. Newest first: a driver refuses a struct that is newer than itself,
and an older binding (the oldest allowed is 12.535) lacks the newer ones."""

_MISMATCH: tuple[type[Exception], ...] = tuple(
    filter(None, [getattr(pynvml, "NVMLLibraryMismatchError", None)])
)
"""What newer bindings raise for a function that the driver's library does not have."""

_FIELD_VALUE = struct.Struct("=IIqqIi8s")
_UNION_MEMBERS = {0: "=d", 1: "=I", 2: "=Q", 3: "=Q", 4: "=q", 5: "=i", 6: "=H"}
_UNIONS = {kind: struct.Struct(format_) for kind, format_ in _UNION_MEMBERS.items()}


MOST_GPUS = 1024
"""More than a machine has: each gets a thread."""

MOST_PROCESSES = 100_000
"""More than hold a context on one GPU: room is made for each."""

_NOT_IN_BINDING = "not in this version of nvidia-ml-py"

_GSP_VERSION_BYTES = 0x40
"""NVML_GSP_FIRMWARE_VERSION_BUF_SIZE of nvml.h."""


class Library:
    """NVML, initialized once."""

    def start(self) -> None:
        """Load the library and initialize it; UnavailableError says what is missing."""
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise _unavailable(error.value) from None

    def stop(self) -> None:
        """Shut NVML down; its own complaint about that helps nobody."""
        try:
            pynvml.nvmlShutdown()
        except pynvml.NVMLError:
            return

    def version(self) -> tuple[str, str, str]:
        """Return the versions of driver, NVML and CUDA; empty if it is not reported."""
        return (
            _or_empty(pynvml.nvmlSystemGetDriverVersion),
            _or_empty(pynvml.nvmlSystemGetNVMLVersion),
            _or_empty(_cuda_version),
        )

    def count(self) -> int:
        """Return the number of GPUs; raises FaultError."""
        count = int(_guard(pynvml.nvmlDeviceGetCount))
        if count > MOST_GPUS:
            raise _impossible("nvmlDeviceGetCount", f"{count} GPUs")
        return count


class Door(Calls):
    """The calls of one thread into NVML."""

    def __init__(self, clock: Clock, deadline: float = CALL_DEADLINE) -> None:
        """Make a door whose calls are timed by the clock's monotonic time, in seconds."""
        super().__init__(clock, deadline)
        self._versions: dict[str, int] = {}

    def call(self, function: str, *args: Any) -> Any:
        """Call a function of nvml.h; raises FaultError, or LateAnswerError past the deadline."""
        target = getattr(pynvml, function, None)
        if target is None:
            raise FaultError(Code.FUNCTION_NOT_FOUND, function, _NOT_IN_BINDING)
        return self.timed(function, _guard, target, *args)

    def get(self, function: str, handle: Any, *args: Any) -> Any:
        """Call a getter of a device, with the arguments the binding wants for it."""
        if function == "nvmlDeviceGetMemoryInfo":
            # Version 1 counts what the driver reserves as used.
            args = (pynvml.nvmlMemory_v2,)
        elif function == "nvmlDeviceGetModuleId":
            # The binding's default argument is one buffer for all threads.
            buffer = ctypes.c_uint()
            code = self.call(function, handle, ctypes.byref(buffer))
            if code:
                raise FaultError(code, function, pynvml.nvmlErrorString(code))
            return buffer.value
        elif function == "nvmlDeviceGetGspFirmwareVersion":
            # Older bindings (12.535) make no buffer of their own.
            text = ctypes.create_string_buffer(_GSP_VERSION_BYTES)
            self.call(function, handle, text)
            return text.value
        elif function in _STRUCTS:
            known = (getattr(pynvml, name, None) for name in _STRUCTS[function])
            return self._filled(
                function, handle, [struct_type for struct_type in known if struct_type]
            )
        return self.call(function, handle, *args)

    def _filled(self, function: str, handle: Any, structs: Sequence[Any]) -> Any:
        """Call a getter that fills in a struct: its newest version that this driver knows."""
        newest = self._versions.get(function, 0)
        for version, struct_type in enumerate(structs[newest:], newest):
            filled = struct_type()
            try:
                self.call(function, handle, ctypes.byref(filled))
            except FaultError as fault:
                last = version == len(structs) - 1
                if fault.code != Code.ARGUMENT_VERSION_MISMATCH or last:
                    raise
            else:
                self._versions[function] = version
                return filled
        raise FaultError(Code.FUNCTION_NOT_FOUND, function, _NOT_IN_BINDING)

    def fields(self, handle: Any, asked: Sequence[tuple[int, int]]) -> list[FieldAnswer]:
        """Read a batch of (field id, scope) in one call, in the order asked."""
        array = self.call("nvmlDeviceGetFieldValues", handle, asked)
        # The binding decodes every attribute in Python; unpacking the array at once is ten times
        # cheaper. The layout is that of nvmlFieldValue_t; exact numbers are checked in the tests.
        return [
            FieldAnswer(code, _UNIONS[kind].unpack_from(union)[0] if code == 0 else None)
            for _, _, _, _, kind, code, union in _FIELD_VALUE.iter_unpack(bytes(array))
        ]

    def processes(self, function: str, handle: Any) -> list[ProcessEntry]:
        """List the processes of a GPU, however long this driver's entries are.

        Entries of the calls ``_v3`` are 24 bytes, but 32 in the first drivers of 535, whose
        binding (nvidia-ml-py 12.535) misreads those of all later drivers (nvitop pull request 79),
        and 16 on some (nvitop pull request 226). The call has no version to ask with, so what it
        wrote says it: the end of the last entry.
        """
        target = getattr(pynvml.nvmlLib, function, None)
        if target is None:
            raise FaultError(Code.FUNCTION_NOT_FOUND, function, "not in this driver's library")
        count, buffer = ctypes.c_uint(0), None
        for _ in range(_TRIES):
            code = self.timed(function, target, handle, ctypes.byref(count), buffer)
            if code == Code.SUCCESS:
                return _entries(function, b"" if buffer is None else bytes(buffer), count.value)
            if code != Code.INSUFFICIENT_SIZE:
                raise FaultError(code, function, pynvml.nvmlErrorString(code))
            if count.value > MOST_PROCESSES:
                raise _impossible(function, f"{count.value} processes")
            count = ctypes.c_uint(count.value + _ROOM_FOR_MORE)  # some may start meanwhile
            size = max(_ENTRY_SIZES) * count.value
            buffer = (ctypes.c_ubyte * size)(*itertools.repeat(_UNWRITTEN, size))
        raise _impossible(function, f"more processes than it has room for, {_TRIES} times")

    def power_samples(self, handle: Any, since: int) -> list[tuple[int, int]]:
        """Return (microseconds of unix time, milliwatts) later than ``since``, oldest first."""
        try:
            kind, samples = self.call(
                "nvmlDeviceGetSamples", handle, pynvml.NVML_TOTAL_POWER_SAMPLES, since
            )
        except FaultError as fault:
            if fault.code == Code.NOT_FOUND:  # nothing new
                return []
            raise
        unpack = _UNIONS[kind].unpack_from
        return [(sample.timeStamp, unpack(bytes(sample.sampleValue))[0]) for sample in samples]


class FieldAnswer(NamedTuple):
    """One value of a batch: its return code and, where that is 0, its number in NVML's unit."""

    code: int
    value: Any


class ProcessEntry(NamedTuple):
    """A process that holds a GPU: its memory in bytes, None if the driver does not report it."""

    pid: int
    memory_bytes: int | None
    gpu_instance: int | None
    compute_instance: int | None


_ENTRY_SIZES = (16, 24, 32)
_ENTRY = struct.Struct("=I4xQII")
_UNWRITTEN = 0xA5
_ROOM_FOR_MORE = 5
_TRIES = 5
"""More processes may start while room is made for those there were, but not again and again."""
_NO_MEMORY = 2**64 - 1
_NO_INSTANCE = 2**32 - 1


def _entries(function: str, written: bytes, count: int) -> list[ProcessEntry]:
    """Read a list of processes, whose entries are as long as its end says; raises FaultError.

    Each entry's last four bytes are written, the last entry's included, so what was written ends
    within the last four bytes of ``count`` entries of the right size. A list that ends elsewhere
    (the driver cleared the whole buffer, or wrote fewer entries than it counts) cannot be read.
    """
    if not count:
        return []
    if max(_ENTRY_SIZES) * count > len(written):
        raise _impossible(function, f"{count} processes in {len(written)} bytes")
    end = len(written.rstrip(bytes([_UNWRITTEN])))
    size = next((size for size in _ENTRY_SIZES if size * count - 4 < end <= size * count), None)
    if size is None:
        raise _impossible(function, f"{count} processes in {end} bytes")
    none = _NO_INSTANCE.to_bytes(4, "little") * 2
    found = []
    for start in range(0, size * count, size):
        entry = (written[start : start + size] + (none if size == 16 else b""))[: _ENTRY.size]
        pid, memory, gpu_instance, compute_instance = _ENTRY.unpack(entry)
        found.append(
            ProcessEntry(
                pid,
                None if memory == _NO_MEMORY else memory,
                None if gpu_instance == _NO_INSTANCE else gpu_instance,
                None if compute_instance == _NO_INSTANCE else compute_instance,
            )
        )
    return found


def _impossible(function: str, what: str) -> FaultError:
    return FaultError(Code.UNKNOWN, function, f"{what}, which is impossible")


def _guard(target: Any, *args: Any) -> Any:
    try:
        return target(*args)
    except pynvml.NVMLError as error:
        raise FaultError(error.value, target.__name__, str(error)) from None
    except _MISMATCH as error:
        raise FaultError(Code.FUNCTION_NOT_FOUND, target.__name__, str(error)) from None
    except TypeError as error:
        # An older binding wants other arguments: that costs this value, and not the GPU.
        _made_otherwise(target.__name__, str(error))
        raise FaultError(Code.FUNCTION_NOT_FOUND, target.__name__, str(error)) from None
    except UnicodeDecodeError as error:
        # The binding decodes names, serials and the like; a board whose InfoROM is damaged may
        # return any bytes. That one text is odd then, and the GPU is read all the same.
        return printable(bytes(error.object).decode("utf-8", "replace"))


_MADE_OTHERWISE: set[str] = set()
"""Calls that this binding makes otherwise, and of which that has been logged."""


def _made_otherwise(function: str, text: str) -> None:
    """Log once, for all GPUs and for good, that a call is not made: nothing else would say so."""
    if function not in _MADE_OTHERWISE:
        _MADE_OTHERWISE.add(function)
        log.warning(
            "%s is not called: this version of nvidia-ml-py wants other arguments (%s); "
            "a newer one gives its value",
            function,
            printable(text),
        )


def _or_empty(getter: Any) -> str:
    try:
        return str(_guard(getter))
    except FaultError:
        return ""


def _cuda_version() -> str:
    version = pynvml.nvmlSystemGetCudaDriverVersion_v2()
    return f"{version // 1000}.{version % 1000 // 10}" if is_number(version) else ""


_NEXT_STEPS = {
    Code.LIBRARY_NOT_FOUND: (
        "libnvidia-ml.so.1 was not found",
        "install the NVIDIA driver's user-space libraries; without a GPU, sim:8xH100 is one to try",
    ),
    Code.DRIVER_NOT_LOADED: (
        "the NVIDIA kernel driver is not loaded",
        "load it (modprobe nvidia) and check that nvidia-smi responds",
    ),
    Code.LIB_RM_VERSION_MISMATCH: (
        "libnvidia-ml.so.1 and the loaded kernel driver are of different versions",
        "the driver was upgraded: reboot, or reload its kernel modules",
    ),
    Code.NO_PERMISSION: (
        "no permission to talk to the NVIDIA driver",
        "let this user read and write /dev/nvidiactl and /dev/nvidia0 and onwards",
    ),
}


def _unavailable(code: int) -> UnavailableError:
    if code in _NEXT_STEPS:
        return UnavailableError(*_NEXT_STEPS[Code(code)])
    text = pynvml.NVMLError(code)
    return UnavailableError(f"NVML does not start ({text})", "check that nvidia-smi responds")
