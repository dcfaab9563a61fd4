"""A play: on which fact, for whom, which action on which channel, under which limits.

::

    play: win-back
    when: {fact: customer-stalled, lifecycle: service-cycle, stage: [retention], level: 1}
    if:
      profile: {traits.plan: {in: [pro, team]}}
      history: [{type: purchased, count: {gte: 2}, within: 365d}]
    priority: 10
    action: {channel: webhook, endpoint: crm, subject: "…", body: "We miss you, {{ customer_id }}"}
    limits: {per_customer: {count: 1, within: 7d}, quiet_hours: {from: "21:00", to: "08:00"}, max_age: 24h}
    hold_out: 10%
"""

import re
from datetime import date, time, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from touchline_schemas.events.facts import MoveKind

from touchline_notifier.core.decisions.stage_events import FactType
from touchline_notifier.core.limits.quiet_hours import DAYS, Business, Quiet, zone_named
from touchline_notifier.core.plays.conditions import check_operators
from touchline_notifier.core.plays.durations import Duration, say
from touchline_notifier.core.profiles.kept_values import KEPT_PER_TYPE
from touchline_notifier.core.texts import languages
from touchline_notifier.core.texts.named_templates import LONGEST_NAME, NAME

DEFAULT_MAX_AGE = timedelta(hours=24)
CONVERSIONS = ("purchased", "renewed", "upgraded", "deal_won")


def _several(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


def _a_zone(name: str) -> str:
    if zone_named(name) is None:
        raise ValueError(f"{name!r} is no time zone: write an IANA name such as Europe/Berlin")
    return name


def _a_share(value: object) -> object:
    if isinstance(value, str) and value.endswith("%"):
        try:
            return float(value[:-1]) / 100
        except ValueError:
            raise ValueError(f"{value!r} is no share: write 10% or 0.1") from None
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_several, json_schema_input_type=str | tuple[str, ...])]
Level = Annotated[int, Field(ge=1)]
Zone = Annotated[str, AfterValidator(_a_zone)]
Condition = Annotated[Any, AfterValidator(check_operators)]


def _a_consent_channel(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,63}", name):
        raise ValueError(f"{name[:80]!r} is no channel: lower-case letters, digits, _ and -, such as product-news")
    return name


ConsentChannel = Annotated[str, AfterValidator(_a_consent_channel)]


def _a_template_name(name: str) -> str:
    if len(name) > LONGEST_NAME or not NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} is no name of a template: letters, digits and ._-/, such as brand.html")
    return name


TemplateName = Annotated[str, AfterValidator(_a_template_name)]
LocaleName = Annotated[str, AfterValidator(languages.checked)]
MOST_LOCALES = 50


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class When(_Part):
    """The facts a play matches. What is left out matches everything."""

    fact: FactType
    lifecycle: Names = Field(default=(), description="one or several; left out: all")
    stage: Names = Field(default=(), description="stalled or recovered in, or moved into")
    from_stage: Names = Field(default=(), description="of stage-changed: moved out of")
    move: Annotated[
        tuple[MoveKind, ...], BeforeValidator(_several, json_schema_input_type=MoveKind | tuple[MoveKind, ...])
    ] = Field(default=(), description="of stage-changed: enter, advance, regress, renew, lapse")
    level: Annotated[tuple[Level, ...], BeforeValidator(_several, json_schema_input_type=Level | tuple[Level, ...])] = (
        Field(default=(), description="of customer-stalled: 1, 2, …")
    )

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.fact != "stage-changed" and (self.move or self.from_stage):
            raise ValueError("move and from_stage belong to fact: stage-changed")
        if self.fact != "customer-stalled" and self.level:
            raise ValueError("level belongs to fact: customer-stalled")
        return self


class History(_Part):
    """So many touchpoints of such types, in a trailing window."""

    type: Names = Field(description="one or several types, or '*'")
    count: Condition = Field(default={"gte": 1}, description=f"by default at least one; history knows {KEPT_PER_TYPE}")
    within: Duration | None = None


class If(_Part):
    """For whom: all of it has to hold, when the fact comes and whenever the action is decided again."""

    profile: dict[str, Condition] = Field(
        default_factory=dict, description="email, time_zone, locale, traits.…, last.<type>.<property>"
    )
    history: tuple[History, ...] = ()


class LocaleTexts(_Part):
    """The texts in one more language. What `de-AT` leaves out is that of `de`."""

    subject: str | None = None
    body: str | None = None
    html: str | None = None


