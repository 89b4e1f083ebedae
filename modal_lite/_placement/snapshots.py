"""Which snapshot process a container is forked from: one for each function, made when its first container is wanted."""

import asyncio
import logging
from collections.abc import Callable

from modal_lite._core.messages import ContainerSpec, Fork
from modal_lite._placement.forking import ForkingProcess, OnExit
from modal_lite._placement.local_container import LocalContainer
from modal_lite._placement.snapshot_process import SnapshotProcess
from modal_lite._placement.template_process import TemplateProcess

logger = logging.getLogger("modal_lite.snapshots")


class Snapshots:
    """The snapshot processes. All methods are called on one event loop.

    Args:
        on_exit: Called once for each container: `on_exit(id, status, reason)`.
        template: Gives the template that lives. Raises OSError if it cannot be started.
    """

    def __init__(self, on_exit: OnExit, template: Callable[[], TemplateProcess]) -> None:
        self._on_exit = on_exit
        self._template = template
        self._serving: dict[str, SnapshotProcess] = {}
        """Those to start containers from, by function."""
        self._living: dict[str, SnapshotProcess] = {}
        """All that have not ended, by id."""
        self._of_no_use: set[str] = set()
        """Functions that cannot have one."""
        self._said: set[str] = set()
        self._closed = False

    def start(self, spec: ContainerSpec, container: LocalContainer) -> None:
        """Has the container forked from the snapshot of its function, or tells `on_exit` that it could not be."""
        if self._closed:
            self._fail(container, None, "it was ended before it had started")
            return
        try:
            process = self._process_for(spec, container)
        except OSError as error:
            self._fail(container, None, f"it could not be started: {error}")
            return
        process.fork(spec.container_id, Fork(spec), container)

    def of_container(self, container_id: str) -> SnapshotProcess | None:
        """The process that the container is forked from, or waits for."""
        for snapshot in self._living.values():
            if container_id in snapshot.children:
                return snapshot
        return None

    def child_exited(self, child_id: str, status: int | None, reason: str) -> None:
        """Told how a child of a template ended, a container or a snapshot process."""
        snapshot = self._living.pop(child_id, None)
        if snapshot is None:
            self._on_exit(child_id, status, reason)
            return
        self._retire(snapshot)
        waiting = snapshot.take_waiting()
        snapshot.has_ended(reason or f"the snapshot process of its function ended with status {status}")
        if snapshot.taken is None and waiting:
            # The one that it was made for has ended in it; the others have only waited.
            _, maker = waiting.pop(0)
            self._fail(maker, status, reason)
        for message, container in waiting:
            self.start(message.spec, container)

    def forget(self, function_id: str) -> None:
        """The function is gone: ends its snapshot."""
        self._of_no_use.discard(function_id)
        snapshot = self._serving.pop(function_id, None)
        if snapshot is not None:
            snapshot.end()

    def close(self) -> None:
        """Starts no more containers, also not those that wait."""
        self._closed = True
        for snapshot in self._living.values():
            snapshot.withdraw_all()

    def end_all(self) -> None:
        """Has every snapshot process end; the template tells when they have."""
        for snapshot in self._living.values():
            snapshot.end()

    def _process_for(self, spec: ContainerSpec, container: LocalContainer) -> ForkingProcess:
        """What the container is to be forked from. Raises OSError if there is none and it cannot be started."""
        if spec.function_id in self._of_no_use:
            return self._template()
        snapshot = self._serving.get(spec.function_id)
        if snapshot is None or snapshot.lost:
            snapshot = SnapshotProcess(self._on_exit, self._taken, self._template(), spec, container)
            self._serving[spec.function_id] = self._living[snapshot.snapshot_id] = snapshot
        return snapshot

    def _taken(self, snapshot: SnapshotProcess) -> None:
        assert snapshot.taken is not None
        if snapshot.taken.failed:
            # Who wants a container from now on shall have another attempt.
            self._retire(snapshot)
        elif snapshot.taken.obstacles:
            self._retire(snapshot)
            self._of_no_use.add(snapshot.function_id)
            for message, container in snapshot.take_waiting():
                self._warn(message.spec, snapshot.taken.obstacles)
                self.start(message.spec, container)

    def _retire(self, snapshot: SnapshotProcess) -> None:
        if self._serving.get(snapshot.function_id) is snapshot:
            del self._serving[snapshot.function_id]

    def _fail(self, container: LocalContainer, status: int | None, reason: str) -> None:
        container.close_remote()
        asyncio.get_running_loop().call_soon(self._on_exit, container.container_id, status, reason)

    def _warn(self, spec: ContainerSpec, obstacles: list[str]) -> None:
        name = f"{spec.module_name}.{spec.qualname}"
        if name in self._said:
            return
        self._said.add(name)
        logger.warning(
            "enable_memory_snapshot=True has no effect on %s: after its import and its @modal_lite.enter(snap=True) "
            "hooks %s; such a process cannot be forked safely. Each container imports and enters by itself. Start "
            "threads and use GPUs in a hook with plain @modal_lite.enter(), or in the function.",
            spec.tag,
            " and ".join(obstacles),
        )
