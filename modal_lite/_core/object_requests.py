"""What clients ask of the Dicts and Queues that a control plane holds, and what it answers.

Keys and values are pickled, and nothing but bytes to it: keys are the same if their bytes are. They travel inside the
message, for they are small (see the limits), and many of them may go together.
"""

from enum import IntEnum

from modal_lite._core.request_base import Reply, Request

MAX_TOGETHER = 100 << 20
"""Bytes that one request may hold."""
MAX_ITEM = 1 << 20
"""Bytes of one value in a Queue."""
MAX_ITEMS = 5_000
"""Values in one partition of a Queue."""
MAX_TTL = 24 * 3600.0
"""Seconds after which a partition of a Queue is emptied, unless something is put into it."""


class ObjectKind(IntEnum):
    """What the control plane holds."""

    DICT = 0
    QUEUE = 1


class OpenObject(Request, frozen=True, tag=30):
    """The object of this name, or a new one: answered with its id."""

    kind: ObjectKind
    new_id: str
    """The id that it has if it is new."""
    environment: str = ""
    name: str | None = None
    """None: a new one, which `DeleteObject` ends."""
    create: bool = True
    """Make one if there is none of this name."""


class DeleteObject(Request, frozen=True, tag=31):
    """The object is not used any more. Never fails."""

    object_id: str


class DictGet(Request, frozen=True, tag=32):
    """The values of these keys, None for those that are not there; of the first keys only if that is a lot."""

    object_id: str
    keys: list[bytes]


class DictPut(Request, frozen=True, tag=33):
    """Sets all of these entries; answered with how many of them that were."""

    object_id: str
    entries: list[tuple[bytes, bytes]]
    only_new: bool = False
    """Leaves keys that are there as they are."""


class DictPop(Request, frozen=True, tag=34):
    """Removes a key; answered with its value, as `DictGet` is."""

    object_id: str
    key: bytes


class DictKeys(Request, frozen=True, tag=35):
    """All the keys, in the order in which they came."""

    object_id: str


class DictCount(Request, frozen=True, tag=36):
    """How many entries there are; of one key, if it is given."""

    object_id: str
    key: bytes | None = None


class DictClear(Request, frozen=True, tag=37):
    """Removes all the entries."""

    object_id: str


class QueuePut(Request, frozen=True, tag=38):
    """Appends all of the values, or none; answered with how many."""

    object_id: str
    partition: str
    values: list[bytes]
    timeout: float | None
    """Seconds to wait for room; None: as long as it takes."""
    ttl: float
    """Seconds that the partition's values are kept from now on."""


class QueueGet(Request, frozen=True, tag=39):
    """Takes the first values; answered with none of them if there were none within the time.

    They are gone for good once `QueueTaken` says so.
    """

    object_id: str
    partition: str
    count: int
    """At most so many; at least one."""
    timeout: float | None
    take_id: str


class QueueTaken(Request, frozen=True, tag=40):
    """What came of a `QueueGet`. Never fails."""

    object_id: str
    take_id: str
    received: bool
    """False: nobody got the values, they go back to where they were."""


class QueueList(Request, frozen=True, tag=41):
    """The next values behind position `after`, which stay; waits for the first of them."""

    object_id: str
    partition: str
    after: int
    timeout: float


class QueueCount(Request, frozen=True, tag=42):
    """How many values there are, in all partitions if it is None."""

    object_id: str
    partition: str | None


class QueueClear(Request, frozen=True, tag=43):
    """Removes all the values, of all partitions if it is None."""

    object_id: str
    partition: str | None


ObjectRequest = (
    OpenObject
    | DeleteObject
    | DictGet
    | DictPut
    | DictPop
    | DictKeys
    | DictCount
    | DictClear
    | QueuePut
    | QueueGet
    | QueueTaken
    | QueueList
    | QueueCount
    | QueueClear
)


class OpenedObject(Reply, frozen=True, tag=20):
    """The object asked for."""

    object_id: str


class Values(Reply, frozen=True, tag=21):
    """Keys or values, None for what is not there."""

    values: list[bytes | None]


class QueuePage(Reply, frozen=True, tag=22):
    """Some values of a queue, and the position of the last one."""

    values: list[bytes]
    last: int


class Count(Reply, frozen=True, tag=23):
    """A number of entries or values."""

    count: int


ObjectReply = OpenedObject | Values | QueuePage | Count
