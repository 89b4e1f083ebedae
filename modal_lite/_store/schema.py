"""The tables, and how a file of an earlier version becomes one of this."""

import sqlite3

from modal_lite.exception import VersionError

_FIRST = """
CREATE TABLE apps (
    app_id TEXT PRIMARY KEY,
    environment TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    created REAL NOT NULL,
    version INTEGER NOT NULL
);
CREATE TABLE deployments (
    app_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (app_id, version)
);
CREATE TABLE variants (
    function_id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL,
    data BLOB NOT NULL
);
CREATE TABLE calls (
    call_id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL,
    function_id TEXT NOT NULL,
    kind INTEGER NOT NULL,
    method TEXT NOT NULL,
    parent TEXT,
    created REAL NOT NULL,
    closed INTEGER NOT NULL,
    num_inputs INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    finished REAL,
    expired INTEGER NOT NULL,
    graph BLOB
);
CREATE INDEX unfinished_calls ON calls (created) WHERE finished IS NULL;
CREATE INDEX finished_calls ON calls (finished) WHERE finished IS NOT NULL;
CREATE TABLE chunks (
    call_id TEXT NOT NULL,
    start INTEGER NOT NULL,
    count INTEGER NOT NULL,
    encoding INTEGER NOT NULL,
    sizes BLOB NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX chunks_of_calls ON chunks (call_id, start);
CREATE TABLE outputs (
    call_id TEXT NOT NULL,
    start INTEGER NOT NULL,
    count INTEGER NOT NULL,
    failure BLOB,
    sizes BLOB NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX outputs_of_calls ON outputs (call_id, start);
"""


_SCHEDULES_AND_ENDS = """
CREATE TABLE schedules (
    function_id TEXT PRIMARY KEY,
    data BLOB NOT NULL
);
ALTER TABLE apps ADD COLUMN stopped REAL;
UPDATE apps SET stopped = CAST(strftime('%s', 'now') AS REAL) WHERE state = 'stopped';
"""

_WEB_PORTS_AND_FAILURES = """
CREATE TABLE web_ports (
    function_id TEXT NOT NULL,
    method TEXT NOT NULL,
    app_id TEXT NOT NULL,
    port INTEGER NOT NULL,
    PRIMARY KEY (function_id, method)
);
ALTER TABLE calls ADD COLUMN failed INTEGER NOT NULL DEFAULT 0;
UPDATE calls SET failed = (
    SELECT coalesce(sum(count), 0) FROM outputs WHERE outputs.call_id = calls.call_id AND failure IS NOT NULL
) WHERE finished IS NOT NULL;
"""

_STEPS = (_FIRST, _SCHEDULES_AND_ENDS, _WEB_PORTS_AND_FAILURES)
"""Each leads to the next version, so that a new file is made in the way in which an old one is brought up to date.

A step that was released is never changed; what is to be different comes in a further one.
"""
VERSION = len(_STEPS)


def prepare(database: sqlite3.Connection) -> None:
    """Makes the tables in a new file, and brings those of an earlier version up to date, each step wholly or not.

    Raises:
        VersionError: The file belongs to a later version.
    """
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise VersionError(
            f"The server's state has version {version}; this modal-lite knows versions up to {VERSION}. "
            "Start the server with the modal-lite that wrote it, or a later one."
        )
    for at in range(version, VERSION):
        try:
            database.executescript(f"BEGIN IMMEDIATE; {_STEPS[at]} PRAGMA user_version = {at + 1}; COMMIT;")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
