"""The direction of the imports: what CONTRIBUTING.md draws is what the code does."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "agent" / "gpumon"

LAYERS = [
    {"__init__", "errors", "clock", "times", "logs", "xids", "thresholds"},
    {"model"},
    {"derive", "documents", "config", "assets", "exposition"},
    {"ledger"},
    {"statedb", "sources", "kernellog", "host", "workloads"},
    {"reader", "web"},
    {"server", "prometheus", "site", "targets"},
    {
        "checks",
        "doctor",
        "views",
        "demo",
        "grafana",
        "install",
        "report",
        "rules",
        "simulate",
    },
    {"top"},
    {"cli", "__main__"},
]
"""From the ground up: a part may import from its own layer and from those before it."""

FLOOR = {part: floor for floor, parts in enumerate(LAYERS) for part in parts}
FILES = sorted(PACKAGE.rglob("*.py"))


def part_of(file: Path) -> str:
    """Return the part that a file belongs to: its folder, or itself."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(file: Path) -> set[str]:
    """Return the parts of gpumon that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "gpumon":
                names = [f"gpumon.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("gpumon.")}
    return {part if part in FLOOR else "__init__" for part in found}


def test_every_part_has_its_floor() -> None:
    """A new folder or module is given one here, and in CONTRIBUTING.md."""
    assert {part_of(file) for file in FILES} == set(FLOOR)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_go_down(file: Path) -> None:
    """One direction, no cycles."""
    above = {part for part in imported(file) if FLOOR[part] > FLOOR[part_of(file)]}
    assert not above
