"""What a shell completes of a TARGET or a source: the models that can be simulated."""

from __future__ import annotations

import re

import click


def models(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Complete ``sim:8xH`` with the models; of any other target nothing is known here.

    Nor is "sim:" itself offered: a shell puts a blank behind a word that is whole.
    """
    found = re.fullmatch(r"(sim:(?:\d+[xX])?)(\w*)", begun, re.ASCII)
    if found is None:
        return []
    from gpumon.sources.sim.models import MODELS

    return [f"{found[1]}{name}" for name in MODELS if name.startswith(found[2].upper())]
