"""The screens as they look: each is compared with a picture that somebody has looked at.

``pytest --snapshot-update`` writes them anew.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator

import pytest
from textual.pilot import Pilot

from gpumon.top.app import TopApp
from tests.top.conftest import Still, node

Compare = Callable[..., bool]


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clocks show UTC, wherever the pictures were made."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)], ids=lambda size: f"{size[0]}")
def test_the_first_screen(snap_compare: Compare, size: tuple[int, int]) -> None:
    """On a small, an ordinary and a large terminal."""
    assert snap_compare(TopApp(Still(node(8)), "worst"), terminal_size=size)


def test_light(snap_compare: Compare) -> None:
    """For terminals by day."""
    assert snap_compare(TopApp(Still(node(8)), "worst"), press=["d"], terminal_size=(100, 30))


def test_without_colour(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR is heeded."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(TopApp(Still(node(8)), "worst"), terminal_size=(100, 30))


@pytest.mark.parametrize("size", [(80, 24), (140, 50)], ids=lambda size: f"{size[0]}")
def test_one_gpu(snap_compare: Compare, size: tuple[int, int]) -> None:
    """With its graphs, after some looks."""

    async def look(pilot: Pilot[None]) -> None:
        app = pilot.app
        assert isinstance(app, TopApp)
        for watts in (200.0, 350.0, 500.0, 650.0):
            snapshot = node(8)
            gpus = tuple(
                gpu.changed(power_watts=watts) if gpu.power_watts else gpu for gpu in snapshot.gpus
            )
            looking.show(dataclasses.replace(snapshot, gpus=gpus))
        await pilot.press("enter")
        await pilot.pause()

    looking = Still(node(8))
    assert snap_compare(TopApp(looking, "gpu"), run_before=look, terminal_size=size)


def test_the_keys(snap_compare: Compare) -> None:
    """In front of what they act on."""
    app = TopApp(Still(node(8)), "worst")
    assert snap_compare(app, press=["question_mark"], terminal_size=(100, 30))
