"""``gpumon doctor``."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import typing
from pathlib import Path

import click

from gpumon.cli.base import Seconds, declare_unconfigured, default_state_dir, output
from gpumon.cli.printing import whoever_reads

if typing.TYPE_CHECKING:
    from gpumon.cli.configured import AgentPlace
    from gpumon.doctor import Finding, Question
    from gpumon.doctor.facts import Grafana
    from gpumon.thresholds import Thresholds

ANSWER_SECONDS = 8.0
"""Eight GPUs without persistence mode take some seconds to start."""


@declare_unconfigured(
    "doctor",
    "gpumon doctor\n"
    "gpumon doctor --prometheus http://prometheus:9090\n"
    "gpumon doctor --grafana https://grafana.example.org --token-file token\n"
    "gpumon doctor --bundle report.tar.gz",
)
@click.option("--prometheus", metavar="URL", help="Also check this Prometheus.")
@click.option("--grafana", metavar="URL", help="Also check this Grafana.")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="File that holds Grafana's token; without it, GPUMON_GRAFANA_TOKEN.",
)
@click.option(
    "--agent",
    "url",
    metavar="URL",
    help="URL of this machine's agent.  [default: from the configuration]",
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="The agent's state folder.  [default: the service's, else this user's]",
)
@click.option(
    "--timeout",
    "seconds",
    type=Seconds(min=0.5, max=600),
    default=ANSWER_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="Time limit for everything together.",
)
@output("table", "json")
@click.option(
    "--bundle",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write an archive for a bug report, without secrets or user names.",
)
@click.option(
    "--anonymous",
    is_flag=True,
    help="Also replace this machine's name and addresses in that archive.",
)
@click.pass_context
def doctor(
    ctx: click.Context,
    prometheus: str | None,
    grafana: str | None,
    token_file: Path | None,
    url: str | None,
    state_dir: Path | None,
    seconds: float,
    form: str,
    bundle: Path | None,
    *,
    anonymous: bool,
) -> int:
    """Check this installation: driver, permissions, agent, clock, servers.

    For the GPUs themselves see gpumon check. Exits with 0 if nothing is wrong (warnings included),
    1 if something is wrong, and 3 if something could not be checked.
    """
    from gpumon.config import node_name
    from gpumon.doctor import examine
    from gpumon.views import doctor as view

    _check(url, "--agent")
    if bundle is not None:
        from gpumon.doctor.bundle import check

        check(bundle)
    elif anonymous:
        from gpumon.errors import UsageError

        raise UsageError("--anonymous needs an archive", "name one with --bundle")
    file = _file(ctx)
    place, thresholds, configured = _configured(file)
    asked = [*_prometheus(prometheus, thresholds), *_grafana(grafana, token_file, thresholds)]
    place = dataclasses.replace(
        place,
        url=(url or place.url).rstrip("/"),
        state_dir=state_dir or place.state_dir,
    )
    questions = [*_here(seconds, place), *[ask(place.url) for ask in asked]]
    findings = [configured, *examine(questions, seconds), *_not_asked(prometheus, grafana)]
    text = view.to_json(findings, node_name(), time.time())
    with whoever_reads():
        if form == "json":
            click.echo(text, nl=False)
        else:
            view.show(findings)
    if bundle is not None:
        _bundle(bundle, text, file, place, token_file, anonymous=anonymous)
    return view.exit_code(findings)


def _file(ctx: click.Context) -> Path | None:
    given = ctx.parent.params.get("config_file") if ctx.parent else None
    return Path(given) if given else None


def _here(seconds: float, place: AgentPlace) -> list[Question[typing.Any]]:
    from gpumon.doctor import Question, here, judge, judge_alerts, judge_jobs, readings
    from gpumon.doctor.agent import agent
    from gpumon.doctor.alerts import alerts
    from gpumon.doctor.jobs import jobs
    from gpumon.install import unit

    folder = place.state_dir or (unit.STATE_DIR if unit.STATE_DIR.exists() else default_state_dir())
    return [
        Question("gpumon", here.program, judge.program),
        Question("user", here.user, judge.user),
        Question("library", here.library, judge.library),
        # The answer takes a moment to come over and to be told.
        Question("driver", lambda: here.driver(max(0.3, seconds - 0.5)), judge.driver),
        Question("devices", here.devices, judge.devices),
        Question("kernel-log", here.kernel_log, judge.kernel_log),
        Question("agent", lambda: agent(place.url, place.metrics), judge.agent),
        Question("readings", lambda: readings.readings(place.url, place.metrics), readings.judge),
        Question("alerts", lambda: alerts(place.url, place.metrics), judge_alerts.alerts),
        Question("jobs", lambda: jobs(place.url, place.metrics, place.jobs_dir), judge_jobs.jobs),
        Question("service", here.service, judge.service),
        Question("state", lambda: here.state(folder), judge.state),
        Question("clock", here.clock, judge.clock),
    ]


def _configured(file: Path | None) -> tuple[AgentPlace, Thresholds, Finding]:
    """Return where the agent should be, its thresholds, and how the configuration is."""
    from gpumon import config
    from gpumon.cli import configured
    from gpumon.doctor.finding import bad, good
    from gpumon.errors import GpumonError
    from gpumon.install import unit
    from gpumon.thresholds import shipped

    try:
        found = configured.read(file)
    except GpumonError as error:
        wrong = bad("configuration", error.problem, error.next_step)
        return configured.AgentPlace(), shipped(), wrong
    file = file or config.DEFAULT_FILE
    tables = ", ".join([*found.common, *(f"[{name}]" for name in found.tables)])
    shown = f"{file}: {tables}" if tables else f"no {file}"
    names = f"; {unit.ENVIRONMENT}: {', '.join(found.variables)}" if found.variables else ""
    rest = "" if tables or names else ": everything is at its default"
    thresholds = found.values["thresholds"] or shipped()
    return found.place, thresholds, good("configuration", f"{shown}{names}{rest}")


Asked = typing.Callable[[str], "Question[typing.Any]"]
"""A question of a server, about the agent at a URL."""


def _prometheus(url: str | None, thresholds: Thresholds) -> list[Asked]:
    if url is None:
        return []
    from gpumon.doctor import Question, judge_servers, servers
    from gpumon.doctor.facts import Prometheus
    from gpumon.doctor.here import CALL_SECONDS
    from gpumon.prometheus.api import PrometheusApi

    url = url.removeprefix("prom:")
    _check(url, "--prometheus")
    client = PrometheusApi(url, CALL_SECONDS)

    def ask(agent: str) -> Question[Prometheus]:
        def gather() -> Prometheus:
            with client as api:
                return servers.prometheus(api, servers.own(agent, url), thresholds)

        return Question("prometheus", gather, judge_servers.prometheus)

    return [ask]


def _grafana(url: str | None, token_file: Path | None, thresholds: Thresholds) -> list[Asked]:
    if url is None:
        return []
    from gpumon.doctor import Question, judge_servers, servers
    from gpumon.errors import UsageError
    from gpumon.grafana.login import read_access

    try:
        access = read_access(url, token_file)
    except UsageError as error:  # it speaks of the option of gpumon dashboards
        raise UsageError(error.problem.replace("--url", "--grafana"), error.next_step) from None

    def gather() -> Grafana:
        return servers.grafana(access, thresholds)

    return [lambda _: Question("grafana", gather, judge_servers.grafana)]


def _not_asked(prometheus: str | None, grafana: str | None) -> list[Finding]:
    from gpumon.doctor.judge_servers import not_asked

    urls = {"prometheus": prometheus, "grafana": grafana}
    return [not_asked(name) for name, url in urls.items() if url is None]


def _check(url: str | None, option: str) -> None:
    """Raise UsageError for text that is not a URL, or a URL that holds a password."""
    import urllib.parse

    from gpumon.errors import UsageError
    from gpumon.targets.credentials import NEXT_STEP

    if url is None:
        return
    try:
        parts = urllib.parse.urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if "@" in url:
        raise UsageError(
            f"{option} holds a user or password, which every user of this machine could see",
            NEXT_STEP,
        )
    if not good:
        raise UsageError(f"{option} is not a URL", "write one such as http://127.0.0.1:9090")


def _bundle(
    path: Path,
    doctor_json: str,
    file: Path | None,
    place: AgentPlace,
    token_file: Path | None,
    *,
    anonymous: bool,
) -> None:
    from gpumon.config import DEFAULT_FILE
    from gpumon.doctor import here
    from gpumon.doctor.bundle import Sources, gather, write
    from gpumon.install import unit

    settings = {"gpumon.toml": file or DEFAULT_FILE, "agent.env": unit.ENVIRONMENT}
    there = {name: file for name, file in settings.items() if file.exists()}
    own = here.names() | {a for a in here.addresses() if not here.is_loopback(a)}
    files = gather(
        Sources(doctor_json, place.url, place.metrics, there),
        _secrets(token_file),
        own if anonymous else (),
    )
    write(path, files)
    told = f"{path}: {', '.join(files)}"
    click.echo(
        f"{told}. Passwords, tokens and users are replaced: read it before you send it", err=True
    )


def _secrets(token_file: Path | None) -> set[str]:
    """Return the secrets that this command was given, wherever they may turn up."""
    from gpumon.targets.credentials import PASSWORD_FILE

    password_file = os.environ.get(PASSWORD_FILE)
    files = [token_file, Path(password_file) if password_file else None]
    found = {os.environ.get("GPUMON_GRAFANA_TOKEN", "").strip()}
    for file in filter(None, files):
        with contextlib.suppress(OSError, UnicodeDecodeError, RuntimeError):
            found.add(file.expanduser().read_text("utf-8").strip())
    return found


command = doctor
