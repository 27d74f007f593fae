"""What ``gpumon doctor`` shows."""

from __future__ import annotations

import json

import jsonschema
import pytest

from gpumon.checks import Level
from gpumon.doctor import Finding
from gpumon.views.doctor import show, to_json
from tests.support.documents import definition

FINDINGS = [
    Finding("gpumon", Level.PASS, "1.0"),
    Finding("agent", Level.WARN, "nobody listens", "start it"),
    Finding("state", Level.FAIL, "5 MB are free", "make room"),
    Finding("clock", Level.SKIP, "nobody says", "see timedatectl", missed=True),
    Finding("grafana", Level.SKIP, "not asked"),
]


def test_a_line_for_each_and_below_it_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    """In their order, and at the end what they come to."""
    show(FINDINGS)
    assert capsys.readouterr().out.splitlines() == [
        "PASS  gpumon             1.0",
        "WARN  agent              nobody listens",
        "                         -> start it",
        "FAIL  state              5 MB are free",
        "                         -> make room",
        "SKIP  clock              nobody says",
        "                         -> see timedatectl",
        "SKIP  grafana            not asked",
        "1 wrong, 1 to look at, 2 skipped, 1 right; 1 could not be checked",
    ]


@pytest.mark.parametrize(
    ("findings", "verdict", "code"),
    [
        (FINDINGS[:1], "ok", 0),
        (FINDINGS[:2], "warning", 0),
        (FINDINGS, "trouble", 1),
        (FINDINGS[3:], "unknown", 3),
    ],
)
def test_the_document_says_the_same(findings: list[Finding], verdict: str, code: int) -> None:
    """By the published schema, whatever came out."""
    document = json.loads(to_json(findings, "n17", 0.0))
    jsonschema.validate(document, definition("doctor"))
    assert (document["verdict"], document["exit_code"]) == (verdict, code)
    assert [each["missed"] for each in document["findings"]] == [f.missed for f in findings]
