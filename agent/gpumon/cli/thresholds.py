"""``--thresholds``: a site's own, for every command that judges, or writes what judges."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from gpumon.cli.base import option

if TYPE_CHECKING:
    from gpumon.site.config import Site
    from gpumon.thresholds import Thresholds

Function = TypeVar("Function", bound=Callable[..., Any])


def thresholds_option(help_: str) -> Callable[[Function], Function]:
    """Declare the option; the command gets the thresholds of the file that was named, or None.

    Named by the flag, by GPUMON_THRESHOLDS, or by ``thresholds`` in the configuration file.
    """
    return option(
        "--thresholds",
        "thresholds",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        callback=_load,
        help=help_,
    )


def _load(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> Thresholds | None:
    if path is None:
        return None
    from gpumon.errors import GpumonError
    from gpumon.thresholds import load_thresholds

    try:
        return load_thresholds(path)
    except GpumonError as error:
        who = _who_named_it(ctx, parameter)
        raise type(error)(f"{error.problem}{who}", error.next_step) from None


def _who_named_it(ctx: click.Context, parameter: click.Parameter) -> str:
    """Return `` (named by …)`` for what nobody typed here; empty for the flag."""
    source = ctx.get_parameter_source(str(parameter.name))
    if source is ParameterSource.ENVIRONMENT:
        return f" (named by {parameter.envvar})"
    if source is ParameterSource.DEFAULT_MAP:
        from gpumon.config import DEFAULT_FILE

        given = ctx.find_root().params.get("config_file")
        return f" (named by {given or DEFAULT_FILE})"
    return ""


def chosen(thresholds: Thresholds | None) -> Thresholds:
    """Return what was named, else what ships."""
    from gpumon.thresholds import shipped

    return thresholds or shipped()


def in_site(ctx: click.Context, thresholds: Thresholds | None, site: Site) -> Site:
    """Return a site with the thresholds that hold for a command that reads its site.toml.

    What the command line or the environment names comes first; of the two files that may name
    some, the site's before gpumon's.
    """
    source = ctx.get_parameter_source("thresholds")
    by_hand = source in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
    if thresholds is None or ("thresholds" in site.files and not by_hand):
        return site
    return dataclasses.replace(site, thresholds=thresholds)
