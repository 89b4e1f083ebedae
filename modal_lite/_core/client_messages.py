"""The client channel of a container: requests of user code there, and their answers.

Kept apart from `messages.py` because these carry whole requests, which carry settings and call graphs.
"""

import msgspec

from modal_lite._core.messages import Failure
from modal_lite._core.payload import EMPTY, Payload
from modal_lite._core.requests import AnyReply, AnyRequest, Output, OutputBatch


class Ask(msgspec.Struct, frozen=True, array_like=True, tag=40):
    """A request to be answered under its number; its payload is the body."""

    number: int
    request: AnyRequest
    sizes: tuple[int, ...]


class Tell(msgspec.Struct, frozen=True, array_like=True, tag=41):
    """A request whose answer does not matter."""

    request: AnyRequest


class Withdraw(msgspec.Struct, frozen=True, array_like=True, tag=42):
    """Nobody waits for the answer to this request any more."""

    number: int


class Answer(msgspec.Struct, frozen=True, array_like=True, tag=50):
    """The answer to a request, if it is a plain one."""

    number: int
    reply: AnyReply


class OutputHeader(msgspec.Struct, frozen=True, array_like=True):
    """An `Output` without its payload's bytes."""

    start: int
    count: int
    failure: Failure | None
    sizes: tuple[int, ...]


class AnswerBatch(msgspec.Struct, frozen=True, array_like=True, tag=51):
    """The answer to a request that asks for outputs; the body is their payloads, one after the other."""

    number: int
    outputs: list[OutputHeader]
    finished: bool
    chunk_size: int


FromClient = Ask | Tell | Withdraw
ToClient = Answer | AnswerBatch


def pack_batch(number: int, batch: OutputBatch) -> tuple[AnswerBatch, Payload]:
    """The message and the body that carry the batch."""
    headers = [OutputHeader(o.start, o.count, o.failure, o.payload.sizes) for o in batch.outputs]
    parts = [part for output in batch.outputs for part in output.payload.parts]
    sizes = tuple(size for output in batch.outputs for size in output.payload.sizes)
    return AnswerBatch(number, headers, batch.finished, batch.chunk_size), Payload(sizes, parts)


def unpack_batch(message: AnswerBatch, body: memoryview) -> OutputBatch:
    """The batch again; its payloads are slices of the body."""
    outputs, at = [], 0
    for header in message.outputs:
        end = at + sum(header.sizes)
        payload = Payload(header.sizes, [body[at:end]]) if header.sizes else EMPTY
        outputs.append(Output(header.start, header.count, header.failure, payload))
        at = end
    return OutputBatch(outputs, message.finished, message.chunk_size)
