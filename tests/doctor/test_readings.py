"""What ``gpumon doctor`` says of readings that cannot be, and of a driver that is too old."""

from __future__ import annotations

import pytest

from gpumon.checks import Level
from gpumon.doctor import agent, judge, readings
from gpumon.doctor.facts import Driver, Readings
from gpumon.doctor.judge import LEAST_DRIVER
from tests.support.servers import ROOT

URL = "http://127.0.0.1:1"
TEXT = """gpumon_build_info{version="1",python_version="3"} 1
gpumon_refused_readings_total{quantity="gpu_power"} 12
gpumon_refused_readings_total{quantity="node_power"} 3.0
gpumon_refused_readings_total{quantity="gpu_fan_speed"} 0
"""


def test_what_was_refused_is_said_with_its_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """By quantity, and where to look for the GPU that reports it."""
    answer = agent.Answer(URL, 200, TEXT)
    monkeypatch.setattr(readings, "ask", lambda *_: answer)
    (finding,) = readings.judge(readings.readings(URL, "/metrics"))
    assert (finding.item, finding.level) == ("readings", Level.WARN)
    assert finding.evidence == "impossible ones are left out: gpu_power (12), node_power (3)"
    assert "the agent's log" in finding.next_step


@pytest.mark.parametrize(
    ("text", "level"),
    [(TEXT.partition("gpumon_refused")[0], Level.PASS), ("something else\n", Level.SKIP)],
)
def test_if_none_was_refused_nothing_is_to_be_done(
    monkeypatch: pytest.MonkeyPatch, text: str, level: Level
) -> None:
    """What is not an agent says nothing."""
    monkeypatch.setattr(readings, "ask", lambda *_: agent.Answer(URL, 200, text))
    (finding,) = readings.judge(readings.readings(URL, "/metrics"))
    assert (finding.level, finding.next_step) == (level, "")


def test_without_an_agent_nobody_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is not a fault."""

    def nobody(*_: object) -> None:
        raise OSError(111, "Connection refused")

    monkeypatch.setattr(readings, "ask", nobody)
    assert readings.readings(URL, "/metrics") == Readings()
    (finding,) = readings.judge(Readings())
    assert finding.level is Level.SKIP


@pytest.mark.parametrize(
    ("version", "missing"),
    [
        ("470.256.02", "memory, processes and MIG instances are missing"),
        ("450.80.02", "memory, processes and MIG instances are missing"),
        ("510.108.03", "readings that came later are missing"),
        ("520.61.05", "readings that came later are missing"),
    ],
)
def test_an_old_driver_is_said_once_with_what_is_missing(version: str, missing: str) -> None:
    """The lowest one is 525."""
    whether_it_responds, age = judge.driver(Driver(version, 1, 1, 0.1))
    assert whether_it_responds.level is Level.PASS
    assert (age.item, age.level) == ("driver-version", Level.WARN)
    need = "gpumon needs NVIDIA driver 525 or later"
    assert age.evidence.startswith(f"{need}, and this is {version}: ")
    assert missing in age.evidence
    assert "525 or later" in age.next_step


@pytest.mark.parametrize("version", ["525.60.13", "535.104.05", "580.105.08", "", "unknown", "99"])
def test_of_others_nothing_is_said(version: str) -> None:
    """Nor of one whose version is not known."""
    assert len(list(judge.driver(Driver(version, 1, 1, 0.1)))) == 1


def test_one_sentence_says_the_lowest_driver() -> None:
    """The guide and the readme have the number that doctor judges by, in the same words."""
    need = f"gpumon needs NVIDIA driver {LEAST_DRIVER} or later"
    for name in ("README.md", "docs/operating.md", "CHANGELOG.md"):
        assert need in (ROOT / name).read_text("utf-8"), name
