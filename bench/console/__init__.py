"""Server time of the console's pages and of the API behind them, with many customers of twenty touchpoints each."""

from bench.console.measure import run

__all__ = ["run"]
