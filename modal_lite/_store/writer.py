"""The one thread that writes: whatever has queued up while it wrote goes into its next transaction.

The thread and the loop share one GIL, and each statement that SQLite executes gives it away and has to get it back. So
a transaction is handed over as a whole, and executes few statements, each with the values of many rows.
"""

import asyncio
import itertools
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

logger = logging.getLogger("modal_lite.store")

_AT_ONCE = (64, 8, 1)
"""Rows that one statement takes: few sizes, for SQLite compiles each anew, and fewer values than it can bind."""

Row = Sequence[Any]
OnCommit = Callable[[Exception | None], None]


class Statement:
    """What is to be written, of rows like each other.

    Args:
        head: The statement; up to the first row if there is a `row`.
        row: How a row is written, if one statement can have many.
        tail: What follows the last row.
    """

    def __init__(self, head: str, row: str = "", tail: str = "") -> None:
        self._head = head
        self._texts = {count: head + ",".join([row] * count) + tail for count in _AT_ONCE} if row else None

    def execute(self, database: sqlite3.Connection, rows: list[Row]) -> None:
        """Writes the rows, in order."""
        if self._texts is None:
            database.executemany(self._head, rows)
            return
        at = 0
        for count, text in self._texts.items():
            while len(rows) - at >= count:
                database.execute(text, list(itertools.chain.from_iterable(rows[at : at + count])))
                at += count


class _Transaction:
    """Rows by their statements, and who waits for them."""

    def __init__(self, order: list[Statement]) -> None:
        self.in_turn: list[tuple[str, Row]] = []
        self.rows: dict[Statement, list[Row]] = {statement: [] for statement in order}
        self.waiting: list[OnCommit] = []
        self.empty = True

    def count(self) -> int:
        """Rows, of all statements."""
        return len(self.in_turn) + sum(map(len, self.rows.values()))


class Writer:
    """Rows in, commits out. Belongs to the loop that runs when it is made.

    Args:
        database: Used by the thread alone from now on, and closed by it.
        order: All statements of `put`. Those of one transaction are executed in this order, whatever the order they
            came in, and after those of `put_in_turn`.
    """

    def __init__(self, database: sqlite3.Connection, order: list[Statement]) -> None:
        self._database = database
        self._order = order
        self._loop = asyncio.get_running_loop()
        self._next = _Transaction(order)
        self._written: _Transaction | None = None
        """What the thread is at."""
        self._handing_over = False
        self._transactions: SimpleQueue[_Transaction | None] = SimpleQueue()
        # Written by the thread alone.
        self.commits = self.failed = self.rows = 0
        self.seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="modal_lite store")
        self._thread.start()

    @property
    def queued(self) -> int:
        """Rows that wait for the next transaction."""
        return self._next.count()

    def put(self, statement: Statement, row: Row) -> None:
        """Queues a row."""
        self._next.rows[statement].append(row)
        self._next.empty = False
        if self._written is None and not self._handing_over:
            self._begin_next()

    def put_in_turn(self, statement: str, row: Row) -> None:
        """Queues a row that comes after those that were queued so before: for what is written and dropped again."""
        self._next.in_turn.append((statement, row))
        self._next.empty = False
        if self._written is None and not self._handing_over:
            self._begin_next()

    def on_commit(self, callback: OnCommit) -> None:
        """Has the callback called on the loop once all that was queued is committed, with what went wrong, if so."""
        if not self._next.empty:
            self._next.waiting.append(callback)
        elif self._written is not None:
            self._written.waiting.append(callback)
        else:
            callback(None)

    async def close(self) -> None:
        """Commits what is queued and ends the thread."""
        while self._written is not None or not self._next.empty:
            committed: asyncio.Future[None] = self._loop.create_future()
            self.on_commit(lambda error, future=committed: future.done() or future.set_result(None))  # type: ignore[misc]
            await committed
        self._transactions.put(None)
        await asyncio.to_thread(self._thread.join)

    # --- on the loop -------------------------------------------------------------------------------------------------

    def _begin_next(self) -> None:
        self._handing_over = True
        self._loop.call_soon(self._hand_over)  # with what else comes in this turn

    def _hand_over(self) -> None:
        self._handing_over = False
        if self._written is None and not self._next.empty:
            self._written, self._next = self._next, _Transaction(self._order)
            self._transactions.put(self._written)

    def _committed(self, transaction: _Transaction, error: Exception | None) -> None:
        self._written = None
        waiting = transaction.waiting
        if error is not None:
            # What was queued in ignorance of it fails as well: nothing is committed that builds on what was not.
            waiting, self._next = waiting + self._next.waiting, _Transaction(self._order)
        self._hand_over()
        for callback in waiting:
            callback(error)

    # --- in the thread -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (transaction := self._transactions.get()) is not None:
                error = self._commit(transaction)
                self._loop.call_soon_threadsafe(self._committed, transaction, error)
        finally:
            self._database.close()

    def _commit(self, transaction: _Transaction) -> Exception | None:
        database = self._database
        began = time.monotonic()
        try:
            database.execute("BEGIN IMMEDIATE")
            for text, row in transaction.in_turn:
                database.execute(text, row)
            for statement, rows in transaction.rows.items():
                if rows:
                    statement.execute(database, rows)
            database.execute("COMMIT")
        except Exception as error:  # Whatever it is, the thread has to go on.
            logger.exception("%d rows could not be written", transaction.count())
            self.failed += 1
            if database.in_transaction:
                database.execute("ROLLBACK")
            return error
        finally:
            self.seconds += time.monotonic() - began
        self.commits += 1
        self.rows += transaction.count()
        return None
