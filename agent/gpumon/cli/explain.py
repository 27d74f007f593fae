"""``gpumon explain``."""

from __future__ import annotations

import click

from gpumon.cli.base import declare


@declare(
    "explain",
    "gpumon explain xid 79\ngpumon explain GpuLost\ngpumon explain gpumon_gpu_energy_error_ratio\n"
    "gpumon explain sw_power_cap",
)
@click.argument("words", nargs=-1, required=True, metavar="WORD")
def explain(words: tuple[str, ...]) -> None:
    """Say what an alert, a metric, an Xid or a throttle reason means, and what to do.

    Of an alert it is the runbook and the rule.
    """
    from gpumon.views.explain import explain as text_of

    click.echo(text_of(words), nl=False)


command = explain
