"""The fenced blocks of a Markdown page that are programs, and what the page says they print."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*) *$")
_OUTPUT = "<!-- output -->"
_NOT_RUN = re.compile(r"<!-- not run: \S.* -->")
_FILE_NAME = re.compile(r"# (?P<name>[\w./-]+\.py)$")


@dataclass
class Program:
    """A ```python or ```console block of a page."""

    page: Path
    line: int
    language: str
    source: str
    expected: str | None = None
    """The standard output that the page shows, if it is marked as such; `...` stands for anything."""
    files: dict[str, str] = field(default_factory=dict)
    """Earlier Python blocks of the page that begin with a comment such as `# hello.py`, by that name."""

    def __str__(self) -> str:
        return f"{self.page.stem}-line-{self.line}"

    @property
    def file_name(self) -> str | None:
        """The name that the block's first line gives it."""
        match = _FILE_NAME.match(self.source.partition("\n")[0])
        return match["name"] if match and self.language == "python" else None

    @property
    def commands(self) -> str:
        """The commands of a console block, as a script for bash."""
        return "".join(line[2:] + "\n" for line in self.source.splitlines() if line.startswith("$ "))

    @property
    def output(self) -> str:
        """What a console block shows below its commands."""
        return "".join(line + "\n" for line in self.source.splitlines() if not line.startswith("$ "))


@dataclass
class _Block:
    line: int
    language: str
    marks: list[str]
    source: str


def programs(page: Path) -> Iterator[Program]:
    """The programs of a page, in order. Those marked `<!-- not run: reason -->` are left out."""
    files: dict[str, str] = {}
    last: Program | None = None
    found: list[Program] = []
    for block in _blocks(page):
        if block.language == "text" and _OUTPUT in block.marks:
            if last is None:
                raise ValueError(f"{page}:{block.line}: an output that follows no program")
            last.expected = block.source
        elif block.language in ("python", "console"):
            last = Program(page, block.line, block.language, block.source, files=dict(files))
            if block.language == "console" and _OUTPUT in block.marks:
                last.expected = last.output
            if last.file_name:
                files[last.file_name] = last.source
            if not any(_NOT_RUN.fullmatch(mark) for mark in block.marks):
                found.append(last)
    yield from found


def _blocks(page: Path) -> Iterator[_Block]:
    """Every fenced block with the HTML comments that stand directly above it."""
    lines = page.read_text().splitlines()
    marks: list[str] = []
    at = 0
    while at < len(lines):
        fence = _FENCE.match(lines[at])
        if fence is None:
            text = lines[at].strip()
            if text.startswith("<!--"):
                marks.append(text)
            elif text:
                marks = []
            at += 1
            continue
        indent, start = fence["indent"], at + 1
        at = start
        while lines[at].strip() != "```":
            at += 1
        source = "".join(line.removeprefix(indent) + "\n" for line in lines[start:at])
        yield _Block(start, fence["language"], marks, source)
        marks = []
        at += 1
