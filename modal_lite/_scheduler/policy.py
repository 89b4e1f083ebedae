"""How much to lease at a time, who may start a container, when to look again: the rules with numbers in them.

Leases. A lease aims at LEASE_SECONDS of work by the function's measured duration: tiny inputs travel by the hundred,
slow ones alone. So much keeps a container at its inputs instead of its leases, and is harmless: what waits behind an
input that proves slow, or in one container while another is idle, is recalled. Nothing is known before the first
report, so the first leases are of one input; from then on a lease may be GROWTH times as long as the longest before it.
A call of at most SMALL_CALL inputs is never batched: what a lost container has finished but not reported must run
again, and with so few inputs batching saves nothing worth that.

Sharing. A container that runs several inputs at once gets them in leases of one, as many as it may run: nothing waits
in it. One that runs them in batches gets more while it gathers a batch, and, where no other container may start, the
next batch while one runs; those wait like leases behind a slow one and are recalled alike. Of the inputs in a container
that died any may have killed it, and all are charged. After SUSPECT_LOSSES such deaths an input gets a container to
itself, and until there is one nothing of its function begins before it: so the guilty one dies alone, and those that
were beside it do not fail with it. It joins only inputs that all wait for calls of their own, which may wait for it.

Containers. A container counts against the cores ("slots") while it starts or runs an input that does not itself wait
for a call. A function with work may always have one such container, so nobody starves and nested calls cannot deadlock.
More than that it gets while slots are free; when they are not, each function with work is held to an equal share, so
that a long map makes room for others as its leases end. Explicit numbers are taken at their word, whatever the number
of cores: `min_containers`, and `buffer_containers` beside the busy ones; and up to `max_containers`, as far as there is
work for them. Beyond the cores, a container is started only if those that there are would take START_SECONDS or more
for the inputs at hand, by the measured duration or by how long all of them are at an input already: tiny inputs are
done sooner than a container starts, and slow ones get all the containers that they may have within a moment.
"""

from collections.abc import Callable
from itertools import islice

from modal_lite._core.settings import FunctionSettings
from modal_lite._scheduler.records import Call, Container, ContainerState, Function, Lease

LEASE_SECONDS = 0.04
GROWTH = 8
MAX_LEASE = 1024
SMALL_CALL = 64
PREFETCH_BELOW = 0.006
"""Functions faster than this (seconds) get a second lease while the first runs; a recall takes it back if need be."""
PREFETCH_AT_LIMIT = 0.05
"""The same for functions that may have no more containers than they have: others are better started than waited for."""
AHEAD_SECONDS = 0.004
"""Work that may wait in a container in leases of one input each: single calls of a fast function, made together."""
MAX_HELD = 64
"""Leases that a container may hold."""
SLOW_SECONDS = 0.01
"""A lease without a report for this long, or for two inputs of its function, has what is unstarted in it recalled."""
STALLED_SECONDS = 0.1
"""If all containers of a function are at their inputs for this long, they are slow now, whatever was measured before;
less may be a machine that is busy."""
SHARE_SECONDS = 0.0005
"""Work of less than this is not worth dividing between containers."""
LAST_PIECES = 8
"""Leases per container that the last inputs of a call are divided into."""
INTERRUPT_GRACE = 5.0
"""Seconds that an interrupted input may take to end before its container is killed."""
MAX_LOSSES = 8
"""Lost containers that one input may cost before it fails."""
SUSPECT_LOSSES = 2
"""Lost containers after which an input that shares them runs alone: those beside it are charged like itself."""
MAX_START_FAILURES = 3
"""Containers in a row that may die at start before the waiting inputs fail."""
START_SECONDS = 0.02
"""Work for each container that there is, at the least, that makes one more than there are cores worth its start."""
SLOW_START = 0.5
"""Seconds in which a container is ready that has little to do for it; others are better started side by side."""
GROWTH_INTERVAL = 0.005
"""Seconds between two looks at how long the inputs of a function that may grow have run."""
MIN_SCALEDOWN = 1.0
"""Seconds between two looks at an idle container that is kept, however short its scaledown window."""
START_BACKOFF = 1.0
"""Seconds before a warm container is started again after one died at start; doubles up to MAX_START_BACKOFF."""
MAX_START_BACKOFF = 60.0

_RISE, _FALL = 0.25, 0.5
"""Weight of a measurement above, or below, the average: the first calls of a function are its slowest."""


