"""``python -m tests.bench``: measures the agent beside its peers and writes the report."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from tests.bench.budgets import HELP, STATUS, Results, judge
from tests.bench.contenders import ALL, GPUMON, GPUS, Contender, NotStartedError
from tests.bench.measure import wall_seconds
from tests.bench.report import describe_machine, keep_section, render
from tests.bench.trial import Trial
from tests.fakenvml import FakeDriver, build_library, profiles
from tests.support.servers import ROOT

COMMAND_RUNS = 15


@click.command()
@click.option(
    "--seconds", type=click.FloatRange(min=1), default=30, show_default=True, help="Rest a round."
)
@click.option("--repeat", type=click.IntRange(min=1), default=3, show_default=True, help="Rounds.")
@click.option(
    "--scrapes", type=click.IntRange(min=1), default=300, show_default=True, help="In each burst."
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=ROOT / "docs" / "performance.md",
    help="The report.  [default: docs/performance.md]",
)
def main(seconds: float, repeat: int, scrapes: int, output: Path) -> None:
    """Measure the agent beside its peers, and write the report.

    A missed budget is a result, not a failure.
    """
    with tempfile.TemporaryDirectory(prefix="gpumon-bench-") as name:
        results = _measure(Path(name), seconds, repeat, scrapes)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(keep_section(output, render(results, describe_machine())))
    for row in judge(results):
        click.echo(f"{row.what}: {row.measured}, {row.budget}: {row.verdict}")
    click.echo(f"written to {output}")


def _measure(folder: Path, seconds: float, repeat: int, scrapes: int) -> Results:
    try:
        library = build_library(folder / "lib")
    except (OSError, subprocess.SubprocessError) as error:
        raise click.ClickException(
            f"the simulated driver cannot be compiled ({error}): install a C compiler, or set CC"
        ) from None
    _say("command lines")
    commands = {
        "python -c pass": wall_seconds([sys.executable, "-c", "pass"], COMMAND_RUNS),
        HELP: wall_seconds(_command(HELP), COMMAND_RUNS),
        STATUS: wall_seconds(_command(STATUS), COMMAND_RUNS // 3),
    }
    _say("a minute of ticks")
    repeated = _repeated_calls(folder, library)
    missing: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        contenders: list[Contender] = []
        for name, start in ALL.items():
            _say(f"starting {name}")
            try:
                contenders.append(stack.enter_context(start(folder, library)))
            except NotStartedError as error:
                if name == GPUMON:
                    raise click.ClickException(str(error)) from None
                click.echo(f"{error}", err=True)
                missing[name] = str(error)
        figures = Trial(contenders, scrapes).run(seconds, repeat, _say)
    return Results(figures, missing, commands, repeated)


def _command(line: str) -> list[str]:
    program, *arguments = line.split()
    return [sys.executable, "-m", program, *arguments]


def _repeated_calls(folder: Path, library: Path) -> dict[str, int]:
    driver = FakeDriver(folder / "ticks-driver", profiles.h100(GPUS), library=library)
    answer = subprocess.run(
        [sys.executable, "-m", "tests.bench.ticks"],
        check=True,
        cwd=ROOT,
        env={**os.environ, **driver.env()},
        stdout=subprocess.PIPE,
    )
    repeated: dict[str, int] = json.loads(answer.stdout)
    return repeated


def _say(what: str) -> None:
    click.echo(f"… {what}", err=True)


if __name__ == "__main__":
    main()
