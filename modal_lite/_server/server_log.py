"""The server's own log: a JSON object a line, in a file that is rotated."""

import json
import logging
import logging.handlers
from datetime import UTC, datetime
from pathlib import Path

MAX_BYTES = 16 << 20
"""Bytes of a file; when it has more it becomes the one before."""
BACKUPS = 3
"""Files that are kept besides."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time, level, logger, message, what `extra=` gave, and the exception if any."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        # Not msgspec: what was logged may have surrogates.
        return json.dumps(line, default=repr)


def log_to(path: Path) -> None:
    """Has all that this process logs written to the file, from INFO on. The file is made with the first line."""
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8", errors="backslashreplace", delay=True
    )
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.addHandler(handler)
