"""The exposition: both formats, read back by prometheus_client's parsers and by promtool."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import (  # the oracle of these tests
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import (  # likewise
    text_string_to_metric_families as parse_text,
)

from gpumon.exposition import Encoder, Format, Labelled, negotiate
from gpumon.model import GpuAge, GpuIdentity, GpuReading, GpuState, NodeReading, Snapshot, Tier
from gpumon.model.agent import AgentReading, BuildInfo
from gpumon.sources import open_source
from tests.support.clock import FakeClock
from tests.support.servers import require

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def owners(snapshot: Snapshot) -> dict[type, Sequence[Labelled]]:
    """Return the groups of a node, as the agent serves them."""
    agent = AgentReading(
        build=BuildInfo(),
        source_info=snapshot.source,
        source_up=True,
        gpus=len(snapshot.gpus),
        released=False,
        gpus_expected=8,
        collector_success={"reader": 1},
        collector_duration_seconds={"reader": 0.01},
        reader_restarts=0,
    )
    return {
        AgentReading: [agent],
        NodeReading: [NodeReading(gpu_power_watts=1.5)],
        GpuReading: snapshot.gpus,
        GpuAge: [GpuAge(gpu.label_values, 0.5) for gpu in snapshot.gpus],
    }


@pytest.fixture(scope="module")
def node() -> Snapshot:
    """Eight simulated H100s in the middle of a run."""
    clock = FakeClock()
    source = open_source("sim:8xH100,seed=3", clock)
    clock.pass_(10)
    return source.read()


def read_back(text: str, format_: Format) -> Series:
    """Parse an exposition into {(name, labels): value}."""
    parse = parse_text if format_ is Format.TEXT else parse_openmetrics
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


@pytest.mark.parametrize("format_", Format)
def test_every_sample_comes_back_from_the_parser(node: Snapshot, format_: Format) -> None:
    """With its name, labels and exact value: the parser is prometheus_client's own."""
    text = Encoder(format_, Tier.FULL).encode(owners(node)).decode()
    series = read_back(text, format_)
    gpu = node.gpus[3]
    labels = {("gpu", "3"), ("uuid", gpu.identity.uuid)}
    assert series["gpumon_gpu_power_watts", frozenset(labels)] == gpu.power_watts
    assert series["gpumon_gpu_energy_joules_total", frozenset(labels)] == gpu.energy_joules
    ok = labels | {("state", "ok")}
    assert series["gpumon_gpu_state", frozenset(ok)] == 1
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(series) == len(lines)


def test_both_formats_carry_the_same_series(node: Snapshot) -> None:
    """A scraper's choice of format changes nothing that it stores."""
    text, openmetrics = (
        read_back(Encoder(format_).encode(owners(node)).decode(), format_) for format_ in Format
    )
    assert text == openmetrics


def test_promtool_has_nothing_to_say(node: Snapshot) -> None:
    """Its lint knows Prometheus's naming rules."""
    body = Encoder(Format.TEXT, Tier.FULL).encode(owners(node))
    lint = subprocess.run(
        [require("promtool"), "check", "metrics"], input=body, capture_output=True, check=False
    )
    assert (lint.returncode, lint.stdout + lint.stderr) == (0, b"")


def test_an_exposition_of_openmetrics_ends_as_it_must(node: Snapshot) -> None:
    """Once, and after what was added."""
    body = Encoder(Format.OPENMETRICS).encode(owners(node), "# TYPE a gauge\na 1\n").decode()
    assert body.endswith("a 1\n# EOF\n")
    assert body.count("# EOF") == 1


def test_label_strings_are_prepared_once(node: Snapshot) -> None:
    """The second scrape gives the same text and prepares nothing new."""
    encoder = Encoder(Format.TEXT)
    first = encoder.encode(owners(node))
    kept = dict(encoder._instances)
    assert encoder.encode(owners(node)) == first
    assert encoder._instances == kept


def test_a_gpu_that_goes_leaves_nothing_behind(node: Snapshot) -> None:
    """Neither a series nor a prepared string: agents run for months."""
    encoder = Encoder(Format.TEXT)
    encoder.encode(owners(node))
    fewer = dataclasses.replace(node, gpus=node.gpus[:2])
    text = encoder.encode(owners(fewer)).decode()
    assert 'gpu="7"' not in text
    assert sum(key[0] is GpuReading for key in encoder._instances) == 2


def test_an_identity_that_changes_is_served_at_once(node: Snapshot) -> None:
    """A new VBIOS is a new series of the info metric."""
    encoder = Encoder(Format.TEXT)
    encoder.encode(owners(node))
    gpu = node.gpus[0]
    flashed = dataclasses.replace(
        gpu, identity=dataclasses.replace(gpu.identity, vbios_version="97")
    )
    text = encoder.encode(owners(dataclasses.replace(node, gpus=(flashed,)))).decode()
    assert 'vbios_version="97"' in text


def test_tiers_include_each_other(node: Snapshot) -> None:
    """Core is part of standard, which is part of full; standard keeps its promise of 100."""
    names = []
    for tier in Tier:
        text = Encoder(Format.TEXT, tier).encode(owners(node)).decode()
        names.append({line.split("{")[0] for line in text.splitlines() if line[0] != "#"})
        if tier is Tier.STANDARD:
            assert text.count('gpu="0"') <= 100
    assert names[0] < names[1] < names[2]


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_text_is_escaped(name: str, serial: str) -> None:
    """Whatever a board calls itself, the parser gives it back."""
    gpu = GpuReading(
        identity=GpuIdentity(index=0, uuid="GPU-0", name=name, serial=serial), state=GpuState.OK
    )
    text = Encoder(Format.TEXT).encode({GpuReading: [gpu]}).decode()
    if not {"\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"} & set(
        name + serial
    ):  # the parser splits lines there, Prometheus at \n alone
        info = next(f for f in parse_text(text) if f.name == "gpumon_gpu_info")
        assert info.samples[0].labels["name"] == name
        assert info.samples[0].labels["serial"] == serial


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_comes_back_exactly(watts: float) -> None:
    """What goes in is what is scraped, to the last bit."""
    gpu = GpuReading(
        identity=GpuIdentity(index=0, uuid="GPU-0"), state=GpuState.OK, power_watts=watts
    )
    series = read_back(Encoder(Format.TEXT).encode({GpuReading: [gpu]}).decode(), Format.TEXT)
    assert series["gpumon_gpu_power_watts", frozenset({("gpu", "0"), ("uuid", "GPU-0")})] == watts


@pytest.mark.parametrize(
    ("accept", "format_"),
    [
        ("", Format.TEXT),
        ("*/*", Format.TEXT),
        ("text/plain;version=0.0.4", Format.TEXT),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", Format.OPENMETRICS),
        (
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,"
                "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3"
            ),
            Format.OPENMETRICS,
        ),
    ],
)
def test_the_accept_header_chooses_the_format(accept: str, format_: Format) -> None:
    """The last one is Prometheus 2.42's."""
    assert negotiate(accept) is format_
