"""What a source is asked for, and what a wrong asking gets."""

from __future__ import annotations

import pytest

from gpumon.errors import UsageError
from gpumon.sources.spec import SourceSpec


def test_a_specification_is_kind_subject_and_options() -> None:
    """And prints as it was typed."""
    spec = SourceSpec.parse("replay:a/b.csv.gz,gpus=8,speed=60,loop")
    assert (spec.kind, spec.subject) == ("replay", "a/b.csv.gz")
    assert spec.options == {"gpus": "8", "speed": "60", "loop": ""}
    assert str(spec) == "replay:a/b.csv.gz,gpus=8,speed=60,loop"
    assert str(SourceSpec.parse("nvml")) == "nvml"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nvlm", "did you mean nvml"),
        ("", "unknown source"),
        ("sim:", "names nothing"),
        ("sim", "names nothing"),
        ("nvml:0", "takes no options"),
    ],
)
def test_a_wrong_source_is_told_what_there_is(text: str, words: str) -> None:
    """In one line, with the next step."""
    with pytest.raises(UsageError, match=words) as caught:
        SourceSpec.parse(text)
    assert "\n" not in str(caught.value)


def test_an_unknown_option_names_the_nearest() -> None:
    """A slip of the finger is found."""
    spec = SourceSpec.parse("replay:x,sped=2")
    with pytest.raises(UsageError, match="did you mean speed"):
        spec.check_options(("gpus", "speed"))


@pytest.mark.parametrize("value", ["", "x", "0", "-1", "inf", "nan", "1.5"])
def test_a_number_must_be_one(value: str) -> None:
    """And above 0; a whole one where that is wanted."""
    with pytest.raises(UsageError, match="whole number above 0"):
        SourceSpec("sim", "8xH100", {"seed": value}).number("seed", 1)


def test_a_missing_number_is_the_default() -> None:
    """Of the default's type."""
    assert SourceSpec("sim", "x").number("speed", 1.0) == 1.0
    assert SourceSpec("sim", "x", {"speed": "60"}).number("speed", 1.0) == 60.0
