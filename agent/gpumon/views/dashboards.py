"""The dashboards for people: ``gpumon dashboards list``, and the messages of a push."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from gpumon.documents.write import json_text
from gpumon.grafana.api import Folder
from gpumon.grafana.push import Action, Change
from gpumon.grafana.shipped import Dashboard
from gpumon.views.console import make_console, text_of

_STEPS = {
    Action.EDITED: "save a copy under another name there, then push --force {uid} replaces it",
    Action.PROVISIONED: "change the file on Grafana's machine, or end the provisioning there",
}
"""What to do about a dashboard that is left alone."""


def render_dashboards(dashboards: Sequence[Dashboard], form: str) -> str:
    """Return dashboards as ``table``, ``json`` or ``markdown``."""
    return {"table": _table, "json": _json, "markdown": _markdown}[form](dashboards)


def tell(change: Change, folder: str, *, done: bool, dry: bool = False) -> str:
    """Return the line that says what happened to a dashboard, or would happen, and why.

    ``folder`` is the title of the folder it belongs into; ``done`` is whether it was taken care of.
    """
    uid, kind = change.ours.uid, change.kind
    if not done:
        who = _who(change) if kind is Action.EDITED else ""
        return f"{uid}: left alone, {kind.value}{who}: {_STEPS[kind].format(uid=uid)}"
    if kind is Action.UNCHANGED:
        return f"{uid}: unchanged"
    verb = Action.UPDATE.value if change.stored else Action.CREATE.value
    if kind is Action.EDITED:
        verb = f"replaced what was {kind.value}{_who(change)}" if not dry else "replaced"
    before = change.stored.folder.title if change.stored else folder
    moved = f" (was in {_printable(before)})" if before != folder else ""
    return f"{uid}: {'would be ' * dry}{verb} in {folder}{moved}"


def place(change: Change, folder: Folder | None, title: str) -> str:
    """Return the line that says where a dashboard is, unless that is where it belongs."""
    if change.stored is None or (folder and change.stored.folder.uid == folder.uid):
        return ""
    return f"{change.ours.uid}: is in {_printable(change.stored.folder.title)}, not in {title}\n"


def _who(change: Change) -> str:
    by = _printable(change.stored.saved_by) if change.stored else ""
    at = _printable(change.stored.saved_at) if change.stored else ""
    return f" by {by or 'somebody'}" + f" at {at}" * bool(at)


def _table(dashboards: Sequence[Dashboard]) -> str:
    table = Table("uid", "title", "panels", "what it shows", box=box.SIMPLE_HEAD)
    table.columns[2].justify = "right"
    for dashboard in dashboards:
        table.add_row(dashboard.uid, dashboard.title, str(dashboard.panels), dashboard.description)
    return text_of(make_console(), table)


def _json(dashboards: Sequence[Dashboard]) -> str:
    rows = [
        {
            "uid": dashboard.uid,
            "title": dashboard.title,
            "description": dashboard.description,
            "panels": dashboard.panels,
            "sha256": dashboard.digest,
        }
        for dashboard in dashboards
    ]
    return json_text({"dashboards": rows})


def _markdown(dashboards: Sequence[Dashboard]) -> str:
    head = "| dashboard | uid | panels | what it shows |\n|---|---|---|---|\n"
    return head + "".join(
        f"| {d.title} | `{d.uid}` | {d.panels} | {d.description} |\n" for d in dashboards
    )


def _printable(text: str) -> str:
    """Return a server's text without what would move the cursor of a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
