"""Nodes that stand still, so that what is on the screen is known."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

import pytest
from textual.pilot import Pilot

from gpumon.clock import SYSTEM
from gpumon.model import GpuProcess, GpuReading, GpuState, Snapshot
from gpumon.sources import open_source
from gpumon.top.app import TopApp
from gpumon.top.looking import Looking, Tell
from tests.support.clock import FakeClock


class Still(Looking):
    """Shows what a test hands to ``show``, and begins with a snapshot."""

    def __init__(self, snapshot: Snapshot | None) -> None:
        """Show nothing yet where there is no snapshot."""
        super().__init__(None, 1.0)
        self._snapshot = snapshot
        self.show: Tell = lambda _look: None
        self.stopped = False

    def start(self, tell: Tell) -> None:
        """Show the snapshot once."""
        self.show = tell
        if self._snapshot is not None:
            tell(self._snapshot)

    def stop(self, seconds: float = 0.5) -> None:
        """Keep in mind that it was stopped."""
        self.stopped = True


def node(size: int = 4, model: str = "H100") -> Snapshot:
    """Return a node of some GPUs, of which the third is lost and the last shared by two users."""
    whole = open_source(f"sim:{size}x{model},workload=training", FakeClock()).read()
    now = SYSTEM.monotonic()
    gpus = [gpu.changed(read_at=now) for gpu in whole.gpus]
    gpus[2] = GpuReading(
        identity=gpus[2].identity,
        state=GpuState.LOST,
        reason="it fell off",
        since={"lost": whole.time - 180},
    )
    shared = (
        GpuProcess(31, "compute", 2**31, 0.2, "bob", "train"),
        GpuProcess(30, "compute", 2**32, 0.7, "alice", "python3"),
    )
    gpus[-1] = gpus[-1].changed(held_by=shared)
    return dataclasses.replace(whole, node="n1", gpus=tuple(gpus), gpus_expected=size)


Steps = Callable[[Pilot[None], TopApp, Still], Awaitable[None]]


@pytest.fixture
def drive() -> Callable[..., TopApp]:
    """Run the application on a screen of a size, and take some steps in it."""

    def run(
        steps: Steps, snapshot: Snapshot | None = None, size: tuple[int, int] = (120, 40)
    ) -> TopApp:
        looking = Still(snapshot or node())
        app = TopApp(looking, "gpu")

        async def go() -> None:
            async with app.run_test(size=size) as pilot:
                await pilot.pause()
                await steps(pilot, app, looking)

        asyncio.run(go())
        assert looking.stopped
        return app

    return run
