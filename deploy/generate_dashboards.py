"""Grafana's dashboards from the metric declarations: part of ``make docs``.

A service's dashboard has a panel for every metric it declares, with the declaration's text and advice as the panel's
description. The overview is chosen by hand: what an operator looks at first.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType

from grafana_foundation_sdk.builders import dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef
from touchline_console import metrics as console
from touchline_ingest import metrics as ingest
from touchline_notifier import metrics as notifier
from touchline_runtime.http import metrics as http_metrics
from touchline_runtime.metrics import Counter, Declared, Gauge, Histogram, declared_in
from touchline_stage_engine import metrics as stage_engine

SERVICES: dict[str, ModuleType] = {
    "http": http_metrics,
    "ingest": ingest,
    "stage-engine": stage_engine,
    "notifier": notifier,
    "console": console,
}
TITLES = {"http": "HTTP", "stage-engine": "stage engine"}
_SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
_WIDTH, _HEIGHT = 8, 7
_PARTITIONED = {"partition"}


@dataclass(frozen=True)
class Query:
    """A PromQL expression and the legend of its series."""

    expression: str
    legend: str = ""


@dataclass(frozen=True)
class Chart:
    """One panel."""

    title: str
    unit: str
    about: str
    queries: tuple[Query, ...]


OVERVIEW = (
    Chart(
        "Touchpoints accepted and folded", "cps", "Accepted by ingest, and folded by the stage engine, per second.",
        (
            Query("sum(rate(touchline_ingest_touchpoints_total{outcome=\"accepted\"}[5m]))", "accepted"),
            Query("sum(rate(touchline_touchpoints_folded_total[5m]))", "folded"),
        ),
    ),
    Chart(
        "From a touchpoint to its facts", "s", "From a touchpoint's record on Kafka to the commit of its facts.",
        tuple(
            Query(f"histogram_quantile({q}, sum by (le) (rate(touchline_end_to_end_seconds_bucket[5m])))", name)
            for q, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
        ),
    ),
    Chart(
        "Age of the oldest unfolded touchpoint", "s", "Rises as fast as the clock while nothing is folded.",
        (Query("max(touchline_oldest_unfolded_seconds)", "stage engine"),),
    ),
    Chart(
        "Lag", "short", "Records on the topics that are not read yet. Rising for minutes: add processes.",
        (
            Query("sum(touchline_lag_records)", "stage engine"),
            Query("sum(touchline_notifier_lag_records)", "notifier"),
        ),
    ),
    Chart(
        "Records waiting in the outboxes", "short", "Committed to PostgreSQL and not published to Kafka yet.",
        (
            Query("sum(touchline_outbox_waiting_records)", "stage engine"),
            Query("sum(max by (partition) (touchline_notifier_outbox_waiting_records))", "notifier"),
        ),
    ),
    Chart(
        "Customers in each stage", "short", "Counted once a minute at most.",
        (Query("max by (lifecycle, stage) (touchline_customers)", "{{lifecycle}} {{stage}}"),),
    ),
    Chart(
        "Moves", "cps", "Stage changes per second, by kind.",
        (Query("sum by (move) (rate(touchline_moves_total[5m]))", "{{move}}"),),
    ),
    Chart(
        "Actions", "cps", "Decisions of the notifier per second, by outcome.",
        (Query("sum by (outcome) (rate(touchline_notifier_decisions_total[5m]))", "{{outcome}}"),),
    ),
    Chart(
        "Deliveries", "cps", "Attempts to deliver per second, by endpoint and result.",
        (
            Query(
                "sum by (endpoint, result) (rate(touchline_notifier_delivery_attempts_total[5m]))",
                "{{endpoint}} {{result}}",
            ),
        ),
    ),
    Chart(
        "Processes ready", "short", "1: every check of /readyz passes. 0: the service can't do its work.",
        (Query("min by (service) (touchline_ready)", "{{service}}"),),
    ),
    Chart(
        "Dead letters", "cps", "Records that could not be understood, per second.",
        (
            Query("sum(rate(touchline_ingest_dead_letters_total[5m])) or vector(0)", "ingest"),
            Query("sum(rate(touchline_dead_letters_total[5m])) or vector(0)", "stage engine"),
        ),
    ),
    Chart(
        "Requests", "reqps", "HTTP requests per second, by service and status.",
        (Query("sum by (service, status) (rate(touchline_http_requests_total[5m]))", "{{service}} {{status}}"),),
    ),
    Chart(
        "Time of a request", "s", "99th percentile of all routes, by service.",
        (
            Query(
                "histogram_quantile(0.99, sum by (le, service) (rate(touchline_http_request_seconds_bucket[5m])))",
                "{{service}}",
            ),
        ),
    ),
    Chart(
        "Partitions owned", "short", "Partitions that a process folds. The sum is the number of partitions.",
        (
            Query("sum(touchline_partitions_owned)", "stage engine"),
            Query("sum(touchline_notifier_partitions_owned)", "notifier"),
        ),
    ),
)  # fmt: skip

_DATA = 'persistentvolumeclaim=~".*(kafka|db|postgres).*"'
_DISK = 'job="node",fstype!~"tmpfs|ramfs|overlay|squashfs"'
STORES = (
    Chart(
        "Kafka and PostgreSQL answer", "short", "1: the services reach it. 0: they don't, or not in time.",
        (
            Query(
                'min by (service, check) (touchline_ready{check=~"kafka|postgresql|database"})',
                "{{service}} {{check}}",
            ),
        ),
    ),
    Chart(
        "Time of a Kafka transaction", "s", "From a batch's commit in PostgreSQL to its facts' commit in Kafka.",
        tuple(
            Query(f"histogram_quantile({q}, sum by (le) (rate(touchline_relay_seconds_bucket[5m])))", name)
            for q, name in ((0.5, "p50"), (0.99, "p99"))
        ),
    ),
    Chart(
        "Records that Kafka has not acknowledged", "short", "Handed over by ingest.",
        (Query("sum(touchline_ingest_in_flight_records)", "records"),),
    ),
    Chart(
        "Time of a batch in PostgreSQL", "s", "Reading, folding and committing a batch of touchpoints.",
        tuple(
            Query(f"histogram_quantile({q}, sum by (le) (rate(touchline_batch_seconds_bucket[5m])))", name)
            for q, name in ((0.5, "p50"), (0.99, "p99"))
        ),
    ),
    Chart(
        "Size of the database", "bytes", "All tables and indexes.",
        (Query("max(touchline_database_bytes)", "database"),),
    ),
    Chart(
        "Partitions that wait for Kafka or PostgreSQL", "short", "Owned by an engine and not folded.",
        (Query("sum(touchline_partitions_waiting)", "partitions"),),
    ),
    Chart(
        "Room on the volumes", "percentunit", "On Kubernetes, from the kubelet's metrics.",
        (
            Query(
                f"min by (persistentvolumeclaim) (kubelet_volume_stats_available_bytes{{{_DATA}}}"
                f" / kubelet_volume_stats_capacity_bytes{{{_DATA}}})",
                "{{persistentvolumeclaim}}",
            ),
        ),
    ),
    Chart(
        "Room on the disks", "percentunit", "Elsewhere, from node_exporter in a job `node`.",
        (
            Query(
                f"min by (instance, mountpoint) (node_filesystem_avail_bytes{{{_DISK}}}"
                f" / node_filesystem_size_bytes{{{_DISK}}})",
                "{{instance}} {{mountpoint}}",
            ),
        ),
    ),
)  # fmt: skip


def chart_of(metric: Declared) -> Chart:
    """The panel of one metric."""
    labels = [label for label in metric.labels if label not in _PARTITIONED]
    by = f" by ({', '.join(labels)})" if labels else ""
    legend = " ".join(f"{{{{{label}}}}}" for label in labels) or "all"
    words = re.sub(r"^touchline_", "", metric.name).replace("_", " ")
    about = f"{metric.about} {metric.advice}"
    if isinstance(metric, Counter):
        query = Query(f"sum{by} (rate({metric.name}_total[5m]))", legend)
        return Chart(f"{words} per second", "cps", about, (query,))
    if isinstance(metric, Histogram):
        per = "".join(f", {label}" for label in labels)
        bucket = f"sum by (le{per}) (rate({metric.name}_bucket[5m]))"
        quantiles = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
        return Chart(
            words, "s" if metric.name.endswith("_seconds") else "short", about,
            tuple(Query(f"histogram_quantile({q}, {bucket})", f"{name} {legend}") for q, name in quantiles),
        )  # fmt: skip
    assert isinstance(metric, Gauge)
    unit = next((unit for end, unit in (("_bytes", "bytes"), ("_seconds", "s")) if metric.name.endswith(end)), "short")
    return Chart(words, unit, about, (Query(f"{metric.across}{by} ({metric.name})", legend),))


def dashboards() -> dict[str, str]:
    """File name → JSON."""
    found = {"overview": _dashboard("overview", "Touchline: overview", OVERVIEW)}
    found["stores"] = _dashboard("stores", "Touchline: Kafka and PostgreSQL", STORES)
    for name, module in SERVICES.items():
        charts = [chart_of(metric) for metric in declared_in(vars(module))]
        found[name] = _dashboard(name, f"Touchline: {TITLES.get(name, name)}", charts)
    return {f"{name}.json": text for name, text in found.items()}


def _dashboard(uid: str, title: str, charts: Iterable[Chart]) -> str:
    made = (
        dashboard.Dashboard(title)
        .uid(f"touchline-{uid}")
        .tags(["touchline"])
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .readonly()
    )
    for chart in charts:
        panel = (
            timeseries.Panel()
            .title(chart.title[:1].upper() + chart.title[1:])
            .description(chart.about)
            .unit(chart.unit)
            .datasource(_SOURCE)
            .span(_WIDTH)
            .height(_HEIGHT)
            .min(0)
        )
        for letter, query in zip("ABCDEF", chart.queries, strict=False):
            panel.with_target(prometheus.Dataquery().ref_id(letter).expr(query.expression).legend_format(query.legend))
        made.with_panel(panel)
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"
