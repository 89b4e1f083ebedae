"""Which container has which GPUs."""

from collections.abc import Sequence

from modal_lite._core.requests import FunctionDefinition


class Gpus:
    """Gives devices to one container at a time.

    Attributes:
        devices: All of them, by the names that CUDA knows; None until they were looked for.
    """

    def __init__(self) -> None:
        self.devices: Sequence[str] | None = None
        self._holders: dict[str, list[str]] = {}

    def take(self, container_id: str, count: int) -> str | None:
        """The container's devices, as a value of `CUDA_VISIBLE_DEVICES`; None if there are too few, free or not."""
        taken = {device for held in self._holders.values() for device in held}
        free = [device for device in self.devices or () if device not in taken]
        if len(free) < count:
            return None
        self._holders[container_id] = free[:count]
        return ",".join(free[:count])

    def describe_lack(self, definition: FunctionDefinition) -> str:
        """For the callers of a function that wants more devices than there are."""
        count = len(self.devices or ())
        has = f"has only {count}" if count else "has none"
        return (
            f"{definition.tag} wants {definition.settings.gpus} GPU{'s' * (definition.settings.gpus > 1)} for each of "
            f"its containers, and this machine {has} (as CUDA_VISIBLE_DEVICES or else the NVIDIA driver says). Ask for "
            "fewer by gpu=, or run it where there are as many."
        )

    def give_back(self, container_id: str) -> None:
        """The container is gone. Nothing happens if it had none."""
        self._holders.pop(container_id, None)
