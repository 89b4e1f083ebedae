"""Bugs to be planted in the scheduler: the simulation must find each of them.

A bug is a change to the text of one function, so that it stands here as it would in a commit, and a mutation that no
longer applies says so.
"""

import inspect
import sys
import textwrap
from collections.abc import Callable
from typing import Any

from modal_lite._scheduler import policy, timetable
from modal_lite._scheduler.calls import Calls
from modal_lite._scheduler.checks import Checks
from modal_lite._scheduler.containers import Containers
from modal_lite._scheduler.cores import Cores
from modal_lite._scheduler.functions import Functions
from modal_lite._scheduler.leasing import Leasing
from modal_lite._scheduler.outcomes import Outcomes
from modal_lite._scheduler.reports import Reports
from modal_lite._scheduler.scaling import Scaling

Plant = Callable[[Any, str, str, str], None]
"""(class or module, name of a function in it, text in that function, text in its place)."""


def rewrite(function: Any, old: str, new: str) -> Any:
    """The function with other text in place of `old`, which must be in it once."""
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{function.__qualname__} does not contain this once: {old}"
    names: dict[str, Any] = {}
    exec(compile(source.replace(old, new), f"<mutated {function.__qualname__}>", "exec"), _globals_of(function), names)
    return names[function.__name__]


def _globals_of(function: Any) -> dict[str, Any]:
    return vars(sys.modules[function.__module__])


# --- leases ----------------------------------------------------------------------------------------------------------


def reports_count_whatever_lease_they_are_of(plant: Plant) -> None:
    plant(Reports, "_lease", "if lease.lease_id == lease_id", "if lease.lease_id <= lease_id")


def results_of_given_up_leases_count(plant: Plant) -> None:
    plant(Reports, "outputs", "if lease.current:", "if True:")


def lost_leases_are_forgotten(plant: Plant) -> None:
    plant(
        Containers,
        "_lose",
        "self._leasing.queue(call, lease.rest(), front=True)",
        "call.added -= lease.outstanding",
    )


def cancelled_calls_keep_their_leases(plant: Plant) -> None:
    plant(Calls, "cancel", "del call.leases[lease.lease_id]", "pass")


def cancelled_inputs_are_left_to_run(plant: Plant) -> None:
    plant(Calls, "cancel", "if interrupt:", "if False:")


def delayed_inputs_survive_their_call(plant: Plant) -> None:
    plant(timetable, "_is_valid", "not what[0].cancelled", "True")


def given_back_leases_stay(plant: Plant) -> None:
    plant(Reports, "returned", "self._settle(lease, now)", "pass")


def containers_that_are_leaving_get_leases(plant: Plant) -> None:
    plant(policy, "may_hold_more", "is not ContainerState.READY", "is ContainerState.STARTING")


def used_containers_are_used_again(plant: Plant) -> None:
    plant(policy, "may_hold_more", "container.waiting or function.settings.single_use or", "container.waiting or")


# --- attempts --------------------------------------------------------------------------------------------------------


def delayed_retries_never_wake(plant: Plant) -> None:
    plant(timetable.Timetable, "delay", "self.add(due, (call, again))", "pass")


def retries_come_at_once(plant: Plant) -> None:
    plant(Outcomes, "retry", "now + retries.delay(attempt)", "now")


def one_retry_too_many(plant: Plant) -> None:
    plant(Outcomes, "retry", "lease.attempt >= retries", "lease.attempt > retries")


def losses_use_up_retries(plant: Plant) -> None:
    otherwise = "elif again.losses >= policy.max_losses(lease.call.function.settings):"
    plant(Containers, "_charge", otherwise, f"elif self._outcomes.retry(lease, index, now): pass\n    {otherwise}")


def waiting_inputs_are_charged_for_a_death(plant: Plant) -> None:
    plant(Containers, "_lose", "charged = None\n", "charged = index\n")


def losses_are_not_counted(plant: Plant) -> None:
    plant(Containers, "_charge", "again.losses += 1", "pass")


