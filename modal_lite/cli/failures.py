"""How a command ends when the program that it runs fails."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from modal_lite._core.tracebacks import hide_library_frames
from modal_lite._terminal import check_terminal
from modal_lite.exception import Error, InvalidError

PROGRAM_FAILED = 1
USAGE = 2
INTERRUPTED = 130
"""What shells report for a process that Ctrl-C ended."""


class UsageError(click.ClickException):
    """A command that cannot be carried out as it was given. The message says what to do instead."""

    exit_code = USAGE


def need_terminal(command: str) -> None:
    """Raises UsageError if this process is not on a terminal."""
    try:
        check_terminal(command)
    except InvalidError as error:
        raise UsageError(str(error)) from None


@contextmanager
def user_code() -> Iterator[None]:
    """Shows what the user's code raises as Python would, without frames of ours, and exits with 1.

    Lets through what says by itself how the process is to end: `sys.exit` and Ctrl-C.
    """
    try:
        yield
    except Exception as error:
        hide_library_frames(error)
        # Not traceback.print_exception: a program may have put a hook of its own in its place.
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(PROGRAM_FAILED)


@contextmanager
def refusals() -> Iterator[None]:
    """Shows what the library, or the system, refuses as a message, and exits with 1."""
    try:
        yield
    except (Error, OSError) as error:
        raise click.ClickException(str(error)) from None


@contextmanager
def interruptible(quiet: bool) -> Iterator[None]:
    """Exits without a traceback on Ctrl-C.

    Args:
        quiet: Whether to say nothing about it.
    """
    try:
        yield
    except KeyboardInterrupt:
        if not quiet:
            # The terminal has shown ^C.
            click.echo(f"{os.linesep if sys.stderr.isatty() else ''}Interrupted.", err=True)
        sys.exit(INTERRUPTED)
