"""A fake driver: one control file, and switches for what goes wrong with it."""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from .machine import Machine, Value

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

GPU_IS_LOST = 15
RESET_REQUIRED = 16
NO_PERMISSION = 4

EVENT_XID = 0x8
EVENT_MIG_CONFIG_CHANGE = 0x100
EVENT_GPU_UNAVAILABLE = 0x4000
EVENT_GPU_RECOVERY_ACTION = 0x8000

Gpu = int | str
"""An index, ``"3/0"`` for the first MIG device of GPU 3, or ``"*"`` for every GPU."""

_Where = tuple[str, str]  # GPU or "*", function or "*"


class FakeDriver:
    """Owns a control file that processes with :meth:`env` in their environment obey at once.

    Every change is written when its method returns; inside :meth:`batch` all of them together
    when the block ends. Readings are named by key and given in NVML's raw units (mW, mJ, MHz,
    bytes, degrees Celsius, ns); README.md lists the keys.
    """

    def __init__(
        self, directory: Path, machine: Machine | None = None, *, library: Path | None = None
    ) -> None:
        """``library`` is what :func:`~tests.fakenvml.library.build_library` returned."""
        directory.mkdir(parents=True, exist_ok=True)
        self.control_path = directory / "control"
        self.calls_path = directory / "calls"
        self._library = library
        self._lock = threading.RLock()
        self._batch = 0
        self._writes = 0
        self._generation = 1
        self._epoch = time.time()
        self._sequence = 0
        self._crashes = 0
        self._events: list[str] = []
        self._faults: dict[tuple[_Where, str, int], int] = {}
        self.calls_path.unlink(missing_ok=True)
        self._load(machine or Machine())
        # A word of shared memory that tells the library to look again: see control.c.
        bell = directory / "control.bell"
        bell.write_bytes(bytes(mmap.PAGESIZE))
        with bell.open("r+b") as file:
            self._bell = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        self._write()

    def env(self) -> dict[str, str]:
        """Environment variables for a process that is to see this driver."""
        env = {
            "FAKENVML_CONTROL": str(self.control_path),
            "FAKENVML_CALLS": str(self.calls_path),
        }
        if self._library is not None:
            inherited = os.environ.get("LD_LIBRARY_PATH")
            paths = [str(self._library)] + ([inherited] if inherited else [])
            env["LD_LIBRARY_PATH"] = os.pathsep.join(paths)
        return env

    # ------------------------------------------------------------------ readings

    @property
    def gpus(self) -> int:
        """How many GPUs the driver enumerates."""
        return self._gpus

    def set(self, gpu: Gpu, key: str, value: Value) -> None:
        """From now on ``key`` of this GPU reads ``value``."""
        with self.batch():
            self._facts[(str(gpu), key)] = _text(value)

    def unset(self, gpu: Gpu, key: str) -> None:
        """From now on ``key`` of this GPU is NOT_SUPPORTED, whatever ``"*"`` says."""
        with self.batch():
            self._facts.pop((str(gpu), key), None)
            if ("*", key) in self._facts:
                self._facts[(str(gpu), key)] = "!3"

    def draw(self, gpu: int, milliwatts: int) -> None:
        """The GPU draws this from now on: power readings, samples, and its energy counter.

        The counter (field 83) goes on from where it is; it never falls and is right to 20 ms
        of the change in power. Only for a GPU whose counter moves (``rate:``, as in profiles).
        """
        with self.batch():
            current = self._facts.get((str(gpu), "field.83")) or self._facts[("*", "field.83")]
            rate, _, base = current.removeprefix("rate:").partition("@")
            elapsed = time.time() - self._epoch
            if milliwatts < float(rate):
                # The library goes on at the old rate until it sees this: be ahead of that.
                elapsed += 0.02
            start = round(float(base) + (float(rate) - milliwatts) * elapsed)
            self._facts[(str(gpu), "field.83")] = f"rate:{milliwatts}@{start}"
            self._facts[(str(gpu), "samples.0")] = f"auto:100000:{milliwatts}"
            for key in ("power_usage", "field.185", "field.186"):
                if (str(gpu), key) in self._facts or ("*", key) in self._facts:
                    self._facts[(str(gpu), key)] = str(milliwatts)

    def set_system(self, key: str, value: Value) -> None:
        """Set a fact without a GPU: ``driver_version``, ``nvml_version``, ``cuda_version``."""
        with self.batch():
            self._system[key] = _text(value)

    def deny(self, gpu: Gpu, key: str) -> None:
        """Reading ``key`` needs a privilege: NO_PERMISSION (4)."""
        self.set(gpu, key, f"!{NO_PERMISSION}")

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Several changes that the library sees as one."""
        with self._lock:
            self._batch += 1
            try:
                yield
            finally:
                self._batch -= 1
                if self._batch == 0:
                    self._write()

    # ------------------------------------------------------------------ faults

    def lose(self, gpu: int) -> None:
        """The GPU fell off the bus: every call on it answers GPU_IS_LOST (15)."""
        self.fail(gpu, GPU_IS_LOST)

    def require_reset(self, gpu: int) -> None:
        """Every call on the GPU answers RESET_REQUIRED (16)."""
        self.fail(gpu, RESET_REQUIRED)

    def fail(self, gpu: Gpu | Literal["all"], code: int, function: str | None = None) -> None:
        """Calls answer ``code``: of one GPU or ``"all"``, of one function or all."""
        self._fault(gpu, function, "error", code)

    def fail_values(self, gpu: Gpu | Literal["all"], code: int) -> None:
        """Field batches succeed, but each value in them carries ``code``."""
        self._fault(gpu, None, "value_error", code)

    def fail_init(self, code: int) -> None:
        """Answer nvmlInit with ``code``: 9 driver not loaded, 18 library and driver differ."""
        self._fault("all", "nvmlInit", "error", code)

    def hang(self, gpu: Gpu | Literal["all"], function: str | None = None) -> None:
        """Calls do not return until :meth:`release`.

        ``"all"`` is the driver's global lock: every call of every GPU, and those without a GPU
        (nvmlInit, event waits), stands still. ``hang("all", "nvmlInit")`` hangs only that.
        """
        self._fault(gpu, function, "hang", 0)

    def slow(
        self, gpu: Gpu | Literal["all"], milliseconds: int, function: str | None = None
    ) -> None:
        """Calls take this long before they answer."""
        self._fault(gpu, function, "slow", milliseconds)

    def crash(
        self, gpu: Gpu | Literal["all"], function: str | None = None, *, once: bool = True
    ) -> None:
        """The next call kills its process with SIGSEGV; ``once``: only the first process."""
        self._crashes += 1
        self._fault(gpu, function, "crash", self._crashes if once else 0)

    def refuse_version(
        self, function: str, version: int, gpu: Gpu | Literal["all"] = "all"
    ) -> None:
        """The function answers ARGUMENT_VERSION_MISMATCH (25) to this struct version."""
        self._fault(gpu, function, "version", version)

    def release(self, gpu: Gpu | Literal["all"] | None = None, function: str | None = None) -> None:
        """Let calls return again: undo :meth:`hang` and :meth:`slow`.

        Without arguments all of them; else those that were set with the same arguments.
        """
        self._clear({"hang", "slow"}, gpu, function)

    def recover(self, gpu: Gpu | Literal["all"] | None = None, function: str | None = None) -> None:
        """Undo every kind of fault; without arguments all of them, nvmlInit's too.

        With a GPU but no function, all that were set for this GPU.
        """
        self._clear(None, gpu, function)

    def _fault(self, gpu: Gpu, function: str | None, kind: str, argument: int) -> None:
        with self.batch():
            # One fault of a kind per place, the newest; but several refused versions.
            which = argument if kind == "version" else 0
            self._faults[(_where(gpu, function), kind, which)] = argument

    def _clear(self, kinds: Collection[str] | None, gpu: Gpu | None, function: str | None) -> None:
        def meant(where: _Where, kind: str) -> bool:
            if kinds is not None and kind not in kinds:
                return False
            if gpu is not None and where[0] != _where(gpu, None)[0]:
                return False
            return function is None or where[1] == function

        with self.batch():
            self._faults = {
                (where, kind, which): argument
                for (where, kind, which), argument in self._faults.items()
                if not meant(where, kind)
            }

    # ------------------------------------------------------------------ the driver's life

    def reload(self, machine: Machine | None = None) -> None:
        """Unload and load the driver: initialisation and handles of running processes are dead.

        Calls answer UNINITIALIZED (1) until nvmlShutdown and nvmlInit, then old handles answer
        INVALID_ARGUMENT (2). With a ``machine`` its facts replace all present ones (other GPUs,
        another order, counters from zero); without, they stay. Faults stay; events are gone.
        """
        with self.batch():
            self._generation += 1
            self._events.clear()
            if machine is not None:
                self._epoch = time.time()
                self._load(machine)

    # ------------------------------------------------------------------ events

    def raise_xid(self, gpu: int, code: int) -> None:
        """An Xid: delivered once to each event set that exists and asked for Xids of the GPU."""
        self.raise_event(gpu, EVENT_XID, code)

    def raise_event(self, gpu: int, kind: int, data: int = 0) -> None:
        """An event of another type (bit of the NVML event mask), with its data."""
        with self.batch():
            self._sequence += 1
            self._events.append(f"event {self._sequence} {gpu} {kind:#x} {data}")

    # ------------------------------------------------------------------ call counts

    def calls(self) -> dict[str, int]:
        """Calls so far, of all processes, by C function; live.

        ``nvmlDeviceGetFieldValues[3]`` counts GPU 3's batches, ``fields`` the values asked for.
        Functions never called are absent.
        """
        try:
            content = self.calls_path.read_bytes()
        except FileNotFoundError:
            return {}
        records = struct.iter_unpack("=56sQ", content[: len(content) // 64 * 64])
        return {name.rstrip(b"\0").decode(): count for name, count in records if count}

    # ------------------------------------------------------------------ the file

    def _load(self, machine: Machine) -> None:
        self._gpus = len(machine.gpus)
        self._system = {key: _text(value) for key, value in machine.system.items()}
        self._facts = {("*", key): _text(value) for key, value in machine.shared.items()}
        for index, facts in enumerate(machine.gpus):
            for key, value in facts.items():
                # "0:uuid" is a fact of the GPU's first MIG device.
                mig, _, rest = key.rpartition(":")
                self._facts[(f"{index}/{mig}" if mig else str(index), rest)] = _text(value)

    def text(self) -> str:
        """The control file as it is written."""
        lines = [f"gpus {self._gpus}", f"generation {self._generation}", f"epoch {self._epoch}"]
        lines += [f"{key} {value}" for key, value in self._system.items()]
        lines += [f"{gpu} {key} {value}" for (gpu, key), value in self._facts.items()]
        lines += [
            f"fault {gpu} {function} {kind} {argument}"
            for ((gpu, function), kind, _), argument in self._faults.items()
        ]
        lines += self._events
        # Two writes within a clock tick may get the same inode and time stamp: their sizes
        # must differ, or a library without the doorbell could miss the second.
        lines.append("#" + "." * (self._writes % 61))
        return "\n".join(lines) + "\n"

    def _write(self) -> None:
        self._writes += 1
        temporary = self.control_path.with_suffix(".tmp")
        temporary.write_text(self.text(), "utf-8", errors="surrogateescape")
        temporary.replace(self.control_path)
        self._bell[:8] = struct.pack("=Q", self._writes)


def _text(value: Value) -> str:
    text = str(value)
    if "\n" in text:
        raise ValueError(f"a value is one line: {text!r}")
    return text


def _where(gpu: Gpu | str, function: str | None) -> _Where:
    return ("*" if gpu == "all" else str(gpu), function or "*")
