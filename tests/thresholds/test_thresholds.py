"""What a site's file of thresholds may say, and what is made of it."""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
from pathlib import Path

import jsonschema
import pytest

from gpumon.documents.thresholds import from_document, to_document
from gpumon.documents.write import json_line
from gpumon.errors import UsageError
from gpumon.thresholds import load_thresholds, shipped, with_own
from tests.support.documents import definition, published


def own(folder: Path, text: str) -> Path:
    """Write a site's file."""
    file = folder / "thresholds.toml"
    file.write_text(text)
    return file


def test_what_a_site_names_is_its_own_and_the_rest_is_as_it_ships(tmp_path: Path) -> None:
    """A file names what differs."""
    site = load_thresholds(own(tmp_path, "[heat]\nmargin_low_celsius = 40\nmargin_for = '3m'\n"))
    assert site.number("heat.margin_low_celsius") == 40
    assert site.seconds("heat.margin_for") == 180
    changed = {n for n in site.values if site.values[n] != shipped().values[n]}
    assert changed == {"heat.margin_low_celsius", "heat.margin_for"}
    assert site.values.keys() == shipped().values.keys()


def test_nobody_changes_them_underway() -> None:
    """Neither the object nor what is in it."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        shipped().values = {}  # type: ignore[misc]
    with pytest.raises(TypeError):
        shipped().values["heat.hbm_celsius"] = 1  # type: ignore[index]


def test_the_digest_is_of_what_holds_and_not_of_how_it_is_written() -> None:
    """A file that says the same as what ships has its digest; any other value has another."""
    same = with_own({"heat.margin_low_celsius": 5.0, "heat.margin_for": "600s"})
    assert same.digest == shipped().digest
    others = {with_own({name: 0.123}).digest for name in ("heat.hbm_celsius", "straggler.z")}
    assert len({shipped().digest, *others}) == 3
    assert re.fullmatch("[0-9a-f]{16}", shipped().digest)


@pytest.mark.parametrize("name", [n for n in shipped().values if n.endswith("_ratio")])
def test_a_ratio_in_per_cent_is_a_mistake_that_is_named(tmp_path: Path, name: str) -> None:
    """5 for 5 % would make every GPU idle, and bill it."""
    section, _, key = name.partition(".")
    file = own(tmp_path, f"[{section}]\n{key} = 5\n")
    with pytest.raises(UsageError, match=r"a ratio (from 0 to|above 0, up to) 1") as wrong:
        load_thresholds(file)
    assert str(wrong.value).startswith(f"{file}: {name} = 5")


def test_the_document_is_the_published_one_and_is_read_back() -> None:
    """Durations are there as people write them, and in seconds."""
    site = with_own({"xid.recent": "20m", "heat.margin_low_celsius": 8})
    document = json.loads(json_line(to_document(site)))
    jsonschema.validate(document, definition("thresholds"))
    jsonschema.validate(document, published())
    assert document["values"]["xid.recent"] == "20m"
    assert document["seconds"]["xid.recent"] == 1200
    assert "heat.margin_low_celsius" not in document["seconds"]
    assert from_document(document) == site


def test_a_document_of_another_version_is_read_as_far_as_it_goes() -> None:
    """What is not known here is left out; what is missing there is as it ships here."""
    found = from_document({"values": {"heat.margin_low_celsius": 9, "heat.of_tomorrow": "soon"}})
    assert found == with_own({"heat.margin_low_celsius": 9})


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"values": 3},
        {"values": {"heat.margin_for": 3}},
        {"values": {"straggler.z": ""}},
    ],
)
def test_what_is_not_such_a_document_is_refused(document: object) -> None:
    """An agent that is none, or that says nonsense."""
    with pytest.raises(UsageError):
        from_document(document)


def test_thresholds_go_to_another_process() -> None:
    """A simulated fleet is built in several."""
    again = pickle.loads(pickle.dumps(shipped()))
    assert again == shipped()
    assert again.digest == shipped().digest
