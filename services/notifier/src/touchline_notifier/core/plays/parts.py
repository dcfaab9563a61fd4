"""Parts that plays and the steps of sequences share: whom something concerns, and what is sent."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from touchline_notifier.core.plays.conditions import check_operators
from touchline_notifier.core.plays.durations import Duration
from touchline_notifier.core.profiles.kept_values import KEPT_PER_TYPE
from touchline_notifier.core.texts import languages


def one_or_several(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


Names = Annotated[tuple[str, ...], BeforeValidator(one_or_several, json_schema_input_type=str | tuple[str, ...])]
Condition = Annotated[Any, AfterValidator(check_operators)]
LocaleName = Annotated[str, AfterValidator(languages.checked)]
MOST_LOCALES = 50


class Part(BaseModel):
    """A part of a play's text. Unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class History(Part):
    """So many touchpoints of such types, in a trailing window."""

    type: Names = Field(description="one or several types, or '*'")
    count: Condition = Field(default={"gte": 1}, description=f"by default at least one; history knows {KEPT_PER_TYPE}")
    within: Duration | None = None


class If(Part):
    """For whom: all of it has to hold, when the fact comes and whenever the action is decided again."""

    profile: dict[str, Condition] = Field(
        default_factory=dict, description="email, time_zone, locale, traits.…, last.<type>.<property>"
    )
    history: tuple[History, ...] = ()


class LocaleTexts(Part):
    """The texts in one more language. What `de-AT` leaves out is that of `de`."""

    subject: str | None = None
    body: str | None = None
    html: str | None = None


class Utm(Part):
    """Parameters for the http(s) links in body and html; the texts are templates too. A link keeps those it has."""

    source: str | None = Field(default=None, description="utm_source, such as touchline")
    medium: str | None = Field(default=None, description="utm_medium, such as email")
    campaign: str | None = Field(default=None, description="utm_campaign, such as '{{ play }}'")
    term: str | None = None
    content: str | None = None
    id: str | None = None


class Track(Part):
    """What the company learns of a mail that it sent: off unless said."""

    opens: bool = Field(default=False, description="a pixel at the end of the HTML: a touchpoint email_opened")
    clicks: bool = Field(default=False, description="links in html lead through the notifier: email_clicked")


class ActionSpec(Part):
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

    @property
    def tracks(self) -> bool:
        """Whether opens or clicks of its mails are tracked."""
        return self.track is not None and (self.track.opens or self.track.clicks)

    @property
    def html_texts(self) -> tuple[str, ...]:
        """The HTML of every language."""
        found = (self.html, *(texts.html for texts in self.locales.values()))
        return tuple(text for text in found if text is not None)

    def unsendable(self) -> str | None:
        """Why it could never be sent as it is; None: it can."""
        if self.channel == "email" and not self.subject and not self.body and not self.html:
            return "a mail needs a subject and a body"
        if not self.tracks:
            return None
        if self.channel != "email":
            return f"track is for channel email, and this is {self.channel}: leave it out"
        if self.to is not None:
            return "a mail to the company's own address says nothing of the customer: leave track out"
        if self.track is not None and self.track.clicks and not self.html_texts:
            return "clicks are tracked in html, and there is none: write html, or leave clicks out"
        return None

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


class BusinessDelay(Part):
    """So many business days (``limits.business_days``, else Monday to Friday)."""

    business_days: int = Field(ge=1, le=90)