class Utm(_Part):
    """Parameters for the http(s) links in body and html; the texts are templates too. A link keeps those it has."""

    source: str | None = Field(default=None, description="utm_source, such as touchline")
    medium: str | None = Field(default=None, description="utm_medium, such as email")
    campaign: str | None = Field(default=None, description="utm_campaign, such as '{{ play }}'")
    term: str | None = None
    content: str | None = None
    id: str | None = None


class Track(_Part):
    """What the company learns of a mail that it sent: off unless said."""

    opens: bool = Field(default=False, description="a pixel at the end of the HTML: a touchpoint email_opened")
    clicks: bool = Field(default=False, description="links in html lead through the notifier: email_clicked")


class ActionSpec(_Part):
    """What is done. Texts are Jinja templates over the customer, their traits and the fact (docs/plays.md)."""

    channel: str = Field(default="webhook", pattern=r"^[a-z][a-z0-9_]*$")
    endpoint: str | None = Field(default=None, description="name in the endpoints file; left out: the channel's only")
    subject: str | None = None
    body: str | None = Field(default=None, description="plain text; of a mail without one it is made from html")
    html: str | None = Field(
        default=None, description="for email: HTML beside the text, or instead of it; values are escaped"
    )
    locale: LocaleName | None = Field(default=None, description="the language of these texts, such as en")
    locales: dict[LocaleName, LocaleTexts] = Field(
        default_factory=dict,
        max_length=MOST_LOCALES,
        description="the texts in more languages: de, de-AT, …; a customer gets theirs, else `locale`",
    )
    utm: Utm | None = None
    track: Track | None = Field(default=None, description="opens and clicks of the mail, as touchpoints")
    to: str | None = Field(default=None, description="an address of the company's own, instead of the customer's")
    data: dict[str, Any] = Field(default_factory=dict, description="more for programs; texts in it are templates too")
    headers: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _each_language_once(self) -> Self:
        if self.locales and self.locale is None:
            raise ValueError("locales: say the language of the texts outside it, too: locale: en")
        names = [name for name in (self.locale, *self.locales) if name is not None]
        tags = [languages.tag(name) for name in names]
        twice = next((name for index, name in enumerate(names) if tags[index] in tags[:index]), None)
        if twice is not None:
            raise ValueError(f"locales: {twice} is there twice: keep one of the two")
        return self


class Cap(_Part):
    """At most ``count`` in any window of that length (rolling, to the microsecond)."""

    count: int = Field(ge=1)
    within: Duration


Caps = Annotated[tuple[Cap, ...], BeforeValidator(_several, json_schema_input_type=Cap | tuple[Cap, ...])]


class QuietHours(_Part):
    """On the customer's wall clock. Over midnight when ``from`` is the later one."""

    start: time = Field(alias="from")
    end: time = Field(alias="to")

    @model_validator(mode="after")
    def _some_hours_are_left(self) -> Self:
        if self.start == self.end:
            raise ValueError("from and to are the same: nothing would ever be sent")
        if self.start.tzinfo or self.end.tzinfo:
            raise ValueError("write local times without a zone, such as 21:00")
        return self

    @property
    def quiet(self) -> Quiet:
        """For the arithmetic."""
        return Quiet(self.start, self.end)


Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class BusinessDays(_Part):
    """On these local days alone."""

    days: Annotated[tuple[Day, ...], BeforeValidator(_several, json_schema_input_type=Day | tuple[Day, ...])] = Field(
        default=("mon", "tue", "wed", "thu", "fri"), min_length=1
    )
    holidays: tuple[date, ...] = ()

    @property
    def business(self) -> Business:
        """For the arithmetic."""
        return Business(frozenset(DAYS.index(day) for day in self.days), frozenset(self.holidays))


class BusinessDelay(_Part):
    """So many business days (``limits.business_days``, else Monday to Friday)."""

    business_days: int = Field(ge=1, le=90)


def _true_means_default(value: object) -> object:
    return {} if value is True else None if value is False else value


class Limits(_Part):
    """What holds an action back."""

    per_customer: Caps = Field(
        default=(), description="what reaches one customer over all plays; of a play that reaches none: all its kind"
    )
    per_channel: Caps = Field(default=(), description="over all plays on this channel, for one customer")
    per_play: Caps = Field(default=(), description="of this play, for one customer")
    cool_down: Duration | None = Field(default=None, description="between two of this play: per_play with count 1")
    when_capped: Literal["hold", "drop"] = Field(default="hold", description="hold: until allowed, if not too old then")
    quiet_hours: QuietHours | None = None
    business_days: Annotated[
        BusinessDays | None,
        BeforeValidator(_true_means_default, json_schema_input_type=bool | BusinessDays | None),
    ] = None
    time_zone: Zone | None = Field(default=None, description="for customers whose own isn't known; else UTC")
    max_age: Duration | None = Field(default=None, description="since the fact became true; 24h beyond the delay")
    consent: Literal["required", "not_refused", "none"] | None = Field(
        default=None, description="not_refused by default on channels that write to customers, else none"
    )
    consent_channel: ConsentChannel | None = Field(
        default=None, description="whose consent; the action's channel by default"
    )

    def play_caps(self) -> tuple[Cap, ...]:
        """Caps of the play itself, the cool-down among them."""
        cool = () if self.cool_down is None else (Cap(count=1, within=self.cool_down),)
        return self.per_play + cool


