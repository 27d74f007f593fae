"""``site.toml``: one file that says where nodes stand, what they may draw, and what it costs."""

from __future__ import annotations

import dataclasses
import datetime as dt
import importlib.resources
import sys
import zoneinfo
from collections.abc import Mapping
from pathlib import Path

from gpumon.config import read_toml
from gpumon.errors import GpumonError, UnavailableError, UsageError, hint
from gpumon.site.factors import DAYS, YEARLY_SECONDS, Constant, Factor, Period, Tariff, read_hours
from gpumon.site.nodes import OWNERS, PLACES, SiteNode
from gpumon.site.toml import Table
from gpumon.thresholds import Thresholds, load_thresholds, shipped
from gpumon.workloads.slurm.hostlist import HostlistError, expand, ranges

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

AGENT_PORT = 9842
LEVELS = ("site", *reversed(PLACES))
MOST_NODES = 100_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What the file says.

    ``name`` is the label ``site`` of its agents; ``cluster`` that of nodes without one of their
    own. ``budgets`` are watts by (level, name), of all clusters together; ``files`` the further
    files that facts come from, by fact. A fact that is not declared is None. ``thresholds`` are
    those that ship unless ``files`` has the site's own.
    """

    name: str = ""
    cluster: str = ""
    nodes: tuple[SiteNode, ...] = ()
    budgets: Mapping[tuple[str, str], float] = dataclasses.field(default_factory=dict)
    currency: str = ""
    zone: str = ""
    price: Factor | None = None
    carbon: Factor | None = None
    pue: Factor | None = None
    port: int = AGENT_PORT
    slurm_seconds: float | None = None
    thresholds: Thresholds = dataclasses.field(default_factory=shipped)
    files: Mapping[str, Path] = dataclasses.field(default_factory=dict)


def load_site(path: Path) -> Site:
    """Read a file and the files it names.

    Raises UnavailableError if it cannot be read and UsageError, with the key, if it is wrong.
    """
    try:
        modified = path.stat().st_mtime
        tables = read_toml(path)
    except OSError as error:
        raise UnavailableError(
            f"cannot read {path} ({error.strerror})",
            "name it with --site; deploy/site/site.toml is an example",
        ) from None
    except ValueError as error:
        raise UsageError(f"{path}: {error}", "mend the line") from None
    return _Reader(path, modified).site(Table(tables, str(path)))


class _Reader:
    """Reads one file; paths in it are relative to its folder."""

    def __init__(self, path: Path, modified: float) -> None:
        self._path = path
        self._modified = modified
        self._files: dict[str, Path] = {}

    def site(self, top: Table) -> Site:
        port = int(top.number("agent_port", AGENT_PORT, least=1))
        zone = _zone(top)
        price, carbon = top.table("price"), top.table("carbon")
        slurm = top.table("slurm")
        site = Site(
            name=top.text("site"),
            cluster=top.text("cluster"),
            nodes=self._nodes(top, port),
            budgets=_budgets(top.table("budgets")),
            currency=price.text("currency"),
            zone=carbon.text("zone") or carbon.text("country"),
            price=self._factor(price, "price", zone),
            carbon=self._carbon(carbon, zone),
            pue=self._factor(top.table("pue"), "pue", zone),
            port=port,
            slurm_seconds=slurm.number("every_seconds", 60, least=5) if top.has("slurm") else None,
            thresholds=self._thresholds(top.text("thresholds")),
            files=self._files,
        )
        slurm.done()
        top.done()
        return site

    def _thresholds(self, file: str) -> Thresholds:
        if not file:
            return shipped()
        self._files["thresholds"] = self._path.parent / file
        try:
            return load_thresholds(self._files["thresholds"])
        except GpumonError as error:
            named = f"{error.problem} (named by {self._path})"
            raise type(error)(named, error.next_step) from None

    def _nodes(self, top: Table, port: int) -> tuple[SiteNode, ...]:
        found: dict[tuple[str, str], SiteNode] = {}
        first = top.text("cluster")
        for table in top.tables("nodes"):
            names = _names(table)
            cluster = table.text("cluster")
            cluster = "" if cluster == first else cluster
            gpus = int(table.number("gpus")) if table.has("gpus") else None
            places = {place: table.text(place) for place in (*PLACES, *OWNERS)}
            partition, domain = table.text("partition"), table.text("domain")
            table.done()
            if not names:
                raise table.wrong("names", 'names such as "gpu[0001-0016]"')
            for name in names:
                if (cluster, name) in found:
                    raise UsageError(f"{table.where}: {name} is there twice", "list it once")
                found[cluster, name] = SiteNode(
                    node=name,
                    cluster=cluster,
                    address=f"{name}{'.' + domain.lstrip('.') if domain else ''}:{port}",
                    node_partition=partition,
                    expected_gpus=gpus,
                    **places,
                )
            if len(found) > MOST_NODES:
                raise UsageError(f"{table.where}: more than {MOST_NODES} nodes", "see names")
        return tuple(found.values())

    def _carbon(self, table: Table, zone: dt.tzinfo) -> Factor | None:
        country = table.text("country")
        table.text("zone")
        if not country:
            return self._factor(table, "carbon", zone)
        table.done()
        return _of_country(country, table)

    def _factor(self, table: Table, fact: str, zone: dt.tzinfo) -> Factor | None:
        """Return a number, a file of hours, or a tariff by local time; None for an empty table."""
        source = table.text("source") or f"{self._path.name}, {_day(self._modified)}"
        table.text("currency") if fact == "price" else None
        file, periods = table.text("file"), table.tables("periods")
        value = table.number("value") if table.has("value") else None
        table.done()
        if file:
            path = self._path.parent / file
            self._files[fact] = path
            return read_hours(path, f"{table.where}: file")
        if value is None:
            if periods:
                raise UsageError(f"{table.where}: value is missing", "it holds at other times")
            return None
        if not periods:
            return Constant(source, value, self._modified)
        return Tariff(source, zone, tuple(map(_period, periods)), value, self._modified)


def _names(table: Table) -> list[str]:
    """Return the names of a host list; UsageError if it is not one."""
    try:
        return expand(table.text("names"))
    except HostlistError:
        raise table.wrong("names", 'names such as "gpu[0001-0016]"') from None


def _budgets(table: Table) -> dict[tuple[str, str], float]:
    found = {}
    for level in LEVELS:
        if level == "site":
            if table.has(level):
                found[level, ""] = table.number(level)
            continue
        names = table.table(level)
        if names.has(""):
            raise names.wrong("", f"the name of a {level} before each budget")
        found.update({(level, name): names.number(name) for name in names.keys()})  # noqa: SIM118
    table.done()
    return found


def _period(table: Table) -> Period:
    """Return a period; what it does not name holds always."""
    days = table.array("weekdays") or list(DAYS)
    months = table.array("months") or list(range(1, 13))
    hours = table.text("hours") or "0-23"
    value = table.number("value")
    table.done()
    if not all(day in DAYS for day in days):
        raise table.wrong("weekdays", f"a list of {', '.join(DAYS)}")
    if not all(type(month) is int and 1 <= month <= 12 for month in months):
        raise table.wrong("months", "a list of numbers from 1 to 12")
    full = _full_hours(hours)
    if not full or not full <= set(range(24)):
        raise table.wrong("hours", 'full hours such as "7-19" or "22-23,0-5"')
    return Period(
        value=value,
        months=frozenset(months),
        weekdays=frozenset(DAYS.index(day) for day in days),
        hours=full,
    )


def _full_hours(text: str) -> frozenset[int]:
    """Return the hours of a text; none if it is not a list of numbers."""
    try:
        return frozenset(ranges(text))
    except HostlistError:
        return frozenset()


def _zone(top: Table) -> dt.tzinfo:
    name = top.text("timezone", "UTC")
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise top.wrong("timezone", "a name such as Europe/Berlin") from None


def _of_country(country: str, table: Table) -> Factor:
    """Return the yearly mean of a country (ISO 3166, two letters)."""
    text = importlib.resources.files("gpumon.site").joinpath("carbon.toml").read_text("utf-8")
    data = tomllib.loads(text)
    source = data.pop("source")
    for year, values in data.items():
        if country.upper() in values:
            end = dt.datetime(int(year) + 1, 1, 1, tzinfo=dt.timezone.utc).timestamp()
            return Constant(
                f"{source}, {country.upper()} {year}",
                values[country.upper()],
                end,
                # A year's means are published within the next year or so.
                lifetime=2 * YEARLY_SECONDS,
            )
    known = sorted(name for values in data.values() for name in values)
    raise UsageError(
        f"{table.where}: country {country!r} is not in the table",
        f"give value or file instead; known are {', '.join(known)}{hint(country, known)}",
    )


def _day(time: float) -> str:
    return dt.datetime.fromtimestamp(time, tz=dt.timezone.utc).date().isoformat()
