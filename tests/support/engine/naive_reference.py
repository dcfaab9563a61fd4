"""The rules of the fold, told a second time: slowly, over plain lists and the YAML's own values.

Shares nothing with the engine's fold but the touchpoints it reads. It keeps every touchpoint since stage entry and
counts them again for each condition; it looks at every timer to find the one due first.
"""

from dataclasses import dataclass, field
from typing import Any

PASSIVE = {
    "email_bounced",
    "email_complained",
    "unsubscribed",
    "meeting_missed",
    "cancelled",
    "refunded",
    "deal_lost",
}
UNITS = {"h": 3600 * 10**6, "d": 24 * 3600 * 10**6, "m": 60 * 10**6}


def micros(text: str) -> int:
    return int(text[:-1]) * UNITS[text[-1]]


@dataclass
class Naive:
    """What came out: the stage (None: never entered) and everything that happened, as plain tuples."""

    versions: list[tuple[int, dict[str, Any]]]
    """(effective_from, definition), by version; the first is in force from the beginning."""
    stage: str | None = None
    definition: dict[str, Any] = field(default_factory=dict)
    entered_at: int = 0
    last_activity: int | None = None
    base_received: int = 0
    level: int = 0
    since_entry: list[Any] = field(default_factory=list)
    happened: list[tuple[Any, ...]] = field(default_factory=list)

    # The order of stages

    def stages(self) -> list[str]:
        return [stage["name"] for stage in self.definition["stages"]]

    def off_path(self) -> list[str]:
        return [stage["name"] for stage in self.definition.get("off_path", [])]

    def here(self) -> dict[str, Any]:
        every = self.definition["stages"] + self.definition.get("off_path", [])
        return next(stage for stage in every if stage["name"] == self.stage)

    def target(self, to: str) -> str | None:
        path = self.stages()
        if to == "first":
            found: str | None = path[0]
        elif to == "next" and self.stage in path:
            following = path[path.index(self.stage) + 1 :]
            found = following[0] if following else (path[0] if self.definition.get("cyclic") else None)
        elif to == "previous" and self.stage in path:
            before = path[: path.index(self.stage)]
            found = before[-1] if before else None
        elif to in ("next", "previous"):
            found = None
        else:
            found = to
        return found if found != self.stage else None

    def kind(self, to: str) -> str:
        path = self.stages()
        if to in self.off_path():
            return "regress"
        if self.stage in self.off_path():
            return "advance"
        if self.definition.get("cyclic") and self.stage == path[-1] and to == path[0]:
            return "renew"
        assert self.stage is not None
        return "advance" if path.index(to) > path.index(self.stage) else "regress"

    def version_at(self, at: int) -> dict[str, Any]:
        in_force = [
            definition for number, (start, definition) in enumerate(self.versions) if number == 0 or start <= at
        ]
        return in_force[-1]

    # What happens

    def move(self, kind: str, to: str, at: int, why: str, touchpoint_id: str | None, backfill: bool) -> None:
        newest = self.version_at(at)
        names = [stage["name"] for stage in newest["stages"] + newest.get("off_path", [])]
        if to in names:
            self.definition = newest
        spent = None if self.stage is None else (at - self.entered_at) / 10**6
        self.happened.append(
            ("move", kind, self.stage, to, at, why, touchpoint_id, self.definition["version"], spent, backfill)
        )
        self.stage, self.entered_at, self.last_activity, self.level = to, at, None, 0
        self.since_entry = []

    def base(self) -> int:
        return max(self.entered_at, self.last_activity if self.last_activity is not None else self.entered_at)

    def timers(self) -> list[tuple[int, int, str, Any]]:
        stage = self.here()
        found: list[tuple[int, int, str, Any]] = []
        if "stall" in stage:
            durations = [stage["stall"]["after"], *stage["stall"].get("then", [])]
            for level, duration in enumerate(durations, 1):
                if level > self.level:
                    found.append((self.base() + micros(duration), 0, "stall", level))
        if "lapse" in stage:
            found.append((self.base() + micros(stage["lapse"]["after"]), 1, "lapse", stage["lapse"]["to"]))
        return found

    def fire(self, until: int) -> None:
        while self.stage is not None:
            due = sorted(timer for timer in self.timers() if timer[0] <= until)
            if not due:
                return
            at, _, what, detail = due[0]
            backfill = at <= self.base_received
            if what == "stall":
                self.level = detail
                self.happened.append(("stall", self.stage, detail, self.base(), at, backfill))
            else:
                target = self.target(detail)
                assert target is not None
                self.move("lapse", target, at, "lapse", None, backfill)

    def is_activity(self, touchpoint: Any) -> bool:
        passive = PASSIVE | set(self.definition.get("passive", []))
        return touchpoint.direction == "inbound" and touchpoint.type not in passive and not touchpoint.machine

    def first_stall_due(self) -> int:
        return self.base() + micros(self.here()["stall"]["after"])

    def recover(self, touchpoint: Any) -> None:
        if self.level and self.is_activity(touchpoint):
            seconds = (touchpoint.occurred_at - self.first_stall_due()) / 10**6
            at = touchpoint.occurred_at
            self.happened.append(("recovery", self.stage, seconds, touchpoint.id, at, touchpoint.backfill))
            self.level = 0

    def take(self, touchpoint: Any) -> None:
        name = self.versions[0][1]["lifecycle"]
        at = touchpoint.occurred_at
        if touchpoint.machine:
            return
        by_hand = touchpoint.type == "stage_set"
        if by_hand and touchpoint.properties.get("lifecycle") != name:
            return
        reported = touchpoint.source == "notifier"
        if self.stage is None:
            newest = self.version_at(at)
            if reported or (by_hand and touchpoint.properties["stage"] not in self.names(newest)):
                return
            self.definition = newest
            self.move("enter", self.stages()[0], at, "rule", touchpoint.id, touchpoint.backfill)
            self.base_received = touchpoint.received_at
        else:
            self.fire(at)
        if by_hand:
            self.by_hand(touchpoint)
            return
        if not reported:
            self.since_entry.append(touchpoint)
            target = self.first_that_holds(touchpoint)
            if target is not None:
                self.recover(touchpoint)
                self.base_received = touchpoint.received_at
                self.move(self.kind(target), target, at, "rule", touchpoint.id, touchpoint.backfill)
                return
        if self.is_activity(touchpoint):
            self.recover(touchpoint)
            self.last_activity = at
            self.base_received = touchpoint.received_at

    @staticmethod
    def names(definition: dict[str, Any]) -> list[str]:
        return [stage["name"] for stage in definition["stages"] + definition.get("off_path", [])]

    def by_hand(self, touchpoint: Any) -> None:
        to, at = touchpoint.properties["stage"], touchpoint.occurred_at
        kept = self.definition
        if to not in self.names(kept):
            self.definition = self.version_at(at)
        if to not in self.names(self.definition) or to == self.stage:
            self.definition = kept
            return
        known = self.stage in self.names(self.definition)
        kind = self.kind(to) if known else ("regress" if to in self.off_path() else "advance")
        self.base_received = touchpoint.received_at
        self.move(kind, to, at, "manual", touchpoint.id, touchpoint.backfill)

    # Rules

    def first_that_holds(self, touchpoint: Any) -> str | None:
        for rule in self.definition.get("rules", []) + self.here().get("rules", []):
            target = self.target(rule["to"])
            if target is None:
                continue
            conditions = rule.get("all", [rule])
            considered = any(matches(condition, touchpoint) for condition in conditions)
            if considered and all(self.reached(condition, touchpoint.occurred_at) for condition in conditions):
                return target
        return None

    def reached(self, condition: dict[str, Any], now: int) -> bool:
        matching = [touchpoint for touchpoint in self.since_entry if matches(condition, touchpoint)]
        if "within" in condition:
            matching = [one for one in matching if one.occurred_at > now - micros(condition["within"])]
        return len(matching) >= int(condition.get("count", 1))


