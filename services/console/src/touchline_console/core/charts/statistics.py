"""Charts of a lifecycle's statistics: time in stage, cohorts, effort, shares as bars, differences with intervals."""

from collections.abc import Mapping, Sequence
from typing import Any

from touchline_console.core import formats
from touchline_console.core.charts.common import (
    Options,
    axis,
    bars_media,
    grid,
    legend,
    plain,
    short,
    stage_axis,
    stage_axis_media,
    stage_colour,
    tip,
    tooltip,
)


def survival(curve: Sequence[Mapping[str, Any]], median_days: float | None) -> Options:
    """The share still in the stage after so many days, with its confidence band, and the median."""
    points = [(0.0, 1.0, 1.0, 1.0)] + [(p["days"], p["share"], p["lower"], p["upper"]) for p in curve]
    step = {"type": "line", "step": "end", "symbol": "none"}
    marks: list[Options] = [{"yAxis": 0.5}]
    if median_days is not None:
        marks.append({"xAxis": median_days})
    # ECharts stacks two value axes by the first one, so the band is the area below the upper limit, with the area below
    # the lower one covered; the grid lines are drawn above both.
    return {
        "grid": grid(right=26),
        "tooltip": tooltip("axis", formatter="@shareTip"),
        "xAxis": axis("value", min=0, splitLine={"show": False}, axisLabel={"formatter": "@days"}),
        "yAxis": axis("value", min=0, max=1, z=4, axisLabel={"formatter": "@percent"}),
        "series": [
            {
                **step,
                "name": "_upper",
                "silent": True,
                "lineStyle": {"opacity": 0},
                "areaStyle": {"color": "$accent", "opacity": 0.18},
                "data": [[days, high] for days, _, _, high in points],
            },
            {
                **step,
                "name": "_lower",
                "silent": True,
                "lineStyle": {"opacity": 0},
                "areaStyle": {"color": "$surface", "opacity": 1},
                "data": [[days, low] for days, _, low, _ in points],
            },
            {
                **step,
                "name": "still there",
                "z": 5,
                "lineStyle": {"color": "$accent", "width": 2},
                "itemStyle": {"color": "$accent"},
                "data": [[days, share] for days, share, _, _ in points],
                "markLine": {
                    "symbol": "none",
                    "silent": True,
                    "data": marks,
                    "lineStyle": {"color": "$faint", "type": "dashed"},
                    "label": {"show": False},
                },
            },
        ],
    }


def cohorts(rows: Sequence[Mapping[str, Any]], months: int) -> Options:
    """Rows are months of entry, columns months since; a cell's shade is the share that reached the stage."""
    cells = []
    every = [share for row in rows for share in row["shares"]] or [0.0]
    most, least = max(every) or 1.0, min(every) * 0.8
    for index, row in enumerate(rows):
        for month, share in enumerate(row["shares"]):
            cells.append(
                {
                    "value": [month, index, share],
                    "label_text": formats.percent(share),
                    "label": {"color": "$on-accent" if share - least > (most - least) * 0.55 else "$ink"},
                    "tip": tip(
                        f"entered in {row['month']}: {formats.plural(row['size'], 'customer')}",
                        f"{formats.percent(share)} reached the stage within "
                        f"{formats.plural(month + 1, 'month')} of entry",
                    ),
                }
            )
    return {
        "grid": grid(),
        "tooltip": tooltip("item", formatter="@ownTip"),
        "xAxis": axis("category", data=[f"{month + 1} mo" for month in range(months)], splitLine={"show": False}),
        "yAxis": axis(
            "category",
            inverse=True,
            data=[f"{row['month']} ({row['size']:,})" for row in rows],
            splitLine={"show": False},
        ),
        "visualMap": {
            "show": False,
            "min": least,
            "max": most,
            "dimension": 2,
            "inRange": {"color": ["$accent-soft", "$accent"]},
        },
        "series": [
            {
                "type": "heatmap",
                "data": cells,
                "label": {"show": True, "formatter": "@ownLabel", "fontSize": 11},
                "itemStyle": {"borderColor": "$surface", "borderWidth": 2, "borderRadius": 3},
            }
        ],
    }


def effort(stages: Sequence[Mapping[str, Any]]) -> Options:
    """By stage: touchpoints from the company, from customers, and feedback among the latter."""
    kinds = (
        ("from us", "outbound", "$accent"),
        ("from them", "inbound", "$advance"),
        ("feedback", "feedback", "$stall"),
    )
    return {
        "legend": legend(),
        "grid": grid(top=34),
        "tooltip": tooltip("axis", axisPointer={"type": "shadow"}, formatter="@axisTip"),
        "xAxis": stage_axis([stage["title"] for stage in stages]),
        "media": stage_axis_media(),
        "yAxis": axis("value", axisLabel={"formatter": "@number"}, minInterval=1),
        "series": [
            {
                "name": name,
                "type": "bar",
                "barMaxWidth": 26,
                "itemStyle": {"color": colour, "borderRadius": [3, 3, 0, 0]},
                "data": [stage[key] for stage in stages],
            }
            for name, key, colour in kinds
        ],
    }


