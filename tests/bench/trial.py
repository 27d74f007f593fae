"""The procedure: all contenders at once, windows of rest and bursts of scrapes in turn."""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable, Sequence

from tests.bench.contenders import Contender
from tests.bench.measure import Memory, cpu_seconds, memory
from tests.bench.scrape import ENCODINGS, Client, Exposition

WARM_UP_SECONDS = 35
"""The agent keeps the extremes of 30 s: before that its ticks are cheaper than later."""


def _by_encoding() -> dict[str, list[float]]:
    return {encoding: [] for encoding in ENCODINGS}


@dataclasses.dataclass
class Figures:
    """What was measured of one contender, one value a round.

    ``between`` is the share of one core while nobody scrapes; ``scrape`` the CPU seconds of one
    scrape by encoding, beyond what would have been spent meanwhile; ``latency`` how long one took;
    ``calls`` is NVML calls per second by function, over all rounds.
    """

    name: str
    version: str
    exposition: Exposition
    between: list[float] = dataclasses.field(default_factory=list)
    scrape: dict[str, list[float]] = dataclasses.field(default_factory=_by_encoding)
    latency: dict[str, list[float]] = dataclasses.field(default_factory=_by_encoding)
    memory: list[Memory] = dataclasses.field(default_factory=list)
    calls: dict[str, float] = dataclasses.field(default_factory=dict)

    def per_sample(self, encoding: str) -> list[float]:
        """Return the CPU seconds of one sample of a scrape, by round."""
        return [seconds / self.exposition.samples for seconds in self.scrape[encoding]]


class Trial:
    """One benchmark of some running contenders."""

    def __init__(
        self,
        contenders: Sequence[Contender],
        scrapes: int,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Measure these, with bursts of so many scrapes."""
        self._contenders = contenders
        self._clients = {contender.name: Client(contender.url) for contender in contenders}
        self._scrapes = scrapes
        self._sleep = sleep
        self._calls: dict[str, collections.Counter[str]] = {}
        self._rested = 0.0

    def run(self, seconds: float, rounds: int, say: Callable[[str], None]) -> dict[str, Figures]:
        """Run rounds of a rest of so many seconds and a burst for each contender."""
        say(f"warming up for {WARM_UP_SECONDS} s")
        for client in self._clients.values():
            for _ in range(5):
                client.exposition()
        self._sleep(WARM_UP_SECONDS)
        figures = {
            contender.name: Figures(
                contender.name, contender.version, self._clients[contender.name].exposition()
            )
            for contender in self._contenders
        }
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            self._rest(seconds, figures)
            first = number % len(self._contenders)
            for contender in [*self._contenders[first:], *self._contenders[:first]]:
                self._burst(contender, figures[contender.name])
        for name, calls in self._calls.items():
            figures[name].calls = {key: n / self._rested for key, n in calls.items() if n}
        for client in self._clients.values():
            client.close()
        return figures

    def _rest(self, seconds: float, figures: dict[str, Figures]) -> None:
        drivers = {c.name: c.driver for c in self._contenders if c.driver is not None}
        started = time.monotonic()
        cpu = {c.name: cpu_seconds(c.pid) for c in self._contenders}
        calls = {name: driver.calls() for name, driver in drivers.items()}
        self._sleep(seconds)
        took = time.monotonic() - started
        for contender in self._contenders:
            spent = cpu_seconds(contender.pid) - cpu[contender.name]
            figures[contender.name].between.append(spent / took)
        for name, driver in drivers.items():
            made = collections.Counter(driver.calls())
            made.subtract(calls[name])
            self._calls.setdefault(name, collections.Counter()).update(made)
        self._rested += took

    def _burst(self, contender: Contender, figures: Figures) -> None:
        client = self._clients[contender.name]
        for encoding in ENCODINGS:
            started, cpu = time.monotonic(), cpu_seconds(contender.pid)
            for _ in range(self._scrapes):
                client.scrape(encoding)
            took = time.monotonic() - started
            spent = cpu_seconds(contender.pid) - cpu - figures.between[-1] * took
            figures.scrape[encoding].append(spent / self._scrapes)
            figures.latency[encoding].append(took / self._scrapes)
        figures.memory.append(memory(contender.pid))
