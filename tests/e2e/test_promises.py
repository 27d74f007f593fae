"""Promises about time, held against the clock: one hung GPU, and answers whatever happens."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fakenvml import FakeDriver
from tests.support.exposition import Exposition
from tests.support.servers import Agent, get, run_agent, wait_for

pytestmark = pytest.mark.e2e

HUNG_SECONDS = 60
P99_SECONDS = 0.050
"""Of a scrape's answer (the issue's own bound): a promise of the product, so it is asserted."""


class Scraper(threading.Thread):
    """Scrapes an agent twenty times a second, and keeps what it saw and how long it took."""

    def __init__(self, agent: Agent) -> None:
        """Prepare to scrape."""
        super().__init__(daemon=True)
        self.seconds: list[float] = []
        self.seen: list[str] = []
        self.failures: list[str] = []
        self._agent = agent
        self._ended = threading.Event()

    def run(self) -> None:
        """Scrape until ended."""
        while not self._ended.wait(0.05):
            began = time.monotonic()
            try:
                answer = get(f"{self._agent.url}/metrics", timeout=10)
            except OSError as error:
                self.failures.append(str(error))
                continue
            self.seconds.append(time.monotonic() - began)
            if answer.status == 200:
                self.seen.append(answer.text)
            else:
                self.failures.append(str(answer.status))

    def end(self) -> None:
        """Stop scraping."""
        self._ended.set()
        self.join()

    def slow(self) -> float:
        """Return the 99th percentile of the answers' seconds."""
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)]


@contextmanager
def scraped(agent: Agent) -> Iterator[Scraper]:
    """Scrape an agent while the body runs."""
    scraper = Scraper(agent)
    scraper.start()
    try:
        yield scraper
    finally:
        scraper.end()


def state_of(text: str, gpu: int) -> str:
    """Return the state of a GPU in an exposition."""
    states = Exposition(text).all("gpumon_gpu_state", gpu=str(gpu))
    return next(dict(labels)["state"] for labels, value in states.items() if value == 1)


def of_gpus(text: str, metric: str) -> dict[int, float]:
    """Return a metric's values by GPU."""
    return {int(dict(k)["gpu"]): v for k, v in Exposition(text).all(metric).items()}


@pytest.mark.timeout(240)
def test_one_gpu_hung_for_a_minute_costs_the_others_nothing(
    tmp_path: Path, driver: FakeDriver, capsys: pytest.CaptureFixture[str]
) -> None:
    """Their age stays below 3 s and their joules move on; no scrape fails; and it comes back."""
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        driver.draw(0, 300_000)
        driver.hang(3)
        wait_for(lambda: state_of(agent.metrics(), 3) == "hung", 10, "GPU 3 to hang")
        hung = time.monotonic()
        with scraped(agent) as scraper:
            time.sleep(HUNG_SECONDS)  # a promise about time can only be kept in time
        driver.release()
        returned = time.monotonic()
        wait_for(lambda: state_of(agent.metrics(), 3) == "ok", 15, "GPU 3 to be back")
        back = time.monotonic() - returned
    samples = scraper.seen[::10]
    others = set(range(8)) - {3}
    oldest = max(
        age
        for text in samples
        for gpu, age in of_gpus(text, "gpumon_gpu_sample_age_seconds").items()
        if gpu in others
    )
    joules = [of_gpus(text, "gpumon_gpu_energy_joules_total") for text in samples]
    with capsys.disabled():
        sys.stdout.write(
            f"\nGPU 3 hung for {returned - hung:.0f} s: the others' age at most {oldest:.2f} s, "
            f"{len(scraper.seconds)} scrapes, {len(scraper.failures)} failed, p99 "
            f"{scraper.slow() * 1000:.0f} ms; back {back:.1f} s after its call returned\n"
        )
    assert scraper.failures == []
    assert oldest < 3
    assert all(set(found) == others for found in joules)
    for gpu in others:
        path = [found[gpu] for found in joules]
        assert path == sorted(path)
        assert path[-1] > path[0]
    assert scraper.slow() <= P99_SECONDS


FAULTS = {
    "lost": lambda driver: driver.lose(2),
    "hung": lambda driver: driver.hang(2),
    "everything stands still": lambda driver: driver.hang("all"),
    "answers take two seconds": lambda driver: driver.slow(2, 2000),
    "the reader crashes": lambda driver: driver.crash(2, once=False),
    "reloaded": lambda driver: driver.reload(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_metrics_answers_at_once_whatever_the_driver_does(
    tmp_path: Path, driver: FakeDriver, fault: str
) -> None:
    """99 of 100 scrapes within 50 ms while the fault begins, holds, and ends."""
    with run_agent(tmp_path, "nvml", env=driver.env()) as agent:
        with scraped(agent) as scraper:
            time.sleep(0.5)
            FAULTS[fault](driver)
            time.sleep(4)  # a call is given up after 3 s
            driver.recover()
            time.sleep(1.5)
        assert scraper.failures == []
        assert len(scraper.seconds) > 80
        assert scraper.slow() <= P99_SECONDS