class Goal(_Part):
    """What the play is to achieve: counted for treated customers and for the control group."""

    when: Names = CONVERSIONS
    within: Duration = timedelta(days=30)


class Play(_Part):
    """One play, as its file says."""

    play: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100, description="its name, once")
    title: str | None = None
    about: str | None = None
    when: When
    if_: If = Field(default_factory=If, alias="if")
    action: ActionSpec
    limits: Limits = Field(default_factory=Limits)
    priority: int = Field(
        default=0,
        ge=-1000,
        le=1000,
        description="the higher one goes first when capped; give plays that compete different ones",
    )
    contact: bool | None = Field(
        default=None,
        description="whether it reaches the person and uses up their caps; by default: channels that write to "
        "customers, and plays with a consent_channel",
    )
    delay: Duration | BusinessDelay | None = Field(default=None, description="after the fact became true")
    exit: bool = Field(default=True, description="false: also when the customer recovered or moved on meanwhile")
    corrections: bool = Field(default=False, description="true: on corrections, too")
    transactional: bool = Field(default=False, description="exempt from caps, quiet hours and consent, counts for none")
    hold_out: Annotated[float, BeforeValidator(_a_share, json_schema_input_type=str | float)] = Field(
        default=0.0, ge=0, le=1, description="share of customers who get nothing, to compare with: 10% or 0.1"
    )
    goal: Goal = Field(default_factory=Goal)
    templates: dict[TemplateName, str] = Field(
        default_factory=dict,
        description="layouts and partials by name, for the action's texts: {% extends 'brand.html' %}, {% include … %}",
    )
    enabled: bool = True

    @model_validator(mode="after")
    def _can_ever_send(self) -> Self:
        if self.limits.max_age and isinstance(self.delay, timedelta) and self.limits.max_age <= self.delay:
            raise ValueError(
                f"limits.max_age ({say(self.limits.max_age)}) is not longer than delay ({say(self.delay)}): every "
                "action would be too old; both count from the fact"
            )
        if not self.action.subject and not self.action.body and not self.action.html and self.action.channel == "email":
            raise ValueError("action: a mail needs a subject and a body")
        return self

    @model_validator(mode="after")
    def _tracks_what_a_customer_opens(self) -> Self:
        action = self.action
        if not self.tracks:
            return self
        if action.channel != "email":
            raise ValueError(f"action: track is for channel email, and this is {action.channel}: leave it out")
        if action.to is not None:
            raise ValueError(
                "action: a mail to the company's own address says nothing of the customer: leave track out"
            )
        if action.track is not None and action.track.clicks and not self.html_texts:
            raise ValueError("action: clicks are tracked in html, and there is none: write html, or leave clicks out")
        return self

    @property
    def tracks(self) -> bool:
        """Whether opens or clicks of its mails are tracked."""
        return self.action.track is not None and (self.action.track.opens or self.action.track.clicks)

    @property
    def html_texts(self) -> tuple[str, ...]:
        """The HTML of every language."""
        found = (self.action.html, *(texts.html for texts in self.action.locales.values()))
        return tuple(text for text in found if text is not None)

    @property
    def max_age(self) -> timedelta:
        """How old a fact may be."""
        if self.limits.max_age is not None:
            return self.limits.max_age
        if isinstance(self.delay, BusinessDelay):
            return DEFAULT_MAX_AGE + timedelta(days=self.delay.business_days * 2 + 7)
        return DEFAULT_MAX_AGE + (self.delay or timedelta(0))

    @property
    def widest_window(self) -> timedelta:
        """How far back actions have to be known to judge the caps."""
        caps = self.limits.per_customer + self.limits.per_channel + self.limits.play_caps()
        return max((cap.within for cap in caps), default=timedelta(0))


def json_schema() -> dict[str, Any]:
    """The JSON Schema of plays, for editors."""
    schema = Play.model_json_schema(by_alias=True, mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Touchline play", **schema}
