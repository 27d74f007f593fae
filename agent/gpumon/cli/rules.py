"""``gpumon rules``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gpumon.cli.base import Finite, declare_group, option, output
from gpumon.cli.printing import say
from gpumon.cli.thresholds import chosen, thresholds_option

if TYPE_CHECKING:
    from gpumon.thresholds import Thresholds

FORMATS = ("prometheus", "vmalert", "kubernetes")

_THRESHOLDS = thresholds_option(
    "A site's own thresholds and alerts (TOML), in place of those that ship."
)
_TIME_SCALE = click.option(
    "--time-scale",
    type=Finite(min=1, max=3600),
    default=1.0,
    metavar="N",
    help="Divide every duration by N: for drills, never for production.",
)


@declare_group(
    "rules",
    "gpumon rules list\n"
    "gpumon rules export --to /etc/prometheus/rules\n"
    "gpumon rules export --format kubernetes | kubectl apply -f -\n"
    "gpumon rules check /etc/prometheus/rules/*.yml\n"
    "gpumon rules check prom:http://prometheus:9090",
)
def rules() -> None:
    """List, export and check the recording and alert rules."""


@rules.command("list")
@_THRESHOLDS
@output("table", "json", "markdown")
def list_(thresholds: Thresholds | None, form: str) -> None:
    """List the alerts: name, severity, owner, delay, and why each exists.

    What a site's file changes is shown with what ships.
    """
    from gpumon.rules import load_all
    from gpumon.thresholds import shipped
    from gpumon.views.rules import render_alerts

    alerts = [alert for group in load_all(chosen(thresholds)) for alert in group.alerts]
    usual = {alert.alert: alert for group in load_all(shipped()) for alert in group.alerts}
    click.echo(render_alerts(alerts, form, usual), nl=False)


@rules.command("thresholds")
@_THRESHOLDS
@output("table", "json")
def thresholds_(thresholds: Thresholds | None, form: str) -> None:
    """List the thresholds by name, with their values; a site's own are marked."""
    from gpumon.views.thresholds import render_thresholds

    click.echo(render_thresholds(chosen(thresholds), form), nl=False)


@rules.command("export")
@_THRESHOLDS
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="prometheus",
    show_default=True,
    help="Format: files of rule groups, or one PrometheusRule object for Kubernetes.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Folder to write the files to; without it they are printed.",
)
@option(
    "--runbook-url",
    metavar="URL",
    help="URL of the runbooks; it contains {alert}, which becomes the alert's name.",
)
@option(
    "--grafana-url",
    metavar="URL",
    help="URL of the Grafana that has the dashboards; each alert then links to one.",
)
@click.option(
    "--layer",
    type=click.Choice(("node", "site", "all")),
    default="all",
    show_default=True,
    help="Rules of nodes and racks, for one server of several; of the whole site; or all.",
)
@click.option(
    "--mode",
    type=click.Choice(("live", "shadow")),
    default="live",
    show_default=True,
    help="Whether alerts notify: in shadow they have the labels shadow and would_page.",
)
@_TIME_SCALE
def export(
    thresholds: Thresholds | None,
    form: str,
    folder: Path | None,
    runbook_url: str | None,
    grafana_url: str | None,
    layer: str,
    mode: str,
    time_scale: float,
) -> None:
    """Write the rules for Prometheus, vmalert or Kubernetes.

    Files with a site's own thresholds are not replaced unless --thresholds names a file. To go back
    to the thresholds that ship, name an empty one: --thresholds /dev/null.
    """
    from gpumon.errors import UnavailableError, UsageError
    from gpumon.rules import Rendering, load, render, render_one
    from gpumon.rules.render import RUNBOOK_URL
    from gpumon.thresholds import shipped

    alerts = chosen(thresholds).alerts
    url = runbook_url or alerts.runbook_url or RUNBOOK_URL
    if "{alert}" not in url:
        raise UsageError(
            f"--runbook-url {url!r}", "put {alert} in it, in place of the alert's name"
        )
    groups = load(chosen(thresholds), time_scale)
    digest = chosen(thresholds).digest
    own = "" if digest == shipped().digest else digest
    rendering = Rendering(
        form=form,
        runbook_url=url,
        grafana_url=(grafana_url or alerts.grafana_url).rstrip("/"),
        time_scale=time_scale,
        own=own,
        own_alerts=alerts.digest,
        shadow=mode == "shadow",
        layer=layer,
    )
    if folder is None:
        click.echo(render_one(groups, rendering), nl=False)
        return
    files = render(groups, rendering)
    _must_be_of(folder, files, layer)
    if thresholds is None:
        _must_ship(folder, files)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            new = folder / f"{name}.new"
            new.write_text(text, "utf-8")
            new.replace(folder / name)
    except OSError as error:
        raise UnavailableError(
            f"cannot write to {folder} ({error.strerror})", "name another with --to"
        ) from None
    click.echo(f"{folder}: {len(files)} files; have Prometheus reload them (SIGHUP)", err=True)


