"""What goes over the reader's socket: each table of origins once, then its number."""

from __future__ import annotations

from gpumon.model import Snapshot, SourceInfo
from gpumon.reader.frames import Incoming, Outgoing, Refusal
from gpumon.sources.origins import OriginTables

A, B = {"power_watts": "field 185"}, {"power_watts": "field 186"}


def snapshot(**origins: dict[str, str]) -> Snapshot:
    """Return a snapshot with tables by number, written ``n1``."""
    tables = {int(name[1:]): table for name, table in origins.items()}
    return Snapshot(time=1.0, source=SourceInfo("nvml"), origins=tables)


def test_a_table_is_sent_once_and_every_snapshot_has_it() -> None:
    """A second plan's table follows when it is made."""
    outgoing, incoming = Outgoing(), Incoming()
    whole = [snapshot(n1=A), snapshot(n1=A), snapshot(n1=A, n2=B), snapshot(n1=A, n2=B)]
    sent = [outgoing.shortened(each) for each in whole]
    assert [[*each.origins] for each in sent] == [[1], [], [2], []]
    assert [incoming.completed(each) for each in sent] == whole


def test_a_refusal_passes_as_it_is() -> None:
    """It has no tables."""
    refusal = Refusal("no such file", "check the path", usage=True)
    assert Incoming().completed(refusal) is refusal


def test_equal_tables_have_one_number() -> None:
    """Eight boards of a kind are read alike; a reader that was handed the tables keeps them."""
    tables = OriginTables()
    first = tables.number(A)
    before = tables.tables
    assert tables.number(dict(A)) == first
    assert tables.number(B) != first
    assert before == {first: A}
    assert tables.tables == {first: A, tables.number(B): B}
