"""Who uses the cores, and who waits for them."""

from modal_lite._scheduler import policy
from modal_lite._scheduler.records import Container, ContainerState, Function


class Cores:
    """The cores to share, the count of containers that use one, and the functions that want more of them.

    Args:
        slots: cores to share, at least 1.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.total_active = 0
        self.hungry: dict[str, Function] = {}
        """Functions with a backlog, in the order in which they are to be served."""

    def recount(self, container: Container) -> None:
        """Brings the count of active containers up to date with what has become of this one."""
        waits = container.waits
        # An input may wait for several calls: then the others count as waiting too early, which only gives cores away.
        # Too late would be worse: inputs that all wait for calls that get no core wait for ever.
        container.waiting = waits > 0 and (
            waits >= len(container.leases) or container.function.settings.max_inputs == 1
        )
        active = container.state is ContainerState.STARTING or (bool(container.leases) and not container.waiting)
        if active != container.active:
            container.active = active
            change = 1 if active else -1
            container.function.active += change
            self.total_active += change

    def may_activate(self, function: Function) -> bool:
        """True if one more container of the function may start, or begin to run inputs, now."""
        return policy.may_activate(function, self.total_active, self.slots, len(self.hungry))

    def full_with(self, function: Function) -> bool:
        """True if no core is free and the function uses one of them."""
        return self.total_active >= self.slots and function.active > 0

    def may_lease(self, function: Function, container: Container) -> bool:
        """Idle containers need leave to become active; busy ones get more only while nobody is kept from its share."""
        if container.active:
            return self.total_active <= self.slots or self.may_activate(function)
        return self.may_activate(function)
