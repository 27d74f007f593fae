"""A site's thresholds in the dashboards that ship: placeholders, and what is put in their place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpumon.assets import asset
from gpumon.errors import UnavailableError
from gpumon.grafana.limits import FILE, filled, last, span, with_thresholds
from gpumon.grafana.shipped import load
from gpumon.thresholds import Thresholds, shipped, with_own

TEMPLATES: dict[str, dict[str, str]] = json.loads(asset(FILE).read_text("utf-8"))


@pytest.mark.parametrize(
    ("template", "made"),
    [
        ("<<heat.margin_low_celsius>>", 5),
        ("<<heat.margin_near_factor*heat.margin_low_celsius>>", 10),
        ("<<0.25*monitor.stale_seconds>>", 15.0),
        ("<<-1*monitor.many_down_ratio+1>>", 0.9),
        ("<<heat.hbm_celsius-5>>", 90),
        ("<<xid.recent>>", 900.0),
        ("Below <<activity.idle_ratio|percent>> it is idle", "Below 5 % it is idle"),
        ("from <<memory.corrected_per_day|grouped>> on", "from 1,000 on"),
        ("within <<xid.dashboard_window|span>>", "within a day"),
        ("the last <<xid.dashboard_window|last>>", "the last day"),
        ("for <<activity.idle_window|span>>", "for 10 minutes"),
        ("x < <<power.cap_ratio>> and y > <<straggler.z>>", "x < 0.98 and y > 5"),
        ('no placeholder: << "a" >>', 'no placeholder: << "a" >>'),
    ],
)
def test_a_placeholder_is_what_it_says(template: str, made: str | float) -> None:
    """A number alone is a number, and of its own kind; in a text it is words."""
    assert filled(template, shipped()) == made
    assert type(filled(template, shipped())) is type(made)


def test_numbers_are_written_as_a_site_wrote_them() -> None:
    """Not rounded, and without the noise of a float."""
    site = with_own({"heat.hbm_celsius": 92.5, "activity.idle_ratio": 0.07})
    assert filled("at <<heat.hbm_celsius>>", site) == "at 92.5"
    assert filled("at <<activity.idle_ratio|percent>>", site) == "at 7 %"


@pytest.mark.parametrize(
    ("seconds", "within", "the_last"),
    [
        (86_400, "a day", "day"),
        (172_800, "2 days", "2 days"),
        (3600, "an hour", "hour"),
        (5400, "90 minutes", "90 minutes"),
        (60, "a minute", "minute"),
        (90, "90 seconds", "90 seconds"),
        (0.5, "0.5 seconds", "0.5 seconds"),
    ],
)
def test_durations_are_words(seconds: float, within: str, the_last: str) -> None:
    """In the largest unit that is whole."""
    assert (span(seconds), last(seconds)) == (within, the_last)


def test_places_are_found_by_their_pointers() -> None:
    """Also where a key has the characters of a pointer (RFC 6901)."""
    document = {"a/b": [{"c~d": 1}, 2]}
    templates = {"/a~1b/0/c~0d": "<<heat.hbm_celsius>>", "/a~1b/1": "<<straggler.z>>"}
    assert with_thresholds(document, templates, shipped()) == {"a/b": [{"c~d": 95}, 5.0]}
    assert document == {"a/b": [{"c~d": 1}, 2]}


def leaves(value: Any, pointer: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what is in a document, with its place."""
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    else:
        yield pointer, value
    for key, each in inner:
        yield from leaves(each, f"{pointer}/{key}")


def test_what_ships_is_what_the_templates_make() -> None:
    """The file beside the dashboards belongs to them."""
    assert [d.document for d in load((), shipped())] == [d.document for d in load()]
    assert TEMPLATES.keys() == {dashboard.uid for dashboard in load()}


def doubled() -> Thresholds:
    """Return a site's thresholds of which none is as it ships."""
    return with_own(
        {
            name: f"{2 * shipped().seconds(name):g}s" if isinstance(value, str) else value * 0.5
            for name, value in shipped().values.items()
        }
    )


def test_every_place_changes_with_its_threshold_and_no_other_does() -> None:
    """Numbers, queries and prose: no more and no less than the templates say, and one tag."""
    for usual, own in zip(load(), load((), doubled()), strict=True):
        before, after = dict(leaves(usual.document)), dict(leaves(own.document))
        added = [after.pop(place) for place in after.keys() - before.keys()]
        assert added == [f"thresholds: {doubled().digest}"]
        assert before.keys() == after.keys()
        changed = {place for place in before if before[place] != after[place]}
        assert changed == TEMPLATES[usual.uid].keys()
        assert not [text for text in after.values() if "<<" in str(text)]
        assert own.digest != usual.digest


@pytest.mark.parametrize("text", [None, "{", "{}", '{"gpumon-node": {"/nowhere": "x"}}'])
def test_an_installation_without_the_templates_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    """To export what ships in place of the site's own would be a lie."""
    real = asset("dashboards/json")
    beside = tmp_path / "thresholds.json"
    if text is not None:
        beside.write_text(text)
    monkeypatch.setattr(
        "gpumon.grafana.shipped.asset", lambda name: beside if name == FILE else real
    )
    assert load()
    with pytest.raises(UnavailableError, match="install gpumon again"):
        load((), doubled())
