"""Lines that are drawn over and over, fitted to the terminal's width."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

MAX_LIVE = 8
"""Live lines of one kind at most; further ones are counted."""


class LiveLines:
    """Makes live lines of a name and what there is to say. Imports rich when it is first used."""

    def __init__(self) -> None:
        self._console: Console | None = None

    def render(self, lines: Sequence[tuple[str, str]], name_style: str, text_style: str) -> list[str]:
        """One line for each (name, text), with control sequences for the styles, none of them longer than a row."""
        if not lines:
            return []
        from rich.console import Console
        from rich.text import Text

        if self._console is None:
            # It only knows the terminal's width and colours; nothing is written by it.
            self._console = Console(file=io.StringIO(), force_terminal=True)
        texts = [
            Text.assemble((f"{name} │ " if name else "", name_style), (text, text_style))
            for name, text in lines[:MAX_LIVE]
        ]
        if len(lines) > MAX_LIVE:
            texts.append(Text(f"and {len(lines) - MAX_LIVE} more", "dim"))
        with self._console.capture() as capture:
            for text in texts:
                # One column less: a full line would wrap, and could not be erased.
                self._console.print(text, no_wrap=True, overflow="ellipsis", width=max(1, self._console.width - 1))
        return [line.rstrip(" ") for line in capture.get().splitlines()]
