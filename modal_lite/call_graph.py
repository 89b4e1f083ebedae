"""What `FunctionCall.get_call_graph()` returns: inputs, and the inputs that they called in turn."""

from dataclasses import dataclass, field
from enum import IntEnum

__all__ = ["InputAttempt", "InputInfo", "InputStatus"]


class InputStatus(IntEnum):
    """What has become of an input. A number that is not known here reads as PENDING."""

    PENDING = 0
    SUCCESS = 1
    FAILURE = 2
    TERMINATED = 3
    TIMEOUT = 4
    INIT_FAILURE = 5

    @classmethod
    def _missing_(cls, value: object) -> "InputStatus | None":
        # A newer server may know more; strings and the like are still a ValueError.
        return cls.PENDING if isinstance(value, int) else None


@dataclass
class InputAttempt:
    """An attempt at an input that another one followed.

    Attributes:
        task_id: The container, `ta-…`.
        status: TIMEOUT, or FAILURE for a function that raised and for a container that was lost.
    """

    task_id: str
    status: InputStatus


@dataclass
class InputInfo:
    """One input of a call graph.

    Attributes:
        input_id: `in-…`.
        function_call_id: The call it belongs to, `fc-…`.
        task_id: The container that ran it last, `ta-…`; empty if none has.
        status: What has become of it.
        function_name: The function's name in its app.
        module_name: The module that defines the function.
        children: Inputs of the calls that this input made, in the order of the calls.
        attempts: The attempts before the one that `task_id` and `status` tell of, oldest first.
    """

    input_id: str
    function_call_id: str
    task_id: str
    status: InputStatus
    function_name: str
    module_name: str
    children: list["InputInfo"] = field(default_factory=list)
    attempts: list[InputAttempt] = field(default_factory=list)
