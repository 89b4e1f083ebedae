"""Small values that public methods return."""

from dataclasses import dataclass

__all__ = ["FunctionStats"]


@dataclass(frozen=True)
class FunctionStats:
    """What `Function.get_current_stats()` returns, as of one moment.

    Attributes:
        backlog: Inputs that wait: for a container, or in one behind others. Not those that wait for their retry.
        num_total_runners: Containers that exist, starting ones included.
        num_running_inputs: Inputs that containers are working on.
        num_active_runners: Containers that are working on inputs.
    """

    backlog: int
    num_total_runners: int
    num_running_inputs: int = 0
    num_active_runners: int = 0
