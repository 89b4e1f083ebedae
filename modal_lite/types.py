"""Small values that public methods return."""

from dataclasses import dataclass

__all__ = ["FunctionStats"]


@dataclass(frozen=True)
class FunctionStats:
    """What `Function.get_current_stats()` returns, as of one moment.

    Attributes:
        backlog: Inputs that wait for a container.
        num_total_runners: Containers that exist, starting ones included.
        num_running_inputs: Inputs that containers are working on.
    """

    backlog: int
    num_total_runners: int
    num_running_inputs: int = 0
