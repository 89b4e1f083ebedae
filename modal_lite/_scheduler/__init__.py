"""The scheduler: which container runs which inputs when.

A pure state machine, `Scheduler.handle(event, now) -> commands`. No clock, no randomness, no I/O: `now` (seconds,
monotonic) and fresh ids come from outside, so a run can be replayed and tested with virtual time. It never sees
payloads, only ranges of inputs, so its cost is per range and not per input.

* `events.py`, `commands.py`: its whole interface.
* `records.py`: the calls, leases, containers and functions it keeps.
* `state.py`: what each event does. `policy.py`: how much to lease, who may start. `invariants.py`: what always holds.
* `introspection.py`: statistics and the call graph.
"""

from modal_lite._scheduler.state import Scheduler

__all__ = ["Scheduler"]
