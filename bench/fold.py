"""How many touchpoints a second the fold alone takes, per built-in lifecycle and for all of them together.

    .venv/bin/python -m bench.fold [--touchpoints 400000] [--customers 20000] [--profile NAME]

Pure computation: no Kafka, no PostgreSQL, no decoding. Customers are skewed, as they are in life. The states are then
dumped and loaded once, since the engine does that for every customer it touches in a batch.
"""

import argparse
import cProfile
import json
import pstats
import random
import time
from collections.abc import Callable
from typing import Any

from touchline_schemas.definitions.durations import MINUTE
from touchline_schemas.touchpoint_types import meaning_of
from touchline_stage_engine import builtin
from touchline_stage_engine.core.definitions.compile import compile_definition
from touchline_stage_engine.core.definitions.parse import read_definition
from touchline_stage_engine.core.definitions.timeline import Timeline
from touchline_stage_engine.core.folding.facts import Fact
from touchline_stage_engine.core.folding.fold import Fold
from touchline_stage_engine.core.folding.state import StageState
from touchline_stage_engine.core.touchpoint import Touchpoint

# What a company's customers do, and how often in a thousand.
MIX = {
    "page_viewed": 420, "email_delivered": 150, "email_opened": 110, "email_clicked": 60, "feature_used": 120,
    "ad_clicked": 30, "content_downloaded": 20, "purchased": 20, "survey_answered": 15, "ticket_opened": 15,
    "ticket_resolved": 10, "meeting_held": 8, "contacted": 8, "review_posted": 5, "referral_made": 3,
    "complaint_made": 3, "cancelled": 3,
}  # fmt: skip


def make_touchpoints(count: int, customers: int, seed: int = 1) -> list[tuple[int, Touchpoint]]:
    """(customer, touchpoint) in order of time, a minute or so apart."""
    chance = random.Random(seed)
    types = chance.choices(list(MIX), list(MIX.values()), k=count)
    made, at = [], 0
    for number, kind in enumerate(types):
        at += chance.randrange(2 * MINUTE)
        meaning = meaning_of(kind)
        customer = int(customers * chance.random() ** 2)
        properties = {"score": chance.randrange(11), "rating": chance.randrange(1, 6), "path": "/pricing"}
        made.append(
            (
                customer,
                Touchpoint(
                    at, str(number), "bench", kind, meaning.channel, meaning.direction, properties, received_at=at
                ),
            )
        )
    return made


def fold_all(folds: list[Fold], stream: list[tuple[int, Touchpoint]]) -> tuple[dict[int, list[StageState | None]], int]:
    """The states of every customer in every lifecycle, and how many facts came out."""
    states: dict[int, list[StageState | None]] = {}
    facts: list[Fact] = []
    published = 0
    for customer, touchpoint in stream:
        if len(facts) > 1000:  # the engine publishes them batch by batch
            published += len(facts)
            facts.clear()
        mine = states.get(customer)
        if mine is None:
            mine = states[customer] = [None] * len(folds)
        for index, fold in enumerate(folds):
            mine[index] = fold.fold(mine[index], touchpoint, facts)
    return states, published + len(facts)


def timed(action: Callable[[], object]) -> float:
    """The best of three runs, in seconds of processor time (the machine may be busy with something else)."""
    times = []
    for _ in range(3):
        started = time.process_time()
        action()
        times.append(time.process_time() - started)
    return min(times)


def shipped_folds() -> dict[str, Fold]:
    """The built-in lifecycles, by name."""
    return {
        name: Fold(Timeline.of(compile_definition(read_definition(builtin.text_of(name), name))))
        for name in builtin.NAMES
    }


def run(*, quick: bool) -> dict[str, Any]:
    """Fold in each lifecycle and in all of them; report touchpoints and states per second of processor time."""
    return measure(40_000, 2000) if quick else measure(400_000, 20_000)


def measure(touchpoints: int, customers: int) -> dict[str, Any]:
    """The figures for so many touchpoints of so many customers."""
    folds, stream = shipped_folds(), make_touchpoints(touchpoints, customers)
    figures: dict[str, Any] = {"touchpoints": touchpoints, "customers": customers, "touchpoints_per_s": {}}
    print(f"{touchpoints:,} touchpoints of {customers:,} customers")
    for name, fold in folds.items():
        seconds = timed(lambda fold=fold: fold_all([fold], stream))  # type: ignore[misc]
        _, facts = fold_all([fold], stream)
        figures["touchpoints_per_s"][name] = round(touchpoints / seconds)
        print(f"{name:20} {touchpoints / seconds:12,.0f} touchpoints/s   {facts:9,} facts")
    everything = list(folds.values())
    seconds = timed(lambda: fold_all(everything, stream))
    figures["touchpoints_per_s"]["all"] = round(touchpoints / seconds)
    print(f"{'all of them':20} {touchpoints / seconds:12,.0f} touchpoints/s")
    states, _ = fold_all(everything, stream)
    present = [(state, fold) for mine in states.values() for state, fold in zip(mine, everything, strict=True) if state]
    dumped = [json.dumps(state.dump()) for state, _ in present]
    seconds = timed(lambda: [state.dump() for state, _ in present])
    figures["dumps_per_s"] = round(len(present) / seconds)
    print(f"{'dump':20} {len(present) / seconds:12,.0f} states/s, {sum(map(len, dumped)) / len(dumped):.0f} bytes each")
    loaded = [json.loads(text) for text in dumped]
    seconds = timed(
        lambda: [StageState.load(data, fold.timeline) for data, (_, fold) in zip(loaded, present, strict=True)]
    )
    figures["loads_per_s"] = round(len(present) / seconds)
    print(f"{'load':20} {len(present) / seconds:12,.0f} states/s")
    return figures


def main() -> None:
    """The command line, with sizes to choose and a profile."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--touchpoints", type=int, default=400_000)
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--profile", metavar="LIFECYCLE", help="profile one lifecycle instead")
    options = parser.parse_args()
    if options.profile:
        stream = make_touchpoints(options.touchpoints, options.customers)
        with cProfile.Profile() as profile:
            fold_all([shipped_folds()[options.profile]], stream)
        pstats.Stats(profile).sort_stats("tottime").print_stats(15)
        return
    measure(options.touchpoints, options.customers)


if __name__ == "__main__":
    main()
