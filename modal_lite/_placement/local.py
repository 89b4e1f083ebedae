"""Containers as processes on this machine, forked from a warm template."""

import signal

from modal_lite._core.messages import ContainerSpec, Fork
from modal_lite._placement.forking import ForkingProcess, OnExit
from modal_lite._placement.launch import Launched
from modal_lite._placement.local_container import LocalContainer
from modal_lite._placement.snapshots import Snapshots
from modal_lite._placement.template_process import TemplateProcess


class LocalPlacer:
    """Implements `Placer`. All methods are called on one event loop.

    Args:
        on_exit: Told once for each container how it ended: its id; its exit status, negative for a signal, None if that
            is not known or it never ran; the reason, if there is more to say.
        launched: A template that was started ahead; None to start one when the placer is opened.
    """

    def __init__(self, on_exit: OnExit, launched: Launched | None = None) -> None:
        self._snapshots = Snapshots(on_exit, self._live_template)
        self._launched = launched
        self._template: TemplateProcess | None = None
        self._lost: list[TemplateProcess] = []
        self._closed = False

    @property
    def template_pid(self) -> int | None:
        """The process that containers are forked from, None before it is started."""
        return None if self._template is None else self._template.pid

    async def open(self) -> None:
        """Starts the template, and does not wait for it."""
        self._live_template()

    def start(self, spec: ContainerSpec) -> LocalContainer:
        """Starts a container; returns before it runs.

        Raises:
            OSError: This process is out of descriptors, or cannot start the template.
            RuntimeError: The placer is closed.
        """
        template = self._live_template()
        container = LocalContainer(spec.container_id)
        if spec.snapshot:
            self._snapshots.start(spec, container)
        else:
            template.fork(spec.container_id, Fork(spec), container)
        return container

    def withdraw(self, container_id: str) -> bool:
        """Gives a container up that is not running yet; False if it may be running, or has ended."""
        parent = self._parent(container_id)
        return parent is not None and parent.withdraw(container_id)

    def kill(self, container_id: str, signal: int = signal.SIGKILL) -> None:
        """Sends a signal to the container. Nothing happens if it has ended."""
        parent = self._parent(container_id)
        if parent is not None:
            parent.kill(container_id, signal)

    def forget(self, function_id: str) -> None:
        """Ends the snapshot process of the function, if there is one, without waiting for its end."""
        self._snapshots.forget(function_id)

    async def close(self, grace: float) -> None:
        """Ends every container and the template. No process is left.

        Args:
            grace: Seconds that containers may take to end by themselves (they get SIGTERM) before they are killed.
        """
        self._closed = True
        self._snapshots.close()
        try:
            if self._template is not None:
                await self._template.empty(grace)
        finally:
            self._snapshots.end_all()
            for template in (*self._lost, self._template):
                if template is not None:
                    await template.close()

    def _parent(self, container_id: str) -> ForkingProcess | None:
        """What the container is forked from, or is to be."""
        if self._template is not None and container_id in self._template.children:
            return self._template
        return self._snapshots.of_container(container_id)

    def _live_template(self) -> TemplateProcess:
        if self._closed:
            raise RuntimeError("the placer is closed")
        if self._template is not None and self._template.lost:
            self._lost = [template for template in (*self._lost, self._template) if not template.ended]
            self._template = None
        if self._template is None:
            launched, self._launched = self._launched, None
            self._template = TemplateProcess(self._snapshots.child_exited, launched)
        return self._template