def lease_size(function: Function, call: Call, available: int) -> int:
    """How many of the `available` inputs of the call's next range to lease at once."""
    duration, settings = function.duration, function.settings
    if duration is None or call.added <= SMALL_CALL or available == 1 or settings.single_use or function.shares:
        return 1
    by_time = int(LEASE_SECONDS / duration) if duration > 0 else MAX_LEASE
    size = min(available, by_time, function.lease_size * GROWTH, MAX_LEASE)
    if size * duration > SHARE_SECONDS:
        share = -(-function.backlog // _sharers(function, call))
        size = min(size, max(share, int(SHARE_SECONDS / duration)))
    return max(1, size)


def _sharers(function: Function, call: Call) -> int:
    """Among how many leases the backlog is to be dealt out."""
    containers = function.containers.values()
    if call.closed:
        # Towards the end in ever smaller pieces, so that all containers end together whatever an input takes.
        return LAST_PIECES * max(1, len(containers))
    # While more inputs are to come that would only cut chunks up: it is enough that none of the containers stays idle.
    return max(1, len([c for c in containers if c.idle]))


def chunk_size(function: Function) -> int:
    """How many inputs a client should send together: what one lease would take if there were plenty."""
    duration = function.duration
    if function.shares:
        # With every lease the container gets, and unpickles, the whole chunk.
        return 1
    if duration is None:
        return 16
    by_time = int(LEASE_SECONDS / duration) if duration > 0 else MAX_LEASE
    return max(1, min(by_time, function.lease_size * GROWTH, MAX_LEASE))


def learn(function: Function, count: int, elapsed: float) -> None:
    """Takes a measurement of `count` inputs into the function's average."""
    sample = elapsed / count
    average = function.duration
    if average is None:
        function.duration = sample
    else:
        function.duration = average + (_FALL if sample < average else _RISE) * (sample - average)


def may_hold_more(function: Function, container: Container, may_grow: Callable[[Function], bool], now: float) -> bool:
    """True if the container, ready and given its leases, should get another lease; `may_grow` is that of `Scaling`."""
    if container.state is not ContainerState.READY:
        return False
    held = container.leases
    if not held:
        # It may still wait for a call that an input left behind: that keeps nobody from using it.
        return not (function.settings.single_use and container.used)
    if function.shares:
        return _may_share(function, container, may_grow, now)
    if container.waiting or function.settings.single_use or function.duration is None:
        return False
    head = held[0]
    if head.recalled or head.interrupted is not None:
        return False
    if len(held) == 1:
        return function.duration < PREFETCH_BELOW or (function.duration < PREFETCH_AT_LIMIT and not may_grow(function))
    return held[-1].outstanding == 1 and len(held) < min(MAX_HELD, AHEAD_SECONDS / max(function.duration, 1e-9))


def next_call(function: Function) -> Call:
    """The call whose turn it is, of a function with a backlog."""
    line = function.line
    while not line[0].pending:
        line.popleft().queued = False
    return line[0]


def next_runs_alone(function: Function) -> bool:
    """True if the input whose turn it is, of a function with a backlog, is to share no container that it might kill."""
    return function.shares and next_call(function).pending[0].losses >= SUSPECT_LOSSES


def _may_share(function: Function, container: Container, may_grow: Callable[[Function], bool], now: float) -> bool:
    """`may_hold_more` for a container that has inputs, and may have several at once."""
    held, settings = len(container.leases), function.settings
    if not container.waiting and any([lease.losses >= SUSPECT_LOSSES for lease in container.leases]):
        return False
    if settings.max_inputs > 1:
        return held < settings.max_inputs
    if gathers(container, now):
        return True
    return not (container.waiting or held >= 2 * settings.max_batch_size or may_grow(function))


def gathers(container: Container, now: float) -> bool:
    """True if another input may well be in time for the batch that the container begins with next."""
    leases, settings = container.leases, container.function.settings
    return len(leases) < settings.max_batch_size and (not leases or now <= leases[0].since + settings.batch_wait)


def load(container: Container, now: float) -> int:
    """Of a function that is batched: the container with the least of it, the fullest with a batch to fill, is next."""
    held = len(container.leases)
    return -held if gathers(container, now) else held


def patience(function: Function) -> float:
    """Seconds without a report after which nothing is to wait behind an input of the function."""
    return max(SLOW_SECONDS, 2 * (function.duration or 0.0))


def most_crowded(function: Function) -> Container | None:
    """The container to relieve of what waits in it for the sake of an idle one; None if that is not worth a message."""
    # Spares most idle containers the search: every active one runs an input. Those that start do not, and may hide what
    # waits from the others until they ask for themselves.
    if function.running <= function.active or function.duration is None:
        return None
    container = max(function.containers.values(), key=lambda c: c.unstarted)
    worth = container.unstarted * function.duration >= SHARE_SECONDS
    return container if worth and not container.leases[-1].recalled else None


def max_losses(settings: FunctionSettings) -> int:
    """Lost containers that one input may cost before it fails. What somebody did by hand is not done again."""
    return 0 if settings.interactive else MAX_LOSSES


def max_start_failures(settings: FunctionSettings) -> int:
    """Containers in a row that may die at start before the waiting inputs fail."""
    return 1 if settings.interactive else MAX_START_FAILURES


def may_activate(function: Function, total_active: int, slots: int, demanding: int) -> bool:
    """True if one more container of the function may start, or begin to run inputs, now."""
    if function.active == 0:
        return True
    settings = function.settings
    if settings.max_containers is not None or settings.min_containers > function.active:
        return True
    return total_active < slots or function.active < max(1, slots // max(1, demanding))


def is_worth_a_start(function: Function, live: int, now: float) -> bool:
    """True if the function has so much work for its `live` containers that one more is to run beside full cores."""
    inputs = function.running + function.backlog
    return inputs * max(function.duration or 0.0, _stalled(function, now)) > START_SECONDS * live


def _stalled(function: Function, now: float) -> float:
    """Seconds that each of its containers has been at its input by now, or at its start; 0 if that is soon over."""
    containers = function.containers.values()
    at_work = [now - c.leases[0].since for c in containers if c.leases and c.state is ContainerState.READY]
    if at_work:
        seconds = min(at_work)
        return seconds if seconds > (SLOW_SECONDS if function.duration is None else STALLED_SECONDS) else 0.0
    return max([now - c.since - SLOW_START for c in containers if c.state is ContainerState.STARTING], default=0.0)


def wanted_containers(function: Function) -> int:
    """How many containers would be busy or warm if nothing held them back but `max_containers`."""
    settings = function.settings
    if settings.max_inputs > 1:
        # What was cancelled and does not end takes up its place still.
        held = sum([len(c.leases) for c in function.live])
        wanted = -(-(held + function.backlog) // (settings.target_inputs or settings.max_inputs))
    else:
        wanted = _busy(function) - (-function.backlog // max(1, settings.max_batch_size))
    if function.backlog and next_runs_alone(function):
        wanted += 1
    if wanted:
        wanted += settings.buffer_containers
    wanted = max(wanted, settings.min_containers)
    return wanted if settings.max_containers is None else min(wanted, settings.max_containers)


def warm_containers(function: Function) -> int:
    """How many containers the function has by the word of its settings, whatever the number of cores."""
    settings = function.settings
    buffer = settings.buffer_containers
    return max(settings.min_containers, _busy(function) + buffer if buffer else 0)


def next_check(container: Container) -> float | None:
    """When the container, as it is now, may need something; None if it has all the time in the world."""
    function = container.function
    settings = function.settings
    if container.state is ContainerState.STARTING:
        # One without a place may prove to be needed no more, as one that idles.
        return container.since + (settings.startup_timeout if container.placed else settings.scaledown_window)
    if container.state is ContainerState.STOPPING:
        return container.since + INTERRUPT_GRACE + settings.exit_grace
    if not container.leases:
        return container.since + settings.scaledown_window
    head = container.leases[0]
    if function.shares:
        # There may be many leases, and this is asked whenever one of them comes or goes. Those that run stand in the
        # order in which they began, before those that wait: of what is not interrupted the first is due first.
        soonest = [lease for lease in container.leases if lease.interrupted is not None]
        soonest += islice((lease for lease in container.leases if lease.interrupted is None), 1)
        limit = min([due for lease in soonest if (due := deadline(lease)) is not None], default=None)
        to_recall = any([not lease.recalled for lease in container.ahead])
    elif head.interrupted is not None:
        return head.interrupted + INTERRUPT_GRACE
    else:
        limit = None if settings.timeout is None else head.since + settings.timeout
        to_recall = container.crowded and (not head.recalled or any([not lease.recalled for lease in container.leases]))
    if to_recall:
        look = max(head.since, container.looked) + head.patience
        return look if limit is None else min(look, limit)
    return limit


def next_check_of(lease: Lease) -> float | None:
    """Where inputs share a container: when the container may need something on account of this lease."""
    due = deadline(lease)
    if not lease.ahead:
        return due
    container = lease.container
    head = container.leases[0]
    look = max(head.since, container.looked) + head.patience
    return look if due is None else min(look, due)


def deadline(lease: Lease) -> float | None:
    """Where inputs share a container: when that of the lease is to be interrupted; if it was, the container killed."""
    if lease.interrupted is not None:
        return lease.interrupted + INTERRUPT_GRACE
    settings = lease.container.function.settings
    # What waits for the next batch is given another time when that begins.
    return None if settings.timeout is None or lease.ahead else lease.since + settings.timeout + settings.batch_wait


def _busy(function: Function) -> int:
    return len([c for c in function.containers.values() if c.leases and c.state is ContainerState.READY])
