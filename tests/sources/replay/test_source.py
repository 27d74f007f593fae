"""A recording, played: its time, its end, its rounds, and gpumon's own recordings."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from gpumon.documents.snapshot import to_document
from gpumon.errors import UsageError
from gpumon.sources import open_source
from tests.support.clock import FakeClock


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Ten seconds of one GPU that draws 100 W, 101 W, ... 110 W."""
    rows = [f"2025/07/27 00:00:{second:02}.000, {100 + second}.00 W" for second in range(11)]
    path = tmp_path / "log.csv"
    path.write_text("\n".join(["timestamp, power.draw [W]", *rows]) + "\n")
    return path


START = 1_753_574_400.0


def test_a_recording_plays_at_its_speed(log: Path) -> None:
    """At two seconds a second, in its own time, with every sample in between."""
    clock = FakeClock()
    source = open_source(f"replay:{log},gpus=1,speed=2,tz=Z", clock)
    first = source.read()
    assert (first.time, first.gpus[0].power_watts) == (START, 100)
    clock.pass_(1.5)
    seen = source.read()
    assert (seen.time, seen.gpus[0].power_watts) == (START + 3, 103)
    assert [s.watts for s in seen.gpus[0].power_samples] == [101, 102, 103]
    assert seen.gpus[0].energy_joules == pytest.approx(100.5 + 101.5 + 102.5)


def test_a_sample_is_handed_out_once(log: Path) -> None:
    """Between two rows nothing is new, and the reading's age grows."""
    clock = FakeClock()
    source = open_source(f"replay:{log},gpus=1,tz=Z", clock)
    source.read()
    clock.pass_(0.25)
    seen = source.read()
    assert seen.gpus[0].power_samples == ()
    assert clock.monotonic() - seen.gpus[0].read_at == pytest.approx(0.25)


def test_a_recording_that_ends_keeps_its_counters_and_grows_old(log: Path) -> None:
    """Until somebody stops it: a scrape after the end still finds the joules."""
    clock = FakeClock()
    source = open_source(f"replay:{log},gpus=1,speed=10,tz=Z", clock)
    clock.pass_(1)
    at_the_end = source.read().gpus[0]
    clock.pass_(60)
    later = source.read().gpus[0]
    assert later.energy_joules == at_the_end.energy_joules == pytest.approx(1050)
    assert clock.monotonic() - later.read_at == pytest.approx(60)
    assert later.power_samples == ()


def test_counters_go_on_from_round_to_round(log: Path) -> None:
    """A loop is a longer run, not a reset, and its time goes on too."""
    clock = FakeClock()
    source = open_source(f"replay:{log},gpus=1,loop,tz=Z", clock)
    last_time, last_joules = 0.0, 0.0
    for _ in range(40):
        seen = source.read()
        joules = seen.gpus[0].energy_joules
        assert joules is not None
        assert seen.time > last_time
        assert joules >= last_joules
        last_time, last_joules = seen.time, joules
        clock.pass_(1)
    # Three rounds of 1050 J with a second of about 105 W between them, and what came after.
    assert 3 * 1050 + 3 * 105 <= last_joules <= 4 * 1050 + 3 * 105


def test_a_loop_at_once_would_never_end(log: Path) -> None:
    """So it is refused."""
    with pytest.raises(UsageError, match="never ends"):
        open_source(f"replay:{log},gpus=1,loop,speed=max", FakeClock())


def test_gpumons_own_recording_plays_back_what_was_seen(tmp_path: Path) -> None:
    """Every reading, with its own energy counter, GPU identities and sub-second samples."""
    clock = FakeClock()
    sim = open_source("sim:2xH100,seed=5", clock)
    path = tmp_path / "own.ndjson"
    with path.open("w") as file:
        for _ in range(5):
            clock.pass_(1)
            snapshot = sim.read()
            file.write(json.dumps(to_document(snapshot, samples=True)) + "\n")
    played = open_source(f"replay:{path},speed=max", FakeClock()).read()
    assert played.source.source == "replay"
    assert played.source.driver_version == snapshot.source.driver_version
    for seen, was in zip(played.gpus, snapshot.gpus, strict=True):
        plain = {"read_at": 0.0, "time": 0.0, "power_samples": ()}
        assert dataclasses.replace(seen, **plain) == dataclasses.replace(was, **plain)
        assert len(seen.power_samples) == pytest.approx(50, abs=10)


def test_a_line_of_a_recording_that_is_broken_is_named(tmp_path: Path) -> None:
    """The last one may be: its writer was stopped. Any other may not."""
    sim = open_source("sim:1xH100", FakeClock())
    line = json.dumps(to_document(sim.read()))
    path = tmp_path / "own.ndjson"
    path.write_text(f"{line}\n{line[:50]}")
    assert open_source(f"replay:{path},speed=max", FakeClock()).read().gpus
    path.write_text(f"{line}\n{line[:50]}\n{line}\n")
    with pytest.raises(UsageError, match="line 2"):
        open_source(f"replay:{path},speed=max", FakeClock()).read()


@pytest.mark.parametrize(
    "damage",
    [
        '"power_watts": "abc"',
        '"power_watts": NaN',
        '"clock_hertz": 5, "power_samples": [[1, "x"]]',
        '"power_watts": 1e999',
        '"age_seconds": -1e999',
        '"clock_hertz": {"sm": []}',
    ],
)
def test_a_recording_with_anything_in_it_is_refused_in_words(tmp_path: Path, damage: str) -> None:
    """It is anybody's text: no value of it becomes a reading that is none."""
    document = to_document(open_source("sim:1xH100", FakeClock()).read())
    line = json.dumps(document)
    key = damage.partition(":")[0]
    broken = json.dumps(
        {**document, "gpus": [{k: v for k, v in document["gpus"][0].items() if k not in damage}]}
    ).replace('"gpus": [{', f'"gpus": [{{{damage}, ')
    assert key in broken
    path = tmp_path / "own.ndjson"
    path.write_text(f"{line}\n{broken}\n{line}\n")
    with pytest.raises(UsageError, match="line 2") as caught:
        open_source(f"replay:{path},speed=max", FakeClock()).read()
    assert "\n" not in str(caught.value)
