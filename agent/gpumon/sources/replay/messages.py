"""Lines in an nvidia-smi log that are not rows: what nvidia-smi, or the shell, had to say.

They stand among the rows, since loggers write both outputs into one file. They are passed over,
counted, and said.
"""

from __future__ import annotations

import re

from gpumon.model import GpuState
from gpumon.model.events import kernel_address

_KNOWN = re.compile(
    r"warning\b|error\b|unable to |failed to |no devices|nvidia-smi\b|nvml\b|gpu is lost"
    r"|gpu \S+ is |field \"|invalid |timeout\b|terminat|killed|nohup:|\S*sh: |cannot "
    r"|could ?n.t |please |reboot ",
    re.IGNORECASE,
)
"""How such lines begin."""

_WORDS = re.compile(r"[A-Za-z*(<\"^'][^\x00-\x08\x0e-\x1f\ufffd]*")
"""Any other line of words; a row begins with a date."""

_DRIVER = re.compile(
    r"failed to initialize nvml|no devices were found|nvidia-smi has failed"
    r"|couldn't find libnvidia-ml",
    re.IGNORECASE,
)
"""Messages after which no GPU can be read."""

_GPU = re.compile(
    r"\bgpu ?(?P<pci>[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}(?:\.[0-9a-f])?): (?P<why>.*)",
    re.IGNORECASE | re.ASCII,
)
"""``Unable to determine the device handle for GPU0000:02:00.0: GPU is lost.``"""

_LONGEST = 200
"""Characters of a message that are shown."""


def is_message(line: str, *, known: bool = False) -> bool:
    """Return whether a line is words, or (``known``) begins as a message of nvidia-smi's."""
    if known:
        return _KNOWN.match(line) is not None
    return _WORDS.fullmatch(line) is not None


def loses_the_driver(message: str) -> bool:
    """Return whether no GPU can be read after a message."""
    return _DRIVER.search(message) is not None


def lost_gpu(message: str) -> tuple[str, GpuState] | None:
    """Return the address (as the kernel writes it) and state of a GPU that a message is about."""
    found = _GPU.search(message)
    if found is None:
        return None
    lost = "is lost" in found["why"].lower()
    return kernel_address(found["pci"]), GpuState.LOST if lost else GpuState.ERROR


class PassedOver:
    """The lines that were passed over, as one remark."""

    def __init__(self) -> None:
        """Start with none."""
        self.count = 0
        self._last = ""

    def add(self, number: int, line: str) -> None:
        """Take note of a line."""
        shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
        cut = shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"
        self.count += 1
        self._last = f"line {number}: {cut}"

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the values must know."""
        if not self.count:
            return ()
        if self.count == 1:
            return (f"a line of the log is not a reading and was passed over: {self._last}",)
        many = f"{self.count} lines of the log are not readings and were passed over"
        return (f"{many}; the last is {self._last}",)
