"""Templates, and how values are spelled in them."""

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

_FOLDER = Path(__file__).parent
_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)|[\x00-\x08\x0b-\x1f\x7f]")
"""What terminals do not show."""
STATIC = {"style.css": "text/css", "live.js": "text/javascript", "icon.svg": "image/svg+xml"}
"""Files that are served as they are, and their types."""


class Renderer:
    """Makes pages.

    Args:
        version: Of this package.
    """

    def __init__(self, version: str) -> None:
        self.static = {name: (_FOLDER / "static" / name).read_bytes() for name in STATIC}
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= {"duration": duration, "moment": moment, "plain": plain, "n": number}
        digest = hashlib.sha256(b"".join(self.static.values())).hexdigest()[:12]
        self._environment.globals |= {"version": version, "assets": digest}

    def render(self, template: str, **values: Any) -> str:
        """The page that a template makes of the values; every one of them is escaped."""
        return self._environment.get_template(template).render(values)


def duration(seconds: float | None) -> str:
    """A span of time, with two units at most."""
    if seconds is None:
        return "–"
    if seconds < 0.0995:
        return f"{seconds * 1000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def moment(seconds: float) -> datetime:
    """The time that is so many seconds after the epoch."""
    return datetime.fromtimestamp(seconds, UTC)


def plain(text: str) -> str:
    """The text without what only a terminal understands."""
    return _ESCAPES.sub("", text)


def number(value: int) -> str:
    """A number that can be read."""
    return f"{value:,}"
