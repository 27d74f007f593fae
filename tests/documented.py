"""Tables in docs/ that are written from the code: ``python -m tests.documented`` (``make docs``).

Each stands between two comments; the rest of its file is written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from gpumon.checks import CHECKS
from gpumon.config import Setting, Shape, settings_of
from gpumon.rules import load
from gpumon.server.options import AgentOptions, manager_settings
from gpumon.thresholds import shipped
from tests.support.servers import ROOT


def checks() -> str:
    """Return the table of checks, in the order of ``gpumon check --list``."""
    lines = ["| check | FAIL | WARN | thresholds | alerts |", "|---|---|---|---|---|"]
    for check in CHECKS:
        numbers = ", ".join(f"`{name}`" for name in check.thresholds)
        cells = (f"`{check.name}`", check.fails, check.warns, numbers, ", ".join(check.alerts))
        lines.append(row(*cells))
    return "\n".join(lines)


def alerts() -> str:
    """Return the table of alerts with their checks, in the order of ``gpumon rules list``."""
    lines = ["| alert | check | if there is none, why |", "|---|---|---|"]
    for group in load(shipped()):
        for alert in group.alerts:
            link = f"[{alert.alert}](runbooks/{alert.alert}.md)"
            lines.append(row(link, f"`{alert.check}`" if alert.check else "", alert.no_check))
    return "\n".join(lines)


def settings() -> str:
    """Return the table of the agent's settings."""
    lines = ["| flag of `gpumon agent` | variable | default | |", "|---|---|---|---|"]
    for one in {**settings_of(AgentOptions), **manager_settings()}.values():
        about = "; ".join(filter(None, (one.help.rstrip("."), one.note)))
        lines.append(row(f"`{one.flag}`", f"`{one.variable}`", _default(one), about))
    return "\n".join(lines)


def _default(one: Setting) -> str:
    if one.shape is Shape.SWITCH:
        return "`false`"
    return f"`{one.default}`" if one.default is not None else one.otherwise or "none"


def row(*cells: str) -> str:
    """Return a row of a Markdown table."""
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


TABLES: dict[str, tuple[str, Callable[[], str]]] = {
    "checks": ("docs/checks.md", checks),
    "alerts": ("docs/checks.md", alerts),
    "settings": ("docs/operating.md", settings),
}
"""The file that each table stands in, and what writes it."""


def replaced(name: str, text: str) -> str:
    """Return a file's text with a table as it should be."""
    _, write = TABLES[name]
    begin = f"<!-- {name}: written by make docs -->"
    pattern = re.compile(rf"(?s)({re.escape(begin)}\n).*?(\n<!-- end -->)")
    assert pattern.search(text), f"{begin} is missing"
    return pattern.sub(lambda found: found[1] + write() + found[2], text, count=1)


def path(name: str) -> Path:
    """Return the file that a table stands in."""
    return ROOT / TABLES[name][0]


def main() -> None:
    """Write all tables."""
    for name in TABLES:
        file = path(name)
        file.write_text(replaced(name, file.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
