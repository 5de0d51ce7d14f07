"""What the pages say, in the language of whoever reads: English stands where it is used, the others in a table each.

A text may hold `{names}` and HTML; what is put in for the names is escaped. A text of counts has its forms with `|`
between: `"{n} click|{n} clicks"`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from flask import g, request
from markupsafe import Markup

from service.texts import uk

LANGUAGES: Mapping[str, str] = {"en": "English", "uk": "Українська"}
TABLES: Mapping[str, Mapping[str, str]] = {"uk": uk.TEXTS}
COOKIE = "language"
MONTHS = {
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    "uk": ("січ.", "лют.", "бер.", "квіт.", "трав.", "черв.", "лип.", "серп.", "вер.", "жовт.", "лист.", "груд."),
}
# A space that does not break: Ukrainian groups digits by it.
GROUPS = {"en": ",", "uk": "\u00a0"}
NUMBER = re.compile(r"\d+", re.ASCII)


def language() -> str:
    """The language of the current request: as chosen here before, else as the browser asks, else English."""
    if "language" not in g:
        chosen = request.cookies.get(COOKIE, "")
        best = request.accept_languages.best_match(LANGUAGES, "en")
        g.language = chosen if chosen in LANGUAGES else best
    found: str = g.language
    return found


def say(text: str, **values: object) -> Markup:
    """The text in the reader's language; in English where the table lacks it."""
    return Markup(translated(text, language())).format(**values)  # noqa: S704 - our own words; values are escaped


def count(text: str, n: int, **values: object) -> Markup:
    """The form of the text that fits the number, which `{n}` in it shows."""
    forms = translated(text, language()).split("|")
    form = forms[min(plural(n, language()), len(forms) - 1)]
    return Markup(form).format(n=number(n), **values)  # noqa: S704 - our own words; values are escaped


def problem(text: str) -> Markup:
    """What is wrong with a field, as `service.fields` and `service.links` say it: numbers in it stand as {n}."""
    numbers = NUMBER.findall(text)
    pattern = NUMBER.sub("{n}", text)
    found = TABLES.get(language(), {}).get(pattern)
    if found is None or len(numbers) != 1:
        return Markup.escape(TABLES.get(language(), {}).get(text, text))
    return Markup.escape(found.replace("{n}", number(int(numbers[0]))))


def translated(text: str, to: str) -> str:
    """The text as it stands in a language's table."""
    return TABLES.get(to, {}).get(text, text)


def plural(n: int, to: str) -> int:
    """Which of a text's forms goes with a number: one and other; in Ukrainian one, few and many."""
    if to != "uk":
        return 0 if n == 1 else 1
    if n % 10 == 1 and n % 100 != 11:
        return 0
    return 1 if n % 10 in (2, 3, 4) and n % 100 not in (12, 13, 14) else 2


def number(n: int) -> str:
    """1,234,567, or as the reader's language groups digits."""
    return f"{n:,}".replace(",", GROUPS[language()])


def day(seconds: int) -> str:
    """1 Feb 2026 (UTC)."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment.day} {MONTHS[language()][moment.month - 1]} {moment.year}"


def moment(seconds: int) -> str:
    """1 Feb 2026, 14:05 UTC."""
    return f"{day(seconds)}, {datetime.fromtimestamp(seconds, UTC):%H:%M} UTC"


def ago(seconds: int) -> Markup:
    """How long ago, roughly; the day where that is long."""
    passed = max(0, int(time.time()) - seconds)
    if passed < 90:
        return say("just now")
    if passed < 90 * 60:
        return count("{n} minute ago|{n} minutes ago", passed // 60)
    if passed < 36 * 3600:
        return count("{n} hour ago|{n} hours ago", passed // 3600)
    if passed < 30 * 86400:
        return count("{n} day ago|{n} days ago", passed // 86400)
    return Markup(day(seconds))  # noqa: S704 - a date


def instant(seconds: int) -> str:
    """The machine's form of a time, for `<time datetime>`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
