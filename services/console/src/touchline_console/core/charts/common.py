"""What all charts share: axes, legend, tooltip, colours of stages."""

from collections.abc import Mapping
from typing import Any

Options = dict[str, Any]

STAGE_COLOURS = (
    "#8a9cc2", "#5b8def", "#4f46e5", "#0d9488", "#d4a017", "#c2410c", "#a855f7", "#0891b2", "#65a30d", "#db2777",
)  # fmt: skip
"""Fills of stages, in order. They carry no meaning and every one has its name beside it."""


def plain(text: str) -> str:
    """Text from outside, made safe from being read as a colour or a format."""
    return f"\\{text}" if text[:1] in ("$", "@", "\\") else text


def short(text: str, most: int = 22) -> str:
    """Text cut to fit beside an axis."""
    return plain(text if len(text) <= most else f"{text[: most - 1]}…")


def stage_colour(index: int) -> str:
    """The fill of the stage at an index; they repeat after ten."""
    return STAGE_COLOURS[index % len(STAGE_COLOURS)]


def axis(kind: str, **more: Any) -> Options:
    """An axis in the console's look."""
    label = {"color": "$muted", "hideOverlap": True, **more.pop("axisLabel", {})}
    return {
        "type": kind,
        "axisLine": {"show": kind != "value", "lineStyle": {"color": "$line-strong"}},
        "axisTick": {"show": False},
        "splitLine": {"show": kind == "value", "lineStyle": {"color": "$line"}},
        "axisLabel": label,
        **more,
    }


def stage_axis(titles: list[str]) -> Options:
    """A category axis of stages: whole titles on several lines where there are few, else as many as fit."""
    if len(titles) <= 8:
        label = {"interval": 0, "width": 92, "overflow": "break", "hideOverlap": False, "lineHeight": 14}
        return axis("category", data=[plain(title) for title in titles], axisLabel=label)
    return axis("category", data=[short(title, 18) for title in titles])


def media(narrow: Options, wide: Options) -> list[Options]:
    """What differs between a phone and a wider chart: ECharts takes the first whose query holds, else the last."""
    return [{"query": {"maxWidth": 420}, "option": narrow}, {"option": wide}]


def stage_axis_media() -> list[Options]:
    """Titles below an axis of stages: level where there is room, oblique on a phone."""
    return media({"xAxis": {"axisLabel": {"rotate": 35}}}, {"xAxis": {"axisLabel": {"rotate": 0}}})


def bars_media(right: int, width: int) -> list[Options]:
    """Labels of horizontal bars: on several lines on a phone, so that the bars keep some width."""
    label = {"width": width, "overflow": "break", "lineHeight": 14}
    return media(
        {"grid": {"right": min(right, 80)}, "yAxis": {"axisLabel": label}},
        {"grid": {"right": right}, "yAxis": {"axisLabel": {"width": 240, "overflow": "truncate"}}},
    )


def tooltip(trigger: str, **more: Any) -> Options:
    """A tooltip that is drawn on the canvas: as HTML it would need inline styles, which the page's policy forbids."""
    return {
        "trigger": trigger,
        "renderMode": "richText",
        "confine": True,
        "backgroundColor": "$raised",
        "borderColor": "$line-strong",
        "borderWidth": 1,
        "padding": 8,
        "textStyle": {"color": "$ink", "fontSize": 12, "lineHeight": 17},
        **more,
    }


def legend(**more: Any) -> Options:
    """A legend above the chart that pages when it is too long."""
    return {
        "type": "scroll",
        "top": 0,
        "left": 0,
        "icon": "roundRect",
        "itemWidth": 10,
        "itemHeight": 10,
        "itemGap": 14,
        "textStyle": {"color": "$muted"},
        "pageTextStyle": {"color": "$muted"},
        "pageIconColor": "$muted",
        "pageIconInactiveColor": "$line-strong",
        **more,
    }


def grid(**more: Any) -> Options:
    """The plot's margins."""
    return {"left": 8, "right": 14, "top": 14, "bottom": 4, "containLabel": True, **more}


def tip(*lines: str) -> str:
    """Lines of a tooltip."""
    return "\n".join(lines)


def titles_of(stages: list[Mapping[str, Any]]) -> dict[str, str]:
    """Stage → its title."""
    return {stage["name"]: stage.get("title") or stage["name"] for stage in stages}
