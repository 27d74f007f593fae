"""The operating guide says what is so."""

from __future__ import annotations

import re

import click

from gpumon.cli.agent import command
from tests.support.servers import ROOT

GUIDE = (ROOT / "docs" / "operating.md").read_text()


def test_every_flag_of_the_agent_is_listed() -> None:
    """The table has every flag with its variable and its default, and no other."""
    rows = re.findall(r"^\| `(--[\w.-]+)` \| `(\w+)` \| `?([^|`]*)`? \|", GUIDE, re.MULTILINE)
    listed = {flag: (variable, default.strip()) for flag, variable, default in rows}
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert listed.keys() == {option.opts[0] for option in options}
    for option in options:
        variable, default = listed[option.opts[0]]
        assert variable == option.envvar
        if option.default not in (None, ()) and "UNSET" not in repr(option.default):
            assert default == str(option.default)


def test_every_file_it_names_is_there() -> None:
    """Paths into the repository and links to other documents lead somewhere."""
    named = set(re.findall(r"\b((?:deploy|dashboards)/[\w./-]+\w)", GUIDE))
    assert len(named) > 5
    assert [path for path in named if not (ROOT / path).exists()] == []
    links = re.findall(r"\]\(([^)#:]+)\)", GUIDE)
    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []


def test_every_metric_it_names_is_exposed() -> None:
    """A metric that is renamed must be renamed here, and one of the full tier is said to be."""
    from gpumon.model import Tier
    from gpumon.model.catalogue import rows

    named = re.findall(r"`(gpumon_\w+)`(?: \(tier `(\w+)`\))?", GUIDE)
    assert named
    for tier in (Tier.STANDARD, Tier.FULL):
        exposed = {metric.name for _, metric in rows(tier)}
        assert {name for name, said in named if (said or "standard") == tier.word} <= exposed
