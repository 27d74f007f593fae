"""The agent's one memory: an SQLite file in the state folder, one for each source.

It is read once, at the start. After that everything is kept in memory as well, and a thread writes
what changes, each change in a transaction of its own and in order: a disk that is slow or full
holds nobody up. What was written survives kill -9 (write-ahead log); a power cut may lose the last
transactions, whole.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import logging
import re
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gpumon.refusals import Refusals
from gpumon.sources.spec import SourceSpec
from gpumon.statedb.connection import connect

log = logging.getLogger(__name__)

Loaded = TypeVar("Loaded")
Write = Callable[[sqlite3.Connection], None]

RETRY_SECONDS = 5.0
"""How often a change that could not be written is tried again."""

MOST_PENDING = 10_000
"""Changes kept while nothing can be written; beyond it the oldest are given up."""

MIGRATIONS = (
    # How many GPUs a source showed on a day (days since 1970).
    """
    CREATE TABLE IF NOT EXISTS gpus_seen
        (source TEXT, day INTEGER, count INTEGER, PRIMARY KEY (source, day));
    """,
    # Which GPU was last seen at a PCI address; what happened; how often (owner: the GPU's uuid, or
    # the address of one that was never seen); and single facts, such as how far a log was read.
    """
    CREATE TABLE gpu_addresses (pci TEXT PRIMARY KEY, uuid TEXT, gpu INTEGER);
    CREATE TABLE events (
        id INTEGER PRIMARY KEY, time REAL, kind TEXT, pci TEXT, owner TEXT, code INTEGER,
        sources TEXT, pid INTEGER, process TEXT, text TEXT,
        gpu_instance INTEGER, compute_instance INTEGER
    );
    CREATE INDEX events_by_time ON events (time);
    CREATE TABLE xid_counts
        (owner TEXT, xid INTEGER, count INTEGER, last REAL, PRIMARY KEY (owner, xid));
    CREATE TABLE sxid_counts (
        nvswitch INTEGER, pci TEXT, sxid INTEGER, fatal INTEGER, count INTEGER, last REAL,
        PRIMARY KEY (nvswitch, pci, sxid, fatal)
    );
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT);
    """,
    # The energy ledger, in millijoules and milliseconds; times in unix seconds. A GPU's account
    # with its last reading; what each job pays for each GPU; jobs; and joules by the hour, where
    # job_id is empty for what nobody held, and reason says why nobody did.
    """
    CREATE TABLE ledger_gpus (
        uuid TEXT PRIMARY KEY, gpu INTEGER, time REAL, counter INTEGER, watts REAL, holders TEXT,
        total INTEGER, ended INTEGER, unallocated INTEGER
    );
    CREATE TABLE ledger_jobs (
        job_id TEXT, began REAL, uuid TEXT, active INTEGER, idle INTEGER, active_ms INTEGER,
        idle_ms INTEGER, PRIMARY KEY (job_id, began, uuid)
    );
    CREATE TABLE jobs (
        job_id TEXT, began REAL, ended REAL, shown INTEGER, user TEXT, account TEXT,
        partition TEXT, name TEXT, manager TEXT, host TEXT, PRIMARY KEY (job_id, began)
    );
    CREATE INDEX jobs_shown ON jobs (shown);
    CREATE TABLE hourly (
        hour INTEGER, uuid TEXT, job_id TEXT, reason TEXT, millijoules INTEGER,
        idle_millijoules INTEGER, active_ms INTEGER, idle_ms INTEGER,
        PRIMARY KEY (hour, uuid, job_id, reason)
    ) WITHOUT ROWID;
    """,
    # What else happened: of a GPU or of the node; state is what a GPU is in since.
    """
    CREATE TABLE chronicle (
        id INTEGER PRIMARY KEY, time REAL, kind TEXT, gpu INTEGER, uuid TEXT, state TEXT, text TEXT
    );
    CREATE INDEX chronicle_by_time ON chronicle (time);
    """,
    # Joules by the quarter of an hour: of the GPUs, and of the host beyond them.
    """
    CREATE TABLE quarters
        (quarter INTEGER PRIMARY KEY, millijoules INTEGER, host_millijoules INTEGER);
    """,
    # From which activity on a held GPU was active, since when (unix seconds). Agents of before this
    # step knew one line only, which was 5 %.
    """
    CREATE TABLE active_lines (id INTEGER PRIMARY KEY, time REAL, ratio REAL);
    INSERT INTO active_lines (time, ratio) SELECT (SELECT min(hour) FROM hourly) * 3600.0, 0.05
        WHERE EXISTS (SELECT 1 FROM hourly);
    """,
    # Since when the counter of a GPU's last reading counts: the boot, and the driver's load in it.
    """
    ALTER TABLE ledger_gpus ADD COLUMN boot TEXT NOT NULL DEFAULT '';
    ALTER TABLE ledger_gpus ADD COLUMN driver_load TEXT NOT NULL DEFAULT '';
    """,
    # Which run of a job: a number may come back, of another user too. In hourly a job_id is then
    # the id, a line feed, and when that run began.
    """
    ALTER TABLE jobs ADD COLUMN cluster TEXT;
    ALTER TABLE jobs ADD COLUMN started REAL;
    """,
    # Who was last seen at a PCI address (NVML's form), and when: a GPU that is lost before an agent
    # has seen it does not say so itself.
    """
    CREATE TABLE boards (
        pci_bus_id TEXT PRIMARY KEY, uuid TEXT, gpu INTEGER, name TEXT, architecture TEXT,
        serial TEXT, module_id INTEGER, board_part_number TEXT, vbios_version TEXT,
        minor_number INTEGER, platform TEXT, seen REAL
    );
    INSERT OR IGNORE INTO boards SELECT
        CASE length(pci) WHEN 10 THEN '0000' ELSE '' END || upper(pci) || '.0',
        uuid, gpu, '', '', '', NULL, '', '', NULL, NULL, 0 FROM gpu_addresses;
    """,
    # What was ever entered of all GPUs of this node, in millijoules. It goes on where accounts end.
    """
    CREATE TABLE node_energy (id INTEGER PRIMARY KEY CHECK (id = 1), millijoules INTEGER);
    INSERT INTO node_energy SELECT 1, CAST(total(total) AS INTEGER) FROM ledger_gpus;
    """,
    # Whether the last Xid (SXid) of a code came after the last reset, and in which boot and load of
    # the driver it came. Of those of before this step nobody knows: the last hour's are taken so.
    """
    ALTER TABLE xid_counts ADD COLUMN unresolved INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE xid_counts ADD COLUMN boot TEXT NOT NULL DEFAULT '';
    ALTER TABLE xid_counts ADD COLUMN driver_load TEXT NOT NULL DEFAULT '';
    ALTER TABLE sxid_counts ADD COLUMN unresolved INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sxid_counts ADD COLUMN boot TEXT NOT NULL DEFAULT '';
    ALTER TABLE sxid_counts ADD COLUMN driver_load TEXT NOT NULL DEFAULT '';
    UPDATE xid_counts SET unresolved = 1
        WHERE last > CAST(strftime('%s', 'now', '-1 hour') AS REAL);
    UPDATE sxid_counts SET unresolved = 1
        WHERE last > CAST(strftime('%s', 'now', '-1 hour') AS REAL);
    """,
)
"""The schema, step by step; PRAGMA user_version counts those that a file has taken."""


def state_file_name(spec: SourceSpec) -> str:
    """Return the name of a source's file: what is simulated never mixes with the real machine."""
    if spec.is_default:
        return "state.db"
    text = str(spec)
    words = re.sub(r"[^A-Za-z0-9]+", "-", text)[:40].strip("-")
    return f"state-{words}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.db"


