"""The node's own counter of joules: it goes on, whatever becomes of a GPU."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3  # the tests look at the tables
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gpumon.ledger import Ledger
from gpumon.ledger.ledger import HOST, Books
from gpumon.model import NOT_ANSWERED_YET, Allocation, GpuState, Snapshot, SourceInfo
from gpumon.statedb.file import MIGRATIONS, StateFile
from gpumon.statedb.ledger import LedgerFile, load_books
from tests.ledger.test_ledger import ACTIVE_RATIO, START, by, held, reading

GPUS = 3


class Booked(LedgerFile):
    """A journal that adds up, beside the accounts, what is entered of GPUs."""

    def __init__(self, state: StateFile, booked: dict[str, int]) -> None:
        """Add to ``booked``, millijoules by GPU."""
        super().__init__(state)
        self._booked = booked

    def hourly(self, key: tuple[int, str, str, str], sums: tuple[int, int, int, int]) -> None:
        """Take in what is entered."""
        _, uuid, _, _ = key
        if uuid != HOST:
            self._booked[uuid] = self._booked.get(uuid, 0) + sums[0]
        super().hourly(key, sums)


@dataclasses.dataclass
class Device:
    """A board, and what its counter shows (joules)."""

    index: int
    joules: float
    there: bool = True
    lost: bool = False


FATES = ("draws", "draws", "draws", "resets", "jumps", "lost", "gone", "back", "renumbered")
TICK = st.tuples(
    st.lists(st.tuples(st.sampled_from(FATES), st.integers(0, 700)), min_size=GPUS, max_size=GPUS),
    st.sampled_from(("1 s", "1 s", "1 s", "a gap", "restart")),
    st.sampled_from((None, 0, 2)),
)


def befall(device: Device, fate: str, joules: int) -> None:
    """Let something happen to a board in a second."""
    device.joules += joules
    if fate == "resets":
        device.joules = float(joules)
    elif fate == "jumps":
        device.joules += 1e9
    elif fate == "lost":
        device.lost = True
    elif fate == "gone":
        device.there = False
    elif fate == "back":
        device.lost, device.there = False, True
    elif fate == "renumbered":
        device.index += GPUS


class Node:
    """An agent's ledger on a state file, and what was entered in it."""

    def __init__(self, path: Path) -> None:
        """Begin with no past."""
        self._path = path
        self.booked: dict[str, int] = {}
        self.devices = [Device(index, 1000.0 * index) for index in range(GPUS)]
        self._time = START
        self.start()

    def start(self) -> None:
        """Be an agent that starts."""
        self.state = StateFile(self._path)
        self.ledger = Ledger(
            self.state.load(load_books, Books()),
            Booked(self.state, self.booked),
            active_ratio=ACTIVE_RATIO,
        )

    def tick(self, seconds: float, holder: int | None) -> None:
        """Enter what the boards show."""
        self._time += seconds
        gpus = []
        for number, device in enumerate(self.devices):
            gpu = reading(number, time=self._time, joules=device.joules)
            gpu = gpu.changed(identity=dataclasses.replace(gpu.identity, index=device.index))
            if device.lost:
                gpu = gpu.changed(state=GpuState.LOST, energy_joules=None, power_watts=None)
            if device.there:
                gpus.append(gpu)
        allocation = Allocation() if holder is None else held(by("1", holder))
        whole = Snapshot(time=self._time, source=SourceInfo("nvml"), gpus=tuple(gpus))
        self.ledger.update(whole, allocation, self._time)

    @property
    def millijoules(self) -> int | None:
        """What the node's counter shows; None before an agent that starts has read the GPUs."""
        joules = self.ledger.state().node_energy_joules
        return None if joules is None else round(joules * 1000)


@settings(max_examples=60, deadline=None)
@given(ticks=st.lists(TICK, min_size=1, max_size=25))
def test_the_nodes_joules_are_those_of_its_gpus_as_they_were_booked(
    ticks: list[tuple[list[tuple[str, int]], str, int | None]],
) -> None:
    """To the millijoule, under loss, resets, leaps, renumbering and restarts; it never falls."""
    with tempfile.TemporaryDirectory() as folder:
        node = Node(Path(folder) / "state.db")
        node.tick(1.0, None)
        before = 0
        for fates, what, holder in ticks:
            for device, (fate, joules) in zip(node.devices, fates, strict=True):
                befall(device, fate, joules)
            if what == "restart":
                node.state.close()
                node.start()
            node.tick(300.0 if what == "a gap" else 1.0, holder)
            shown = node.millijoules
            if shown is None:
                assert not any(device.there and not device.lost for device in node.devices)
                continue
            assert shown == sum(node.booked.values())
            assert shown >= before
            before = shown
        node.state.close()


def test_a_lost_gpu_takes_nothing_with_it(tmp_path: Path) -> None:
    """The sum of the accounts that are shown falls; the node's counter goes on with the others."""
    node = Node(tmp_path / "state.db")
    node.tick(1.0, None)
    for lost in (False, True):
        node.devices[0].there = not lost
        for device in node.devices:
            device.joules += 100
        node.tick(1.0, None)
    shown = sum(gpu.ledger_energy_joules or 0.0 for gpu in node.ledger.state().gpus)
    assert shown == 400.0
    assert node.millijoules == 500_000
    node.state.close()


def test_a_counter_that_might_fall_is_not_shown(tmp_path: Path) -> None:
    """An agent that was killed may have shown more than it wrote, until it has read every GPU."""
    node = Node(tmp_path / "state.db")
    node.tick(1.0, None)
    node.state.close()
    node.start()
    silent = reading(1, time=START + 2, joules=None, watts=0.0)
    silent = silent.changed(state=GpuState.ERROR, reason=NOT_ANSWERED_YET, power_watts=None)
    first = Snapshot(
        time=START + 2,
        source=SourceInfo("nvml"),
        gpus=(reading(0, time=START + 2, joules=50.0), silent),
    )
    node.ledger.update(first, Allocation(), START + 2)
    assert node.ledger.state().node_energy_joules is None
    node.tick(3.0, None)
    assert node.ledger.state().node_energy_joules is not None
    node.state.close()


def test_an_older_file_goes_on_with_what_its_gpus_had(tmp_path: Path) -> None:
    """The counter begins where the accounts are, those of boards that are gone among them."""
    path = tmp_path / "state.db"
    before = next(n for n, step in enumerate(MIGRATIONS) if "node_energy" in step)
    with contextlib.closing(sqlite3.connect(path)) as db:
        for number, script in enumerate(MIGRATIONS[:before], 1):
            db.executescript(f"{script}; PRAGMA user_version = {number};")
        for uuid, total in (("GPU-0", 5000), ("GPU-9", 7000)):
            db.execute(
                "INSERT INTO ledger_gpus VALUES (?, 0, 1, 2, 3, '[]', ?, 0, ?, '', '')",
                (uuid, total, total),
            )
        db.commit()
    state = StateFile(path)
    assert state.load(load_books, Books()).node_millijoules == 12_000
    state.close()
