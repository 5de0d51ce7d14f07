"""What the pages say, in the language of whoever reads: English stands where it is used, the others in a table each.

A text may hold `{names}` and HTML; what is put in for the names is escaped. A text of counts has its forms with `|`
between: `"{n} click|{n} clicks"`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from itertools import zip_longest

from flask import g, request
from markupsafe import Markup

from service.texts import uk, uk_problems

LANGUAGES: Mapping[str, str] = {"en": "English", "uk": "Українська"}
TABLES: Mapping[str, Mapping[str, str]] = {"uk": uk.TEXTS}
PROBLEMS: Mapping[str, Mapping[str, str]] = {"uk": uk_problems.PROBLEMS}
COOKIE = "language"
MONTHS = {
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    "uk": ("січ.", "лют.", "бер.", "квіт.", "трав.", "черв.", "лип.", "серп.", "вер.", "жовт.", "лист.", "груд."),
}
# A space that does not break: Ukrainian groups digits by it.
GROUPS = {"en": ",", "uk": "\u00a0"}
NUMBER = re.compile(r"\d+", re.ASCII)
PLACE = re.compile(r"(?<!{){(\w+)}(?!})")
MEMBERS = re.compile(r"(\w+): ((?:(?!; \w+: ).)+)", re.DOTALL)


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
    """What is wrong, as all of the service says it in English: a sentence, or what goes on after a field's name."""
    return Markup.escape(_problem(text, language()))


def _problem(text: str, to: str) -> str:
    whole = TABLES.get(to, {}).get(text)
    if whole is not None or to not in TABLES:
        return whole or text
    for pattern, translation in _patterns(to):
        if found := pattern.fullmatch(text):
            said = PLACE.split(translation)
            said[1::2] = [_value(name, found[name], to) for name in said[1::2]]
            return "".join(said)
    # Of a line, by its members; see `InvalidLinkError`.
    if members := MEMBERS.findall(text):
        return "; ".join(f"{name}: {_problem(wrong, to)}" for name, wrong in members)
    return text


def _value(name: str, value: str, to: str) -> str:
    if name == "n":
        return number(int(value))
    return _problem(value, to) if name == "problem" else value


@cache
def _patterns(to: str) -> list[tuple[re.Pattern[str], str]]:
    """The texts with places as what they match, those with most words of their own first."""
    texts = {text: said for table in (TABLES[to], PROBLEMS[to]) for text, said in table.items() if "|" not in text}
    ordered = sorted(texts, key=lambda text: -len(PLACE.sub("", text)))
    return [(_pattern(text), texts[text]) for text in ordered if PLACE.sub("", text).strip()]


def _pattern(text: str) -> re.Pattern[str]:
    parts = PLACE.split(text)
    places = (f"(?P<{name}>{NUMBER.pattern if name == 'n' else '.+'})" for name in parts[1::2])
    return re.compile(
        "".join(part for pair in zip_longest(map(re.escape, parts[::2]), places, fillvalue="") for part in pair),
        re.DOTALL,
    )


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
