"""Answers requests on a server: those of an embedded one, deployments, look-ups, and calls that are stored."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from modal_lite._core import snapshot
from modal_lite._core.ids import new_id
from modal_lite._core.interfaces import OnEnd, Store, StoreFigures
from modal_lite._core.messages import Encoding
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.request_base import Reply
from modal_lite._core.requests import (
    DONE,
    AddVariant,
    AnyRequest,
    CallDescription,
    CallGraphReply,
    CallKind,
    CancelCall,
    CloseApp,
    DeployApp,
    Deployed,
    DescribeCall,
    ExchangeChunk,
    FindFunction,
    ForgetCall,
    Found,
    FoundDeployed,
    FoundFunction,
    FunctionDefinition,
    GetCallGraph,
    GetOutput,
    HasSnapshot,
    Hello,
    LookUp,
    LookUpApp,
    OpenApp,
    OpenMap,
    OutputBatch,
    PutSnapshot,
    RunCall,
    StartCall,
    UpdateFunction,
)
from modal_lite._core.serialization import dumps
from modal_lite._core.stored import StoredCall, StoredChunk, Unfinished
from modal_lite._scheduler import events
from modal_lite._scheduler.introspection import call_graph, function_stats
from modal_lite._server.api import FunctionView
from modal_lite._server.app_logs import AppLogs
from modal_lite._server.calls import Chunk
from modal_lite._server.catalogue import Catalogue, DeployedApp, python_version, split_version, version_id
from modal_lite._server.durable import KEEP_CALLS, KEEP_OUTPUTS, DurableCall, DurableCalls, check_storable, remaining
from modal_lite._server.firing import Firing
from modal_lite._server.limits import MAX_CALLS, check, check_count
from modal_lite._server.observed_plane import ObservedPlane
from modal_lite._server.plane import ControlPlane
from modal_lite._server.pruning import remove_snapshots, touch
from modal_lite._server.schedules import check_schedules, spelled
from modal_lite._server.service import Service, parent_of
from modal_lite._server.web_addresses import WebAddresses
from modal_lite.call_graph import InputInfo
from modal_lite.exception import Error, ExecutionError, InvalidError, NotFoundError

logger = logging.getLogger("modal_lite.server")

SWEEP = 0.25
"""Seconds between two looks for replaced versions that nothing runs on any more."""
EPHEMERAL = 5.0
"""Seconds between two looks for apps that nobody needs any more."""
EXPIRY = 600.0
"""Seconds between two looks for results that have expired."""
FOLLOWED = 10.0
"""Seconds since its output was last asked for, in which an app is in use."""
ABANDONED = 90.0
"""Seconds after a restart in which a client may go on with a `spawn_map` that it had not finished."""
_KEPT = (CallKind.SPAWNED, CallKind.DETACHED)


class ServerService(Service):
    """Implements `Connection` for a server. `open` it before it is asked anything, `close` it in the end.

    Args:
        make_plane: As for `Service`.
        store: What outlives the server. Closed by whoever made it.
        snapshots: The folder of source snapshots.
        logs: What containers wrote.
    """

    def __init__(
        self, make_plane: Callable[[Service], ControlPlane], store: Store, snapshots: Path, logs: AppLogs
    ) -> None:
        super().__init__(make_plane)
        self.catalogue = Catalogue(store, snapshots)
        self._store = store
        self._snapshots = snapshots
        self._logs = logs
        self._firing = Firing(self.catalogue.schedules, self._fire)
        self._retired: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._deploying = asyncio.Lock()
        self.web_addresses = WebAddresses(self._web, store)
        self._handlers |= {
            HasSnapshot: self._has_snapshot,
            PutSnapshot: self._put_snapshot,
            DeployApp: self._deploy,
            LookUp: self._look_up,
            LookUpApp: self._look_up_app,
            Hello: _greet,
            OpenApp: _refuse_open,
            CloseApp: self._close_app,
        }

    async def open(self) -> None:
        """Takes up what was there when the server ended."""
        await self.catalogue.load()
        await self.web_addresses.load()
        plane = self._plane = self._make_plane(self)
        self._durable = DurableCalls(self._store, plane.calls, self._graph, plane.forget)
        await plane.open()
        for app in self.catalogue.apps():
            if app.is_deployed:
                await self._start(app)
        unfinished = await self._store.load_unfinished()
        for each in unfinished:
            self._resume(each)
        self._own(self._firing.run())
        self._own(self._tidy_forever())
        self._own(self._stop_ephemeral())
        self._own(self._give_up_abandoned([each.call.call_id for each in unfinished if not each.call.closed]))

    def rest(self) -> None:
        """The server is about to end: what is due from now on is left to its next start."""
        self._firing.stop()

    def seal(self) -> None:
        """Stores nothing any more of what ends: it does so because the server ends, and is to be done again."""
        if self._plane is not None:
            self._durable.seal()

    async def close(self) -> None:
        """Ends the containers. What was accepted and has not ended is done again when the server starts."""
        if self._plane is None:
            return
        self.seal()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._web.close()
        plane, self._plane = self._plane, None
        await plane.close()

    async def request(self, request: AnyRequest, payload: Payload = EMPTY) -> Any:
        """See `Connection.request`."""
        check(request, payload)
        return await super().request(request, payload)

    def notify(self, request: AnyRequest) -> None:
        """See `Connection.notify`."""
        if self._plane is not None and isinstance(request, ForgetCall):
            self._durable.drop(request.call_id)
        super().notify(request)

    def run(self, request: RunCall, payload: Payload, on_end: OnEnd) -> Callable[[], None]:
        """See `Connection.run`."""
        calls = self._running().scheduler.calls
        check(request, payload)
        check_count(len(calls), MAX_CALLS, "calls under way")
        if request.call_id in calls:
            raise ExecutionError(f"The call {request.call_id} was made before, and its result is not kept.")
        return super().run(request, payload, on_end)

    def figures(self) -> dict[str, int]:
        """How much there is, for people."""
        plane = self._running()
        return {
            "apps": sum(app.is_deployed for app in self.catalogue.apps()),
            "containers": len(plane.links),
            "calls": sum(not call.finished for call in plane.scheduler.calls.values()),
        }

    async def metrics(self, render: Callable[[ObservedPlane, list[DeployedApp], StoreFigures], bytes]) -> bytes:
        """What `render` makes of the figures of the moment."""
        apps = [app for app in self.catalogue.apps() if app.is_deployed]
        return render(self.observed, apps, await self._store.figures())

    def describe_functions(self, app: DeployedApp) -> list[FunctionView]:
        """The functions of the app's current version, and what they do at the moment."""
        of_tag = self.observed.functions_by_tag()
        views = []
        for function in app.current.functions:
            tag, function_id = function.definition.tag, function.definition.function_id
            stats = [function_stats(each) for each in of_tag.get((app.stored.app_id, tag), [])]
            stored, next_run = self.catalogue.schedules.find(function_id) or (None, None)
            views.append(
                FunctionView(
                    tag,
                    function_id,
                    function.methods is not None,
                    sum(each.backlog for each in stats),
                    sum(each.num_running_inputs for each in stats),
                    sum(each.num_total_runners for each in stats),
                    None if stored is None else spelled(stored.schedule),
                    next_run,
                    None if stored is None else stored.last,
                    None if stored is None else stored.call_id,
                )
            )
        return views

    async def list_calls(self, app_id: str | None, unfinished: bool, limit: int) -> list[StoredCall]:
        """The newest stored calls. See `Store.list_calls`."""
        return await self._store.list_calls(app_id, unfinished, limit)

    async def find_call(self, call_id: str) -> StoredCall:
        """A stored call. Raises NotFoundError."""
        return await self._durable.find(call_id)

    @property
    def observed(self) -> ObservedPlane:
        """The control plane."""
        plane = self._running()
        assert isinstance(plane, ObservedPlane)
        return plane

    # --- deployments -------------------------------------------------------------------------------------------------

    async def _has_snapshot(self, request: HasSnapshot, payload: Payload) -> Reply:
        if not snapshot.is_digest(request.digest):
            return Found(False)
        touch(self._snapshots / request.digest)
        return Found((self._snapshots / request.digest).is_dir())

    async def _put_snapshot(self, request: PutSnapshot, payload: Payload) -> Reply:
        data = b"".join(payload.parts)
        if not snapshot.is_digest(request.digest):
            raise InvalidError(f"{request.digest!r:.100} is not the digest of a snapshot.")
        await asyncio.to_thread(snapshot.unpack, request.digest, data, self._snapshots)
        return DONE

    async def _deploy(self, request: DeployApp, payload: Payload) -> Reply:
        check_schedules(request.functions)
        _check_python(request)
        digest = request.source.digest
        async with self._deploying:
            if not snapshot.is_digest(digest) or not (self._snapshots / digest).is_dir():
                raise NotFoundError(f"The server has no source snapshot {digest!r:.100}.")
            app = self.catalogue.deploy(request)
            self._firing.changed()
            return await self._deployed(app)

    async def roll_back(self, app: DeployedApp, version: int | None) -> Deployed:
        """Deploys an earlier version of the app once more; None: the one before the current one."""
        async with self._deploying:
            self.catalogue.roll_back(app, app.previous if version is None else version)
            self._firing.changed()
            return await self._deployed(app)

    async def _close_app(self, request: CloseApp, payload: Payload) -> Reply:
        for app in self.catalogue.apps():
            if app.stored.app_id == request.app_id and app.is_deployed and app.current.ephemeral:
                await self.stop_app(app)
        return DONE

    async def stop_app(self, app: DeployedApp) -> None:
        """Ends an app: its calls are cancelled, its containers stopped; returns when they are gone."""
        self.catalogue.stop(app)
        await self._entered()
        logger.info("stopped an app", extra=_about(app))
        function_ids = self._apps.pop(app.stored.app_id, [])
        self.web_addresses.close(app.stored.app_id, function_ids)
        self._retired -= set(function_ids)
        self.observed.figures.forget(app.stored.app_id)
        await self._running().remove_functions(function_ids, hurried=False)

    async def _entered(self) -> None:
        """Waits until the catalogue is on disk. If it cannot be, it is again as the disk has it."""
        try:
            await self._store.committed()
        except ExecutionError:
            await self.catalogue.load()
            raise

    async def _deployed(self, app: DeployedApp) -> Deployed:
        await self._entered()
        logger.info("deployed an app", extra=_about(app))
        before = list(self._apps.get(app.stored.app_id, []))
        await self._start(app)
        for function_id in before:
            self._retire(function_id)
        stored = app.stored
        return Deployed(stored.app_id, stored.version, python_version(), self.web_addresses.of(stored.app_id))

    async def _start(self, app: DeployedApp) -> None:
        """Makes the functions of the app's current version known to the plane, and opens their addresses."""
        self._apps.setdefault(app.stored.app_id, [])
        if any(function.definition.settings.gpus for function in app.current.functions):
            await self._running().find_gpus()
        for function_id in dict.fromkeys([*app.current.function_ids(), *app.current.changed]):
            self._definition(function_id)
        await self.web_addresses.open(app)

    async def _open_web(self, definition: FunctionDefinition, method: str) -> str:
        return await self.web_addresses.find(definition, method)

    def _retire(self, function_id: str) -> None:
        """The function was replaced: it has no more containers than its calls need, and goes with the last of them."""
        plane = self._running()
        definition = plane.functions.get(function_id)
        if definition is None:
            return
        settings = msgspec.structs.replace(
            definition.settings, min_containers=0, buffer_containers=0, scaledown_window=0.0
        )
        plane.functions[function_id] = msgspec.structs.replace(definition, settings=settings)
        plane.happened(events.FunctionChanged(function_id, settings))
        if not self._retired:
            self._own(self._sweep_retired())
        self._retired.add(function_id)

    async def _sweep_retired(self) -> None:
        await asyncio.sleep(0)
        while self._retired:
            plane = self._running()
            in_use = {call.function.function_id for call in plane.scheduler.calls.values() if not call.finished}
            unused = [function_id for function_id in self._retired if function_id not in in_use]
            self._retired.difference_update(unused)
            for function_id in unused:
                definition = plane.functions.get(function_id)
                if definition is not None and definition.app_id in self._apps:
                    self._apps[definition.app_id].remove(function_id)
            await plane.remove_functions(unused, hurried=False)
            await asyncio.sleep(SWEEP)

    # --- functions ---------------------------------------------------------------------------------------------------

    def _definition(self, function_id: str) -> FunctionDefinition:
        plane = self._running()
        lasting, version = split_version(function_id)
        scheduled = plane.scheduler.functions.get(function_id)
        if version is None or scheduled is None or scheduled.removed:
            # The lasting id means the current version, and so does that of a version that is gone.
            version = self.catalogue.current_version(lasting)
        known = plane.functions.get(version_id(lasting, version))
        if known is None:
            known = self.catalogue.definition(lasting, version)
            self._add(known)
        return known

    async def _add_variant(self, request: AddVariant, payload: Payload) -> Reply:
        if request.settings.gpus:
            await self._running().find_gpus()
        self.catalogue.add_variant(request)
        await self._entered()
        self._definition(request.function_id)
        return DONE

    async def _update_function(self, request: UpdateFunction, payload: Payload) -> Reply:
        await super()._update_function(request, payload)
        self.catalogue.change(self._definition(request.function_id))
        await self._entered()
        return DONE

    async def _find_function(self, request: FindFunction, payload: Payload) -> Reply:
        return FoundFunction(self.catalogue.sibling(request.asker, request.tag) if request.asker else None)

    async def _look_up(self, request: LookUp, payload: Payload) -> Reply:
        found = self.catalogue.look_up(request.environment, request.app_name, request.tag)
        definition = found.definition
        return FoundDeployed(
            definition.function_id,
            definition.module_name,
            definition.qualname,
            definition.is_generator,
            found.is_async,
            found.methods,
            definition.web,
        )

    async def _look_up_app(self, request: LookUpApp, payload: Payload) -> Reply:
        app = self.catalogue.app(request.environment, request.app_name)
        return Deployed(app.stored.app_id, app.stored.version)

    # --- calls -------------------------------------------------------------------------------------------------------

    async def _start_call(self, request: StartCall, payload: Payload) -> Reply:
        if request.kind not in _KEPT:
            return await super()._start_call(request, payload)
        if not (request.again and await self._durable.is_known(request.call_id)):
            check_storable(payload)
            call = self._accept(request, closed=True)
            self._durable.put_inputs(call, StoredChunk(0, 1, Encoding.CALL, payload))
            self._running().open_call(call, parent_of(request.parent), Chunk(Encoding.CALL, payload, 1))
        await self._accepted(request.call_id)
        return DONE

    async def _open_map(self, request: OpenMap, payload: Payload) -> Reply | OutputBatch:
        if request.kind not in _KEPT:
            return await super()._open_map(request, payload)
        plane = self._running()
        call = plane.calls.get(request.call_id)
        if call is None and request.again and await self._durable.is_known(request.call_id):
            return OutputBatch([])  # It is asked again; all of the call was accepted before the restart.
        if call is None:
            call = self._accept(request, closed=False)
            plane.open_call(call, parent_of(request.parent), None)
        return OutputBatch([], chunk_size=self._chunk_size(call))

    async def _exchange_chunk(self, request: ExchangeChunk, payload: Payload) -> OutputBatch:
        call = self._running().calls.get(request.call_id)
        if call is None and (stored := await self._store.find_call(request.call_id)) is not None and stored.closed:
            return OutputBatch([])  # It is asked again; all of the call was accepted before the restart.
        if not isinstance(call, DurableCall):
            return await super()._exchange_chunk(request, payload)
        if request.count and self._durable.add_chunk(call, request, payload):
            ranges = [(request.start, request.start + request.count)]
            chunk = Chunk(request.encoding, payload, request.count)
            self._running().add_inputs(call, request.start, chunk, ranges)
        if request.closed:
            self._durable.close(call)
            self._running().happened(events.InputsClosed(request.call_id))
        size = self._chunk_size(call)
        await self._accepted(request.call_id)
        return OutputBatch([], chunk_size=size)

    async def _get_output(self, request: GetOutput, payload: Payload) -> OutputBatch:
        return await self._durable.output(request)

    async def _describe_call(self, request: DescribeCall, payload: Payload) -> Reply:
        call = self._running().calls.get(request.call_id)
        if isinstance(call, DurableCall):
            return CallDescription(call.function_id, call.kind, call.num_inputs)
        stored = await self._durable.find(request.call_id)
        return CallDescription(stored.function_id, stored.kind, stored.num_inputs)

    async def _cancel_call(self, request: CancelCall, payload: Payload) -> Reply:
        if isinstance(self._running().calls.get(request.call_id), DurableCall):
            self._store.cancel_call(request.call_id)
            await super()._cancel_call(request, payload)
            await self._store.committed()
        else:
            await self._durable.find(request.call_id)  # It has ended.
        return DONE

    async def _get_call_graph(self, request: GetCallGraph, payload: Payload) -> Reply:
        if request.call_id in self._running().scheduler.calls:
            return CallGraphReply(self._graph(request.call_id))
        return CallGraphReply(await self._durable.graph(request.call_id))

    def _accept(self, request: StartCall | OpenMap, closed: bool) -> DurableCall:
        definition = self._definition(request.function_id)
        check_count(len(self._running().scheduler.calls), MAX_CALLS, "calls under way")
        stored = StoredCall(
            request.call_id,
            definition.app_id,
            definition.function_id,
            request.kind,
            request.method,
            request.parent,
            time.time(),
            closed,
            1 if closed else 0,
        )
        return self._durable.open(stored)

    async def _accepted(self, call_id: str) -> None:
        """Waits until the call, as far as it has come, is on disk. If it cannot be, there is none."""
        try:
            await self._store.committed()
        except ExecutionError:
            self.notify(ForgetCall(call_id))
            raise

    def _graph(self, call_id: str) -> list[InputInfo]:
        return call_graph(self._running().scheduler, call_id, self._describe)

    async def _fire(self, function_id: str, now: float) -> None:
        """Calls a function that is due by its schedule, as `spawn` does but with nobody to ask again if that fails."""
        call_id = new_id("fc")
        run = self.catalogue.schedules.ran(function_id, call_id, now)
        try:
            definition = self._definition(function_id)
            kind = CallKind.DETACHED if definition.is_generator else CallKind.SPAWNED
            payload = dumps(((), {}))
            # In one transaction, before it runs: whenever the server is killed, the run is either due or made.
            call = self._accept(StartCall(call_id, function_id, kind, None), closed=True)
            self._durable.put_inputs(call, StoredChunk(0, 1, Encoding.CALL, payload))
            self._store.put_schedule(run)
            await self._store.committed()
            self._put_in_plane(call.function_id)
        except Error as error:  # the disk is full, there are too many calls, or the app was stopped meanwhile
            logger.error("%s was due and could not be called: %s", function_id, error)
            self._store.drop_call(call_id)
            return
        about = {"app": definition.app_name, "function": definition.tag, "call": call_id}
        logger.info("a function runs by its schedule", extra=about)
        self._running().open_call(call, None, Chunk(Encoding.CALL, payload, 1))

    # --- after a restart ---------------------------------------------------------------------------------------------

    def _resume(self, unfinished: Unfinished) -> None:
        """Gives the inputs of a stored call that have no outputs to the scheduler."""
        plane, stored = self._running(), unfinished.call
        try:
            self._put_in_plane(stored.function_id)
        except NotFoundError as error:
            logger.warning("the call %s is dropped: %s", stored.call_id, error)
            self._store.drop_call(stored.call_id)
            return
        call = self._durable.reopen(unfinished)
        plane.open_call(call, parent_of(stored.parent), None)
        for chunk in unfinished.chunks:
            ranges = remaining(chunk, unfinished.done)
            if ranges:
                plane.add_inputs(call, chunk.start, Chunk(chunk.encoding, chunk.payload, chunk.count), ranges)
        if stored.closed:
            plane.happened(events.InputsClosed(stored.call_id))
        if stored.cancelled and stored.call_id in plane.scheduler.calls:
            plane.happened(events.CallCancelled(stored.call_id))

    def _put_in_plane(self, function_id: str) -> None:
        """Makes a version of a function known to the plane, though it may have been replaced."""
        plane = self._running()
        if function_id in plane.functions:
            return
        lasting, version = split_version(function_id)
        self._add(self.catalogue.definition(lasting, version))
        if version != self.catalogue.current_version(lasting):
            self._retire(function_id)

    async def _give_up_abandoned(self, call_ids: list[str]) -> None:
        """Drops calls whose client was about to add inputs and has not come back."""
        if not call_ids:
            return
        counts = {call_id: self._inputs_of(call_id) for call_id in call_ids}
        await asyncio.sleep(ABANDONED)
        for call_id, count in counts.items():
            call = self._running().scheduler.calls.get(call_id)
            if call is not None and not call.closed and self._inputs_of(call_id) == count:
                self.notify(ForgetCall(call_id))

    def _inputs_of(self, call_id: str) -> int:
        call = self._running().calls.get(call_id)
        return call.num_inputs if isinstance(call, DurableCall) else 0

    async def _stop_ephemeral(self) -> None:
        """Stops the apps of `run --detach`, and of programs that have ended, that were unused at two looks."""
        idle: set[str] = set()
        while True:
            await asyncio.sleep(EPHEMERAL)
            busy = {
                self._running().functions[call.function.function_id].app_id
                for call in self._running().scheduler.calls.values()
                if not call.finished
            }
            busy |= self._logs.followed(time.time() - FOLLOWED)
            apps = [app for app in self.catalogue.apps() if app.is_deployed and app.current.ephemeral]
            unused = [app for app in apps if app.stored.app_id not in busy]
            for app in unused:
                if app.stored.app_id in idle:
                    try:
                        await self.stop_app(app)
                    except ExecutionError as error:  # the disk is full: it is tried again
                        logger.error("%s is not needed any more and could not be stopped: %s", app.stored.name, error)
            idle = {app.stored.app_id for app in unused}

    async def _tidy_forever(self) -> None:
        while True:
            now = time.time()
            self._store.expire(now - KEEP_OUTPUTS, now - KEEP_CALLS)
            try:
                await self._prune(now)
            except (OSError, ExecutionError) as error:
                logger.error("what nothing needs any more could not be deleted: %s", error)
            await asyncio.sleep(EXPIRY)

    async def _prune(self, now: float) -> None:
        """Deletes old versions, apps that were stopped long ago, and the sources that nothing needs then."""
        # Nothing is deployed meanwhile, so that what is not needed stays so.
        async with self._deploying:
            in_use = {
                (definition.app_id, version)
                for function_id, definition in self._running().functions.items()
                if (version := split_version(function_id)[1]) is not None
            }
            gone = self.catalogue.prune(in_use, now)
            needed = self.catalogue.needed_snapshots(in_use)
            # Their files go when no restart can bring them back.
            await self._entered()
            removed = await asyncio.to_thread(remove_snapshots, self._snapshots, needed, now)
        for app_id in gone:
            self._logs.remove(app_id)
        if gone or removed:
            logger.info("deleted what nothing needs", extra={"apps": gone, "snapshots": removed})

    def _own(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a task of the server failed", exc_info=error)


def _about(app: DeployedApp) -> dict[str, Any]:
    """For the log."""
    stored = app.stored
    return {"app": stored.name, "environment": stored.environment, "app_id": stored.app_id, "version": stored.version}


def _check_python(request: DeployApp) -> None:
    """Raises InvalidError for functions that this Python could not unpickle."""
    theirs, ours = request.source.python, python_version()
    by_value = [each.definition.tag for each in request.functions if each.definition.serialized is not None]
    if theirs != ours and by_value:
        raise InvalidError(
            f"{', '.join(sorted(by_value)[:5])} would travel pickled from Python {theirs} to the server's "
            f"{ours}, which cannot read that. Define them in a file, or deploy with Python {ours}."
        )


async def _greet(request: Hello, payload: Payload) -> Reply:
    return DONE


async def _refuse_open(request: OpenApp, payload: Payload) -> Reply:
    raise InvalidError(
        "A server runs apps that are deployed; app.run() runs them in the program itself, unless MODAL_LITE_PLACER=ray."
    )
