"""``gpumon explain``."""

from __future__ import annotations

import click

from gpumon.cli.base import declare


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
def explain(words: tuple[str, ...]) -> None:
    """Say what an alert, a check, a metric, an Xid or a reason means, and what to do.

    Of an alert it is the runbook and the rule.
    """
    from gpumon.views.explain import explain as text_of

    click.echo(text_of(words), nl=False)


command = explain
