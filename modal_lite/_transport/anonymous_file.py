"""Files without a name: memory for two processes, which the kernel frees with the last of them, however that ends."""

import os


def anonymous_file(name: str, size: int) -> int:
    """The descriptor of a new file of `size` zero bytes; `name` shows in listings of descriptors. Raises OSError."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create(f"modal-lite-{name}", os.MFD_CLOEXEC)
    else:
        import tempfile  # with all that it imports, where it is needed at all

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    try:
        os.ftruncate(fd, size)
    except BaseException:
        os.close(fd)
        raise
    return fd
