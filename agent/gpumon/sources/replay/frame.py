"""What a recording is made of, whatever its file format."""

from __future__ import annotations

import dataclasses
import gzip
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Protocol

from gpumon.errors import UnavailableError, UsageError
from gpumon.model import GpuReading, HostReading, LedgerState, SourceInfo
from gpumon.model.origins import Origins


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """What became known at ``time`` (unix seconds).

    ``complete`` is true if these are all the GPUs there were, false if they are some. ``origins``
    are the tables of where values come from, by the number that readings carry.
    """

    time: float
    gpus: tuple[GpuReading, ...]
    complete: bool = False
    up: bool = True
    errors: tuple[str, ...] = ()
    host: HostReading = dataclasses.field(default_factory=HostReading)
    ledger: LedgerState = dataclasses.field(default_factory=LedgerState)
    origins: Mapping[int, Origins] = dataclasses.field(default_factory=dict)


class Recording(Protocol):
    """A file that can be played from its beginning any number of times."""

    @property
    def recorded(self) -> SourceInfo:
        """What the recording says of its source."""
        ...

    @property
    def sampled(self) -> bool:
        """Whether its power may be samples that do not see all of the time (an A100's)."""
        ...

    @property
    def node(self) -> str:
        """The node that it was recorded on; empty where it does not say."""
        ...

    def frames(self) -> Iterator[Frame]:
        """Yield the frames in the file's order; UsageError names the line that is wrong."""
        ...


def open_text(path: Path) -> IO[str]:
    """Open a file, plain or gzip, as text; UnavailableError where that cannot be done."""
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
        opener = gzip.open if compressed else open
        return opener(path, "rt", encoding="utf-8-sig", newline="")
    except OSError as error:
        raise UnavailableError(
            f"cannot read {path} ({error.strerror})", "check the path and its permissions"
        ) from None


def numbered_lines(path: Path) -> Iterator[tuple[int, str, bool]]:
    """Yield (line number from 1, line without its end, whether it is the last) of a file.

    A gzip file that was cut off, as by a full disk, ends where its data ends. A last line without
    its end was cut off too: half a number is a number, so it is left out.
    """
    with open_text(path) as file:
        held: tuple[int, str] | None = None
        try:
            for number, line in enumerate(file, start=1):
                if held is not None:
                    yield *held, False
                held = (number, line.rstrip("\r\n")) if line.endswith("\n") else None
        except EOFError:
            pass
        except (UnicodeDecodeError, gzip.BadGzipFile, zlib.error) as error:
            raise UsageError(
                f"{path}: not text after line {held[0] if held else 0} ({error})",
                "expected an nvidia-smi CSV log or a gpumon recording",
            ) from None
        if held is not None:
            yield *held, True
