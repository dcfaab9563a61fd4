"""Stages of the built-in lifecycles, to check plays without an engine; a running engine's definitions replace them."""

from touchline_notifier.core.plays.parse import KnownLifecycle

BUILT_IN = (
    KnownLifecycle("reach-to-loyalty", ("reach", "acquisition", "conversion", "retention", "loyalty")),
    KnownLifecycle("courtship", ("courting", "contract", "continuation", "commitment", "convergence")),
    KnownLifecycle("focus-cycle", ("relationships", "research", "align", "renew")),
    KnownLifecycle("journey", ("discover", "learn", "choose", "use", "engage")),
    KnownLifecycle("experience", ("browsing", "interested", "committed", "ambassador", "detractor")),
    KnownLifecycle("service-cycle", ("reach", "acquisition", "nurture", "retention", "advocacy")),
)
