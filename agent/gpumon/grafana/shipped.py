"""The dashboards that ship: what each is, and the mark that a pushed one carries."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from gpumon import __version__
from gpumon.assets import asset
from gpumon.errors import UnavailableError, UsageError, hint
from gpumon.grafana import limits
from gpumon.thresholds import Thresholds

_MARK = re.compile(r"gpumon \S+: sha256:([0-9a-f]{64})")


@dataclasses.dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard as gpumon ships it, or as it would be pushed to one Grafana."""

    document: Mapping[str, Any]

    @property
    def uid(self) -> str:
        """By what Grafana knows it; also the name of its file."""
        return str(self.document["uid"])

    @property
    def title(self) -> str:
        """Its title."""
        return str(self.document["title"])

    @property
    def description(self) -> str:
        """What it shows, in a sentence."""
        return str(self.document.get("description", ""))

    @property
    def panels(self) -> int:
        """How many panels it has, without the headings of its rows."""
        folded = [inner for panel in self._panels for inner in panel.get("panels", ())]
        return sum(panel["type"] != "row" for panel in (*self._panels, *folded))

    @property
    def source(self) -> str:
        """The uid of the data source that it chooses on its own, or nothing."""
        return next((str(v["current"]["value"]) for v in _source_variables(self.document)), "")

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal, of all that is saved: the same content, the same digest."""
        text = json.dumps(content(self.document), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def mark(self) -> str:
        """The message of the version that holds it in Grafana; ``digest_in`` reads it back."""
        return f"gpumon {__version__}: sha256:{self.digest}"

    @property
    def text(self) -> str:
        """The text of its file, as ``python -m dashboards`` writes it."""
        return text_of(self.document)

    @property
    def _panels(self) -> Sequence[Mapping[str, Any]]:
        panels: Sequence[Mapping[str, Any]] = self.document.get("panels", ())
        return panels

    def choosing(self, uid: str, name: str) -> Dashboard:
        """Return the dashboard that chooses a data source, by its uid, when it is opened."""
        if uid == self.source:
            return self
        document = copy.deepcopy(dict(self.document))
        for variable in _source_variables(document):
            variable["current"] = {"text": name, "value": uid}
        return Dashboard(document)


def text_of(document: Mapping[str, Any]) -> str:
    """Return a dashboard's JSON with its keys in order, so that versions can be compared."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def content(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dashboard without what each Grafana numbers for itself."""
    return {key: value for key, value in document.items() if key not in {"id", "version"}}


def digest_in(message: str) -> str | None:
    """Return the digest in a version's message, or None if gpumon did not write it."""
    found = _MARK.fullmatch(message)
    return found[1] if found else None


_OWN = "thresholds: "
"""How the tag begins of dashboards that hold a site's own thresholds."""


def own_thresholds(document: Mapping[str, Any]) -> str:
    """Return the digest of the site's own thresholds that a dashboard holds; empty if none.

    It is a tag: people see it in Grafana, and Grafana keeps it.
    """
    tags = document.get("tags")
    found = [tag for tag in tags if str(tag).startswith(_OWN)] if isinstance(tags, list) else []
    return str(found[0]).removeprefix(_OWN) if found else ""


FOLDER = "gpumon"
"""Their place in a Grafana, unless somebody chooses another."""


def load(names: Sequence[str] = (), thresholds: Thresholds | None = None) -> tuple[Dashboard, ...]:
    """Return the dashboards that ship, by uid; of these uids or titles, if any are named.

    ``thresholds`` are a site's own, which they then hold in place of those that ship. Raises
    UsageError for a name that none has, and UnavailableError if they are missing.
    """
    folder = asset("dashboards/json")
    try:
        documents = [json.loads(file.read_text("utf-8")) for file in sorted(folder.glob("*.json"))]
    except (OSError, ValueError):
        documents = []
    if not documents:
        raise UnavailableError(f"cannot read {folder}", "install gpumon again")
    if thresholds is not None:
        documents = _with_thresholds(documents, thresholds)
    dashboards = tuple(Dashboard(document) for document in documents)
    wanted = {name.casefold() for name in names}
    known = [dashboard.uid for dashboard in dashboards]
    called = {name.casefold() for d in dashboards for name in (d.uid, d.title)}
    for name in names:
        if name.casefold() not in called:
            raise UsageError(
                f"no dashboard {name!r}", f"known are {', '.join(known)}{hint(name, known)}"
            )
    return tuple(
        d for d in dashboards if not names or {d.uid.casefold(), d.title.casefold()} & wanted
    )


def _with_thresholds(
    documents: Sequence[Mapping[str, Any]], thresholds: Thresholds
) -> list[dict[str, Any]]:
    """Return dashboards with a site's thresholds; UnavailableError if it is not known where."""
    try:
        templates = json.loads(asset(limits.FILE).read_text("utf-8"))
        return [_tagged(document, templates[document["uid"]], thresholds) for document in documents]
    except (OSError, ValueError, LookupError):
        raise UnavailableError(f"cannot use {limits.FILE}", "install gpumon again") from None


def _tagged(
    document: Mapping[str, Any], templates: Mapping[str, str], thresholds: Thresholds
) -> dict[str, Any]:
    made = limits.with_thresholds(document, templates, thresholds)
    if made != document:
        made["tags"] = [*made["tags"], f"{_OWN}{thresholds.digest}"]
    return made


def _source_variables(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the variables by which a dashboard's reader chooses a Prometheus."""
    variables: list[dict[str, Any]] = document.get("templating", {}).get("list", [])
    return [v for v in variables if (v["type"], v.get("query")) == ("datasource", "prometheus")]
