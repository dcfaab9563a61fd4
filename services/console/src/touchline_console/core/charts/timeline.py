"""A customer's timeline: touchpoints in a row for each channel, with the stages of one lifecycle behind them."""

from collections.abc import Mapping, Sequence
from typing import Any

from touchline_console.core import formats
from touchline_console.core.charts.common import Options, axis, legend, plain, short, stage_colour, tip, tooltip

ACTIONS_ROW = "our actions"
_MOVE_COLOURS = {"regress": "$regress", "lapse": "$lapse"}
_LABELLED_FROM = 0.09
"""The share of the whole time from which a stage's band has room for its name."""
_MARKS = 12
"""At most so many lines carry a word; more would cover each other."""


def _hours(moment: str) -> float:
    found = formats.instant(moment)
    return found.timestamp() / 3600 if found else 0.0


def timeline(
    touchpoints: Sequence[Mapping[str, Any]],
    bands: Sequence[tuple[str, str, str, int]],
    facts: Sequence[Mapping[str, Any]],
    actions: Sequence[Mapping[str, Any]],
) -> Options | None:
    """Options; None where there is nothing to show.

    Args:
        touchpoints: items with ``channel``, ``type``, ``direction``, ``occurred_at`` and ``text`` (what to say of it).
        bands: (title, from, until, index of the stage): times in RFC 3339.
        facts: stalls and moves: ``at``, ``kind`` (stall or a move), ``text``.
        actions: ``at``, ``text``, ``outcome``.
    """
    if not touchpoints:
        return None
    rows = sorted({point["channel"] for point in touchpoints})
    if actions:
        rows.append(ACTIONS_ROW)

    def points(direction: str) -> list[Options]:
        return [
            {
                "value": [point["occurred_at"], plain(point["channel"])],
                "tip": plain(tip(point["type"], point["text"], point["occurred_at"][:16].replace("T", " ") + " UTC")),
            }
            for point in touchpoints
            if point["direction"] == direction
        ]

    whole = max((_hours(until) for *_, until, _ in bands), default=0.0) - min(
        (_hours(s) for _, s, *_ in bands), default=0.0
    )
    areas = [
        [
            {
                "name": short(title, 16) if _hours(until) - _hours(since) > whole * _LABELLED_FROM else "",
                "xAxis": since,
                "itemStyle": {"color": stage_colour(index), "opacity": 0.14},
                "label": {"color": "$muted", "position": "insideTop", "fontSize": 11},
            },
            {"xAxis": until},
        ]
        for title, since, until, index in bands
    ]
    lines = [
        {
            "xAxis": fact["at"],
            "lineStyle": {"color": "$stall" if fact["kind"] == "stall" else _MOVE_COLOURS.get(fact["kind"], "$faint")},
            "label": {
                "show": fact["kind"] in ("stall", *_MOVE_COLOURS) and len(facts) <= _MARKS,
                "formatter": plain(fact["text"]),
                "color": "$stall" if fact["kind"] == "stall" else _MOVE_COLOURS.get(fact["kind"], "$muted"),
                "position": "insideEndTop",
                "fontSize": 11,
            },
        }
        for fact in facts
    ]
    return {
        "legend": legend(data=["from them", "from us", *(["actions"] if actions else [])], icon="circle"),
        "grid": {"left": 8, "right": 14, "top": 34, "bottom": 52, "containLabel": True},
        "tooltip": tooltip("item", formatter="@ownTip"),
        "dataZoom": [
            {"type": "inside", "filterMode": "none", "zoomOnMouseWheel": "ctrl"},
            {
                "type": "slider",
                "height": 20,
                "bottom": 6,
                "filterMode": "none",
                "borderColor": "$line",
                "fillerColor": "$accent/0.12",
                "handleStyle": {"color": "$accent"},
                "moveHandleStyle": {"color": "$accent"},
                "dataBackground": {"lineStyle": {"color": "$line-strong"}, "areaStyle": {"color": "$line"}},
                "showDetail": False,
            },
        ],
        "xAxis": axis("time", splitLine={"show": False}, axisLabel={"formatter": "@day"}),
        "yAxis": axis(
            "category",
            inverse=True,
            data=[plain(row) for row in rows],
            axisLabel={"color": "$ink", "interval": 0, "width": 90, "overflow": "truncate"},
            splitLine={"show": True, "lineStyle": {"color": "$line"}},
        ),
        "series": [
            {
                "name": "from them",
                "type": "scatter",
                "symbolSize": 9,
                "itemStyle": {"color": "$advance", "opacity": 0.85},
                "data": points("inbound"),
                "markArea": {"silent": True, "data": areas},
                "markLine": {"symbol": "none", "silent": True, "data": lines, "lineStyle": {"type": "dashed"}},
            },
            {
                "name": "from us",
                "type": "scatter",
                "symbol": "triangle",
                "symbolSize": 10,
                "itemStyle": {"color": "$accent", "opacity": 0.85},
                "data": points("outbound"),
            },
            {
                "name": "actions",
                "type": "scatter",
                "symbol": "diamond",
                "symbolSize": 12,
                "itemStyle": {"color": "$stall"},
                "data": [
                    {
                        "value": [action["at"], ACTIONS_ROW],
                        "itemStyle": {"color": "$accent" if action["outcome"] == "sent" else "$faint"},
                        "tip": plain(
                            tip(action["text"], formats.title(action["outcome"]), action["at"][:16].replace("T", " "))
                        ),
                    }
                    for action in actions
                ],
            },
        ],
    }
