"""The fold: a customer's stage in one lifecycle as a function of their touchpoints in order, and of the clock.

For a touchpoint at time *t*, in this order:

1. A touchpoint of a machine, and a manual move in another lifecycle, have no effect.
2. Timers due at or before *t* fire in order of due time, including those that become due by firing. At the same
   instant a stall fires before a lapse.
3. A new customer enters the first stage, unless the touchpoint is from the notifier.
4. A manual move leads to the stage that it names. Steps 5 and 6 do not apply.
5. The rules are tried, the lifecycle's own first, with this touchpoint counted. The first rule that holds moves the
   customer. Touchpoints of the notifier are not counted and move nobody.
6. An activity (inbound, not of a passive type) ends an open stall with a recovery, which precedes the move, and
   restarts the time to the next stall or lapse.

The code is arranged for the most frequent touchpoint: no rule names its type, and no timer is due.
"""

from collections.abc import Iterable

from touchline_schemas.definitions.durations import SECOND
from touchline_schemas.touchpoint_types import NOTIFIER_SOURCE, STAGE_SET

from touchline_stage_engine.core.definitions.compile import CompiledStage
from touchline_stage_engine.core.definitions.timeline import Timeline
from touchline_stage_engine.core.folding.facts import BY_TIME, ENTER, LAPSE, MANUAL, RULE, Fact, Move, Recovery, Stall
from touchline_stage_engine.core.folding.state import StageState
from touchline_stage_engine.core.touchpoint import Touchpoint


