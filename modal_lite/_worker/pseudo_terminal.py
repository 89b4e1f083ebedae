"""The two ends of a pseudo-terminal: one for the programs in the container, one for whoever passes its bytes on."""

import fcntl
import os
import struct
import termios

_IUTF8 = 0x4000
"""Input is UTF-8: what the erase key takes away is a character, not a byte. On Linux and macOS alike."""
_READ_SIZE = 16 << 10


class PseudoTerminal:
    """A terminal that this process, the leader of its session, controls from now on.

    It stays open as long as the process lives: the system sends SIGHUP to the session once the outer end is closed.

    Attributes:
        outer: The end that is read and typed into; does not block.
        inner: The terminal itself.
    """

    def __init__(self) -> None:
        self.outer, self.inner = os.openpty()
        os.set_blocking(self.outer, False)
        attributes = termios.tcgetattr(self.inner)
        attributes[0] |= _IUTF8
        termios.tcsetattr(self.inner, termios.TCSANOW, attributes)
        fcntl.ioctl(self.inner, termios.TIOCSCTTY, 0)
        # What programs that are started later leave on the terminal is cleared by this.
        self._attributes = attributes

    def close(self) -> None:
        """Closes both ends."""
        os.close(self.outer)
        os.close(self.inner)

    def resize(self, rows: int, columns: int) -> None:
        """Gives it a size, and tells the programs in the foreground (SIGWINCH)."""
        fcntl.ioctl(self.outer, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def reset(self) -> None:
        """Makes it what it was at first, whatever programs have made of it."""
        termios.tcsetattr(self.inner, termios.TCSANOW, self._attributes)

    def read(self) -> bytes | None:
        """What was written to the terminal, at most so much at a time; None if there is nothing now."""
        try:
            return os.read(self.outer, _READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return None

    def write(self, data: bytes | bytearray) -> int:
        """Types as much as the terminal takes now; returns how many bytes that was."""
        try:
            return os.write(self.outer, data)
        except (BlockingIOError, InterruptedError):
            return 0

    def write_mark(self, mark: bytes) -> None:
        """Writes something, in one piece, behind everything that was written so far.

        Reading nothing does not mean that nothing is left: the system passes bytes on in its own time.
        """
        attributes = termios.tcgetattr(self.inner)
        attributes[3] &= ~termios.ECHO
        # What is typed must not be echoed in the midst of it.
        termios.tcsetattr(self.inner, termios.TCSANOW, attributes)
        os.write(self.inner, mark)
