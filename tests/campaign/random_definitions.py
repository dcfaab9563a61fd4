"""``python -m tests.campaign.random_definitions``: random lifecycles and lives, folded in four ways that must agree.

For each seed: a definition (sometimes two versions), some customers with links between their keys, and their
touchpoints in a random order, late ones, repetitions and conflicting contents among them. They are folded

1. live, by the engine's application code in memory, in random batches, with owners that change and caches that forget,
   and with the clock firing timers in between, so that corrections follow;
2. again, by a rebuild of every partition;
3. by a simulation of the recorded history;
4. by the checker's reference fold.
"""

import argparse
import asyncio
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from touchline_checker.check import check
from touchline_checker.checks.folded import Input, Tolerance
from touchline_checker.evidence import Evidence
from touchline_schemas.times import to_wire
from touchline_stage_engine.adapters.files.history_file import HistoryFile
from touchline_stage_engine.application.outbox_records import STAGE_CHANGES
from touchline_stage_engine.core.analysis.simulation import Simulation
from touchline_stage_engine.core.definitions.checks import check as check_definition
from touchline_stage_engine.core.definitions.model import Definition
from touchline_stage_engine.core.folding.fold import Fold

from tests.support.checker.memory_evidence import evidence_of
from tests.support.engine.memory_engine import MemoryEngine
from tests.support.engine.world import touchpoint

RECORD = Path("docs/evidence/random-definitions.ndjson")
CHUNK = 250
NAMES, OFF_PATH = ("a", "b", "c", "d", "e"), ("x", "y")
TYPES = ("t0", "t1", "t2", "t3", "cancelled")
VALUES = (0, 1, 2, 2.0, True, False, None, "", "1", "b")
HALF_HOUR = timedelta(minutes=30)
HALF_HOURS = 250
LIMITS = (1, 2, 50)
IDENTIFIERS: tuple[dict[str, str], ...] = (
    {"customer_id": "c1"}, {"customer_id": "c1"}, {"customer_id": "c2"}, {"customer_id": "c2"}, {"anonymous_id": "p"},
    {"anonymous_id": "q"}, {"email": "x@example.org"}, {"external_id": "e"}, {"customer_id": "c1", "anonymous_id": "p"},
    {"customer_id": "c2", "anonymous_id": "p"}, {"customer_id": "c2", "anonymous_id": "q"},
    {"customer_id": "c3", "email": "x@example.org"}, {"anonymous_id": "q", "email": "x@example.org"},
    {"customer_id": "c3", "external_id": "e"},
)  # fmt: skip


class DisagreementError(AssertionError):
    """Two of the four ways differ; the message says which seed and where."""


# Definitions


def _where(rng: random.Random) -> dict[str, Any]:
    bound = rng.choice([0, 1, 1.5, 2, "1", "b"])
    asked: Any = rng.choice(
        [
            rng.choice(VALUES), {"eq": rng.choice(VALUES)}, {"ne": rng.choice(VALUES)}, {"lt": bound}, {"lte": bound},
            {"gt": bound}, {"gte": bound}, {"in": rng.choices(VALUES, k=rng.randrange(1, 4))},
            {"exists": rng.random() < 0.5},
        ]
    )  # fmt: skip
    return {rng.choice(["properties.n", "properties.deep.s", "source", "backfill"]): asked}


def _condition(rng: random.Random) -> dict[str, Any]:
    made: dict[str, Any] = {"when": ["*"] if rng.random() < 0.15 else rng.sample(TYPES, rng.randrange(1, 4))}
    if rng.random() < 0.2:
        made["channel"] = rng.sample(["web", "sales"], rng.randrange(1, 3))
    if rng.random() < 0.4:
        made["direction"] = rng.choice(["inbound", "outbound", "any"])
    if rng.random() < 0.3:
        made["where"] = _where(rng)
    if rng.random() < 0.5:
        made["count"] = rng.randrange(1, 5)
    if rng.random() < 0.5:
        made["within"] = rng.choice(["1h", "2h", "PT5H", "10h"])
    return made


