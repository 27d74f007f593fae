"""``python -m tests.bench.week``: pages and tickets of a week, of a release before and of now.

It draws the faults of a week, has each release's simulator serve what each kind of fault looks like
on one node of some thirty, has promtool evaluate all rules of that release on it, and its
Alertmanager configuration decide who hears of it. The table goes into ``docs/alerting.md``.
"""

from __future__ import annotations

import concurrent.futures
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import click

from tests.bench.week import evaluate, report
from tests.bench.week.kinds import KINDS, RARE, Kind
from tests.bench.week.notify import Message, messages
from tests.support.servers import ROOT

PAGE = ROOT / "docs" / "alerting.md"

Outcome = Mapping[str, list[Message]]
"""The messages that a fault leads to, by the name of its kind."""


@click.command()
@click.option("--before", default="1f1d492", show_default=True, help="The release to compare.")
@click.option("--seed", default=1, show_default=True)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), default=PAGE, show_default=False
)
def main(before: str, seed: int, output: Path) -> None:
    """Compare two releases over the same week."""
    with tempfile.TemporaryDirectory(prefix="gpumon-week-") as name:
        tree = Path(name) / "before"
        _unpack(before, tree)
        found = {"before": outcome(tree, Path(name)), "after": outcome(ROOT, Path(name))}
    text = report.render(found["before"], found["after"], seed)
    output.write_text(report.put(output.read_text("utf-8"), text), "utf-8")
    click.echo(text)


def outcome(tree: Path, folder: Path) -> Outcome:
    """Return what each kind of fault leads to under a release's simulator, rules and routes."""
    config = evaluate.config(tree)

    def of(kind: Kind) -> list[Message]:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            return messages(config, evaluate.firing(tree, kind, Path(name)))

    kinds = [kind for kind in (*KINDS, *RARE) if kind.seen]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return dict(zip((kind.name for kind in kinds), pool.map(of, kinds), strict=True))


def _unpack(revision: str, tree: Path) -> None:
    """Write the files of a release into a folder."""
    tree.mkdir()
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", revision, "agent", "deploy"],
        capture_output=True,
        check=False,
    )
    if archive.returncode:
        raise click.ClickException(f"git has no {revision}: run this in a clone with its history")
    subprocess.run(["tar", "-x", "-C", str(tree)], input=archive.stdout, check=True)


if __name__ == "__main__":
    main()
