"""gres.conf: the device files of a node's generic resources, in Slurm's own order.

Read as Slurm reads it (gres.conf(5); src/common/parse_config.c and gres.c in
github.com/SchedMD/slurm): words in any case, blanks around ``=``, values in quotes, lines that go
on after a backslash, ``Include``, and ``NodeName=`` as a host list. Records that begin with
``Name=`` come before those that begin with ``NodeName=``, each in the order of the file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

from gpumon.workloads.slurm.gres import GPU, SHARED, NotKnownError
from gpumon.workloads.slurm.hostlist import HostlistError, expand, names_node

MOST_BYTES = 16 * 2**20
DEEPEST = 8
"""Files that include each other: no site nests more."""

_PAIR = re.compile(r'\s*([A-Za-z0-9_.]+)\s*=\s*(?:"([^"]*)"|(\S+))(?=\s|$)')
_INCLUDE = re.compile(r"\s*include\s+(\S+)\s*", re.IGNORECASE)
_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)#.*")
_OFF = frozenset({"", "off"})


@dataclasses.dataclass(frozen=True, slots=True)
class GresRecord:
    """One resource of a node; ``devices`` are the files of each of its devices."""

    name: str
    type: str = ""
    devices: tuple[tuple[str, ...], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class GresConf:
    """What gres.conf says of one node; ``detected`` if Slurm looks for the devices itself.

    ``others`` is whether it names devices of other nodes.
    """

    records: tuple[GresRecord, ...] = ()
    detected: bool = False
    others: bool = False

    @property
    def gpus(self) -> list[GresRecord]:
        """The records of GPUs with files; Slurm gives out no others."""
        return [record for record in self.records if record.name == GPU and record.devices]

    @property
    def kinds(self) -> frozenset[tuple[str, str]]:
        """Name and type of what a job may ask GPUs by."""
        names = {GPU, *SHARED}
        return frozenset((r.name, r.type.lower()) for r in self.records if r.name in names)

    @property
    def several_files(self) -> bool:
        """Whether a device has several files, as MIG instances have."""
        return any(len(files) > 1 for record in self.gpus for files in record.devices)


def read_gres_conf(path: Path, node: str) -> GresConf | None:
    """Return what a file says of a node; None if there is no file.

    NotKnownError if it cannot be read or understood.
    """
    try:
        text = _text(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NotKnownError(f"{path} cannot be read ({error.strerror})") from None
    try:
        return parse_gres_conf(text, node, path.parent)
    except HostlistError as error:
        raise NotKnownError(f"{path}: {error}") from None


def parse_gres_conf(text: str, node: str, folder: Path, depth: int = 0) -> GresConf:
    """Return what a text says of a node; ``folder`` is where its includes are."""
    named: list[GresRecord] = []
    by_node: list[GresRecord] = []
    everywhere, here, others = "", None, False
    for pairs in _lines(text, folder, depth):
        first, words = next(iter(pairs)), pairs
        if "nodename" in words and not names_node(words["nodename"], node):
            others = True
            continue
        detect = words.get("autodetect")
        if detect is not None and "nodename" in words:
            here = detect
        elif detect is not None and first == "autodetect":
            everywhere = detect
        if "name" in words:
            (named if first == "name" else by_node).append(_record(words))
    detected = (everywhere if here is None else here).lower() not in _OFF
    return GresConf((*named, *by_node), detected, others)


def files_of(path: Path) -> list[Path]:
    """Return a file of Slurm's configuration and all that it includes; not all need be there."""
    found: dict[Path, None] = {}
    wanted = [path]
    while wanted:
        file = wanted.pop()
        if file in found:
            continue
        found[file] = None
        with contextlib.suppress(OSError):
            lines = _joined(_text(file))
            included = [include[1] for line in lines if (include := _INCLUDE.fullmatch(line))]
            wanted += [path.parent / name for name in included]
    return list(found)


def _record(words: dict[str, str]) -> GresRecord:
    name, kind = words["name"].lower(), words.get("type", "")
    if "multiplefiles" in words:
        return GresRecord(name, kind, (tuple(expand(words["multiplefiles"])),))
    files = expand(words.get("file", words.get("files", "")))
    return GresRecord(name, kind, tuple((file,) for file in files))


def _lines(text: str, folder: Path, depth: int) -> Iterator[dict[str, str]]:
    """Yield the pairs of each line, their words in lower case; a line without any is skipped."""
    for line in _joined(text):
        if include := _INCLUDE.fullmatch(line):
            yield from _included(include[1], folder, depth)
        elif pairs := _pairs(line):
            yield pairs


def _joined(text: str) -> Iterator[str]:
    """Yield lines without comments, those that go on after a backslash as one."""
    begun = ""
    for line in text.splitlines():
        plain = _COMMENT.sub(r"\1", line)
        if plain.endswith("\\"):
            begun += plain.removesuffix("\\")
            continue
        yield begun + plain
        begun = ""
    yield begun


def _pairs(line: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    at = 0
    while found := _PAIR.match(line, at):
        pairs.setdefault(found[1].lower(), found[3] if found[2] is None else found[2])
        at = found.end()
    if line[at:].strip():
        raise NotKnownError(f"gres.conf has a line that is not understood: {line.strip()[:80]!r}")
    return pairs


def _included(name: str, folder: Path, depth: int) -> Iterator[dict[str, str]]:
    if depth >= DEEPEST:
        raise NotKnownError(f"gres.conf includes files more than {DEEPEST} deep")
    try:
        text = _text(folder / name)
    except OSError as error:
        raise NotKnownError(f"{folder / name} cannot be read ({error.strerror})") from None
    yield from _lines(text, folder, depth + 1)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(MOST_BYTES).decode("utf-8", "replace")