def a_retry_forgets_its_chunk(plant: Plant) -> None:
    plant(Outcomes, "retry", "index + 1, lease.chunk", "index + 1, index")


# --- time ------------------------------------------------------------------------------------------------------------


def frozen_containers_are_waited_for(plant: Plant) -> None:
    plant(policy, "next_check", "return head.interrupted + INTERRUPT_GRACE", "return None")


def an_answered_interruption_delays_the_next_timeout(plant: Plant) -> None:
    plant(Reports, "_advance", "self._timetable.look_again(lease.container)", "pass")


def inputs_of_one_container_have_one_timeout(plant: Plant) -> None:
    plant(Reports, "_advance", "lease.since = now", "pass")


# --- containers ------------------------------------------------------------------------------------------------------


def one_container_too_many(plant: Plant) -> None:
    plant(Scaling, "scale", "live >= settings.max_containers", "live > settings.max_containers")
    plant(policy, "wanted_containers", ", settings.max_containers)", ", settings.max_containers + 1)")


def a_single_failed_start_fails_what_waits(plant: Plant) -> None:
    plant(Containers, "start_failed", "function.start_failures >= policy", "function.start_failures >= 1 or policy")


def failed_starts_add_up_for_ever(plant: Plant) -> None:
    plant(Containers, "ready", "container.function.start_failures = 0", "pass")


def only_the_longest_waiting_function_is_fed(plant: Plant) -> None:
    plant(Leasing, "feed", "list(self._hungry.values())", "list(self._hungry.values())[:1]")


def no_core_is_kept_for_those_that_have_none(plant: Plant) -> None:
    plant(policy, "may_activate", "== 0:\n        return True", "== 0:\n        return total_active < slots")


def waiting_for_nested_calls_uses_a_core(plant: Plant) -> None:
    plant(Cores, "recount", "container.waiting = waits > 0 and", "container.waiting = False and")


def killed_containers_are_not_replaced_before_they_are_gone(plant: Plant) -> None:
    plant(Checks, "_give_up", "self._leasing.feed(now)", "pass")


def containers_outlive_their_function(plant: Plant) -> None:
    plant(Functions, "removed", "self._scaling.stop(container, now)", "pass")


# --- calls -----------------------------------------------------------------------------------------------------------


def calls_finish_one_input_early(plant: Plant) -> None:
    plant(Outcomes, "finish_if_done", "call.done == call.added", "call.done >= call.added - 1")


def calls_of_forgotten_calls_are_kept(plant: Plant) -> None:
    plant(Outcomes, "drop_if_forgotten", "candidates += ", "_ = ")


MUTATIONS: list[Callable[[Plant], None]] = [
    reports_count_whatever_lease_they_are_of,
    results_of_given_up_leases_count,
    lost_leases_are_forgotten,
    cancelled_calls_keep_their_leases,
    cancelled_inputs_are_left_to_run,
    delayed_inputs_survive_their_call,
    given_back_leases_stay,
    containers_that_are_leaving_get_leases,
    used_containers_are_used_again,
    delayed_retries_never_wake,
    retries_come_at_once,
    one_retry_too_many,
    losses_use_up_retries,
    waiting_inputs_are_charged_for_a_death,
    losses_are_not_counted,
    a_retry_forgets_its_chunk,
    frozen_containers_are_waited_for,
    an_answered_interruption_delays_the_next_timeout,
    inputs_of_one_container_have_one_timeout,
    one_container_too_many,
    a_single_failed_start_fails_what_waits,
    failed_starts_add_up_for_ever,
    only_the_longest_waiting_function_is_fed,
    no_core_is_kept_for_those_that_have_none,
    waiting_for_nested_calls_uses_a_core,
    killed_containers_are_not_replaced_before_they_are_gone,
    containers_outlive_their_function,
    calls_finish_one_input_early,
    calls_of_forgotten_calls_are_kept,
]
