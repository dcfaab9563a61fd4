"""The habits of the simulated company's customers: each describes a person's activity step by step until today."""

from datetime import datetime, timedelta

from touchline_demo.company.life import Habit, Life

RETENTION_STALL_AFTER = timedelta(days=30)
"""After how long without activity the lifecycle ``service-cycle`` reports a stall in its stage ``retention``."""


def passer_by(life: Life) -> None:
    """Visits once or a few times and does not buy."""
    life.visit(life.rng.randrange(1, 4))
    while life.rng.random() < 0.4:
        life.wait(3, 40)
        life.visit(life.rng.randrange(1, 3))


def eager(life: Life) -> None:
    """Buys within days, returns, and refers others."""
    _become_a_customer(life, 1, 6)
    life.keenness = 0.6
    while True:
        life.wait(8, 25)
        if life.rng.random() < 0.75:
            life.visit(2)
            life.buy()
        else:
            life.visit(3)
        if life.rng.random() < 0.15:
            life.wait(1, 4)
            life.answer_survey(life.rng.choice((8, 9, 9, 10)))
        if life.rng.random() < 0.12:
            life.wait(1, 5)
            life.speak_well()


def slow(life: Life) -> None:
    """Reads for months before buying anything."""
    life.keenness = 0.4
    life.visit(2)
    life.wait(10, 30)
    life.visit(2)
    life.sign_up()
    while life.rng.random() < 0.8:
        life.wait(12, 35)
        life.visit(life.rng.randrange(1, 4))
    life.buy()
    while True:
        life.wait(25, 60)
        life.visit(2)
        if life.rng.random() < 0.5:
            life.buy()


def fading(life: Life) -> None:
    """Buys often at first, then less and less often, and stops."""
    _become_a_customer(life, 2, 10)
    life.keenness = 0.5
    pause = 10.0
    while life.rng.random() < 0.85:
        life.wait(pause, pause * 1.6)
        life.visit(2)
        if life.rng.random() < 0.6:
            life.buy()
        pause *= 1.35
        life.keenness *= 0.7
    life.keenness = 0.0
    _go_on_silently(life)


def hurt(life: Life) -> None:
    """A good customer, until a delivery goes wrong. Some are won back; most are not."""
    _become_a_customer(life, 2, 8)
    life.keenness = 0.5
    for _ in range(life.rng.randrange(2, 5)):
        life.wait(10, 25)
        life.visit(1)
        life.buy()
    life.wait(2, 6)
    life.write_to_support(complaint=True)
    life.wait(0.5, 3)
    life.answer_survey(life.rng.randrange(0, 4))
    life.keenness = 0.02
    if life.rng.random() < 0.35:
        life.wait(7, 30)
        life.with_sales("call_held", minutes=life.rng.randrange(5, 40), about="apology")
        life.wait(5, 20)
        eager_again(life)
    _go_on_silently(life)


def returning(life: Life) -> None:
    """Buys, is inactive for months, reads a newsletter, and returns."""
    _become_a_customer(life, 2, 12)
    while True:
        for _ in range(life.rng.randrange(1, 3)):
            life.wait(15, 30)
            life.visit(1)
            life.buy()
        life.keenness = 0.0
        life.wait(70, 120)
        life.keenness = 0.4
        life.visit(2)
        life.buy()


def office(life: Life) -> None:
    """An office: a demo, a proposal, a deal, and a meeting every month that is sometimes missed."""
    life.visit(3)
    life.wait(1, 7)
    life.visit(2)
    life.sign_up()
    life.wait(0.5, 3)
    life.with_sales("demo_booked")
    life.wait(2, 9)
    life.with_sales("meeting_scheduled")
    life.wait(1, 7)
    life.with_sales("meeting_held", minutes=45)
    life.wait(1, 5)
    life.with_sales("proposal_sent", value=life.rng.randrange(400, 4000))
    life.wait(4, 25)
    if life.rng.random() < 0.4:
        life.with_sales("deal_lost")
        _go_on_silently(life)
    life.with_sales("deal_won", value=life.rng.randrange(400, 4000))
    life.buy()
    while True:
        life.wait(20, 30)
        life.with_sales("meeting_scheduled")
        life.wait(2, 6)
        life.with_sales(*(("meeting_missed",) if life.rng.random() < 0.25 else ("meeting_held",)))
        if life.rng.random() < 0.3:
            life.write_to_support()
        if life.rng.random() < 0.25:
            life.answer_survey(life.rng.randrange(6, 11))
        if life.rng.random() < 0.6:
            life.buy()


def eager_again(life: Life) -> None:
    """Won back: buys as before."""
    life.keenness = 0.4
    while True:
        life.visit(2)
        life.buy()
        life.wait(12, 30)


def quiet_since(last: datetime) -> Habit:
    """A regular customer whose last activity is at that moment, so that the stall comes due in the live part."""

    def quiet(life: Life) -> None:
        _become_a_customer(life, 1, 3)
        for _ in range(2):
            life.wait(4, 8)
            life.visit(1)
            life.buy()
        life.keenness = 0.0
        life.until(last)
        life.on_the_web("page_viewed", url="/subscriptions")
        _go_on_silently(life)

    return quiet


def _become_a_customer(life: Life, least: float, most: float) -> None:
    life.visit(life.rng.randrange(2, 5))
    life.wait(least, most)
    life.visit(life.rng.randrange(1, 4))
    life.sign_up()
    if life.rng.random() < 0.25:
        life.leave_the_basket()
        life.wait(1, 4)
    life.buy()
    life.wait(3, 9)
    if life.rng.random() < 0.5:
        life.answer_survey(life.rng.choice((7, 8, 8, 9, 10)))


def _go_on_silently(life: Life) -> None:
    """No more activity; newsletters keep arriving."""
    while True:
        life.wait(20, 60)


HABITS: dict[str, tuple[Habit, int]] = {
    "passer-by": (passer_by, 20),
    "eager": (eager, 22),
    "slow": (slow, 16),
    "fading": (fading, 16),
    "hurt": (hurt, 8),
    "returning": (returning, 10),
    "office": (office, 8),
}
"""Name → (life, how many in a hundred lead it)."""
