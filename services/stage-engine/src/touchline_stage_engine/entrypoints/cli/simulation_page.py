"""A simulation's report as one HTML page with charts. Plotly's script is part of the page: it loads nothing from other
hosts."""

from importlib.resources import files
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, select_autoescape
from plotly.offline import get_plotlyjs

from touchline_stage_engine.application.simulation import SimulationResult, funnel_of, title_of
from touchline_stage_engine.core.analysis.simulation import Outcome

COLOURS = {"running": "#98a2b3", "candidate": "#3867d6", "fewer": "#c9740a"}
FLOWS_SHOWN = 15


def page(result: SimulationResult) -> str:
    """The page's HTML."""
    report = result.report
    environment = Environment(autoescape=select_autoescape(default=True, default_for_string=True))
    template = environment.from_string((files("touchline_stage_engine.entrypoints.cli") / "simulate.html").read_text())
    charts = [("How far customers come", _funnel(result)), ("Customers by stage", _standing(result))]
    if report.running is not None and report.flow_differences():
        charts.append(("Moves: more or fewer than now", _differences(result)))
    if any(outcome.stalls for outcome in result.outcomes):
        charts.append(("Stalls that would have fired", _stalls(result)))
    if report.changes:
        charts.append(("Who would move", _moving(result)))
    return template.render(
        script=get_plotlyjs(),
        result=result,
        report=report,
        candidate=title_of(report.candidate),
        running=None if report.running is None else title_of(report.running),
        charts=[(title, _drawn(figure, index)) for index, (title, figure) in enumerate(charts)],
        changes=report.changes.most_common(50),
        plays=sorted({play for outcome in result.outcomes for play in outcome.plays}),
    )


def _drawn(figure: go.Figure, index: int) -> str:
    figure.update_layout(
        template="plotly_white",
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        height=380,
        font={"family": "system-ui, sans-serif", "size": 13},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    drawn: str = figure.to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=f"chart-{index}",
        config={"displayModeBar": False, "responsive": True},
    )
    return drawn


def _colour(result: SimulationResult, outcome: Outcome) -> str:
    return COLOURS["candidate" if outcome is result.report.candidate else "running"]


def _bars(result: SimulationResult, labels: list[str], values: Any) -> go.Figure:
    """Bars side by side: one for each outcome and label."""
    figure = go.Figure()
    for outcome in result.outcomes:
        figure.add_bar(
            x=labels,
            y=values(outcome),
            name=title_of(outcome),
            marker_color=_colour(result, outcome),
            texttemplate="%{y:,}",
            textposition="outside",
            cliponaxis=False,
        )
    return figure.update_layout(barmode="group", yaxis={"title": None, "rangemode": "tozero"})


def _funnel(result: SimulationResult) -> go.Figure:
    figure = go.Figure()
    for outcome in result.outcomes:
        funnel = funnel_of(outcome)
        figure.add_funnel(
            y=outcome.path,
            x=[funnel[stage].reached for stage in outcome.path],
            name=title_of(outcome),
            marker_color=_colour(result, outcome),
            textinfo="value+percent initial",
        )
    return figure.update_yaxes(categoryorder="array", categoryarray=result.stages)


def _standing(result: SimulationResult) -> go.Figure:
    stages = result.stages
    return _bars(result, stages, lambda outcome: [outcome.now_in[stage] for stage in stages])


def _stalls(result: SimulationResult) -> go.Figure:
    levels = sorted({level for outcome in result.outcomes for level in outcome.stalls})
    labels = [f"{level.stage}, level {level.level}" for level in levels]
    return _bars(result, labels, lambda outcome: [outcome.stalls[level] for level in levels])


def _differences(result: SimulationResult) -> go.Figure:
    found = result.report.flow_differences()
    flows = sorted(found, key=lambda flow: abs(found[flow]), reverse=True)[:FLOWS_SHOWN][::-1]
    return go.Figure(
        go.Bar(
            y=[f"{flow.from_stage or '–'} → {flow.to_stage} ({flow.kind})" for flow in flows],
            x=[found[flow] for flow in flows],
            orientation="h",
            marker_color=[COLOURS["candidate"] if found[flow] > 0 else COLOURS["fewer"] for flow in flows],
            texttemplate="%{x:+,}",
            cliponaxis=False,
        )
    )


def _moving(result: SimulationResult) -> go.Figure:
    """Customers by current stage and by stage under the candidate, as a Sankey diagram."""
    changes = result.report.changes
    left = sorted({change.running or "no stage" for change in changes})
    right = sorted({change.candidate or "no stage" for change in changes})
    return go.Figure(
        go.Sankey(
            node={
                "label": [f"now: {stage}" for stage in left] + [f"then: {stage}" for stage in right],
                "color": [COLOURS["running"]] * len(left) + [COLOURS["candidate"]] * len(right),
                "pad": 18,
            },
            link={
                "source": [left.index(change.running or "no stage") for change in changes],
                "target": [len(left) + right.index(change.candidate or "no stage") for change in changes],
                "value": list(changes.values()),
                "color": "rgba(56, 103, 214, 0.25)",
            },
        )
    )
