"""``gpumon dashboards``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gpumon.cli.base import declare_group, output
from gpumon.cli.printing import say
from gpumon.cli.thresholds import thresholds_option
from gpumon.grafana.login import DEFAULT_URL

if TYPE_CHECKING:
    from gpumon.thresholds import Thresholds

Function = TypeVar("Function", bound=Callable[..., Any])

_NAMES = click.argument("names", nargs=-1, metavar="[DASHBOARD]...")


_THRESHOLDS = thresholds_option("A site's own thresholds (TOML), in place of those that ship.")


def _of_a_grafana(function: Function) -> Function:
    """Add the options that name the Grafana, the token, the folder and the data source."""
    for add in reversed(
        (
            _NAMES,
            click.option(
                "--url",
                envvar="GPUMON_GRAFANA_URL",
                default=DEFAULT_URL,
                show_default=True,
                show_envvar=True,
                metavar="URL",
                help="Grafana's start page, with its sub-path if it has one.",
            ),
            # There is no option for the token itself: every user sees another's command lines.
            click.option(
                "--token-file",
                envvar="GPUMON_GRAFANA_TOKEN_FILE",
                show_envvar=True,
                type=click.Path(dir_okay=False, path_type=Path),
                metavar="FILE",
                help="The file with a service account's token; without it, GPUMON_GRAFANA_TOKEN.",
            ),
            click.option(
                "--folder",
                "title",
                default="gpumon",
                show_default=True,
                metavar="NAME",
                help="Grafana's folder for them, by title or uid; created if it does not exist.",
            ),
            _THRESHOLDS,
            click.option(
                "--datasource",
                "source",
                metavar="NAME",
                help="The Prometheus that they query at first, by name or uid.  [default: "
                "gpumon-prometheus, else the only one, else Grafana's default]",
            ),
        )
    ):
        function = add(function)
    return function


@declare_group(
    "dashboards",
    "gpumon dashboards list\n"
    "gpumon dashboards export --to /var/lib/grafana/dashboards\n"
    "gpumon dashboards push --url https://grafana.example.org --token-file token --dry-run\n"
    "gpumon dashboards push gpumon-node --datasource Mimir\n"
    "gpumon dashboards diff --url https://grafana.example.org --token-file token",
)
def dashboards() -> None:
    """List, export, push and compare the Grafana dashboards."""


@dashboards.command("list")
@output("table", "json", "markdown")
def list_(form: str) -> None:
    """List the dashboards: uid, title, number of panels, what each shows."""
    from gpumon.grafana.shipped import load
    from gpumon.views.dashboards import render_dashboards

    click.echo(render_dashboards(load(), form), nl=False)


@dashboards.command("export")
@_NAMES
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where to write the files; without it, name one dashboard and it is printed.",
)
@click.option(
    "--datasource",
    "source",
    metavar="UID",
    help="The uid of the Prometheus that they query at first.  [default: gpumon-prometheus]",
)
@_THRESHOLDS
def export(
    names: tuple[str, ...],
    folder: Path | None,
    source: str | None,
    thresholds: Thresholds | None,
) -> None:
    """Write the dashboards to files, for Grafana's provisioning or an import by hand.

    Existing files of the same names are replaced; those with a site's own thresholds only if
    --thresholds names a file. To go back to the thresholds that ship, name an empty one:
    --thresholds /dev/null.
    """
    from gpumon.errors import UnavailableError, UsageError
    from gpumon.grafana.shipped import load

    chosen = [
        dashboard.choosing(source, source) if source else dashboard
        for dashboard in load(names, thresholds)
    ]
    if folder is None:
        if len(chosen) != 1:
            raise UsageError(
                f"{len(chosen)} dashboards", "say where to write them with --to, or name one"
            )
        click.echo(chosen[0].text, nl=False)
        return
    if thresholds is None:
        for dashboard in chosen:
            _must_ship(folder / f"{dashboard.uid}.json")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for dashboard in chosen:
            new = folder / f"{dashboard.uid}.json.new"
            new.write_text(dashboard.text, "utf-8")
            new.replace(folder / f"{dashboard.uid}.json")
    except OSError as error:
        raise UnavailableError(
            f"cannot write to {folder} ({error.strerror})", "name another with --to"
        ) from None
    click.echo(f"{folder}: {len(chosen)} files", err=True)


def _must_ship(file: Path) -> None:
    """Raise UsageError if a file holds a site's own thresholds."""
    import json

    from gpumon.grafana.shipped import own_thresholds

    try:
        document = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return
    _refuse_own(str(file), own_thresholds(document) if isinstance(document, dict) else "")