def _rule(rng: random.Random, targets: list[str]) -> dict[str, Any]:
    several = rng.random() < 0.33
    rule = {"all": [_condition(rng) for _ in range(rng.randrange(1, 4))]} if several else _condition(rng)
    return {**rule, "to": rng.choice(targets)}


def _stage(rng: random.Random, name: str, targets: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name}
    if rng.random() < 0.5:
        levels = sorted(rng.sample([3, 6, 13, 24, 30, 60], rng.randrange(1, 4)))
        made["stall"] = {"after": f"{levels[0]}h", "then": [f"{level}h" for level in levels[1:]]}
    if targets and rng.random() < 0.5:
        made["lapse"] = {"after": rng.choice(["13h", "24h", "30h", "3d"]), "to": rng.choice(targets)}
    if targets:
        made["rules"] = [_rule(rng, targets) for _ in range(rng.randrange(4))]
    return made


def _draft(rng: random.Random, version: int) -> dict[str, Any]:
    path, off = list(NAMES[: rng.randrange(1, 6)]), list(OFF_PATH[: rng.choice([0, 0, 1, 2])])
    every = [*path, *off]
    targets = [*every, "next", "previous", "first"] if len(every) > 1 else []
    return {
        "lifecycle": "random",
        "version": version,
        "cyclic": rng.random() < 0.5,
        "passive": ["t3"] if rng.random() < 0.5 else [],
        "rules": [_rule(rng, targets) for _ in range(rng.randrange(3))] if targets else [],
        "stages": [_stage(rng, name, targets) for name in path],
        "off_path": [_stage(rng, name, targets) for name in off],
    }


def definition(rng: random.Random, version: int) -> dict[str, Any]:
    """A random definition that `check` accepts; rules, timers and passive types that it rejects are dropped."""
    draft = _draft(rng, version)
    for _ in range(60):
        findings = check_definition(Definition.model_validate(draft))
        if not findings:
            return draft
        for finding in reversed(findings):
            parts = re.findall(r"[a-z_]+|\d+", finding.path)
            _drop(draft, [int(part) if part.isdigit() else part for part in parts])
    return definition(rng, version)


def _drop(draft: dict[str, Any], path: list[Any]) -> None:
    """Remove the rule, lapse or list that a finding is about."""
    holder: Any = draft
    for place, name in enumerate(path):
        if name in ("lapse", "stall", "passive"):
            holder.pop(name, None)
            return
        if name == "rules" and place + 1 < len(path):
            index = path[place + 1]
            if index < len(holder["rules"]):
                del holder["rules"][index]
            return
        try:
            holder = holder[name]
        except (KeyError, IndexError):
            return


# Lives


def lives(rng: random.Random, begin: datetime) -> list[dict[str, Any]]:
    """Touchpoints of a few keys that link to each other, in no order; some (source, id) come with two contents."""
    made = []
    for number in range(rng.randrange(1, 30)):
        type_ = rng.choice((*TYPES, *TYPES, "stage_set"))
        properties: dict[str, Any] = {}
        if type_ == "stage_set":
            properties = {"lifecycle": rng.choice(["random", "random", "another"]), "stage": rng.choice((*NAMES, "x"))}
        else:
            if rng.random() < 0.5:
                properties["n"] = rng.choice((*VALUES, [1], {"a": 1}))
            if rng.random() < 0.5:
                properties["deep"] = rng.choice([{"s": 1}, {"s": "b"}, {"s": None}, {}, 7])
        at = begin + HALF_HOUR * rng.randrange(HALF_HOURS)
        # An id that came before names another content now and then.
        same = rng.randrange(number) if number and rng.random() < 0.05 else number
        made.append(
            touchpoint(
                f"{'Ab9éZ'[same % 5]}{same}", at, type=type_, properties=properties,
                source=rng.choice(["s", "s", "s", "z", "notifier"]), channel=rng.choice(["web", "sales"]),
                direction=rng.choice(["inbound", "inbound", "inbound", "outbound"]), machine=rng.random() < 0.1,
                backfill=rng.random() < 0.15, received_at=to_wire(at + timedelta(hours=rng.choice([0, 1, 3, 24]))),
                **rng.choice(IDENTIFIERS),
            )
        )  # fmt: skip
    return made


# The four ways


