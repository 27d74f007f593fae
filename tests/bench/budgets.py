"""The budgets of the design, and how far what was measured is from each."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

from tests.bench.contenders import GPUMON, NODE, NVITOP
from tests.bench.measure import Spread
from tests.bench.scrape import ENCODINGS
from tests.bench.trial import Figures


@dataclasses.dataclass(frozen=True)
class Results:
    """All that one benchmark found out.

    ``missing`` says of a contender that was not measured why; ``commands`` has the wall seconds of
    command lines, ``repeated`` the driver calls made twice within one tick.
    """

    figures: dict[str, Figures]
    missing: dict[str, str]
    commands: dict[str, list[float]]
    repeated: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Row:
    """A budget with what was measured; ``spread`` is None where it could not be, for ``why``."""

    what: str
    limit: float
    spread: Spread | None
    form: str = "{:.3f}"
    unit: str = ""
    more: bool = False
    why: str = ""

    @property
    def budget(self) -> str:
        """The budget in words."""
        return f"{'more than' if self.more else 'at most'} {self.limit:g}{self.unit}"

    @property
    def measured(self) -> str:
        """The median with the range around it."""
        if self.spread is None:
            return f"not measured: {self.why}"
        return self.spread.text(self.form, self.unit)

    @property
    def verdict(self) -> str:
        """Met, or missed by how much; judged by the median."""
        if self.spread is None:
            return "not measured"
        value = self.spread.median
        if value > self.limit if self.more else value <= self.limit:
            return "met"
        if self.more:
            return f"missed: {value / self.limit:.0%} of the budget"
        if self.limit == 0:
            return f"missed: {self.form.format(value)} too many"
        return f"missed: {value / self.limit:.2f} times the budget"


HELP, STATUS = "gpumon --help", "gpumon status sim:8xH100"


def judge(results: Results) -> list[Row]:
    """Return a row for each budget."""
    ours = results.figures[GPUMON]
    memory = Spread.of(memory.pss for memory in ours.memory)
    helped = Spread.of(results.commands[HELP]).times(1000)
    return [
        *(
            _against(
                peer,
                results,
                f"CPU per sample of a scrape ({encoding}), of {peer}'s",
                0.1,
                functools.partial(Figures.per_sample, encoding=encoding),
            )
            for encoding in ENCODINGS
            for peer in (NVITOP, NODE)
        ),
        _against(NVITOP, results, f"CPU between scrapes, of {NVITOP}'s at 1 Hz", 0.5, _between),
        _against(NVITOP, results, f"GPU metric families, of {NVITOP}'s", 2, _families, more=True),
        Row("Memory of both processes (PSS)", 60, memory, "{:.1f}", " MB"),
        Row("Driver calls repeated within a tick", 0, Spread.of([len(results.repeated)]), "{:.0f}"),
        Row(f"`{HELP}`", 150, helped, "{:.0f}", " ms"),
    ]


def _against(
    peer: str,
    results: Results,
    what: str,
    limit: float,
    pick: Callable[[Figures], list[float]],
    *,
    more: bool = False,
) -> Row:
    """Return the row of a ratio: each round's figure over the peer's of the same round."""
    if peer not in results.figures:
        return Row(what, limit, None, more=more, why=results.missing[peer])
    rounds = zip(pick(results.figures[GPUMON]), pick(results.figures[peer]), strict=True)
    return Row(what, limit, Spread.of(ours / theirs for ours, theirs in rounds), more=more)


def _between(figures: Figures) -> list[float]:
    return figures.between


def _families(figures: Figures) -> list[float]:
    return [figures.exposition.gpu_families]