def _refuse_own(where: str, digest: str) -> None:
    """Raise UsageError if something has a site's own thresholds, by their digest."""
    from gpumon.errors import UsageError

    if digest:
        raise UsageError(
            f"{where} has a site's own thresholds (digest {digest})",
            "name their file with --thresholds; "
            "--thresholds /dev/null goes back to those that ship",
        )


@dashboards.command("push")
@_of_a_grafana
@click.option("--dry-run", is_flag=True, help="Show what would be done, and change nothing.")
@click.option("--force", is_flag=True, help="Also replace dashboards that were edited in Grafana.")
def push(
    names: tuple[str, ...],
    url: str,
    token_file: Path | None,
    title: str,
    thresholds: Thresholds | None,
    source: str | None,
    dry_run: bool,
    force: bool,
) -> int:
    """Put the dashboards into a running Grafana of 9.5 or later.

    A second push changes nothing. A dashboard that somebody edited in Grafana is left alone, and
    the difference is shown. Dashboards with a site's own thresholds are not replaced unless
    --thresholds names a file; to go back to the thresholds that ship, name an empty one
    (/dev/null). Exits with 1 if some were left alone, and 3 if Grafana cannot be reached or
    refuses.
    """
    from gpumon.grafana.api import connect
    from gpumon.grafana.login import read_access
    from gpumon.grafana.push import Action, apply, changes_in
    from gpumon.grafana.shipped import load, own_thresholds
    from gpumon.views.dashboards import place, tell

    ours = load(names, thresholds)
    alone = 0
    with connect(read_access(url, token_file)) as grafana:
        folder, changes = changes_in(grafana, ours, title, source)
        for change in changes if thresholds is None else ():
            if change.stored:
                _refuse_own(f"{change.ours.uid} in {url}", own_thresholds(change.stored.document))
        for change in changes:
            if change.kind is Action.EDITED:
                say(place(change, folder, title) + change.difference, nl=False)
            done = change.kind is not Action.PROVISIONED and (
                force or change.kind is not Action.EDITED
            )
            alone += not done
            if done and change.kind is not Action.UNCHANGED and not dry_run:
                folder = folder or grafana.create_folder(title)
                apply(grafana, change, folder)
            where = folder.title if folder else title
            say(tell(change, where, done=done, dry=dry_run))
    return 1 if alone else 0


@dashboards.command("diff")
@_of_a_grafana
def diff(
    names: tuple[str, ...],
    url: str,
    token_file: Path | None,
    title: str,
    thresholds: Thresholds | None,
    source: str | None,
) -> int:
    """Show what a push would change in a running Grafana, and what was edited there.

    Exits with 1 if anything differs, and 3 if Grafana cannot be reached or refuses.
    """
    from gpumon.grafana.api import connect
    from gpumon.grafana.login import read_access
    from gpumon.grafana.push import Action, changes_in
    from gpumon.grafana.shipped import load
    from gpumon.views.dashboards import place

    ours = load(names, thresholds)
    with connect(read_access(url, token_file)) as grafana:
        folder, changes = changes_in(grafana, ours, title, source)
    differing = [change for change in changes if change.kind is not Action.UNCHANGED]
    for change in differing:
        say(place(change, folder, title) + change.difference, nl=False)
    say(f"{len(differing)} of {len(changes)} dashboards differ", err=True)
    return 1 if differing else 0


command = dashboards
