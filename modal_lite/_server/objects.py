"""The Dicts and Queues that a control plane holds, in memory: as long as it lives, or until they are deleted."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from modal_lite._core.object_requests import (
    Count,
    DeleteObject,
    DictClear,
    DictCount,
    DictGet,
    DictKeys,
    DictPop,
    DictPut,
    ObjectKind,
    OpenedObject,
    OpenObject,
    QueueClear,
    QueueCount,
    QueueGet,
    QueueList,
    QueuePage,
    QueuePut,
    QueueTaken,
    Values,
)
from modal_lite._core.payload import Payload
from modal_lite._core.request_base import Reply
from modal_lite._core.requests import DONE
from modal_lite._server.dicts import DictState
from modal_lite._server.queues import QueueState
from modal_lite.exception import NotFoundError

State = TypeVar("State", DictState, QueueState)


class SharedObjects:
    """Answers every `ObjectRequest`. Belongs to one event loop."""

    def __init__(self) -> None:
        self._states: dict[str, DictState | QueueState] = {}
        self._named: dict[tuple[ObjectKind, str, str], str] = {}
        """Ids by kind, environment and name."""
        self.handlers: dict[type[Any], Callable[[Any, Payload], Awaitable[Reply]]] = {
            OpenObject: self._open,
            DeleteObject: self._delete,
            **dict.fromkeys((DictGet, DictPut, DictPop, DictKeys, DictCount, DictClear), self._answer_dict),
            QueuePut: self._put,
            QueueGet: self._get,
            QueueTaken: self._taken,
            QueueList: self._list,
            QueueCount: self._count,
            QueueClear: self._clear,
        }

    def notify(self, request: DeleteObject | QueueTaken) -> None:
        """Takes a request whose answer does not matter."""
        if isinstance(request, DeleteObject):
            state = self._states.pop(request.object_id, None)
            if isinstance(state, QueueState):
                state.close()
            return
        queue = self._states.get(request.object_id)
        if isinstance(queue, QueueState):
            queue.taken(request.take_id, request.received)

    async def _open(self, request: OpenObject, payload: Payload) -> Reply:
        if request.name is None:
            return OpenedObject(self._make(request))
        key = request.kind, request.environment, request.name
        object_id = self._named.get(key)
        if object_id is None:
            if not request.create:
                kind = request.kind.name.capitalize()
                raise NotFoundError(
                    f"There is no {kind} named {request.name!r} in the environment {request.environment!r}. "
                    f"{kind}.from_name({request.name!r}, create_if_missing=True) makes one."
                )
            object_id = self._named[key] = self._make(request)
        return OpenedObject(object_id)

    def _make(self, request: OpenObject) -> str:
        self._states[request.new_id] = DictState() if request.kind is ObjectKind.DICT else QueueState()
        return request.new_id

    async def _delete(self, request: DeleteObject, payload: Payload) -> Reply:
        self.notify(request)
        return DONE

    async def _answer_dict(self, request: Any, payload: Payload) -> Reply:
        return self._state(request.object_id, DictState).answer(request)

    async def _put(self, request: QueuePut, payload: Payload) -> Reply:
        queue = self._state(request.object_id, QueueState)
        accepted = await queue.put(request.partition, request.values, request.timeout, request.ttl)
        self._state(request.object_id, QueueState)  # It may have been deleted meanwhile.
        return Count(len(request.values) if accepted else 0)

    async def _get(self, request: QueueGet, payload: Payload) -> Reply:
        queue = self._state(request.object_id, QueueState)
        values = await queue.get(request.partition, request.count, request.timeout, request.take_id)
        self._state(request.object_id, QueueState)
        return Values([*values])

    async def _taken(self, request: QueueTaken, payload: Payload) -> Reply:
        self.notify(request)
        return DONE

    async def _list(self, request: QueueList, payload: Payload) -> Reply:
        queue = self._state(request.object_id, QueueState)
        values, last = await queue.page(request.partition, request.after, request.timeout)
        self._state(request.object_id, QueueState)
        return QueuePage(values, last)

    async def _count(self, request: QueueCount, payload: Payload) -> Reply:
        return Count(self._state(request.object_id, QueueState).count(request.partition))

    async def _clear(self, request: QueueClear, payload: Payload) -> Reply:
        self._state(request.object_id, QueueState).clear(request.partition)
        return DONE

    def _state(self, object_id: str, kind: type[State]) -> State:
        state = self._states.get(object_id)
        if not isinstance(state, kind):
            raise NotFoundError(
                f"There is no {kind.__name__.removesuffix('State')} {object_id} here, or no longer: ephemeral ones end "
                "with their `with` block, named ones with the program that made them. Those of a program are not on "
                "the servers that it calls: make them with `client=` for that."
            )
        return state
