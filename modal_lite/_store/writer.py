"""The one thread that writes: whatever has queued up while it wrote goes into its next transaction."""

import asyncio
import logging
import sqlite3
import threading
import time
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
        self._fresh: list[tuple[str, Row]] = []
        """What the loop's present step has queued: the thread gets it as a whole, and so commits it as a whole."""
        self._fresh_waiting: list[OnCommit] = []
        self._changed = threading.Condition()
        self._rows: list[tuple[str, Row]] = []
        self._waiting: list[OnCommit] = []
        self._writing = False
        self._closing = False
        # Written by the thread alone.
        self.commits = self.failed = self.statements = 0
        self.seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="modal_lite store")
        self._thread.start()

    @property
    def queued(self) -> int:
        """Statements that wait for the next transaction."""
        return len(self._fresh) + len(self._rows)

    def put(self, statement: str, row: Row) -> None:
        """Queues a statement with its values. It is committed together with those of the loop's present step."""
        if not self._fresh:
            self._loop.call_soon(self._hand_over)
        self._fresh.append((statement, row))

    def on_commit(self, callback: OnCommit) -> None:
        """Has the callback called on the loop once all that was queued is committed, with what went wrong, if so."""
        if self._fresh:
            self._fresh_waiting.append(callback)
            return
        with self._changed:
            if self._rows or self._writing:
                self._waiting.append(callback)
                self._changed.notify()
                return
        callback(None)

    async def close(self) -> None:
        """Commits what is queued and ends the thread."""
        self._hand_over()
        with self._changed:
            self._closing = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)

    def _hand_over(self) -> None:
        with self._changed:
            self._rows += self._fresh
            self._waiting += self._fresh_waiting
            self._changed.notify()
        self._fresh, self._fresh_waiting = [], []

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
                error = self._commit(rows)
                if waiting:
                    self._loop.call_soon_threadsafe(_tell, waiting, error)
        finally:
            self._database.close()

    def _commit(self, rows: list[tuple[str, Row]]) -> Exception | None:
        database = self._database
        began = time.monotonic()
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
            self.failed += 1
            if database.in_transaction:
                database.execute("ROLLBACK")
            return error
        finally:
            self.seconds += time.monotonic() - began
        self.commits += 1
        self.statements += len(rows)
        return None


def _tell(waiting: list[OnCommit], error: Exception | None) -> None:
    for callback in waiting:
        callback(error)
