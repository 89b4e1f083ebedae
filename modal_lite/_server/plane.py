"""The shell around the scheduler: turns messages into events and carries commands out."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from modal_lite._core.ids import new_id
from modal_lite._core.interfaces import Connection, Placer
from modal_lite._core.log_streams import SERVER
from modal_lite._core.messages import (
    ANY_INPUT,
    CancelInput,
    ContainerSpec,
    Failure,
    FailureKind,
    FromContainer,
    FromContainerControl,
    GeneratorCredit,
    GeneratorDone,
    InputFailed,
    Lease,
    Leaving,
    MainModule,
    Outputs,
    Ready,
    Recall,
    RequestTaken,
    Returned,
    StartFailed,
    Stop,
    Yielded,
)
from modal_lite._core.payload import Payload, payload_of
from modal_lite._core.requests import CallKind, FunctionDefinition, Output
from modal_lite._placement.gpus import present_gpus
from modal_lite._scheduler import Scheduler, commands, events
from modal_lite._scheduler.records import IllegalTransition
from modal_lite._server.calls import CallState, Chunk
from modal_lite._server.containers import ContainerLink
from modal_lite._server.gpus import Gpus
from modal_lite._server.logs import Written
from modal_lite._server.sessions import ClientSession
from modal_lite._server.terminals import Terminals
from modal_lite._server.web_call import WebCall

logger = logging.getLogger("modal_lite.plane")

STOP_GRACE = 1.0
"""Seconds a container may take to end when it is asked to."""

_UNATTENDED = (CallKind.UNARY, CallKind.DETACHED, CallKind.WEB)
"""Calls that nobody asks for once they have finished."""
_STREAMED = (CallKind.GENERATOR, CallKind.WEB)
"""Calls whose values go to somebody who waits for them."""


class Environment(msgspec.Struct, frozen=True):
    """What a container shares with the program that its app was started or deployed by."""

    main: MainModule | None
    sys_path: list[str]
    cwd: str
    name: str
    """`MODAL_ENVIRONMENT`."""
    on_server: bool = False


class ControlPlane:
    """Functions, calls and containers of the running apps. Lives on one event loop.

    Args:
        make_placer: given a callback for ended containers, makes what starts them.
        environment: of a function's containers; read anew for each.
        service: answers the calls of user code in the containers.
        on_output: gets what containers write.
        gives_gpus: it decides which GPUs a container has; else whoever places containers does.
    """

    def __init__(
        self,
        make_placer: Callable[[Callable[[str, int | None, str], None]], Placer],
        environment: Callable[[FunctionDefinition], Environment],
        service: Connection,
        on_output: Callable[[Written], None],
        gives_gpus: bool = True,
    ) -> None:
        self.scheduler = Scheduler(_cores(), lambda: new_id("ta"))
        self.functions: dict[str, FunctionDefinition] = {}
        self.calls: dict[str, CallState] = {}
        self.links: dict[str, ContainerLink] = {}
        self.sessions: dict[str, ClientSession] = {}
        self.terminals = Terminals()
        self._start_failures: dict[str, Output] = {}
        self._hurried: set[str] = set()
        """Functions that are being removed without time for exit hooks."""
        self._gpus = Gpus() if gives_gpus else None
        self._placer = make_placer(self._container_exited)
        self._environment = environment
        self._service = service
        self._on_output = on_output
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Event = asyncio.Event()
        self._report = Output(0, 0)
        self._unfinished = 0
        self._carriers: dict[type[commands.Command], Callable[..., None]] = {
            commands.StartContainer: self._start_container,
            commands.StopContainer: self._stop_container,
            commands.KillContainer: self._kill_container,
            commands.SendLease: self._send_lease,
            commands.RecallLease: lambda c: self.links[c.container_id].control.send(Recall(c.lease_id)),
            commands.InterruptLease: lambda c: self.links[c.container_id].control.send(
                CancelInput(c.lease_id, ANY_INPUT, c.timed_out)
            ),
            commands.AcceptOutputs: self._accept_outputs,
            commands.AcceptFailure: self._accept_failure,
            commands.FailInputs: self._fail_inputs,
            commands.FinishCall: self._finish_call,
        }

    async def open(self) -> None:
        """Gets ready to start containers."""
        await self._placer.open()

    async def close(self) -> None:
        """Ends every container and all that was started with them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.terminals.close_all()
        # Containers that end now are not replaced.
        self._carriers[commands.StartContainer] = lambda command: None
        await self._placer.close(STOP_GRACE)
        # Before the links, which close the sockets.
        for session in list(self.sessions.values()):
            session.close()
        self.sessions.clear()
        for link in list(self.links.values()):
            link.close()
        self.links.clear()

    async def find_gpus(self) -> None:
        """Looks for GPUs, once. To be called before a function that wants some is added."""
        if self._gpus is not None and self._gpus.devices is None:
            # A thread that is gone afterwards, which the loop's own would not be.
            with ThreadPoolExecutor(1) as thread:
                found = await self._loop.run_in_executor(thread, present_gpus)
            if self._gpus.devices is None:
                self._gpus.devices = found
                self.happened(events.DevicesFound(len(found)))

    def is_busy(self) -> bool:
        """True while a call is under way."""
        return self._unfinished > 0

    def happened(self, event: events.Event) -> None:
        """Tells the scheduler and carries out what it wants."""
        now = time.monotonic()
        carriers = self._carriers
        for command in self.scheduler.handle(event, now):
            carriers[type(command)](command)
        due = self.scheduler.next_deadline()
        if due is not None and (self._timer is None or due < self._timer.when() - 1e-4):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(due, self._time_passed)

    def _time_passed(self) -> None:
        self._timer = None
        self.happened(events.TimePassed())

    async def remove_functions(self, function_ids: list[str], hurried: bool) -> None:
        """Ends the functions; returns when none of their containers is left. Exit hooks have no time if `hurried`."""
        removed = set(function_ids)
        known = [function_id for function_id in function_ids if function_id in self.functions]
        exits = max((self.functions[function_id].settings.exit_grace for function_id in known), default=0.0)
        if hurried:
            exits = 0.0
            self._hurry(removed)
        for function_id in known:
            self.happened(events.FunctionRemoved(function_id))
        try:
            async with asyncio.timeout(STOP_GRACE + exits + 1.0):
                while any(link.definition.function_id in removed for link in self.links.values()):
                    self._emptied.clear()
                    await self._emptied.wait()
        except TimeoutError:
            pass
        finally:
            # Also when Ctrl-C has ended the wait for exit hooks: nothing of the functions is left.
            self._drop(removed)

    def _drop(self, function_ids: set[str]) -> None:
        for link in self.links.values():
            if link.definition.function_id in function_ids:
                self._placer.kill(link.container_id)
        for call_id in [c.call_id for c in self.calls.values() if c.function_id in function_ids]:
            self.forget(call_id)
        for function_id in function_ids:
            self.functions.pop(function_id, None)
            self._start_failures.pop(function_id, None)
            self._placer.forget(function_id)
        self._hurried -= function_ids

    def _hurry(self, function_ids: set[str]) -> None:
        self._hurried |= function_ids
        for link in self.links.values():
            # These are in their exit hooks.
            if link.stopping and link.definition.function_id in function_ids:
                link.control.send(Stop(STOP_GRACE))

    # --- commands ----------------------------------------------------------------------------------------------------

    def _start_container(self, command: commands.StartContainer) -> None:
        definition = self.functions[command.function_id]
        gpus = ""
        if self._gpus is not None:
            taken = self._gpus.take(command.container_id, definition.settings.gpus)
            if taken is None:
                self._not_started(command, Failure(FailureKind.INVALID, self._gpus.describe_lack(definition)), True)
                return
            gpus = taken
        try:
            placed = self._placer.start(self._spec(command.container_id, definition, gpus))
        except OSError as error:
            self._give_back_gpus(command.container_id)
            message = f"A container of {definition.tag} could not be started: {error}."
            self._not_started(command, Failure(FailureKind.LOST, message), False)
            return
        link = ContainerLink(
            placed, definition, self._container_said, self._container_gone, self._container_wrote, self._control_said
        )
        self.links[command.container_id] = link
        self.terminals.started(link)
        self.sessions[command.container_id] = ClientSession(
            placed, self._service, self._waiting_of(command.container_id), definition.settings.max_inputs > 1
        )

    def _not_started(self, command: commands.StartContainer, failure: Failure, certain: bool) -> None:
        """There is no such container; `certain` if the next attempt would end the same way."""
        self._start_failures[command.function_id] = Output(0, 0, failure)
        # Not at once: the scheduler's other commands come first.
        self._loop.call_soon(self.happened, events.ContainerGone(command.container_id, None, certain))

    def _spec(self, container_id: str, definition: FunctionDefinition, gpus: str) -> ContainerSpec:
        environment = self._environment(definition)
        settings = definition.settings
        return ContainerSpec(
            container_id,
            definition.app_id,
            definition.app_name,
            definition.function_id,
            definition.tag,
            definition.module_name,
            definition.qualname,
            definition.file_path,
            definition.serialized,
            definition.is_generator,
            environment.main,
            environment.sys_path,
            environment.cwd,
            {
                **definition.env,
                "MODAL_IS_REMOTE": "1",
                "MODAL_ENVIRONMENT": environment.name,
            },
            definition.parameters,
            settings.cpu,
            settings.cpu_limit,
            settings.memory_limit,
            settings.max_inputs,
            settings.max_batch_size,
            settings.batch_wait,
            {**({"CUDA_VISIBLE_DEVICES": gpus} if gpus else {}), "MODAL_TASK_ID": container_id},
            settings.snapshot,
            self.terminals.spec_for(definition.function_id),
            settings.runs_program,
            environment.on_server,
            definition.web,
            settings.memory,
            settings.gpus,
            settings.regions,
            settings.cloud,
        )

    def _waiting_of(self, container_id: str) -> Callable[[int], None]:
        def tell(waits: int) -> None:
            if container_id in self.scheduler.containers:
                self.happened(events.ContainerWaiting(container_id, waits))

        return tell

    def _stop_container(self, command: commands.StopContainer) -> None:
        link = self.links.get(command.container_id)
        if link is not None:
            link.stopping = True
            if self._placer.withdraw(command.container_id):
                return
            definition = link.definition
            exits = 0.0 if definition.function_id in self._hurried else definition.settings.exit_grace
            link.control.send(Stop(STOP_GRACE, exits))

    def _kill_container(self, command: commands.KillContainer) -> None:
        logger.info("killing container %s: %s", command.container_id, command.reason)
        link = self.links.get(command.container_id)
        if link is not None:
            link.killed_for = command.reason
            # Now, and again when it is gone: the scheduler does not wait for that to give up a function.
            self._note_failed_start(link)
        self._placer.kill(command.container_id)

    def _note_failed_start(self, link: ContainerLink) -> None:
        if not (link.ready or link.stopping or link.start_error):
            failure = Failure(FailureKind.LOST, link.describe_failed_start())
            self._start_failures[link.definition.function_id] = Output(0, 0, failure)

    def _send_lease(self, command: commands.SendLease) -> None:
        call = self.calls[command.call_id]
        link = self.links[command.container_id]
        chunk = call.chunks[command.chunk]
        if call.kind in (CallKind.GENERATOR, CallKind.DETACHED, CallKind.WEB):
            call.received = call.consumed = 0
            link.generators[command.lease_id] = call.call_id
            call.credit = lambda count: link.control.send(GeneratorCredit(command.lease_id, count))
        if isinstance(call, WebCall):
            call.leased(link, command.lease_id)
            if call.once:
                # Not at once: the scheduler's other commands come first.
                begun = events.OutputBegan(command.container_id, command.lease_id)
                self._loop.call_soon(self._happened_there, begun)
        link.data.send(
            Lease(
                command.lease_id,
                command.call_id,
                command.chunk,
                command.start,
                command.stop,
                chunk.encoding,
                chunk.payload.sizes,
                call.method,
            ),
            chunk.payload,
        )

    def _happened_there(self, event: events.OutputBegan) -> None:
        """As `happened`, for what is said of a container later, if it is there then."""
        if event.container_id in self.scheduler.containers:
            self.happened(event)

    def _accept_outputs(self, command: commands.AcceptOutputs) -> None:
        call = self.calls[command.call_id]
        call.settle(command.chunk, command.count)
        if call.kind is not CallKind.GENERATOR:
            call.deliver(self._report)

    def _accept_failure(self, command: commands.AcceptFailure) -> None:
        call = self.calls[command.call_id]
        call.settle(command.chunk, 1)
        report, failure = self._report, self._report.failure
        if failure is not None and failure.kind is FailureKind.TIMEOUT:
            # Containers do not know the limit.
            failure = msgspec.structs.replace(failure, message=f"{self._describe_timeout(call)}.")
            report = msgspec.structs.replace(report, failure=failure)
        call.deliver(report)

    def _fail_inputs(self, command: commands.FailInputs) -> None:
        call = self.calls.get(command.call_id)
        if call is None:
            return
        call.settle(command.chunk, command.count)
        call.deliver(self._failed_output(call, command))

    def _failed_output(self, call: CallState, command: commands.FailInputs) -> Output:
        definition = self.functions[call.function_id]
        kind = command.kind
        if kind is FailureKind.CANCELLED:
            message = f"The call {call.call_id} of {self._name_of(call)} was cancelled."
        elif kind is FailureKind.TIMEOUT:
            nor = "" if definition.settings.in_threads else ", nor when interrupted"
            message = f"{self._describe_timeout(call)}{nor}."
        elif kind is FailureKind.INIT and (known := self._start_failures.get(definition.function_id)) is not None:
            return msgspec.structs.replace(known, start=command.start, count=command.count)
        else:
            kind = FailureKind.LOST
            message = self.links[command.container_id].describe_loss(call.received)
        return Output(command.start, command.count, Failure(kind, message))

    def _name_of(self, call: CallState) -> str:
        tag = self.functions[call.function_id].tag
        return f"{tag}.{call.method}" if call.method else tag

    def _describe_timeout(self, call: CallState) -> str:
        seconds = self.functions[call.function_id].settings.timeout
        return f"{self._name_of(call)} did not end within its timeout of {seconds:g} seconds"

    def _finish_call(self, command: commands.FinishCall) -> None:
        self._unfinished -= 1
        call = self.calls.get(command.call_id)
        if call is not None:
            if call.kind in _UNATTENDED:
                del self.calls[call.call_id]
            call.finish()

    # --- containers --------------------------------------------------------------------------------------------------

    def _container_said(self, link: ContainerLink, message: FromContainer, body: memoryview) -> None:
        try:
            self._understand(link, message, body)
        except IllegalTransition as error:
            logger.error("container %s broke the protocol: %s", link.container_id, error)
            link.fail(str(error))
            self._placer.kill(link.container_id)

    def _understand(self, link: ContainerLink, message: FromContainer, body: memoryview) -> None:
        container_id = link.container_id
        match message:
            case Outputs():
                link.generators.pop(message.lease_id, None)
                payload = payload_of(message.sizes, body)
                self._report = Output(message.start, message.count, None, payload)
                self.happened(
                    events.OutputsReported(
                        container_id, message.lease_id, message.start, message.count, message.elapsed
                    )
                )
            case InputFailed():
                payload = payload_of(message.sizes, body)
                self._report = Output(message.index, 1, message.failure, payload)
                link.generators.pop(message.lease_id, None)
                self.happened(
                    events.FailureReported(
                        container_id, message.lease_id, message.index, message.elapsed, message.failure.kind
                    )
                )
            case Yielded():
                self._yielded(link, message, payload_of(message.sizes, body))
            case GeneratorDone():
                if link.generators.pop(message.lease_id, None) is None:
                    raise IllegalTransition(f"lease {message.lease_id} is no generator's of {container_id}")
                self.happened(events.OutputsReported(container_id, message.lease_id, 0, 1, message.elapsed))
            case Returned():
                link.generators.pop(message.lease_id, None)
                self.happened(events.InputsReturned(container_id, message.lease_id, message.start))
            case Leaving():
                if container_id in self.scheduler.containers:
                    self.happened(events.ContainerLeaving(container_id))
            case Ready():
                link.ready = True
                self.happened(events.ContainerReady(container_id))
            case StartFailed():
                link.start_error = True
                failed = Output(0, 0, message.failure, payload_of(message.sizes, body))
                self._start_failures[link.definition.function_id] = failed

    def _yielded(self, link: ContainerLink, message: Yielded, payload: Payload) -> None:
        if message.count <= 0:
            raise IllegalTransition(f"{message.count} values cannot be yielded by {link.container_id}")
        call = self.calls.get(link.generators.get(message.lease_id, ""))
        if call is None:
            return
        start = call.received
        call.received += message.count
        if call.kind in _STREAMED:
            if not start:
                self.happened(events.OutputBegan(link.container_id, message.lease_id))
            call.deliver(Output(start, message.count, None, payload))
        else:
            self.consumed(call, call.received)

    def _control_said(self, link: ContainerLink, message: FromContainerControl) -> None:
        if not isinstance(message, RequestTaken):
            self.terminals.said(link, message)
            return
        call = self.calls.get(link.generators.get(message.lease_id, ""))
        if isinstance(call, WebCall):
            if not message.count and link.container_id in self.scheduler.containers:
                # What it gets from now on is not kept for a second attempt.
                self.happened(events.OutputBegan(link.container_id, message.lease_id))
            call.took(message.count)

    def consumed(self, call: CallState, count: int) -> None:
        """The consumer of a generator call has taken `count` values in all."""
        call.consumed = count
        if call.credit is not None:
            call.credit(count)

    def say(self, container_id: str, text: str) -> None:
        """Adds a line of the server's own to what the container writes, for those who wait for it."""
        link = self.links.get(container_id)
        if link is not None:
            self._on_output(Written(link.definition, container_id, None, SERVER, [text], False))

    def _container_wrote(self, link: ContainerLink, stream: str, lines: list[str], transient: bool) -> None:
        container = self.scheduler.containers.get(link.container_id)
        running = link.placed.running()
        input_id = None if container is None or running is None else container.input_id(*running)
        self._on_output(Written(link.definition, link.container_id, input_id, stream, lines, transient))

    def _give_back_gpus(self, container_id: str) -> None:
        if self._gpus is not None:
            self._gpus.give_back(container_id)

    def _ran(self, link: ContainerLink) -> tuple[int, int] | None:
        """Lease and index of the input that ran when the container ended."""
        container = self.scheduler.containers.get(link.container_id)
        if link.placed.vanished and container is not None and container.leases:
            # With its machine, as far as anybody knows: then the next that was due is taken to be what ran, so that
            # an input that takes machines down is not tried for ever.
            head = container.leases[0]
            return head.lease_id, head.reported
        return link.placed.running()

    def _container_exited(self, container_id: str, status: int | None, reason: str) -> None:
        link = self.links.get(container_id)
        if link is not None:
            link.exited(status, reason)

    def _container_gone(self, link: ContainerLink) -> None:
        container_id = link.container_id
        running = self._ran(link)
        if not link.stopping and not link.start_error:
            logger.info("container %s of %s %s", container_id, link.definition.tag, link.describe_end())
        self._note_failed_start(link)
        self.sessions.pop(container_id).close()
        self.terminals.gone(link)
        self._give_back_gpus(container_id)
        self.happened(events.ContainerGone(container_id, running, link.start_error, link.placed.vanished))
        del self.links[container_id]
        link.close()
        self._emptied.set()

    # --- calls -------------------------------------------------------------------------------------------------------

    def open_call(self, call: CallState, parent: tuple[str, int] | None, chunk: Chunk | None) -> None:
        """Accepts a call, with its only input if `chunk` is given.

        Calls of one input that nobody asks for afterwards are gone once they have finished.

        Raises IllegalTransition, having changed nothing, for the id of another call.
        """
        if call.call_id in self.scheduler.calls:
            raise IllegalTransition(f"call {call.call_id} was opened before")
        self.calls[call.call_id] = call
        count = 0
        if chunk is not None:
            call.chunks[0] = chunk
            count = chunk.outstanding
        forgotten = call.kind in _UNATTENDED
        closed = chunk is not None
        try:
            self.happened(
                events.CallOpened(call.call_id, call.function_id, parent, count, closed, forgotten, call.method)
            )
        except IllegalTransition:
            del self.calls[call.call_id]
            raise
        self._unfinished += 1

    def add_inputs(self, call: CallState, start: int, chunk: Chunk, ranges: list[tuple[int, int]]) -> None:
        """Accepts inputs [start, start + chunk.outstanding) of an open call; of them those of the ranges, if any.

        Raises IllegalTransition, having changed nothing, if that cannot be: they are not behind those before them.
        """
        if start in call.chunks:
            raise IllegalTransition(f"input {start} of {call.call_id} was added before")
        if ranges:
            self._check_ranges(call.call_id, start, start + chunk.outstanding, ranges)
        call.chunks[start] = chunk
        if ranges:
            chunk.outstanding = sum(range_stop - range_start for range_start, range_stop in ranges)
            for range_start, range_stop in ranges:
                self.happened(events.InputsAdded(call.call_id, range_start, range_stop - range_start, start))
            return
        try:
            self.happened(events.InputsAdded(call.call_id, start, chunk.outstanding))
        except IllegalTransition:
            del call.chunks[start]
            raise

    def _check_ranges(self, call_id: str, start: int, stop: int, ranges: list[tuple[int, int]]) -> None:
        known = self.scheduler.calls.get(call_id)
        if known is None or (known.closed and not known.cancelled):
            raise IllegalTransition(f"call {call_id} takes no more inputs")
        at = max(start, known.following)
        for range_start, range_stop in ranges:
            if not at <= range_start < range_stop <= stop:
                raise IllegalTransition(f"[{range_start}, {range_stop}) are not the next inputs of {call_id}")
            at = range_stop

    def forget(self, call_id: str) -> None:
        """Drops a call, and cancels what is unfinished of it. Nothing happens for a call that is not known."""
        if call_id in self.scheduler.calls:
            self.happened(events.CallForgotten(call_id))
        self.calls.pop(call_id, None)


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1
