"""A process that calls the real pynvml, driven by a test through pipes.

Each request is an expression, evaluated in a thread of its own with pynvml's names: one that
hangs in the driver leaves the others free. The answer is its value, or its NVML error.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Self

TIMEOUT = 20.0
"""Seconds after which a test gives up on an answer that is due."""


class NvmlError(Exception):
    """The NVML return code that a call raised, with pynvml's name of the exception."""

    def __init__(self, code: int, name: str) -> None:
        """``name`` is the class, such as NVMLError_GpuIsLost."""
        super().__init__(f"{name} ({code})")
        self.code = code
        self.name = name


class Probe:
    """Runs the process; use as a context manager."""

    def __init__(self, env: Mapping[str, str]) -> None:
        """Start it with these variables on top of the present environment."""
        self._pending: dict[int, Future[Any]] = {}
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A thread may hang in the library: nothing to wait for, unlike with a real driver.
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def start(self, expression: str) -> Future[Any]:
        """Evaluate without waiting: the future has the value, or raises :class:`NvmlError`."""
        future: Future[Any] = Future()
        with self._lock:
            number = len(self._pending)
            self._pending[number] = future
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps([number, expression]) + "\n")
            self._process.stdin.flush()
        return future

    def ask(self, expression: str) -> Any:
        """Evaluate and wait."""
        return self.start(expression).result(TIMEOUT)

    def error(self, expression: str) -> int:
        """The NVML return code that the expression raises."""
        try:
            value = self.ask(expression)
        except NvmlError as error:
            return error.code
        raise AssertionError(f"{expression} answered {value!r}")

    def exit_status(self) -> int:
        """Wait for the process to end by itself; negative is the signal that ended it."""
        return self._process.wait(TIMEOUT)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            number, value, error = json.loads(line)
            if error is None:
                self._pending[number].set_result(value)
            elif error[0] is None:
                self._pending[number].set_exception(AssertionError(error[1]))
            else:
                self._pending[number].set_exception(NvmlError(*error))
        for future in self._pending.values():
            if not future.done():
                future.set_exception(EOFError("the process ended"))


def _plain(value: Any) -> Any:
    """What JSON can say: a struct becomes a dict, its bytes hexadecimal."""
    if isinstance(value, ctypes.Structure):
        return {field[0]: _plain(getattr(value, field[0])) for field in value._fields_}
    if isinstance(value, (list, tuple, ctypes.Array)):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode()
    if hasattr(value, "__dict__") and not isinstance(value, type):
        return {key: _plain(item) for key, item in vars(value).items()}
    return value


_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")


def _helpers(nvml: Any) -> dict[str, Any]:
    """Short words for what tests ask often."""

    def gpu(index: int) -> Any:
        return nvml.nvmlDeviceGetHandleByIndex(index)

    def fields(handle: Any, *ids: Any) -> list[list[Any]]:
        """Of each: return code, value type, value by that type, None if it is an error."""
        rows = []
        for value in nvml.nvmlDeviceGetFieldValues(handle, list(ids)):
            good = value.nvmlReturn == 0
            reading = getattr(value.value, _MEMBERS[value.valueType]) if good else None
            rows.append([value.nvmlReturn, value.valueType, reading])
        return rows

    def samples(handle: Any, kind: int, after: int) -> list[list[int]]:
        found = nvml.nvmlDeviceGetSamples(handle, kind, after)[1]
        return [[sample.timeStamp, sample.sampleValue.uiVal] for sample in found]

    def struct_of(get: Callable[..., Any], handle: Any, kind: str, version: int) -> Any:
        """A struct that the caller hands in, versioned, for the call to fill."""
        struct = getattr(nvml, f"c_{kind}")()
        struct.version = version
        get(handle, ctypes.byref(struct))
        return struct

    def hex_of(*arguments: Any) -> str:
        """The bytes of such a struct: pynvml would decode them as text."""
        return bytes(struct_of(*arguments)).hex()

    kept: dict[str, Any] = {}  # handles and event sets, across requests

    def keep(name: str, value: Any) -> None:
        kept[name] = value

    functions = (gpu, fields, samples, struct_of, hex_of, keep)
    return {"kept": kept, "ctypes": ctypes, **{f.__name__: f for f in functions}}


def _serve() -> None:
    nvml = importlib.import_module("pynvml")
    names = {**vars(nvml), **_helpers(nvml)}
    write_lock = threading.Lock()

    def answer(number: int, expression: str) -> None:
        value, error = None, None
        try:
            value = _plain(eval(expression, dict(names)))
        except nvml.NVMLError as raised:
            error = [raised.value, type(raised).__name__]
        except Exception as raised:  # noqa: BLE001 - whatever it is, the test wants to see it
            error = [None, repr(raised)]
        with write_lock:
            sys.stdout.write(json.dumps([number, value, error]) + "\n")
            sys.stdout.flush()

    for line in sys.stdin:
        threading.Thread(target=answer, args=json.loads(line), daemon=True).start()


if __name__ == "__main__":
    _serve()
