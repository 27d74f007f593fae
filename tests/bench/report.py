"""``docs/performance.md``: the budgets with their verdicts, the method, and the raw figures."""

from __future__ import annotations

import datetime as dt
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

import psutil

from tests.bench.budgets import Results, judge
from tests.bench.contenders import GPUMON, NAMES, NVITOP
from tests.bench.measure import Spread
from tests.bench.trial import Figures

INTRODUCTION = """\
# What the agent costs

The agent shares its machine with the work that the machine is for. These are its budgets, and what
was measured, next to two exporters that are in wide use: ratios vary less between machines than
seconds do. Written by `make bench`.
"""

REASONS = """\
A scrape of the agent is, in round figures, two fifths HTTP (parsing, event loop, socket), one third
the text of the samples, a tenth the agent's own cost figures, and the rest compression.
node_exporter does HTTP in Go and the agent in Python. That is why a tenth of node_exporter is the
tightest budget: on a noisy machine a run may miss it.
"""

METHOD = """\
## How this is measured

All programs run at the same time on one machine, each with its defaults. The two that read GPUs
have a simulated driver each, of eight H100s whose readings move and on which no process runs. It
replies at once: the driver's own time is not in these figures. In each round all of them idle for a
while, then each is scraped many times in a row, over one connection if it keeps connections, with
the headers of Prometheus; the order changes from round to round.

* CPU is user and system time of a program's processes together. Between scrapes: as a share of one
  core while nobody scrapes. Of a scrape: what is spent beyond that in the same time, divided by the
  scrapes, and by the samples in each. Scrapes in a row find warm caches; single ones cost more, of
  all programs.
* A ratio compares figures of the same round. Shown are the median and, in brackets, the least and
  the greatest; the median is judged.
* A metric family counts as one of GPUs when it has a sample with a GPU's UUID and a number: one
  that is only announced, or NaN for every GPU, does not.
* PSS is taken after the scrapes of each round. Other Python programs on the machine lower it, the
  benchmark itself among them; *alone* counts every page once and in full.
* A repeated driver call has the same arguments as another of the same tick; a minute of ticks is
  watched, each value of a batch on its own.
"""


def render(results: Results, machine: Sequence[tuple[str, str]]) -> str:
    """Return the page."""
    rows = [(row.what, row.budget, row.measured, row.verdict) for row in judge(results)]
    parts = [
        INTRODUCTION,
        _table(("", "budget", "measured", ""), rows),
        REASONS,
        _repeated(results),
        METHOD,
        "## The machine\n",
        _table(("", ""), [*machine, *_versions(results)]),
        "## Raw figures\n",
        _table(("median (least to most)", *results.figures), _raw(results)),
        "## Command line\n",
        _table(
            ("wall time", "median (least to most)"),
            [
                (f"`{name}`", Spread.of(seconds).times(1000).text("{:.0f}", " ms"))
                for name, seconds in results.commands.items()
            ],
        ),
        "## Driver calls\n",
        _calls(results),
    ]
    return "\n".join(part for part in parts if part)


FLEET = "## A simulated fleet\n"
"""Where the section of ``tests.bench.fleet`` begins; it is the page's last."""


def put_section(page: Path, text: str) -> None:
    """Put a fleet's section into the page, in place of an older one."""
    before = page.read_text("utf-8").partition(FLEET)[0].rstrip()
    page.write_text(f"{before}\n\n{text}", "utf-8")


def keep_section(page: Path, text: str) -> str:
    """Return a new page's text with the section that the old page has."""
    _, heading, section = page.read_text("utf-8").partition(FLEET) if page.exists() else ("",) * 3
    return f"{text.rstrip()}\n\n{heading}{section}" if heading else text


def describe_machine() -> list[tuple[str, str]]:
    """Return what matters of this machine, without its name."""
    return [
        ("date", dt.datetime.now(dt.timezone.utc).date().isoformat()),
        ("processor", f"{_cpu_model()}, {psutil.cpu_count()} cores"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("Python", platform.python_version()),
    ]


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _versions(results: Results) -> list[tuple[str, str]]:
    versions = {figures.name: figures.version for figures in results.figures.values()}
    why = {name: f"not measured: {reason}" for name, reason in results.missing.items()}
    return [(name, versions.get(name, why.get(name, ""))) for name in NAMES]


def _repeated(results: Results) -> str:
    if not results.repeated:
        return ""
    lines = [f"* `{call}`, {count} times" for call, count in sorted(results.repeated.items())]
    return "Repeated within one tick:\n\n" + "\n".join(lines[:20]) + "\n"


def _raw(results: Results) -> list[tuple[str, ...]]:
    columns = [_column(figures) for figures in results.figures.values()]
    return [(what, *(column[what] for column in columns)) for what in columns[0]]


def _column(figures: Figures) -> dict[str, str]:
    size = figures.exposition
    between = Spread.of(figures.between).times(100).text("{:.2f}")
    column = {"CPU between scrapes, % of a core": between}
    for encoding in figures.scrape:
        per_scrape = Spread.of(figures.scrape[encoding]).times(1e3)
        per_sample = Spread.of(figures.per_sample(encoding)).times(1e6)
        column[f"CPU of a scrape ({encoding}), ms"] = per_scrape.text("{:.2f}")
        column[f"CPU of a sample ({encoding}), µs"] = per_sample.text("{:.2f}")
        column[f"time of a scrape ({encoding}), ms"] = (
            Spread.of(figures.latency[encoding]).times(1e3).text("{:.1f}")
        )
    return column | {
        "samples of a scrape": str(size.samples),
        "bytes of a scrape, plain and gzip": f"{size.plain_bytes:,} and {size.gzip_bytes:,}",
        "metric families": str(size.families),
        "metric families of GPUs": str(size.gpu_families),
        "PSS, MB": Spread.of(m.pss for m in figures.memory).text("{:.1f}"),
        "alone, MB": Spread.of(m.alone for m in figures.memory).text("{:.1f}"),
        "driver calls a second": f"{_total(figures):.1f}" if figures.calls else "none",
    }


def _total(figures: Figures) -> float:
    return sum(figures.calls[name] for name in functions(figures.calls))


def functions(calls: Iterable[str]) -> list[str]:
    """Return the names that are functions: the fake driver counts GPUs' batches and values too."""
    return [name for name in calls if name.startswith("nvml") and "[" not in name]


def _calls(results: Results) -> str:
    readers = [results.figures[name] for name in (GPUMON, NVITOP) if name in results.figures]
    names = sorted({name for figures in readers for name in functions(figures.calls)})
    rows = [(f"`{name}`", *(_rate(figures, name) for figures in readers)) for name in names]
    rows += [
        ("**all**", *(f"{_total(figures):.1f}" for figures in readers)),
        ("values in batches", *(_rate(figures, "fields") for figures in readers)),
    ]
    return (
        "A second, for eight GPUs. The binding asks for samples in two calls: first how many,\n"
        "then which.\n\n" + _table(("", *(figures.name for figures in readers)), rows)
    )


def _rate(figures: Figures, name: str) -> str:
    return f"{figures.calls[name]:.1f}" if name in figures.calls else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"
