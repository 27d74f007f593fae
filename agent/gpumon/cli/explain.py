"""``gpumon explain``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gpumon.cli.base import declare
from gpumon.cli.thresholds import chosen, thresholds_option

if TYPE_CHECKING:
    from gpumon.thresholds import Thresholds


def _names(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Complete what can be explained; after "xid" its numbers, which alone say little."""
    if context.params.get("words"):
        from gpumon.xids import xids

        known = [str(code) for code in sorted(xids())]
    else:
        from gpumon.views.explain import names

        known = ["xid", *names()]
    return [name for name in known if name.startswith(begun)]


@declare(
    "explain",
    "gpumon explain xid 79\ngpumon explain GpuLost\ngpumon explain gpumon_gpu_energy_error_ratio\n"
    "gpumon explain sw_power_cap",
)
@click.argument("words", nargs=-1, required=True, metavar="WORD", shell_complete=_names)
@thresholds_option("A site's own thresholds and alerts (TOML), in place of those that ship.")
def explain(words: tuple[str, ...], thresholds: Thresholds | None) -> None:
    """Explain an alert, check, metric, Xid or throttle reason, and what to do about it.

    For an alert this is its runbook and its rule.
    """
    from gpumon.views.explain import explain as text_of

    click.echo(text_of(words, chosen(thresholds)), nl=False)


command = explain
