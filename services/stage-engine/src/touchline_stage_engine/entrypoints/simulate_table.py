"""A simulation's report as tables on a terminal."""

from rich.console import Console
from rich.table import Table

from touchline_stage_engine.core.simulation import Flow, Outcome
from touchline_stage_engine.entrypoints.simulated import Simulated, funnel_of, title_of

FLOWS_SHOWN = 20
CHANGES_SHOWN = 20
NAMES_SHOWN = 3


def tell(simulated: Simulated, console: Console) -> None:
    """Print the report."""
    report = simulated.report
    console.print(
        f"[bold]{title_of(report.candidate)}[/] over {report.customers:,} customers and {report.touchpoints:,} "
        f"touchpoints of {simulated.history}, timers up to {simulated.until}",
        highlight=False,
    )
    if report.running is None:
        console.print("Nothing of that name runs yet, so there is nothing to compare with.")
    else:
        console.print(
            f"[bold]{report.would_move:,}[/] of {report.customers:,} customers would stand in another stage than under "
            f"{title_of(report.running)} (`now` below; `then` is {title_of(report.candidate)}).",
            highlight=False,
        )
    if simulated.refused:
        console.print(f"{simulated.refused} links between two known customers were refused.", highlight=False)
    console.print(_funnel(simulated))
    if report.changes:
        console.print(_changes(simulated))
    if report.candidate.flows or (report.running and report.running.flows):
        console.print(_flows(simulated))
    if any(outcome.stalls for outcome in simulated.outcomes):
        console.print(_stalls(simulated))
    if any(outcome.plays for outcome in simulated.outcomes):
        console.print(_plays(simulated))


def _table(title: str, *columns: str, numbers: int) -> Table:
    """A table whose last ``numbers`` columns are right-aligned."""
    table = Table(title=title, title_justify="left", header_style="dim")
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place >= len(columns) - numbers else "left")
    return table


def _heads(simulated: Simulated) -> list[str]:
    """What the outcomes' columns are headed by."""
    return ["then"] if simulated.report.running is None else ["now", "then"]


def _funnel(simulated: Simulated) -> Table:
    outcomes = simulated.outcomes
    heads = [f"{what} {head}" for what in ("reached", "of all", "stand here") for head in _heads(simulated)]
    table = _table("Funnel", "stage", *heads, numbers=len(heads))
    funnels = [funnel_of(outcome) for outcome in outcomes]
    for stage in simulated.stages:
        steps = [funnel.get(stage) for funnel in funnels]
        table.add_row(
            stage,
            *("" if step is None else f"{step.reached:,}" for step in steps),
            *("" if step is None else _percent(step.overall) for step in steps),
            *(f"{outcome.now_in[stage]:,}" for outcome in outcomes),
        )
    return table


def _changes(simulated: Simulated) -> Table:
    report = simulated.report
    table = _table("Who would move", "now in", "would be in", "for example", "customers", numbers=1)
    for change, count in report.changes.most_common(CHANGES_SHOWN):
        names = ", ".join(report.examples[change][:NAMES_SHOWN])
        table.add_row(change.running or "no stage", change.candidate or "no stage", names, f"{count:,}")
    return table


def _flows(simulated: Simulated) -> Table:
    outcomes, report = simulated.outcomes, simulated.report
    table = _table("Moves", "from", "to", "move", *_heads(simulated), "difference", numbers=len(outcomes) + 1)
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


def _stalls(simulated: Simulated) -> Table:
    outcomes = simulated.outcomes
    heads = [f"{what} {head}" for what in ("fired", "still open") for head in _heads(simulated)]
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


def _plays(simulated: Simulated) -> Table:
    outcomes: list[Outcome] = simulated.outcomes
    table = _table("Facts that plays would consider", "play", *_heads(simulated), numbers=len(outcomes))
    for play in sorted({play for outcome in outcomes for play in outcome.plays}):
        table.add_row(play, *(f"{outcome.plays[play]:,}" for outcome in outcomes))
    return table


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"
