"""From the dashboards that ship and those that a Grafana has to what there is to do."""

from __future__ import annotations

import dataclasses
import difflib
import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gpumon import __version__
from gpumon.errors import UnavailableError, UsageError, hint
from gpumon.grafana.api import DataSource, Folder, GrafanaApi, Stored
from gpumon.grafana.shipped import Dashboard, content, digest_in, text_of


class Action(enum.Enum):
    """What there is to do for a dashboard."""

    CREATE = "created"
    UPDATE = "updated"
    UNCHANGED = "unchanged"
    EDITED = "edited in Grafana"
    PROVISIONED = "provisioned"


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """A dashboard of ours, what the Grafana has of it, and what follows."""

    ours: Dashboard
    stored: Stored | None
    kind: Action

    @property
    def difference(self) -> str:
        """From what the Grafana has to ours, as a unified diff of sorted JSON; may be empty."""
        uid = self.ours.uid
        there = f"{uid} in Grafana"
        if self.stored:
            there += f", version {self.stored.version}"
        lines = difflib.unified_diff(
            _lines(self.stored.document) if self.stored else [],
            _lines(content(self.ours.document)),
            there,
            f"{uid} of gpumon {__version__}",
        )
        return "".join(lines)


def choose_source(sources: Iterable[DataSource], wanted: str | None, own: str) -> DataSource:
    """Return the Prometheus that dashboards shall choose: by name or uid, else the obvious one.

    Obvious is the dashboards' ``own``, else the only one, else Grafana's default. Raises
    UsageError if there is no such one, or none is obvious, and UnavailableError if there is
    none at all.
    """
    every = tuple(sources)
    usable = [source for source in every if source.kind == "prometheus"]
    names = [source.name for source in usable]
    if wanted is not None:
        for source in every:
            if wanted in {source.uid, source.name}:
                if source in usable:
                    return source
                raise UsageError(
                    f"the data source {wanted!r} is of the type {source.kind}",
                    f"name a Prometheus: {', '.join(names) or 'there is none'}",
                )
        raise UsageError(
            f"no data source {wanted!r}",
            f"this Grafana's Prometheus are {', '.join(names) or 'none'}{hint(wanted, names)}",
        )
    if not usable:
        raise UnavailableError(
            "this Grafana has no data source of the type prometheus", "add one to it"
        )
    for obvious in (
        [source for source in usable if source.uid == own],
        usable,
        [source for source in usable if source.default],
    ):
        if len(obvious) == 1:
            return obvious[0]
    raise UsageError(
        f"this Grafana has {len(usable)} Prometheus",
        f"name one with --datasource: {', '.join(names)}",
    )


def changes_in(
    grafana: GrafanaApi, ours: Sequence[Dashboard], title: str, source: str | None
) -> tuple[Folder | None, list[Change]]:
    """Return the folder of a title, if it is there, and what there is to do for each dashboard.

    ``source`` names the Prometheus that they shall choose, None the obvious one.
    """
    chosen = choose_source(grafana.data_sources(), source, ours[0].source)
    folder = grafana.folder(title)
    wanted = [dashboard.choosing(chosen.uid, chosen.name) for dashboard in ours]
    return folder, [compare(one, grafana.dashboard(one.uid), folder) for one in wanted]


def compare(ours: Dashboard, stored: Stored | None, folder: Folder | None) -> Change:
    """Return what there is to do for a dashboard that belongs into a folder.

    Somebody has edited it, or moved it, where the newest version's message is not gpumon's: every
    save makes a version. Its content does not show that, since newer Grafanas migrate what they
    hold. But what is the same as ours, such as a file imported by hand, can be taken over without a
    loss.
    """
    return Change(ours, stored, _kind(ours, stored, folder))


def _kind(ours: Dashboard, stored: Stored | None, folder: Folder | None) -> Action:
    if stored is None:
        return Action.CREATE
    marked = digest_in(stored.message)
    same = stored.document == content(ours.document) or marked == ours.digest
    if stored.provisioned:
        return Action.UNCHANGED if same else Action.PROVISIONED
    placed = folder is not None and stored.folder.uid == folder.uid
    if marked:
        return Action.UNCHANGED if same and placed else Action.UPDATE
    return Action.UPDATE if same and placed else Action.EDITED


def apply(grafana: GrafanaApi, change: Change, folder: Folder) -> None:
    """Save a dashboard in a folder, in place of the version that it was compared with.

    Raises UnavailableError if the Grafana does not, and where another version is there by now.
    """
    grafana.save(change.ours, folder, change.stored.version if change.stored else None)


def _lines(document: Mapping[str, Any]) -> list[str]:
    text = text_of(document).removesuffix("\n")
    # Somebody else's text goes to a terminal: nothing of it may move the cursor.
    return [
        "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line) + "\n"
        for line in text.split("\n")
    ]
