"""Cohorts: customers by month of entry, and the share that reached a stage within a number of months."""

from collections.abc import Iterable
from typing import NamedTuple


class Reached(NamedTuple):
    """Customers who entered in a month ("2026-05") and first reached the stage ``months`` whole months later.

    ``months`` None: they have not reached it.
    """

    month: str
    months: int | None
    customers: int


class Cohort(NamedTuple):
    """One month's customers. ``shares[n]``: the share that reached the stage within n + 1 months of entry."""

    month: str
    size: int
    shares: tuple[float, ...]


def month_number(month: str) -> int:
    """Months since the year 0 of "2026-05"."""
    year, _, number = month.partition("-")
    return int(year) * 12 + int(number) - 1


def month_name(number: int) -> str:
    """The month of a number: the inverse of `month_number`."""
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


def cohorts(rows: Iterable[Reached], now_month: str, most: int = 24) -> list[Cohort]:
    """The cohorts, the earliest first, each up to the current month, which is incomplete."""
    sizes: dict[str, int] = {}
    reached: dict[str, dict[int, int]] = {}
    for month, months, customers in rows:
        sizes[month] = sizes.get(month, 0) + customers
        if months is not None:
            counts = reached.setdefault(month, {})
            counts[max(months, 0)] = counts.get(max(months, 0), 0) + customers
    found = []
    for month in sorted(sizes)[-most:]:
        columns = min(month_number(now_month) - month_number(month) + 1, most)
        so_far, shares = 0, []
        for index in range(max(columns, 1)):
            so_far += reached.get(month, {}).get(index, 0)
            shares.append(so_far / sizes[month])
        found.append(Cohort(month, sizes[month], tuple(shares)))
    return found
