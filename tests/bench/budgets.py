"""The budgets of the design, and how far what was measured is from each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

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
    form: str = "{:.2f}"
    at_least: bool = False
    why: str = ""

    @property
    def budget(self) -> str:
        """The budget in words."""
        return f"{'more than' if self.at_least else 'at most'} {self.form.format(self.limit)}"

    @property
    def measured(self) -> str:
        """The median with the range around it."""
        if self.spread is None:
            return f"not measured: {self.why}"
        least, median, most = (
            self.form.format(value)
            for value in (self.spread.least, self.spread.median, self.spread.most)
        )
        return median if least == most else f"{median} ({least} to {most})"

    @property
    def verdict(self) -> str:
        """Met, or missed by how much; judged by the median."""
        if self.spread is None:
            return "not measured"
        value = self.spread.median
        if value > self.limit if self.at_least else value <= self.limit:
            return "met"
        if self.limit == 0:
            return f"missed by {self.form.format(value)}"
        return f"missed: {value / self.limit:.2f} times the budget"


HELP, STATUS = "gpumon --help", "gpumon status sim:8xH100"


def judge(results: Results) -> list[Row]:
    """Return a row for each budget."""
    ours = results.figures[GPUMON]
    rows = [
        _against(
            results,
            f"CPU per sample of a scrape ({encoding}), against {peer}",
            0.1,
            ours.per_sample(encoding),
            peer,
            lambda figures, encoding=encoding: figures.per_sample(encoding),
        )
        for encoding in ENCODINGS
        for peer in (NVITOP, NODE)
    ]
    rows += [
        _against(results, f"CPU at rest, against {NVITOP} at 1 Hz", 0.5, ours.resting, NVITOP,
                 lambda figures: figures.resting),
        _against(results, f"metric families of GPUs, against {NVITOP}", 2,
                 [ours.exposition.gpu_families], NVITOP,
                 lambda figures: [figures.exposition.gpu_families], at_least=True),
        Row("memory of both processes (PSS)", 60, Spread.of(m.pss for m in ours.memory),
            "{:.1f} MB"),
        Row("driver calls repeated within a tick", 0, Spread.of([len(results.repeated)]), "{:.0f}"),
        Row(f"`{HELP}`", 150, Spread.of(results.commands[HELP]).times(1000), "{:.0f} ms"),
    ]
    return rows