def matches(condition: dict[str, Any], touchpoint: Any) -> bool:
    when = condition["when"]
    if "*" not in when and touchpoint.type not in when:
        return False
    if "channel" in condition and touchpoint.channel not in condition["channel"]:
        return False
    direction = condition.get("direction", "inbound")
    if direction != "any" and touchpoint.direction != direction:
        return False
    return all(passes(path, asked, touchpoint) for path, asked in condition.get("where", {}).items())


def passes(path: str, asked: Any, touchpoint: Any) -> bool:
    there, value = True, {"properties": touchpoint.properties, "source": touchpoint.source}
    for key in path.split("."):
        if isinstance(value, dict) and key in value:
            value = value[key]
        else:
            there = False
            break
    for operator, operand in (asked if isinstance(asked, dict) else {"eq": asked}).items():
        if operator == "exists":
            if there is not operand:
                return False
        elif not there or not compare(operator, value, operand):
            return False
    return True


def like(value: Any) -> str:
    if isinstance(value, bool):
        return "truth"
    return {int: "number", float: "number", str: "text", type(None): "nothing"}.get(type(value), "other")


def compare(operator: str, value: Any, operand: Any) -> bool:
    if operator == "in":
        return any(compare("eq", value, one) for one in operand)
    alike = like(value) == like(operand) != "other"
    if operator == "eq":
        return alike and value == operand
    if operator == "ne":
        return not (alike and value == operand)
    if not alike or like(value) not in ("number", "text"):
        return False
    return bool(
        {"lt": value < operand, "lte": value <= operand, "gt": value > operand, "gte": value >= operand}[operator]
    )


def naive_fold(versions: list[tuple[int, dict[str, Any]]], touchpoints: Any, fired_through: int) -> Naive:
    """Everything from the beginning: touchpoints in any order, timers up to `fired_through` at least."""
    naive = Naive(versions)
    for touchpoint in sorted(touchpoints, key=lambda one: (one.occurred_at, one.id, one.source)):
        naive.take(touchpoint)
    naive.fire(fired_through)
    return naive
