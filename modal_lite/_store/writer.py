"""The one thread that writes: whatever has queued up while it wrote goes into its next transaction."""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any

logger = logging.getLogger("modal_lite.store")

Row = Sequence[Any]
OnCommit = Callable[[Exception | None], None]


class Writer:
    """Statements in, commits out. Belongs to the loop that runs when it is made.

    Args:
        database: Used by the thread alone from now on, and closed by it.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()
        self._rows: list[tuple[str, Row]] = []
        self._waiting: list[OnCommit] = []
        self._writing = False
        self._failed: Exception | None = None
        """What went wrong, until the loop has been told: what was queued in ignorance of it fails as well, so that
        nothing is committed that builds on what was not."""
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="modal_lite store")
        self._thread.start()

    def put(self, statement: str, row: Row) -> None:
        """Queues a statement with its values."""
        with self._changed:
            self._rows.append((statement, row))
            self._changed.notify()

    def on_commit(self, callback: OnCommit) -> None:
        """Has the callback called on the loop once all that was queued is committed, with what went wrong, if so."""
        with self._changed:
            if self._rows or self._writing or self._failed is not None:
                self._waiting.append(callback)
                self._changed.notify()
                return
        callback(None)

    async def close(self) -> None:
        """Commits what is queued and ends the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    self._writing = False
                    while not (self._rows or self._waiting or self._closing):
                        self._changed.wait()
                    rows, self._rows = self._rows, []
                    waiting, self._waiting = self._waiting, []
                    self._writing = True
                    if not rows and not waiting and self._closing:
                        return
                    error = self._failed
                if error is None and (error := self._commit(rows)) is not None:
                    with self._changed:
                        self._failed = error
                    self._loop.call_soon_threadsafe(self._begin_anew, waiting, error)
                elif waiting:
                    self._loop.call_soon_threadsafe(_tell, waiting, error)
        finally:
            self._database.close()

    def _commit(self, rows: list[tuple[str, Row]]) -> Exception | None:
        database = self._database
        try:
            database.execute("BEGIN IMMEDIATE")
            at = 0
            while at < len(rows):
                statement, start = rows[at][0], at
                while at < len(rows) and rows[at][0] is statement:
                    at += 1
                database.executemany(statement, [row for _, row in rows[start:at]])
            database.execute("COMMIT")
        except Exception as error:  # Whatever it is, the thread has to go on.
            logger.exception("%d statements could not be written", len(rows))
            if database.in_transaction:
                database.execute("ROLLBACK")
            return error
        return None

    def _begin_anew(self, waiting: list[OnCommit], error: Exception) -> None:
        with self._changed:
            ignorant, self._waiting = self._waiting, []
            self._rows = []
            self._failed = None
        _tell([*waiting, *ignorant], error)


def _tell(waiting: list[OnCommit], error: Exception | None) -> None:
    for callback in waiting:
        callback(error)
