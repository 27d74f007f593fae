"""What a client asks for by its headers, and what it gets (RFC 9110, 12.4.2, 12.5.1, 12.5.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpumon.exposition import Format, content_type, negotiate
from gpumon.exposition.negotiation import TEXT_1, accepts_gzip

PLAIN, OPENMETRICS = Format.TEXT.value, Format.OPENMETRICS.value

PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "answer"),
    [
        # Nobody asks for anything: the format that all can read.
        ("", PLAIN),
        ("*/*", PLAIN),
        ("text/*", PLAIN),
        ("text/html, */*;q=0.1", PLAIN),
        # The version that was asked for is the one that is named.
        ("text/plain", PLAIN),
        ("text/plain;version=0.0.4", PLAIN),
        ("text/plain; version=0.0.4; charset=utf-8", PLAIN),
        ('text/plain;version="0.0.4"', PLAIN),
        ("TEXT/PLAIN;Version=0.0.4", PLAIN),
        ("text/plain;version=1.0.0", TEXT_1),
        ("text/plain;version=1.0.0;escaping=allow-utf-8;q=0.9,text/plain;version=0.0.4", PLAIN),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0", OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        # The greatest weight, wherever it stands.
        ("application/openmetrics-text;version=1.0.0;q=0.2,text/plain;version=0.0.4;q=0.9", PLAIN),
        ("text/plain;q=0.2,application/openmetrics-text;q=0.9", OPENMETRICS),
        ("text/plain;q=0.5,application/openmetrics-text;q=0.5", PLAIN),
        ("application/openmetrics-text;q=0.5,text/plain;q=0.5", OPENMETRICS),
        ("application/openmetrics-text ; q=1.000 , text/plain ; q=0.999", OPENMETRICS),
        # A weight of 0 refuses; the most specific range counts, not the first or the greatest.
        ("application/openmetrics-text;q=0,*/*;q=0.1", PLAIN),
        ("text/plain;q=0,*/*", OPENMETRICS),
        ("text/*;q=0,*/*;q=0.5", OPENMETRICS),
        ("*/*,text/plain;q=0", OPENMETRICS),
        ("text/plain;version=0.0.4;q=0,text/plain", TEXT_1),
        ("*/*;q=0.9,application/openmetrics-text;q=0.1", PLAIN),
        # What there is not.
        ("application/openmetrics-text;version=0.0.1", PLAIN),
        ("application/openmetrics-text;version=2.0.0,text/plain;q=0.1", PLAIN),
        ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily", PLAIN),
        ("application/json", PLAIN),
        ("*/*;q=0", PLAIN),
        # Longer than any that a scraper sends: as if there were none.
        ("application/openmetrics-text" + ' ;"' + '\\"' * 8000, PLAIN),
        # Malformed: that element is passed over.
        ("application/openmetrics-text;q=high,text/plain;q=0.1", PLAIN),
        ("application/openmetrics-text;q=1.5,text/plain;q=0.1", PLAIN),
        (",,;q=1, text/plain;version=1.0.0", TEXT_1),
        ('text/html;title="a,application/openmetrics-text",text/plain', PLAIN),
    ],
)
def test_a_format_is_chosen_as_the_rfc_says(accept: str, answer: str) -> None:
    """And the answer's type is of the version that was asked for."""
    assert content_type(accept) == answer
    openmetrics = answer == OPENMETRICS
    assert negotiate(accept) is (Format.OPENMETRICS if openmetrics else Format.TEXT)


@pytest.mark.parametrize(
    ("accept_encoding", "packed"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("gzip, deflate, br", True),
        ("deflate, gzip;q=0.5", True),
        ("gzip;q=0.001", True),
        ("*", True),
        ("br;q=1.0, *;q=0.1", True),
        ("gzip;q=1.0, identity; q=0.5, *;q=0", True),
        ("identity;q=0, gzip;q=0.1", True),
        ("gzip;q=0", False),
        ("gzip;q=0.0", False),
        ("gzip; Q=0.000", False),
        ("*;q=1, gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("identity", False),
        ("identity;q=1, gzip;q=0.5", False),
        ("deflate, br", False),
        ("notgzip, gzipped", False),
        ("gzip;q=x", False),
    ],
)
def test_gzip_is_sent_to_who_wants_it(accept_encoding: str, packed: bool) -> None:  # noqa: FBT001
    """A weight of 0 refuses it, also in the place of everything."""
    assert accepts_gzip(accept_encoding) is packed


@given(st.text(alphabet='agzip*/;,=q01."\\ \t', max_size=60))
def test_no_header_is_too_odd(header: str) -> None:
    """Whatever stands there, there is an answer."""
    assert content_type(header) in (PLAIN, TEXT_1, OPENMETRICS)
    assert accepts_gzip(header) in (True, False)