async def fold_live(engine: MemoryEngine, arrivals: list[dict[str, Any]], rng: random.Random, begin: int) -> None:
    """Fold in random batches of random partitions; owners change, caches forget, and the clock ticks in between."""
    for partition in range(engine.settings.partitions):
        await engine.take(partition)
    left, tick = list(arrivals), begin
    for _ in range(20_000):
        while left and rng.random() < 0.5:
            engine.topics.post(left.pop())
        unread = engine.unread()
        chance = rng.random()
        if not unread:
            if not left:
                return
        else:
            partition = rng.choice(sorted(unread))
            if chance < 0.1:
                engine.writers[partition].cache.clear()
            elif chance < 0.2:
                await engine.take(partition)
            await engine.fold(partition, rng.randint(0, 6), rng.randint(0, 6))
        if rng.random() < 0.1:
            tick += rng.randrange(24) * 3600 * 10**6
            for partition in range(engine.settings.partitions):
                await engine.fire(partition, min(tick, begin + HALF_HOURS * 1800 * 10**6))
    raise DisagreementError("the messages between partitions do not come to an end")


async def fire_all(engine: MemoryEngine, now: int) -> None:
    """Fire every timer that is due."""
    for partition in range(engine.settings.partitions):
        while await engine.fire(partition, now):
            pass


async def rebuild(engine: MemoryEngine, now: int) -> None:
    """Ask every partition to fold its customers again, and let them."""
    engine.request_rebuild()
    while unread := engine.unread():
        for partition in unread:
            await engine.fold(partition, 100, 100)
    for partition in range(engine.settings.partitions):
        await engine.refold(partition, now)


@contextmanager
def _silent(what: str, total: int) -> Iterator[Callable[[int], object]]:
    yield lambda step: None


async def simulate(evidence: Evidence, fold: Fold, file: Path) -> dict[str, Any]:
    """Simulate the recorded history in a file; the totals of its report."""
    simulation = Simulation(fold, None, evidence.collected_at)
    with HistoryFile.open(file) as history:
        await history.load(_silent, evidence.shared_key_limit)
        async for life in history.lives():
            simulation.add(life.customer_id, life.touchpoints)
    outcome = simulation.report().candidate
    return {
        "now_in": dict(outcome.now_in),
        "flows": {tuple(flow): number for flow, number in outcome.flows.items()},
        "stalls": {tuple(stall): number for stall, number in outcome.stalls.items()},
        "recoveries": dict(outcome.recoveries),
        "stalled_now": {tuple(stall): number for stall, number in outcome.stalled_now.items()},
    }


def reference_totals(evidence: Evidence) -> dict[str, Any]:
    """The same totals by the checker's reference fold."""
    folded = Input.of(evidence, Tolerance(settling=0))
    now_in, flows, stalls, recoveries, stalled = (Counter[Any]() for _ in range(5))
    for customer in folded.identities.touchpoints:
        position = folded.expected(customer, "random")[-1]
        if position.stage is None:
            continue
        now_in[position.stage] += 1
        if position.level:
            stalled[position.stage, position.level] += 1
        for fact in position.facts:
            if fact.kind == "move":
                flows[fact.from_stage, fact.stage, fact.move] += 1
            elif fact.kind == "stall":
                stalls[fact.stage, fact.level] += 1
            else:
                recoveries[fact.stage] += 1
    return {
        "now_in": dict(now_in), "flows": dict(flows), "stalls": dict(stalls), "recoveries": dict(recoveries),
        "stalled_now": dict(stalled),
    }  # fmt: skip