def bars(items: Sequence[tuple[str, float, str]], colour: str = "$accent") -> Options:
    """Horizontal bars of (label, value, text beside the bar), in the order given."""
    return {
        "grid": grid(right=110, top=4),
        "media": bars_media(110, 104),
        "tooltip": tooltip("item", formatter="@ownTip"),
        "xAxis": axis("value", axisLabel={"show": False}, splitLine={"show": False}),
        "yAxis": axis(
            "category",
            inverse=True,
            data=[short(label, 30) for label, _, _ in items],
            axisLine={"show": False},
            axisLabel={"color": "$ink", "interval": 0 if len(items) <= 16 else "auto"},
        ),
        "series": [
            {
                "type": "bar",
                "barMaxWidth": 22,
                "itemStyle": {"color": colour, "borderRadius": 4},
                "label": {"show": True, "position": "right", "color": "$ink", "formatter": "@ownLabel"},
                "data": [
                    {"value": value, "label_text": plain(text), "tip": plain(tip(label, text))}
                    for label, value, text in items
                ],
            }
        ],
    }


def rates(groups: Sequence[tuple[str, float | None, float | None]]) -> Options:
    """Pairs of bars: (measure, rate of the treated, rate of the hold-out)."""
    names = (("treated", 1, "$accent"), ("held out", 2, "$line-strong"))
    return {
        "legend": legend(),
        "grid": grid(top=34),
        "tooltip": tooltip("item", formatter="@ownTip"),
        "xAxis": axis("category", data=[measure for measure, *_ in groups]),
        "yAxis": axis("value", axisLabel={"formatter": "@percent"}),
        "series": [
            {
                "name": name,
                "type": "bar",
                "barMaxWidth": 42,
                "itemStyle": {"color": colour, "borderRadius": [4, 4, 0, 0]},
                "label": {"show": True, "position": "top", "color": "$ink", "formatter": "@ownLabel"},
                "data": [
                    {
                        "value": group[index],
                        "label_text": formats.percent(group[index]),  # type: ignore[arg-type]
                        "tip": f"{group[0]}, {name}: {formats.percent(group[index])}",  # type: ignore[arg-type]
                    }
                    for group in groups
                ],
            }
            for name, index, colour in names
        ],
    }


def lost(stages: Sequence[Mapping[str, Any]]) -> Options:
    """By stage: customers for whom the path ended there, stalled in it or left it backward."""
    kinds = (("stalled", "stalled", "$stall"), ("left backward", "left_back", "$regress"))
    return {
        "legend": legend(),
        "grid": grid(top=34),
        "tooltip": tooltip("axis", axisPointer={"type": "shadow"}, formatter="@axisTip"),
        "xAxis": stage_axis([stage["title"] for stage in stages]),
        "media": stage_axis_media(),
        "yAxis": axis("value", axisLabel={"formatter": "@number"}, minInterval=1),
        "series": [
            {
                "name": name,
                "type": "bar",
                "stack": "lost",
                "barMaxWidth": 40,
                "itemStyle": {"color": colour},
                "data": [stage[key] for stage in stages],
            }
            for name, key, colour in kinds
        ],
    }


def losses_by_month(rows: Sequence[Mapping[str, Any]], stages: Sequence[tuple[str, str]]) -> Options | None:
    """A line a stage: first stalls and moves back in each month. None with fewer than two months."""
    months = sorted({row["month"] for row in rows})
    if len(months) < 2:
        return None
    found = {(row["stage"], row["month"]): row["stalled"] + row["back"] for row in rows}
    return {
        "legend": legend(),
        "grid": grid(top=34, right=30),
        "tooltip": tooltip("axis", formatter="@axisTip"),
        "xAxis": axis("category", data=months, boundaryGap=False),
        "yAxis": axis("value", axisLabel={"formatter": "@number"}, minInterval=1),
        "series": [
            {
                "name": plain(title),
                "type": "line",
                "symbolSize": 6,
                "color": stage_colour(index),
                "data": [found.get((stage, month), 0) for month in months],
            }
            for index, (stage, title) in enumerate(stages)
        ],
    }


def peak_month(rows: Sequence[Mapping[str, Any]], stage: str) -> tuple[str, int] | None:
    """The month in which most customers stalled in a stage or moved back out of it, and how many did."""
    of_stage = [(row["stalled"] + row["back"], row["month"]) for row in rows if row["stage"] == stage]
    count, month = max(of_stage, default=(0, ""))
    return (month, count) if count else None