def _must_be_of(folder: Path, files: Iterable[str], layer: str) -> None:
    """Raise UsageError for a file that another export has left in the folder.

    Prometheus would load it too: rules of both layers on one server, or what no longer ships.
    """
    from gpumon.errors import UsageError
    from gpumon.rules.render import WRITTEN

    for other in sorted(folder.glob("*.yml")):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if other.name not in files and other.read_text("utf-8").startswith(WRITTEN):
                raise UsageError(
                    f"{other} is of another export, and not of --layer {layer}",
                    "remove it, or name another folder with --to",
                )


def _must_ship(folder: Path, files: Iterable[str]) -> None:
    """Raise UsageError if one of these files was written with a site's own thresholds."""
    from gpumon.errors import UsageError
    from gpumon.rules.render import written_with

    for name in files:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            digest = written_with((folder / name).read_text("utf-8"))
            if digest:
                raise UsageError(
                    f"{folder / name} has a site's own thresholds or alerts (digest {digest})",
                    "name their file with --thresholds; "
                    "--thresholds /dev/null goes back to those that ship",
                )


@rules.command("check")
@click.argument("files", nargs=-1, metavar="[FILE]... | prom:URL")
@_THRESHOLDS
def check(files: tuple[str, ...], thresholds: Thresholds | None) -> int:
    """Check rule files, or without files the rules that ship; uses promtool if it is installed.

    With prom:URL, list what is not as the rules assume in this Prometheus (a node, a level or a
    rule that is there several times, thresholds other than the nodes'), and the alerts that cannot
    fire on some nodes, because their agents do not export what the alert reads (hardware, driver,
    rights, tier).

    Exits with 1 if something is wrong with the rules, or if sums of this Prometheus are wrong, and
    3 if a file or Prometheus cannot be read.
    """
    from gpumon.rules.check import problems_of_files, problems_of_ours

    if any(file.startswith("prom:") for file in files):
        return _of_fleet(files, chosen(thresholds))
    paths = [Path(file) for file in files]
    problems = problems_of_files(paths) if paths else problems_of_ours(chosen(thresholds))
    for problem in problems.found:
        say(problem)
    say(problems.verdict, err=True)
    return 1 if problems.found else 0


def _of_fleet(targets: tuple[str, ...], thresholds: Thresholds) -> int:
    """Say how a Prometheus fits the rules, and which alerts cannot fire on which share of it.

    Raises UsageError for more than one target.
    """
    import time

    from gpumon.errors import UsageError
    from gpumon.prometheus.api import PrometheusApi
    from gpumon.rules import load
    from gpumon.rules.deaf import deaf_alerts
    from gpumon.rules.fit import fit
    from gpumon.rules.levels import Levels
    from gpumon.views.rules import deaf_lines, fit_lines

    if len(targets) > 1:
        raise UsageError("prom:URL beside others", "check one at a time")
    groups = load(thresholds)
    with PrometheusApi(targets[0].removeprefix("prom:")) as api:
        now = time.time()
        deaf = deaf_alerts(groups, lambda query: api.instant(query, now))
        fits = fit(
            groups,
            Levels(thresholds.levels),
            lambda query: api.instant(query, now),
            lambda: api.status("rules")[0].get("groups") or (),
        )
    for line in (*fit_lines(fits), *deaf_lines(deaf)):
        say(line)
    if fits.unasked:
        say(fits.unasked, err=True)
    say(fits.verdict, err=True)
    say(deaf.verdict, err=True)
    return 1 if fits.wrong else 0


@rules.command("noise")
@click.argument("target", metavar="prom:URL")
@click.option(
    "--days",
    type=click.IntRange(1, 365),
    default=30,
    show_default=True,
    help="How many days up to now.",
)
@click.option(
    "--top",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="How many alerts and nodes to list.",
)
def noise(target: str, days: int, top: int) -> None:
    """Count how often alerts began to fire, and how many of these page, or would page.

    Lists the noisiest alerts and nodes, those with most pages first.
    """
    import time

    from gpumon.errors import UsageError
    from gpumon.prometheus.api import PrometheusApi
    from gpumon.rules.noise import noise as noise_of
    from gpumon.views.rules import noise_lines

    if not target.startswith("prom:"):
        raise UsageError(f"{target!r} is not a Prometheus", "write prom:http://HOST:9090")
    with PrometheusApi(target.removeprefix("prom:")) as api:
        found = noise_of(lambda query: api.instant(query, time.time()), days)
    for line in noise_lines(found, top):
        say(line)
    say(found.verdict, err=True)


command = rules
