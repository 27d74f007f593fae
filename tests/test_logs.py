"""The log's lines: one event each, whatever is in them."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from gpumon.logs import configure_logging


@pytest.fixture
def _configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Log as the agent does under a service manager; what the test runner had is put back."""
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    loggers = [logging.getLogger(name) for name in (None, "uvicorn", "asyncio", "gpumon")]
    before = [(log, log.level, log.handlers[:], log.filters[:]) for log in loggers]
    loggers[0].handlers = []
    yield
    for log, level, handlers, filters in before:
        log.setLevel(level)
        log.handlers, log.filters = handlers, filters


@pytest.mark.usefixtures("_configured")
def test_fields_follow_the_message_and_are_quoted_where_they_must_be(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A word, a number or an address stands as it is."""
    configure_logging()
    fields = {"xid": 79, "pci": "0000:29:00", "text": 'two "words"', "process": "a=b", "none": ""}
    logging.getLogger("gpumon.test").warning("Xid %d", 79, extra={"fields": fields})
    assert capsys.readouterr().err == (
        'level=warning msg="Xid 79" xid=79 pci=0000:29:00 text="two \\"words\\"" '
        'process="a=b" none=""\n'
    )


@pytest.mark.usefixtures("_configured")
def test_nothing_a_process_is_called_ends_a_line_or_moves_a_cursor(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its name reaches the log by way of the kernel's."""
    configure_logging()
    extra = {"fields": {"process": "a\n\r\x1b[2Jb\x9b"}}
    logging.getLogger("gpumon.test").warning("Xid", extra=extra)
    assert capsys.readouterr().err == (
        'level=warning msg="Xid" process="a\\n\\x0d\\x1b[2Jb\\x9b"\n'
    )
