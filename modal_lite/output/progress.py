"""How far maps are: live lines on a terminal, a plain line now and then elsewhere.

Drawn only when results come in: no thread of its own, and nothing that disturbs a prompt or a debugger meanwhile.
"""

from math import inf
from time import monotonic

from modal_lite.output.live import LiveLines
from modal_lite.output.screen import Screen

LIVE_AFTER = 0.5
"""Seconds after which a map gets its live line."""
LIVE_INTERVAL = 0.1
"""Seconds between two drawings of a live line."""
PLAIN_INTERVAL = 5.0
"""Seconds between two plain lines about a map; also until the first."""
SUMMARY_AFTER = 2.0
"""A map that took fewer seconds ends without a word."""


class ProgressGroup:
    """The maps whose progress is shown on one screen."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._maps: list[MapProgress] = []
        self._live = LiveLines()

    @property
    def live(self) -> bool:
        """Whether maps have live lines; else they have plain ones."""
        return self._screen.live

    def show(self, progress: "MapProgress") -> None:
        """Shows the map's present state."""
        if not self.live:
            self._say(progress, progress.state())
            return
        with self._screen.condition:
            if progress not in self._maps:
                self._maps.append(progress)
            self._screen.refresh()

    def end(self, progress: "MapProgress", summary: str | None) -> None:
        """Takes the map's line away; leaves a summary, if there is one."""
        with self._screen.condition:
            if progress in self._maps:
                self._maps.remove(progress)
                self._screen.erase()
            if summary is not None:
                self._say(progress, summary)
            self._screen.draw()

    def _say(self, progress: "MapProgress", words: str) -> None:
        if not self._screen.open:
            return
        prefix = f"{progress.tag} │" if self.live else f"[{progress.tag}]"
        try:
            self._screen.write_lines("stderr", f"{prefix} {words}\n")
        except Exception:
            pass  # a broken stream takes no output; that must not end the map

    def lines(self) -> list[str]:
        """The live lines of the maps."""
        return self._live.render([(progress.tag, progress.state()) for progress in self._maps], "cyan", "dim")


class MapProgress:
    """The progress of one map. Its methods are called by one thread at a time and never raise."""

    def __init__(self, group: ProgressGroup, tag: str) -> None:
        self.tag = tag
        self._group = group
        self._pulled = self._done = self._failed = 0
        self._started = monotonic()
        self._due = self._started + (LIVE_AFTER if group.live else PLAIN_INTERVAL)

    def pulled(self, count: int) -> None:
        """So many inputs were taken from the caller's iterator, in all."""
        self._pulled = count

    def advance(self, done: int, failed: int) -> None:
        """So many more inputs are done, `failed` of them with an exception."""
        self._done += done
        self._failed += failed
        now = monotonic()
        if now >= self._due:
            self._due = now + (LIVE_INTERVAL if self._group.live else PLAIN_INTERVAL)
            self._group.show(self)

    def close(self, exhausted: bool) -> None:
        """The map is over: all of its inputs were taken, or it was left early."""
        if self._due == inf:
            return
        self._due = inf
        seconds = monotonic() - self._started
        summary = None
        if seconds >= SUMMARY_AFTER:
            complete = exhausted and self._done >= self._pulled
            inputs = f"{self._done:,} input{'' if self._done == 1 else 's'}"
            summary = f"{inputs} done" if complete else f"stopped after {inputs}"
            summary += f" in {_duration(seconds)}, {self._rate(seconds)}{self._failures()}"
        self._group.end(self, summary)

    def state(self) -> str:
        """The present state in words."""
        seconds = monotonic() - self._started
        of = f"{self._done:,} of {self._pulled:,} inputs done so far"
        return f"{of}, {self._rate(seconds)}{self._failures()}, {_duration(seconds)}"

    def _rate(self, seconds: float) -> str:
        rate = self._done / seconds if seconds else 0.0
        return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s"

    def _failures(self) -> str:
        return f", {self._failed:,} failed" if self._failed else ""


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
