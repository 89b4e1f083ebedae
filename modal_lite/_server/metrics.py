"""The server's figures in the text format of Prometheus."""

from collections.abc import Iterable, Iterator

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from modal_lite._core.interfaces import StoreFigures
from modal_lite._scheduler.records import ContainerState
from modal_lite._server.catalogue import DeployedApp
from modal_lite._server.figures import Histogram
from modal_lite._server.observed_plane import ObservedPlane

CONTENT_TYPE = CONTENT_TYPE_LATEST
_FUNCTION = ["environment", "app", "function"]


def render(plane: ObservedPlane, apps: Iterable[DeployedApp], store: StoreFigures) -> bytes:
    """All figures of the moment.

    Args:
        plane: Where functions run.
        apps: Those that are deployed.
        store: What the store counts.
    """
    registry = CollectorRegistry()
    registry.register(_Snapshot([*_of_functions(plane, list(apps)), *_of_server(plane, store)]))
    return generate_latest(registry)


class _Snapshot(Collector):
    """Figures that were taken already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """See `Collector.collect`."""
        return iter(self._metrics)


def _of_functions(plane: ObservedPlane, apps: list[DeployedApp]) -> Iterable[Metric]:
    backlog = GaugeMetricFamily("modal_lite_backlog", "Inputs that wait for a container.", labels=_FUNCTION)
    running = GaugeMetricFamily("modal_lite_running_inputs", "Inputs that containers hold.", labels=_FUNCTION)
    containers = GaugeMetricFamily("modal_lite_containers", "Containers.", labels=[*_FUNCTION, "state"])
    attempts = CounterMetricFamily(
        "modal_lite_attempts", "Attempts at inputs that have ended.", labels=[*_FUNCTION, "outcome"]
    )
    runs = HistogramMetricFamily("modal_lite_attempt_seconds", "How long attempts ran.", labels=_FUNCTION)
    calls = HistogramMetricFamily(
        "modal_lite_call_seconds", "From the acceptance of calls to their end.", labels=_FUNCTION
    )
    of_tag = plane.functions_by_tag()
    for app in apps:
        for deployed in app.current.functions:
            tag = deployed.definition.tag
            labels = [app.stored.environment, app.stored.name, tag]
            functions = of_tag.get((app.stored.app_id, tag), [])
            backlog.add_metric(labels, sum(function.backlog for function in functions))
            running.add_metric(labels, sum(function.running for function in functions))
            states = [container.state for function in functions for container in function.containers.values()]
            for state in ContainerState:
                containers.add_metric([*labels, state.value], states.count(state))
            figures = plane.figures.of(app.stored.app_id, tag)
            for outcome, count in figures.attempts.items():
                attempts.add_metric([*labels, outcome], count)
            _add(runs, labels, figures.running)
            _add(calls, labels, figures.calls)
    return backlog, running, containers, attempts, runs, calls


def _of_server(plane: ObservedPlane, store: StoreFigures) -> Iterable[Metric]:
    unfinished = sum(not call.finished for call in plane.scheduler.calls.values())
    yield GaugeMetricFamily("modal_lite_unfinished_calls", "Calls under way, stored or not.", unfinished)
    yield GaugeMetricFamily("modal_lite_stored_calls", "Calls in the store.", store.calls)
    yield GaugeMetricFamily("modal_lite_store_queue", "Rows that wait to be written.", store.queued)
    yield CounterMetricFamily("modal_lite_store_commits", "Transactions of the store.", store.commits)
    yield CounterMetricFamily("modal_lite_store_failed_commits", "Transactions that failed.", store.failed)
    yield CounterMetricFamily("modal_lite_store_rows", "Rows that were written.", store.rows)
    yield CounterMetricFamily("modal_lite_store_commit_seconds", "Time that commits took.", store.seconds)


def _add(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    family.add_metric(labels, histogram.buckets(), histogram.seconds)