class Fold:
    """Folds touchpoints into states. It keeps no state of its own: one instance serves all customers of a lifecycle.

    `fold` takes touchpoints in order (`Touchpoint.order`) that are not late (`is_late`).
    """

    __slots__ = ("_only", "name", "timeline")

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.name = timeline.name
        self._only = timeline.only

    def fold(self, state: StageState | None, touchpoint: Touchpoint, out: list[Fact]) -> StageState | None:
        """Fold one touchpoint that sorts after all folded ones.

        Changes and returns `state` (None: the customer has not entered), and appends the facts to `out`.
        """
        if touchpoint.machine:
            return state
        kind = touchpoint.type
        if kind == STAGE_SET:
            return self._move_manually(state, touchpoint, out)
        now = touchpoint.occurred_at
        if state is None:
            if touchpoint.source == NOTIFIER_SOURCE:
                return None
            state = self._enter(touchpoint, out)
        elif now >= state.due:
            self.fire(state, now, out)
        stage = state.stage
        if touchpoint.source != NOTIFIER_SOURCE:
            for holds, target, reason in stage.steps.get(kind, stage.other_steps):
                if holds(state.counters, touchpoint):
                    self._move_by_rule(state, touchpoint, target, reason, out)
                    return state
        if touchpoint.direction == "inbound" and kind not in stage.passive:
            if state.level:
                self._recover(state, touchpoint, out)
            state.base = now
            state.base_received = touchpoint.received_at
            state.due = now + stage.waits[0]
        return state

    def fire(self, state: StageState, until: int, out: list[Fact]) -> None:
        """Fire every timer due at or before `until`, in order, including those that become due by firing."""
        while state.due <= until:
            stage, due, level = state.stage, state.due, state.level
            backfill = due <= state.base_received
            if level < len(stage.stalls) and state.base + stage.stalls[level] == due:
                state.level = level + 1
                state.due = state.base + stage.waits[level + 1]
                out.append(Stall(stage.name, level + 1, state.base, due, stage.version, backfill))
            else:
                assert stage.lapse_to is not None
                self._move(state, stage.lapse_to, LAPSE, due, BY_TIME, stage.lapse_text, None, backfill, out)

    def next_due(self, state: StageState | None) -> int | None:
        """When the next timer is due; None when no timer is due without a further touchpoint."""
        return None if state is None else state.next_due

    def is_late(self, state: StageState | None, touchpoint: Touchpoint) -> bool:
        """Whether a timer or an activity after this touchpoint has already been folded.

        A touchpoint that sorts before the last folded one is late too; only the caller knows the last one.
        """
        return state is not None and touchpoint.occurred_at < state.settled_at

    def refold(
        self, touchpoints: Iterable[Touchpoint], fired_through: int, start: StageState | None = None
    ) -> tuple[StageState | None, list[Fact]]:
        """Fold all touchpoints in order, or those after the checkpoint `start`.

        Timers fire up to the later of the last touchpoint and `fired_through`. `start` is not changed.
        """
        state = None if start is None else start.copy()
        facts: list[Fact] = []
        fold = self.fold
        for touchpoint in touchpoints:
            state = fold(state, touchpoint, facts)
        if state is not None:
            self.fire(state, fired_through, facts)
        return state, facts

    def _enter(self, touchpoint: Touchpoint, out: list[Fact]) -> StageState:
        at = touchpoint.occurred_at
        stage = (self._only or self.timeline.at(at)).first
        out.append(
            Move(
                ENTER, None, stage.name, at, RULE, "first touchpoint", touchpoint.id, stage.version, None,
                touchpoint.backfill,
            )
        )  # fmt: skip
        return StageState(stage, at, at, touchpoint.received_at)

    def _move_by_rule(
        self, state: StageState, touchpoint: Touchpoint, target: CompiledStage, reason: str, out: list[Fact]
    ) -> None:
        stage = state.stage
        if state.level and touchpoint.direction == "inbound" and touchpoint.type not in stage.passive:
            self._recover(state, touchpoint, out)
        kind = self.timeline.version(stage.version).kind_of(stage.name, target.name)
        self._move_by(touchpoint, state, target, kind, RULE, reason, out)

    def _move_manually(self, state: StageState | None, touchpoint: Touchpoint, out: list[Fact]) -> StageState | None:
        """A manual move. It has no effect when it names an unknown stage, or the current one."""
        properties = touchpoint.properties
        name = properties.get("stage")
        if properties.get("lifecycle") != self.name or not isinstance(name, str):
            return state
        at = touchpoint.occurred_at
        newest = self.timeline.at(at)
        if state is None:
            if touchpoint.source == NOTIFIER_SOURCE or name not in newest.stages:
                return None
            state = self._enter(touchpoint, out)
        else:
            self.fire(state, at, out)
        lifecycle = self.timeline.version(state.stage.version)
        if name not in lifecycle.stages:
            lifecycle = newest
        target = lifecycle.stages.get(name)
        if target is not None and name != state.stage.name:
            reason = properties.get("reason")
            text = reason if isinstance(reason, str) and reason else "set by hand"
            kind = lifecycle.kind_of(state.stage.name, name)
            self._move_by(touchpoint, state, target, kind, MANUAL, text, out)
        return state

    def _move_by(
        self,
        touchpoint: Touchpoint,
        state: StageState,
        target: CompiledStage,
        kind: str,
        reason_kind: str,
        reason: str,
        out: list[Fact],
    ) -> None:
        state.base_received = touchpoint.received_at
        at, backfill = touchpoint.occurred_at, touchpoint.backfill
        self._move(state, target, kind, at, reason_kind, reason, touchpoint.id, backfill, out)

    def _move(
        self,
        state: StageState,
        target: CompiledStage,
        kind: str,
        at: int,
        reason_kind: str,
        reason: str,
        touchpoint_id: str | None,
        backfill: bool,
        out: list[Fact],
    ) -> None:
        """Change the stage. A pinned customer takes the newest version here, and only here."""
        if self._only is None:
            target = self.timeline.at(at).stages.get(target.name, target)
        spent = (at - state.entered_at) / SECOND
        out.append(
            Move(
                kind, state.stage.name, target.name, at, reason_kind, reason, touchpoint_id, target.version, spent,
                backfill,
            )
        )  # fmt: skip
        state.stage = target
        state.entered_at = state.base = at
        state.level = 0
        state.due = at + target.waits[0]
        state.moves += 1
        state.counters = target.fresh.copy()

    def _recover(self, state: StageState, touchpoint: Touchpoint, out: list[Fact]) -> None:
        stalled_at = state.stalled_at
        assert stalled_at is not None
        seconds = (touchpoint.occurred_at - stalled_at) / SECOND
        out.append(
            Recovery(
                state.stage.name, seconds, touchpoint.id, touchpoint.occurred_at, state.stage.version,
                touchpoint.backfill,
            )
        )  # fmt: skip
        state.level = 0
