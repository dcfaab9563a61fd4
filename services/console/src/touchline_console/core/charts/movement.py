"""Charts of a lifecycle's movement: funnel, flows, population."""

from collections.abc import Mapping, Sequence
from typing import Any

from touchline_console.core import formats
from touchline_console.core.charts.common import (
    Options,
    axis,
    bars_media,
    grid,
    legend,
    media,
    plain,
    short,
    stage_colour,
    tip,
    tooltip,
)

_BACK = ("regress", "lapse")
_END_LABEL = {"width": 116, "rotate": 0, "position": "right"}
_LEVEL = {"rotate": 0, "position": "right"}
_UPRIGHT = {"rotate": 90, "position": "inside", "textBorderColor": "$surface", "textBorderWidth": 3}


def funnel(steps: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]] = ()) -> Options:
    """Bars of how many customers reached each stage; with the period before in grey behind."""
    earlier = {step["stage"]: step["reached"] for step in before}

    def label(step: Mapping[str, Any]) -> str:
        share = step["conversion_from_previous"]
        return formats.number(step["reached"]) + (f" · {formats.percent(share)}" if share is not None else "")

    bars = [
        {
            "value": step["reached"],
            "label_text": label(step),
            "tip": plain(
                tip(
                    step["title"],
                    f"{formats.number(step['reached'])} reached this stage or a later one",
                    f"{formats.percent(step['conversion_from_previous'])} of the stage before",
                    f"{formats.percent(step['conversion_overall'])} of the first stage",
                )
            ),
        }
        for step in steps
    ]
    series: list[Options] = [
        {
            "name": "this period",
            "type": "bar",
            "data": bars,
            "barMaxWidth": 26,
            "itemStyle": {"color": "$accent", "borderRadius": 4},
            "label": {"show": True, "position": "right", "color": "$ink", "formatter": "@ownLabel"},
        }
    ]
    if earlier:
        series.append(
            {
                "name": "period before",
                "type": "bar",
                "data": [
                    {
                        "value": earlier.get(step["stage"], 0),
                        "tip": plain(
                            tip(step["title"], f"period before: {formats.number(earlier.get(step['stage']))}")
                        ),
                    }
                    for step in steps
                ],
                "barMaxWidth": 10,
                "itemStyle": {"color": "$line-strong", "borderRadius": 3},
            }
        )
    return {
        "grid": grid(right=96, top=28 if earlier else 8),
        "media": bars_media(96, 92),
        **({"legend": legend()} if earlier else {}),
        "tooltip": tooltip("item", formatter="@ownTip"),
        "xAxis": axis("value", axisLabel={"show": False}, splitLine={"show": False}),
        "yAxis": axis(
            "category",
            inverse=True,
            data=[short(step["title"]) for step in steps],
            axisLine={"show": False},
            axisLabel={"color": "$ink", "interval": 0 if len(steps) <= 16 else "auto"},
        ),
        "series": series,
    }


def flows(moves: Sequence[Mapping[str, Any]], titles: Mapping[str, str], order: Sequence[str]) -> Options | None:
    """A Sankey of moves between stages. A move back ends in a node of its own at the right, in its own colour, since a
    Sankey diagram has no cycles. None where no customer moved.
    """
    position = {name: index for index, name in enumerate(order)}
    nodes: dict[str, Options] = {}
    links: list[Options] = []
    for move in moves:
        source, target, kind = move["from_stage"], move["to_stage"], move["move"]
        if source is None or source == target or not move["moves"]:
            continue
        back = kind in _BACK or position.get(target, -1) <= position.get(source, len(position))
        colour = "$lapse" if kind == "lapse" else "$regress" if back and kind != "renew" else "$advance"
        word = "lapsed to" if kind == "lapse" else "again" if kind == "renew" else "back to"
        end = f"{word} {titles.get(target, target)}" if back else f"stage {target}"
        nodes.setdefault(
            f"stage {source}",
            {"shown": titles.get(source, source), "itemStyle": {"color": stage_colour(position.get(source, 9))}},
        )
        nodes.setdefault(
            end,
            {
                "shown": end if back else titles.get(target, target),
                "itemStyle": {"color": colour if back else stage_colour(position.get(target, 9))},
            },
        )
        links.append(
            {
                "source": plain(f"stage {source}"),
                "target": plain(end),
                "value": move["moves"],
                "lineStyle": {"color": colour, "opacity": 0.4 if back else 0.22},
                "tip": plain(
                    tip(
                        f"{titles.get(source, source)} → {titles.get(target, target)} ({kind})",
                        f"{formats.plural(move['moves'], 'move')} of {formats.plural(move['customers'], 'customer')}",
                        f"median time before the move: {formats.duration(move['median_seconds'])}",
                    )
                ),
            }
        )
    if not links:
        return None
    return {
        "tooltip": tooltip("item", formatter="@ownTip"),
        # On a phone the stages stand so close that their titles fit only along the bars.
        "media": media({"series": [{"label": _UPRIGHT}]}, {"series": [{"label": {**_LEVEL, "textBorderWidth": 0}}]}),
        "series": [
            {
                "type": "sankey",
                "left": 4,
                "right": 118,
                "top": 8,
                "bottom": 8,
                "nodeGap": 12,
                "nodeWidth": 10,
                "draggable": False,
                "emphasis": {"focus": "adjacency"},
                "label": {
                    "color": "$ink",
                    "fontSize": 12,
                    "formatter": "@ownLabel",
                    "width": max(46, min(110, 460 // max(1, len(order)))),
                    "overflow": "truncate",
                },
                # A stage whose label is hidden has its title in the tooltip, and in the table below.
                "labelLayout": {"hideOverlap": True},
                "lineStyle": {"curveness": 0.5},
                "data": [
                    {
                        "name": plain(name),
                        "label_text": short(node["shown"], 20),
                        "tip": plain(node["shown"]),
                        "itemStyle": node["itemStyle"],
                        **({} if name.startswith("stage ") else {"label": _END_LABEL}),
                    }
                    for name, node in nodes.items()
                ],
                "links": links,
            }
        ],
    }


def population(days: Sequence[str], series: Sequence[tuple[str, Sequence[int]]]) -> Options:
    """People by stage at the end of each day, stacked in the order of the stages."""
    return {
        "legend": legend(data=[plain(title) for title, _ in series]),
        "grid": grid(top=34),
        "tooltip": tooltip("axis", formatter="@axisTip"),
        "xAxis": axis("time", splitLine={"show": False}, axisLabel={"formatter": "@day"}),
        "yAxis": axis("value", axisLabel={"formatter": "@number"}, minInterval=1),
        "series": [
            {
                "name": plain(title),
                "type": "line",
                "stack": "people",
                "symbol": "none",
                "sampling": "lttb",
                "lineStyle": {"width": 0},
                "color": stage_colour(index),
                "areaStyle": {"color": stage_colour(index), "opacity": 0.85},
                "data": [[day, value] for day, value in zip(days, values, strict=True)],
            }
            for index, (title, values) in enumerate(series)
        ],
    }