def play(seed: int, folder: Path) -> Counter[str]:
    """Fold one random world in all four ways.

    Returns:
        What there was in it: touchpoints, facts, corrections, merges.

    Raises:
        DisagreementError: two ways differ.
    """
    rng = random.Random(seed)
    now = time.time_ns() // 1000
    begin = datetime.fromtimestamp(now // 10**6, UTC) - HALF_HOUR * (HALF_HOURS + rng.randrange(1, 200))
    texts = [json.dumps(definition(rng, 1))]
    if rng.random() < 0.25:
        since = begin + HALF_HOUR * rng.randrange(HALF_HOURS)
        later = {"effective_from": to_wire(since), "on_change": rng.choice(["pin", "refold"])}
        texts.append(json.dumps(definition(rng, 2) | later))
    posted = lives(rng, begin)
    arrivals = [*posted, *rng.choices(posted, k=rng.randrange(4))]
    rng.shuffle(arrivals)
    engine = MemoryEngine(
        partitions=rng.randrange(1, 5), limit=rng.choice(LIMITS), cached=rng.choice([1, 3, 1000]),
        checkpoint_every=rng.choice([1, 3, 10]), definitions=texts,
    )  # fmt: skip

    async def run() -> Evidence:
        await fold_live(engine, arrivals, rng, int(begin.timestamp()) * 10**6)
        await fire_all(engine, now)
        return evidence_of(engine, now, now, texts)

    live = asyncio.run(run())
    _require(seed, "live and the reference", check(live, Tolerance(settling=0)).as_text() if _found(live) else "")
    before = (dict(engine.database.stages), dict(engine.database.history))
    published = len(engine.topics.published)
    asyncio.run(rebuild(engine, now))
    rebuilt = evidence_of(engine, now, now, texts)
    if before != (engine.database.stages, engine.database.history):
        _require(seed, "live and rebuilt", "the tables differ")
    # A tombstone may be written again; a fact may not.
    facts = [record for record in engine.topics.published[published:] if record.topic == STAGE_CHANGES]
    _require(seed, "live and rebuilt", f"the rebuild published {facts}" if facts else "")
    _require(
        seed, "rebuilt and the reference", check(rebuilt, Tolerance(settling=0)).as_text() if _found(rebuilt) else ""
    )
    file = folder / "history.ndjson"
    file.write_text("".join(json.dumps(record.data) + "\n" for record in live.topics["touchpoints"]))
    simulated = asyncio.run(simulate(live, engine.catalogue.folds(now)[0], file))
    expected = reference_totals(live)
    _require(seed, "simulated and the reference", "" if simulated == expected else f"{simulated}\n{expected}")
    told = live.topics["stage-changes"]
    return Counter(
        {
            "definitions": len(texts),
            "touchpoints": len(arrivals),
            "facts": len(told),
            "corrections": sum(
                fact.data.get("reason", {}).get("kind") in ("late_touchpoint", "merge") for fact in told
            ),
            "merges": sum(fact.headers["ce_type"] == "touchline.customer-merged" for fact in told),
        }
    )


def _found(evidence: Evidence) -> bool:
    return bool(check(evidence, Tolerance(settling=0)).findings)


def _require(seed: int, which: str, difference: str) -> None:
    if difference:
        raise DisagreementError(f"seed {seed}: {which} differ:\n{difference}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.campaign.random_definitions", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="how many seeds (default: 1000)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed; what is on record is not repeated")
    parser.add_argument("--record", type=Path, default=RECORD, help=f"where they are recorded (default: {RECORD})")
    arguments = parser.parse_args()
    done = 0
    if arguments.record.exists():
        rows = [json.loads(line) for line in arguments.record.read_text().splitlines()]
        done = max((row["last_seed"] for row in rows), default=0)
    seed, end, failed = max(arguments.seed, done + 1), arguments.seed + arguments.count, 0
    arguments.record.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        while seed < end:
            last, totals, disagreements = min(seed + CHUNK, end) - 1, Counter[str](), []
            began = time.process_time()
            for number in range(seed, last + 1):
                try:
                    totals += play(number, Path(folder))
                except DisagreementError as error:
                    disagreements.append(str(error))
                except Exception as error:
                    # The engine's own code failed.
                    disagreements.append(f"seed {number}: {error!r}")
            row = {
                "first_seed": seed, "last_seed": last, "agree": last - seed + 1 - len(disagreements),
                "disagree": disagreements, **totals, "cpu_seconds": round(time.process_time() - began, 1),
                "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            }  # fmt: skip
            with arguments.record.open("a") as lines:
                lines.write(json.dumps(row) + "\n")
            failed += len(disagreements)
            print(*disagreements, sep="\n", flush=True)
            print(f"seeds {seed} to {last}: {row['agree']} agree, {len(disagreements)} disagree", flush=True)
            seed = last + 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
