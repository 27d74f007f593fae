"""The user guide's examples: run as they stand there, each in a place that has what it needs.

``python -m tests.guide`` writes their output into docs/guide.md anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

import gpumon
from gpumon.clock import SYSTEM
from gpumon.derive import Derivation
from gpumon.sources import open_source
from gpumon.top.app import TopApp
from tests.fakenvml import FakeDriver, build_library, profiles
from tests.support.clock import FakeClock
from tests.support.fleet import fleet_config, run_fleet
from tests.support.servers import run_agent, run_prometheus, wait_for
from tests.top.conftest import Still

GUIDE = Path(__file__).parents[1] / "docs" / "guide.md"

PICTURE = GUIDE.parent / "img" / "gpumon-top.svg"

_BLOCK = re.compile(r"(?:<!-- on (?P<place>\w+) -->\n)?```console\n(?P<body>.*?)```", re.DOTALL)

NODE = "n17"
"""The name that this machine has in the guide."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where examples are run: variables, and what stands there for words of the guide."""

    folder: Path
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    words: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Example:
    """Commands of the guide in the order in which they are typed, and what it says they print."""

    place: str
    commands: tuple[str, ...]
    body: str

    def run(self, place: Place) -> str:
        """Return commands and output as the guide shows them."""
        text = ""
        for command in self.commands:
            text += f"$ {command}\n{_output(command, place)}"
        return text


def examples(text: str) -> list[Example]:
    """Return a guide's examples."""
    return [
        Example(
            found["place"] or "anywhere",
            tuple(line[2:] for line in found["body"].splitlines() if line.startswith("$ ")),
            found["body"],
        )
        for found in _BLOCK.finditer(text)
    ]


def _output(command: str, place: Place) -> str:
    for shown, real in place.words.items():
        command = command.replace(shown, real)
    program = place.folder / "bin" / "gpumon"
    if not program.exists():
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m gpumon "$@"\n')
        program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", f"{command} 2>&1"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=place.folder,
        env={**os.environ, "PATH": path, "HOME": str(place.folder / "home"), **place.env},
    )
    output = done.stdout
    for shown, real in place.words.items():
        output = output.replace(real, shown)
    paths = {
        str(place.folder / "library"): "/usr/lib/x86_64-linux-gnu",
        str(place.folder / "home"): "/home/ops",
        sys.executable: "/opt/gpumon/bin/python3",
        str(Path(sys.executable).with_name("python")): "/opt/gpumon/bin/python3",
        str(Path(gpumon.__file__).parent): "/opt/gpumon/lib/python3/site-packages/gpumon",
    }
    for real, shown in paths.items():
        output = output.replace(real, shown)
    host = re.escape(socket.gethostname())
    return re.sub(rf"(?m)^{host}(?=[: ]|$)", NODE, output)


def shape(text: str) -> list[str]:
    """Return a text's lines without what differs from run to run: numbers, times, widths.

    Of ``doctor`` that is all but the items, which machines differ in, and of a fleet the rows.
    """
    if text.startswith("$ gpumon doctor"):
        return [line.split()[1] for line in text.splitlines()]
    if "prom:" in text:
        kept = ("$", "SIMULATED", "sim:", "node ", "rack ")
        text = "\n".join(line for line in text.splitlines() if line.startswith(kept))
    text = re.sub(r"\d+(?:[.,:]\d+)*", "#", text)
    text = re.sub(r"[ ─]+", " ", text)
    return [line.strip() for line in text.splitlines()]


@contextlib.contextmanager
def anywhere(folder: Path) -> Iterator[Place]:
    """Nothing but the command."""
    yield Place(folder)


@contextlib.contextmanager
def sick(folder: Path) -> Iterator[Place]:
    """A node of eight H100s by its driver, of which one hangs and one is lost."""
    library = build_library(folder / "library")
    driver = FakeDriver(folder / "driver", profiles.h100(8), library=library)
    driver.hang(3)
    driver.lose(5)
    try:
        yield Place(folder, driver.env())
    finally:
        driver.recover()
        # They look for their release in this folder, which may be gone the next moment.
        wait_for(lambda: not _readers(folder), 30, "the readers to end")


