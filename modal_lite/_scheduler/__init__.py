"""The scheduler: which container runs which inputs when.

A pure state machine, `Scheduler.handle(event, now) -> commands`. No clock, no randomness, no I/O: `now` (seconds,
monotonic) and fresh ids come from outside, so a run can be replayed and tested with virtual time. It never sees
payloads, only ranges of inputs, so its cost is per range and not per input.

* `events.py`, `commands.py`: its whole interface.
* `records.py`: the calls, leases, containers and functions it keeps.
* `state.py`: the machine as a whole, and which of its parts takes which event.
* Parts that events share: `timetable.py`, `cores.py`, `scaling.py` (containers start and end), `leasing.py` (inputs get
  into containers and back), `outcomes.py` (inputs and calls end).
* Parts that take events: `functions.py`, `calls.py`, `containers.py`, `reports.py` (of leases), `checks.py` (of time).
* `policy.py`: how much to lease, who may start. `invariants.py`: what always holds.
* `introspection.py`: statistics and the call graph.
"""

from modal_lite._scheduler.state import Scheduler

__all__ = ["Scheduler"]