class StateFile:
    """One file; without a path, or without a right to it, everything is in memory only.

    If there was no file yet and none can be made (a full disk, a folder that is not ours), that is
    tried again, and what waits to be written is kept. A file that exists and cannot be read is left
    alone: what it remembers must not be written over by an agent that does not know it.
    """

    def __init__(self, path: Path | None, refusals: Refusals | None = None) -> None:
        """Open the file, making or mending it; what is wrong is logged once.

        ``refusals`` counts the rows that cannot be kept.
        """
        self._path = path
        self._refusals = refusals or Refusals()
        self._pending: collections.deque[tuple[Write, bool]] = collections.deque()
        self._news = threading.Condition()
        self._closing = False
        self._failing = False
        self._readable = False
        self._writer: threading.Thread | None = None
        self.forgets = True
        """False while the clock is wrong: what is old is not known then, and nothing is removed."""
        if path is None:
            return
        new = _missing(path)
        try:
            self._prepare(path)
            self._readable = True
        except (OSError, sqlite3.Error) as error:
            log.warning(
                "%s cannot be used (%s): what this agent learns is forgotten when it ends%s; "
                "give it a folder it may write to with --state-dir",
                path,
                error,
                ", unless that changes" if new else "",
            )
            if not new:
                self._path = None
                return
            self._failing = True
        self._writer = threading.Thread(target=self._write, name="state file", daemon=True)
        self._writer.start()

    def load(self, read: Callable[[sqlite3.Connection], Loaded], default: Loaded) -> Loaded:
        """Return what is read from the file, or the default if there is none.

        It waits for the disk: call it at the start, or in a thread.
        """
        if self._path is None or not self._readable:
            return default
        try:
            with contextlib.closing(connect(self._path)) as db:
                return read(db)
        except sqlite3.Error as error:
            log.warning("%s cannot be read (%s)", self._path, error)
            return default

    @property
    def keeps(self) -> bool:
        """Whether what is saved is, or may yet be, kept in a file."""
        return self._path is not None

    def save(self, write: Write, *, keep: bool = False) -> None:
        """Have a change written, soon, after those before it, as one transaction.

        One to ``keep`` is not given up, however many wait.
        """
        if self._path is None:
            return
        with self._news:
            if len(self._pending) >= MOST_PENDING:
                oldest = next((at for at, (_, kept) in enumerate(self._pending) if not kept), None)
                if oldest is not None:
                    del self._pending[oldest]
            self._pending.append((write, keep))
            self._news.notify()

    def close(self, patience: float = 2.0) -> None:
        """Write what is pending, for some seconds at most."""
        if self._writer is None:
            return
        with self._news:
            self._closing = True
            self._news.notify()
        self._writer.join(patience)
        if self._writer.is_alive() or self._pending:
            log.warning("%s: %d changes are not written", self._path, len(self._pending))

    def _prepare(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _migrate(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # locked, read-only, full
                raise
            aside = path.with_name(f"{path.name}.corrupt")
            for suffix in ("", "-wal", "-shm"):  # what was not yet moved into it goes with it
                with contextlib.suppress(FileNotFoundError):
                    path.with_name(path.name + suffix).replace(aside.with_name(aside.name + suffix))
            log.warning("%s is damaged (%s): set aside as %s", path, error, aside)
            _migrate(path)

    def _opened(self, path: Path) -> sqlite3.Connection:
        """Return a connection for writing; the file may have been removed or damaged meanwhile."""
        self._prepare(path)
        self._readable = True
        return connect(path, self._refusals)

    def _write(self) -> None:
        """Write changes in order until closed; one that fails is tried again."""
        assert self._path is not None
        db: sqlite3.Connection | None = None
        while True:
            with self._news:
                self._news.wait_for(lambda: self._pending or self._closing)
                if not self._pending:
                    break
                first = self._pending[0]
                change, _ = first
            try:
                db = db or self._opened(self._path)
                with db:
                    change(db)
            except Exception as error:
                if _may_pass(error):
                    if db is not None:
                        db.close()
                        db = None
                    if not self._wait_to_try_again(error):
                        break
                    continue
                # This change can never be written; those after it can.
                log.exception("a change to %s is lost", self._path)
            if self._failing:
                log.info("%s is written again", self._path)
            self._failing = False
            with self._news:
                if self._pending and self._pending[0] is first:
                    self._pending.popleft()
        if db is not None:
            db.close()

    def _wait_to_try_again(self, error: Exception) -> bool:
        """Wait for a while; once closing, a change is tried a last time."""
        if not self._failing:
            log.warning("%s cannot be written (%s): trying again", self._path, error)
        self._failing = True
        with self._news:
            if self._closing:
                return False
            self._news.wait_for(lambda: self._closing, RETRY_SECONDS)
            return True


def _missing(path: Path) -> bool:
    """Return whether there is certainly no file yet."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _may_pass(error: Exception) -> bool:
    """Return whether the file is at fault (locked, full, gone, damaged), not a mistake of ours."""
    if isinstance(error, OSError | sqlite3.OperationalError):
        return True
    return type(error) is sqlite3.DatabaseError  # damaged: it is set aside when opened anew


def _migrate(path: Path) -> None:
    """Bring a file to the present schema; sqlite3.Error if that cannot be."""
    with contextlib.closing(connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise sqlite3.OperationalError("it was written by a newer version of gpumon")
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            db.executescript(f"BEGIN; {script}; PRAGMA user_version = {number}; COMMIT;")