def _readers(folder: Path) -> list[psutil.Process]:
    """Return the readers that wait in the driver of a folder."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "environ"])
        if any("gpumon.reader.child" in word for word in process.info["cmdline"] or [])
        and str(folder) in " ".join((process.info["environ"] or {}).values())
    ]


@contextlib.contextmanager
def agent(folder: Path) -> Iterator[Place]:
    """A node whose agent has run for some seconds."""
    state = folder / "state"
    with run_agent(folder, "sim:2xH100,workload=training", "--state-dir", str(state)) as agent:
        wait_for(lambda: agent.get("/-/ready").status == 200, 30, "the agent")
        memory = f"--state-dir {state} --source sim:2xH100,workload=training"
        words = {
            "gpumon events": f"gpumon events {memory}",
            "gpumon report": f"gpumon report {memory}",
        }
        place = Place(folder, words=words)
        wait_for(lambda: " began " in _output("gpumon events", place), 30, "its job")
        yield place


TROUBLES = {"missing": 1.0, "to_repair": 1.0, "nvlinks_down": 2.0}


@contextlib.contextmanager
def fleet(folder: Path) -> Iterator[Place]:
    """A fleet of sixteen nodes with a few troubles, and a Prometheus with the rules."""
    rules = folder / "rules"
    export = [sys.executable, "-m", "gpumon", "rules", "export", "--to", str(rules)]
    subprocess.run([*export, "--time-scale", "30"], check=True, capture_output=True)
    faults = ("lost@n0002:1", "recovery=gpu_reset@n0003:0", "nvlink_down=2@n0005:3")
    words = [word for fault in faults for word in ("--fault", fault)]
    with run_fleet(folder, "--nodes", "16", "--gpus", "8", *words) as served:
        config = fleet_config(served, cluster="sim", rules=rules)
        with run_prometheus(folder, config) as prometheus:

            def recorded() -> bool:
                found = prometheus.query("sum by (trouble) (instance:gpumon_troubles:count)")
                return {s["metric"]["trouble"]: float(s["value"][1]) for s in found} == TROUBLES

            wait_for(recorded, 120, "the troubles to be recorded")
            firing = 'ALERTS{alertstate="firing",alertname=~"GpuLost|GpuNeedsReset"}'
            wait_for(lambda: len(prometheus.query(firing)) == 2, 120, "the alerts of both GPUs")
            yield Place(folder, words={"http://prometheus:9090": prometheus.url})


PLACES = {"anywhere": anywhere, "sick": sick, "agent": agent, "fleet": fleet}


def main() -> None:
    """Write the guide's outputs anew."""
    text = GUIDE.read_text("utf-8")
    for name, place in PLACES.items():
        with tempfile.TemporaryDirectory(prefix="guide-") as folder, place(Path(folder)) as there:
            for example in examples(text):
                if example.place == name:
                    text = text.replace(
                        f"```console\n{example.body}```",
                        f"```console\n{example.run(there)}```",
                    )
    GUIDE.write_text(text, "utf-8")
    PICTURE.write_text(picture(), "utf-8")


def picture() -> str:
    """Return the first screen of ``gpumon top``, after two minutes at a node with a warm GPU."""
    clock = FakeClock()
    source = open_source("sim:8xH100,workload=training", clock)
    derivation = Derivation()
    looking = Still(None)
    app = TopApp(looking, "worst")

    async def go() -> str:
        async with app.run_test(size=(120, 32)) as pilot:
            await pilot.press("right_square_bracket")
            for _ in range(200):
                clock.pass_(1.0)
                snapshot = derivation.update(source.read())
                gpus = [gpu.changed(read_at=SYSTEM.monotonic()) for gpu in snapshot.gpus]
                gpus[3] = gpus[3].changed(temperature_celsius=85.0, temperature_margin_celsius=2.0)
                looking.show(dataclasses.replace(snapshot, node=NODE, gpus=tuple(gpus)))
                await pilot.pause()
            return app.export_screenshot()

    return asyncio.run(go())


if __name__ == "__main__":
    main()
