"""Who has the GPUs, and who may have some next.

A container has its devices to itself from its start until it is gone. One that waits for inputs gives them up when a
function without any wants them; one that works keeps them, however long it does: what is loaded onto a device takes
long to load again.
"""

from modal_lite._scheduler import policy
from modal_lite._scheduler.records import Container, ContainerState, Function


class Devices:
    """Counts the devices; which of them a container gets is decided where they are.

    Args:
        containers: all of them by id, those that are ending included: they have their devices still.

    Attributes:
        total: the devices that there are.
        most: as many as there ever were. Those that are lost are held until the containers that had them are gone.
    """

    def __init__(self, containers: dict[str, Container]) -> None:
        self.total = 0
        self.most = 0
        self._containers = containers

    def found(self, total: int) -> None:
        """There are so many from now on."""
        self.total = total
        self.most = max(self.most, total)

    def suffice(self, function: Function) -> bool:
        """True if one more container of the function may start, as far as devices go."""
        wanted = function.settings.gpus
        # Of a function that wants more than there are, containers start, too, to fail with the reason.
        return not 0 < wanted <= self.total or wanted <= self.free

    @property
    def free(self) -> int:
        """Devices that no container has."""
        return max(0, self.total - self.given)

    @property
    def given(self) -> int:
        """Devices that containers have."""
        return sum([container.gpus for container in self._containers.values()])

    def obtainable(self, function: Function) -> bool:
        """True if one more container of the function may start now, or after idle ones of others have made way."""
        return self.suffice(function) or self.to_end(function) is not None

    def to_end(self, function: Function) -> list[Container] | None:
        """The idle containers to end, longest idle first, so that one of the function may start; None if none help."""
        missing = function.settings.gpus - self.free
        missing -= sum([c.gpus for c in self._containers.values() if c.state is ContainerState.STOPPING])
        chosen: list[Container] = []
        for container in sorted(self._dispensable(function), key=lambda c: c.since):
            if missing <= 0:
                break
            chosen.append(container)
            missing -= container.gpus
        return chosen if missing <= 0 else None

    def _dispensable(self, function: Function) -> list[Container]:
        """Idle containers of other functions, without those that would be started again at once."""
        found: list[Container] = []
        for other in {c.function.function_id: c.function for c in self._containers.values()}.values():
            if other is not function and other.settings.gpus:
                surplus = max(0, len(other.live) - policy.wanted_containers(other))
                found += [c for c in other.live if c.idle and c.gpus][:surplus]
        return found
