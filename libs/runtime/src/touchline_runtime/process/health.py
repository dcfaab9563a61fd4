"""Health: alive (``/healthz``) and ready (``/readyz``)."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Check = Callable[[], Awaitable[None]]


@dataclass
class Health:
    """Named checks that all have to pass for a process to be ready.

    A check is an async callable that returns when all is well and raises, with a text that says what is wrong,
    when it is not. Each has ``timeout`` seconds. ``details`` are what else ``/readyz`` says, to those who may see the
    checks.
    """

    timeout: float = 2.0
    checks: dict[str, Check] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, check: Check) -> None:
        """Make readiness depend on a check."""
        self.checks[name] = check

    async def readiness(self) -> tuple[bool, dict[str, str]]:
        """Run all checks at once: (all passed, a word on each)."""
        names = list(self.checks)
        results = await asyncio.gather(*(self._run(self.checks[name]) for name in names))
        return all(result == "ok" for result in results), dict(zip(names, results, strict=True))

    async def _run(self, check: Check) -> str:
        try:
            async with asyncio.timeout(self.timeout):
                await check()
        except TimeoutError:
            return f"no answer in {self.timeout:g} s"
        except Exception as error:  # a health check reports whatever went wrong
            return f"{type(error).__name__}: {error}"
        return "ok"
