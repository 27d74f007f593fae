"""gpumon's own recordings: the document of a snapshot on each line (``gpumon record``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gpumon.documents.read import parse_strictly
from gpumon.documents.snapshot import from_document
from gpumon.errors import UsageError
from gpumon.model import Snapshot, SourceInfo
from gpumon.sources.replay.frame import Frame, cut_off, numbered_lines


class SnapshotLog:
    """A Recording over such a file, plain or gzip; each reading says how its joules are known."""

    sampled = False

    def __init__(self, path: Path) -> None:
        """Read the first snapshot; UsageError if it is not one."""
        self._path = path
        self.remarks: tuple[str, ...] = ()
        first = next(self._snapshots(), None)
        if first is None:
            raise UsageError(f"{path}: no whole line in it", "record for longer")
        self.recorded: SourceInfo = first.source
        self.node: str = first.node

    def frames(self) -> Iterator[Frame]:
        """Yield a frame for each snapshot."""
        for snapshot in self._snapshots():
            yield Frame(
                time=snapshot.time,
                gpus=snapshot.gpus,
                complete=True,
                up=snapshot.up,
                errors=snapshot.errors,
                host=snapshot.host,
                ledger=snapshot.ledger,
                origins=snapshot.origins,
            )

    def _snapshots(self) -> Iterator[Snapshot]:
        for number, line, last in numbered_lines(self._path, self._cut_off):
            try:
                yield from_document(parse_strictly(line))
            except (UsageError, ValueError) as error:
                if last and number > 1:  # the recorder was stopped within a line
                    return
                raise UsageError(
                    f"{self._path}: line {number}: {error}", "expected a line of gpumon record"
                ) from None

    def _cut_off(self, line: int) -> None:
        self.remarks = (cut_off(line),)
