"""What may stand after ``sim:``, and what is said of the rest."""

from __future__ import annotations

import pytest

from gpumon.errors import UsageError
from gpumon.sources.sim.models import MODELS
from gpumon.sources.sim.options import SimOptions
from gpumon.sources.spec import SourceSpec


def parse(text: str) -> SimOptions:
    """Parse what stands after ``sim:``."""
    return SimOptions.parse(SourceSpec.parse(f"sim:{text}"))


def test_defaults() -> None:
    """A model alone is one GPU of it in training, at its default limit and usual inlet."""
    options = parse("h100")
    assert options == SimOptions(
        model=MODELS["H100"], power_limit=700.0, ambient=MODELS["H100"].thermal.inlet
    )


def test_all_options() -> None:
    """Every option is taken over, and upper and lower case of the model are the same."""
    options = parse(
        "4xgb200,workload=mixed,seed=0,speed=60,power_limit=350,ambient=-5,start=2026-01-01T00:00:00Z"
    )
    assert options == SimOptions(
        model=MODELS["GB200"],
        count=4,
        workload="mixed",
        speed=60.0,
        power_limit=350.0,
        ambient=-5.0,
        start=1_767_225_600.0,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8xH10", ["unknown GPU 'H10'", "A100, H100, H200, B200, GB200", "did you mean H100?"]),
        ("0xH100", ["0 GPUs", "1 to 1024"]),
        ("1025xH100", ["1025 GPUs", "1 to 1024"]),
        ("8H100", ["8H100", "8xH100"]),
        ("H100,workload=trainig", ["trainig", "did you mean training?"]),
        ("H100,sped=3", ["sped", "did you mean speed?"]),
        ("H100,speed=0", ["speed"]),
        ("H100,speed=nan", ["speed"]),
        ("H100,speed=3601", ["speed=3601", "use speed=3600 or less"]),
        ("1000xH100,speed=60", ["1000 GPUs", "use speed=40 or less"]),
        ("H100,seed=-1", ["seed", "seed=7"]),
        ("H100,seed=", ["seed", "seed=7"]),
        ("H100,power_limit=199", ["power_limit", "200 to 700 W"]),
        ("H100,power_limit=many", ["power_limit", "200 to 700 W"]),
        ("H100,ambient=nan", ["ambient", "-20 to 70 degrees C"]),
        ("H100,start=yesterday", ["yesterday", "start=2026-01-01T00:00:00Z"]),
    ],
)
def test_bad_values(text: str, expected: list[str]) -> None:
    """What makes no sense is one line that says what would."""
    with pytest.raises(UsageError) as raised:
        parse(text)
    message = str(raised.value)
    assert "\n" not in message
    for part in expected:
        assert part in message


def test_start_without_zone_is_utc() -> None:
    """A start without an offset is UTC, whatever this machine's zone."""
    assert parse("H100,start=2026-01-01T00:00:00").start == 1_767_225_600.0
