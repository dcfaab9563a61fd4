"""A lifecycle's diagram: its stages in order, and an arrow for every rule and lapse that leads from one to another."""

from collections.abc import Mapping, Sequence
from typing import Any

from touchline_console.core import formats
from touchline_console.core.charts.common import Options, plain, short, tip, tooltip


def diagram(stages: Sequence[Mapping[str, Any]]) -> Options:
    """From the stages with their ``rules`` and ``lapse``. The script of the pages gives the stages their places:
    in rows where there is room, else one below the other. Forward arrows run on one side of them, backward ones on the
    other.
    """
    titles = {stage["stage"]: stage["title"] for stage in stages}
    position = {stage["stage"]: index for index, stage in enumerate(stages)}
    off_path = {stage["stage"] for stage in stages if stage["off_path"]}
    nodes = [
        {
            "name": plain(f"stage {stage['stage']}"),
            "order": index,
            "label_text": short(stage["title"], 20),
            "tip": plain(tip(stage["title"], stage.get("about") or "")),
            "itemStyle": {
                "color": "$surface",
                "borderColor": "$accent" if stage["stage"] not in off_path else "$line-strong",
                "borderType": "dashed" if stage["stage"] in off_path else "solid",
                "borderWidth": 1.5,
            },
        }
        for index, stage in enumerate(stages)
    ]
    arrows: dict[tuple[str, str, str], list[str]] = {}
    for stage in stages:
        for rule in stage["rules"]:
            kind = "forward" if position[rule["to_stage"]] > position[stage["stage"]] else "back"
            words = ", and ".join(rule["conditions"])
            arrows.setdefault((stage["stage"], rule["to_stage"], kind), []).append(f"{rule['reason']}: {words}")
        lapse = stage["lapse"]
        if lapse:
            text = f"after {formats.duration(lapse['after_seconds'])} without activity"
            arrows.setdefault((stage["stage"], lapse["to_stage"], "lapse"), []).append(text)
    colours = {"forward": "$advance", "back": "$regress", "lapse": "$lapse"}
    links = [
        {
            "source": plain(f"stage {source}"),
            "target": plain(f"stage {target}"),
            "lineStyle": {
                "color": colours[kind],
                "width": 1.6,
                "type": "dashed" if kind == "lapse" else "solid",
                # Seen from its source every curve bends to the same side, so that way and way back never coincide.
                "curveness": 0.28 if kind != "lapse" else 0.42,
            },
            "tip": plain(tip(f"{titles[source]} → {titles[target]}", *texts[:8])),
        }
        for (source, target, kind), texts in arrows.items()
    ]
    return {
        "tooltip": tooltip("item", formatter="@ownTip"),
        "series": [
            {
                "type": "graph",
                "layout": "none",
                "left": 0,
                "right": 0,
                "top": 0,
                "bottom": 0,
                "symbol": "roundRect",
                "edgeSymbol": ["none", "arrow"],
                "edgeSymbolSize": 9,
                "label": {
                    "show": True,
                    "color": "$ink",
                    "formatter": "@ownLabel",
                    "overflow": "break",
                    "lineHeight": 14,
                },
                "emphasis": {"focus": "adjacency"},
                "data": nodes,
                "links": links,
            }
        ],
    }
