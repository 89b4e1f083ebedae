"""How a function is run: what the decorator's options come to once they are checked."""

import msgspec

from modal_lite.retries import Retries

EXIT_GRACE = 30.0
"""Seconds that the exit hooks of a class may take."""


class FunctionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a function is run. Times in seconds."""

    min_containers: int = 0
    max_containers: int | None = None
    buffer_containers: int = 0
    """Idle containers kept in addition while the function is in use."""
    scaledown_window: float = 60.0
    """An idle container beyond the minimum ends after this long."""
    timeout: float | None = 300.0
    """Limit of one attempt of one input, without the queue."""
    startup_timeout: float = 300.0
    """Limit from the start of a container until its module is imported and its class entered."""
    retries: Retries | None = None
    single_use: bool = False
    """A container ends after one input."""
    snapshot: bool = False
    """Containers are forked from a process that has imported the module and run the first hooks."""
    exit_grace: float = 0.0
    """What the exit hooks of a container may take, where nobody is in a hurry."""
    cpu: float | None = None
    """Cores that a container is to count on."""
    cpu_limit: float | None = None
    """Cores that it has use for at most."""
    memory_limit: int | None = None
    """MiB of memory that a container can have at most."""
    memory: int | None = None
    """MiB that a container is to find free where it is placed."""
    regions: tuple[str, ...] = ()
    cloud: str | None = None
    """Where its containers may be placed, on a cluster; anywhere, if these are not given."""
    gpus: int = 0
    """GPUs that a container has to itself."""
    max_inputs: int = 1
    """Inputs that a container runs at once."""
    target_inputs: int | None = None
    """Inputs per container that scaling aims at; None: `max_inputs`."""
    in_threads: bool = False
    """Its inputs run in threads, which nothing can interrupt: to end one of them, its container has to end."""
    max_batch_size: int = 0
    """Inputs that one call of the function takes together, in lists; only where `max_inputs` is 1. 0: no lists."""
    batch_wait: float = 0.0
    """Seconds that the first input of a batch waits for others."""
    interactive: bool = False
    """Its container has the caller's terminal, and is not replaced when it is lost: somebody is using it."""
    runs_program: bool = False
    """Its inputs are command lines to run in the container, instead of the function."""

    @property
    def shares(self) -> bool:
        """True if a container works on several inputs at once, so that its leases are of one input each."""
        return self.max_inputs > 1 or self.max_batch_size > 0
