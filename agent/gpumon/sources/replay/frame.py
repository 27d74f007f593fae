"""What a recording is made of, whatever its file format."""

from __future__ import annotations

import codecs
import dataclasses
import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Protocol

from gpumon.errors import UnavailableError, UsageError
from gpumon.model import GpuReading, HostReading, LedgerState, SourceInfo
from gpumon.model.origins import Origins


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """What became known at ``time`` (unix seconds).

    ``complete`` is true if these are all the GPUs there were, false if they are some. ``origins``
    are the tables of where values come from, by the number that readings carry. ``gone`` are the
    uuids of GPUs that turned out to be others of these.
    """

    time: float
    gpus: tuple[GpuReading, ...]
    complete: bool = False
    up: bool = True
    errors: tuple[str, ...] = ()
    host: HostReading = dataclasses.field(default_factory=HostReading)
    ledger: LedgerState = dataclasses.field(default_factory=LedgerState)
    origins: Mapping[int, Origins] = dataclasses.field(default_factory=dict)
    gone: tuple[str, ...] = ()


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
        """The node that it was recorded on; empty if it does not say."""
        ...

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the values must know of the frames so far."""
        ...

    def frames(self) -> Iterator[Frame]:
        """Yield the frames in the file's order; UsageError names the line that is wrong."""
        ...


_SAMPLE_BYTES = 1024
_PLAIN = 0.9
"""The share of a text's first characters that are ASCII; of what only looks like one it is less."""


def open_text(path: Path) -> IO[str]:
    """Open a file, plain or gzip, as text; UnavailableError if that cannot be done.

    UTF-8, or the UTF-16 that PowerShell makes of what it redirects. What is not text raises
    UsageError.
    """
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
        opener = gzip.open if compressed else open
        encoding = _encoding(path, _beginning(path, compressed=compressed))
        return opener(path, "rt", encoding=encoding, errors="replace", newline="")
    except OSError as error:
        raise UnavailableError(
            f"cannot read {path} ({error.strerror})", "check the path and its permissions"
        ) from None


def _beginning(path: Path, *, compressed: bool) -> bytes:
    """Return the first bytes of a file; none of a gzip file that is damaged there."""
    if not compressed:
        with path.open("rb") as file:
            return file.read(_SAMPLE_BYTES)
    try:
        with gzip.open(path) as unpacked:
            return unpacked.read(_SAMPLE_BYTES)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return b""


def _encoding(path: Path, beginning: bytes) -> str:
    """Return the encoding of a text that begins so; UsageError if it is not a text."""
    if not beginning:
        return "utf-8-sig"
    marked = beginning[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "utf-16-le", "utf-16-be"):
        text = beginning.decode(encoding, "replace")
        if sum("\t" <= c <= "~" for c in text) >= _PLAIN * len(text):
            return encoding
    if marked or b"\xff" in beginning:
        raise UsageError(
            f"{path}: not text",
            "expected an nvidia-smi CSV log or a gpumon recording, in UTF-8 or UTF-16",
        )
    return "utf-8-sig"


def cut_off(line: int) -> str:
    """Return what to say of a gzip file whose last whole line is this one."""
    return f"the gzip file is cut off after line {line}: what followed is missing"


def _passed_over(_: int) -> None:
    """Say nothing of a file that was cut off."""


def numbered_lines(
    path: Path, cut_off: Callable[[int], None] = _passed_over
) -> Iterator[tuple[int, str, bool]]:
    """Yield (line number from 1, line without its end, whether it is the last) of a file.

    A gzip file that was cut off, as by a full disk, ends with its data: ``cut_off`` is called with
    the number of its last whole line. If there is none, that is a UsageError. A last line without
    its end was cut off too: half a number is a number, so it is left out. Zero bytes are left out:
    a crash leaves blocks of them, and PowerShell appends UTF-16 to whatever a file is in.
    """
    with open_text(path) as file:
        held: tuple[int, str] | None = None
        try:
            for number, line in enumerate(file, start=1):
                if held is not None:
                    yield *held, False
                text = line.replace("\0", "") if "\0" in line else line
                held = (number, text.rstrip("\r\n")) if text.endswith(("\n", "\r")) else None
        except EOFError:
            if held is None:
                raise UsageError(
                    f"{path}: the gzip file is cut off before the end of its first line",
                    "copy it again, or record again",
                ) from None
            cut_off(held[0])
        except (UnicodeDecodeError, gzip.BadGzipFile, zlib.error) as error:
            raise UsageError(
                f"{path}: not text after line {held[0] if held else 0} ({error})",
                "expected an nvidia-smi CSV log or a gpumon recording",
            ) from None
        if held is not None:
            yield *held, True
