"""``gpumon uninstall``."""

from __future__ import annotations

import click

from gpumon.cli.base import declare_unconfigured


@declare_unconfigured("uninstall", "sudo gpumon uninstall\ngpumon uninstall --purge --dry-run")
@click.option(
    "--purge",
    is_flag=True,
    help="Also remove the agent's configuration, its user and its data: all joules and events.",
)
@click.option("--force", is_flag=True, help="Remove a unit that somebody edited.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
def uninstall(*, purge: bool, force: bool, dry_run: bool) -> int:
    """Stop and remove the agent's service; its data stays unless it is purged.

    Remove the gpumon command itself the way you installed it, for example with pipx uninstall.
    """
    from gpumon.cli.steps import carry_out
    from gpumon.install import machine, plan

    there = machine.look()
    steps = plan.uninstall(there, purge=purge, force=force)
    if not steps:
        click.echo("there is nothing to remove")
        return 0
    carry_out(steps, is_root=there.is_root, dry_run=dry_run)
    return 0


command = uninstall
