"""A simulation's report as tables on a terminal."""

from rich.console import Console
from rich.table import Table

from touchline_stage_engine.application.simulation import SimulationResult, funnel_of, title_of
from touchline_stage_engine.core.analysis.simulation import Flow, Outcome

FLOWS_SHOWN = 20
CHANGES_SHOWN = 20
NAMES_SHOWN = 3


def print_tables(result: SimulationResult, console: Console) -> None:
    """Print the report."""
    report = result.report
    console.print(
        f"[bold]{title_of(report.candidate)}[/] over {report.customers:,} customers and {report.touchpoints:,} "
        f"touchpoints of {result.history}, timers up to {result.until}",
        highlight=False,
    )
    if report.running is None:
        console.print("No lifecycle of that name runs, so there is nothing to compare with.")
    else:
        console.print(
            f"[bold]{report.would_move:,}[/] of {report.customers:,} customers would be in another stage than under "
            f"{title_of(report.running)} (`now` below; `then` is {title_of(report.candidate)}).",
            highlight=False,
        )
        console.print(result.effect_of_on_change, highlight=False)
    if result.refused_links:
        console.print(f"{result.refused_links} links between two known customers were refused.", highlight=False)
    console.print(_funnel(result))
    if report.changes:
        console.print(_changes(result))
    if report.candidate.flows or (report.running and report.running.flows):
        console.print(_flows(result))
    if any(outcome.stalls for outcome in result.outcomes):
        console.print(_stalls(result))
    if any(outcome.plays for outcome in result.outcomes):
        console.print(_plays(result))


def _table(title: str, *columns: str, numbers: int) -> Table:
    """A table whose last ``numbers`` columns are right-aligned."""
    table = Table(title=title, title_justify="left", header_style="dim")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index >= len(columns) - numbers else "left")
    return table


def _heads(result: SimulationResult) -> list[str]:
    """Column headings of the outcomes."""
    return ["then"] if result.report.running is None else ["now", "then"]


def _funnel(result: SimulationResult) -> Table:
    outcomes = result.outcomes
    heads = [f"{what} {head}" for what in ("reached", "of all", "in stage now") for head in _heads(result)]
    table = _table("Funnel", "stage", *heads, numbers=len(heads))
    funnels = [funnel_of(outcome) for outcome in outcomes]
    for stage in result.stages:
        steps = [funnel.get(stage) for funnel in funnels]
        table.add_row(
            stage,
            *("" if step is None else f"{step.reached:,}" for step in steps),
            *("" if step is None else _percent(step.overall) for step in steps),
            *(f"{outcome.now_in[stage]:,}" for outcome in outcomes),
        )
    return table


def _changes(result: SimulationResult) -> Table:
    report = result.report
    table = _table("Who would move", "now in", "would be in", "for example", "customers", numbers=1)
    for change, count in report.changes.most_common(CHANGES_SHOWN):
        names = ", ".join(report.examples[change][:NAMES_SHOWN])
        table.add_row(change.running or "no stage", change.candidate or "no stage", names, f"{count:,}")
    return table


def _flows(result: SimulationResult) -> Table:
    outcomes, report = result.outcomes, result.report
    table = _table("Moves", "from", "to", "move", *_heads(result), "difference", numbers=len(outcomes) + 1)
    differences = report.flow_differences()
    flows: dict[Flow, int] = {flow: 0 for outcome in outcomes for flow in outcome.flows}
    if report.running is None:
        differences = {}

    def weight(flow: Flow) -> tuple[int, int]:
        return (-abs(differences.get(flow, 0)), -max(outcome.flows[flow] for outcome in outcomes))

    for flow in sorted(flows, key=weight)[:FLOWS_SHOWN]:
        difference = differences.get(flow, 0)
        table.add_row(
            flow.from_stage or "–", flow.to_stage, flow.kind, *(f"{outcome.flows[flow]:,}" for outcome in outcomes),
            f"{difference:+,}" if difference else "",
        )  # fmt: skip
    return table


def _stalls(result: SimulationResult) -> Table:
    outcomes = result.outcomes
    heads = [f"{what} {head}" for what in ("fired", "still open") for head in _heads(result)]
    table = _table("Stalls", "stage", "level", *heads, numbers=len(heads) + 1)
    levels = sorted({level for outcome in outcomes for level in outcome.stalls})
    for level in levels:
        table.add_row(
            level.stage,
            str(level.level),
            *(f"{outcome.stalls[level]:,}" for outcome in outcomes),
            *(f"{outcome.stalled_now[level]:,}" for outcome in outcomes),
        )
    return table


def _plays(result: SimulationResult) -> Table:
    outcomes: list[Outcome] = result.outcomes
    table = _table("Facts that plays would consider", "play", *_heads(result), numbers=len(outcomes))
    for play in sorted({play for outcome in outcomes for play in outcome.plays}):
        table.add_row(play, *(f"{outcome.plays[play]:,}" for outcome in outcomes))
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
