"""Lines out of what a container writes piece by piece, as a terminal would show them."""

MAX_LINE = 64 << 10
"""Characters; what a line has beyond is counted and dropped, so that one without an end fills no memory."""


class Lines:
    """Takes text, gives lines without their ends.

    A line that is drawn over and over after carriage returns, as progress bars are, ends up as its last state.
    """

    def __init__(self) -> None:
        self._under = ""
        """What the line showed at the last carriage return."""
        self._text = ""
        """What came after it."""
        self._dropped = 0
        self.redrawn = False
        """Whether the line under way has been drawn over."""

    def take(self, text: str) -> list[str]:
        """The lines that end in this text."""
        *ended, rest = text.split("\n")
        lines = []
        for part in ended:
            self._add(part)
            lines.append(self._take_line())
        self._add(rest)
        return lines

    def end(self) -> str:
        """The line under way, which will not go on; empty if there is none."""
        return self._take_line()

    @property
    def state(self) -> str:
        """What the line under way shows."""
        return _over(self._under, self._text).rstrip()

    def _add(self, part: str) -> None:
        text, *redrawings = part.split("\r")
        self._append(text)
        for text in redrawings:
            self._under = _over(self._under, self._text)
            self._text, self._dropped = "", 0
            self.redrawn = True
            self._append(text)

    def _append(self, text: str) -> None:
        room = MAX_LINE - len(self._text)
        self._text += text[:room]
        self._dropped += max(0, len(text) - room)

    def _take_line(self) -> str:
        line = self.state if self.redrawn else self._text
        if self._dropped:
            line += f"… ({self._dropped:,} more characters)"
        self._under, self._text, self._dropped, self.redrawn = "", "", 0, False
        return line


def _over(under: str, text: str) -> str:
    """What shows once `text` was written from the beginning of the line `under`."""
    if not text:
        return under
    if "\x1b" in text or "\x1b" in under:
        return text  # Where on the line the characters stand is up to the terminal; those who draw erase first.
    return text + under[len(text) :]
