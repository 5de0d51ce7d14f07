"""Every word on the pages is there in every language, with the forms that its grammar needs."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.exceptions import default_exceptions

from service import texts

SERVICE = Path(texts.__file__).parents[1]
TEMPLATES = sorted((SERVICE / "templates").iterdir())
# Pages of others, which stand in English alone.
SAID = re.compile(r'(?<![\w.])(_|counted)\(\s*"((?:[^"\\]|\\.)*)"')
PLACES = re.compile(r"{(\w+)}")
TAGS = re.compile(r"</?\w+>")
# Letters that are the same in every language: examples, and what is typed.
LITERAL = {"PathEscape", "QueryEscape", "TrimPrefix", "TrimSuffix", "ToLower", "ToUpper", "Match", "Enter", "Esc"}
SAME = {"API"}


def _said() -> Iterator[tuple[str, str]]:
    """("_" or "counted", text) of all that pages say."""
    for path in TEMPLATES:
        yield from SAID.findall(path.read_text())
    calls = {"texts.say": "_", "say": "_", "texts.count": "counted", "count": "counted"}
    for path in SERVICE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and (kind := calls.get(ast.unparse(node.func))) and node.args:
                text = ast.literal_eval(node.args[0]) if isinstance(node.args[0], ast.Constant) else None
                if text is not None:
                    yield kind, text


def _problems() -> Iterator[str]:
    """What `name_problem` and `url_problem` return and `fields` raises, with {n} for numbers."""
    for module in ("links.py", "fields.py"):
        for node in ast.walk(ast.parse((SERVICE / module).read_text())):
            value = None
            if isinstance(node, ast.Return):
                value = node.value
            elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("_Wrong", "ValueError"):
                value = node.args[0]
            for part in ast.walk(value) if value else ():
                if isinstance(part, ast.JoinedStr):
                    yield "".join(v.value if isinstance(v, ast.Constant) else "{n}" for v in part.values)  # type: ignore[misc]
                    break
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and " " in part.value:
                    yield part.value


@pytest.mark.parametrize("to", texts.TABLES)
def test_nothing_is_missing_in_a_language_and_nothing_is_left_over(to: str) -> None:
    table = texts.TABLES[to]
    said = {text: kind for kind, text in _said()}
    assert len(said) > 150
    assert not [text for text in said if text not in table]
    for text, kind in said.items():
        forms = table[text].split("|") if kind == "counted" else [table[text]]
        if kind == "counted":
            assert len(text.split("|")) == 2, text
            assert len(forms) == 3, text
        for form in forms:
            assert set(PLACES.findall(form)) == set(PLACES.findall(text)), text
            assert TAGS.findall(form) == TAGS.findall(text), text
            assert re.search("[а-яіїєґ]", form, re.I) or text in SAME, text


@pytest.mark.parametrize("to", texts.TABLES)
def test_what_is_wrong_with_a_field_is_said_in_every_language(to: str) -> None:
    # Which schemes are allowed is a setting.
    found = set(_problems()) - {"must begin with {n}"}
    assert len(found) > 15
    assert not [text for text in found if text not in {**texts.TABLES[to], **texts.PROBLEMS[to]}]


#: What is raised with a message that a page shows: but for a template's own grammar, which says it in English.
SHOWN = {
    *("BadRequest", "NotFound", "Forbidden", "Conflict", "Gone", "ServiceUnavailable", "LoopDetected", "unauthorized"),
    *("TargetError", "SignInNeededError", "ValueProblem", "NoUserError", "PeopleError", "InvalidLinkError"),
}
#: What only commands and the API say.
ELSEWHERE = (
    "There is no user",
    "There is a user",
    "A role is",
    "A name has up to",
    "No password was given",
    "There is no token",
)


def _samples(message: ast.expr) -> list[str]:
    """The message as it may be, with 7 for each value."""
    if isinstance(message, ast.Dict):
        return [sample for value in message.values for sample in _samples(value)]
    if isinstance(message, ast.Constant) and isinstance(message.value, str):
        return [message.value]
    if isinstance(message, ast.IfExp):
        return _samples(message.body) + _samples(message.orelse)
    if not isinstance(message, ast.JoinedStr):
        return []
    parts = [_samples(part.value if isinstance(part, ast.FormattedValue) else part) or ["7"] for part in message.values]
    return ["".join(sample) for sample in itertools.product(*parts)]


def _refusals() -> Iterator[str]:
    for path in SERVICE.rglob("*.py"):
        if path.parent.name in ("api", "texts", "migrations") or path.stem.startswith("check_"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and ast.unparse(node.func).rpartition(".")[2] in SHOWN:
                yield from _samples(node.args[0])
            elif path.stem == "importing" and isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
                yield from _samples(node.value.elts[-1])
            elif path.stem == "transfer" and isinstance(node, ast.Return) and node.value is not None:
                yield from _samples(node.value)


@pytest.mark.parametrize("to", texts.TABLES)
def test_what_is_refused_is_said_in_every_language(app: Flask, to: str) -> None:
    found = {text for text in _refusals() if " " in text and not text.startswith(ELSEWHERE)}
    assert len(found) > 50
    # What werkzeug says where nothing else is said.
    found |= {str(default_exceptions[status].description) for status in (400, 404, 405, 413, 500)}
    with app.test_request_context(headers={"Accept-Language": to}):
        assert not [text for text in sorted(found) if not re.search("[а-яіїєґ]", texts.problem(text), re.I)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("has more than 1000 characters", "має понад 1\u00a0000 символів"),
        ("This link belongs to a <b>: only they or an admin can change it.", "a &lt;b&gt;"),
        (
            "The target of this link must not have such a host.",
            "Ціль цього посилання не може мати такого імені сервера.",
        ),
        ("Long: has no host; Short: is missing", "Long: не має імені сервера; Short: не може бути порожньою"),
        ("nobody has translated this", "nobody has translated this"),
    ],
)
def test_values_in_a_refusal(app: Flask, text: str, said: str) -> None:
    with app.test_request_context(headers={"Accept-Language": "uk"}):
        assert said in texts.problem(text)
    with app.test_request_context():
        assert "<" in text or texts.problem(text) == text


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_has_no_words_of_its_own(path: Path) -> None:
    text = path.read_text()
    text = re.sub(r"{#.*?#}|{%.*?%}", " ", text, flags=re.DOTALL)
    # A text that is a value of an expression holds braces of its own.
    text = re.sub(r"{{(?:\"[^\"]*\"|'[^']*'|[^\"'}]|}(?!}))*}}", " ", text)
    attributes = re.findall(r'\s(?:aria-label|title|placeholder|alt|data-done|data-word)="([^"]*)"', text)
    # The attributes that the macro in form.html writes stand outside of a tag.
    text = re.sub(r"<code>[^<]*</code>|<[^>]*>|[\w-]+=\"[^\"]*\"|\bautofocus\b", " ", text)
    words = set(re.findall(r"[^\W\d_]{2,}", " ".join([text, *attributes]))) - LITERAL - {"wiki", "https", "amp", "UTF"}
    assert not words


def test_forms_of_counts() -> None:
    ones, few, many = (1, 21, 101), (2, 3, 4, 22, 104), (0, 5, 11, 12, 14, 19, 111, 112, 25)
    for numbers, form in ((ones, 0), (few, 1), (many, 2)):
        assert {texts.plural(number, "uk") for number in numbers} == {form}
    assert [texts.plural(number, "en") for number in (0, 1, 2, 21)] == [1, 0, 1, 1]


@pytest.mark.parametrize(
    ("language", "day", "number"), [("en", "5 Nov 2026", "1,234"), ("uk", "5 лист. 2026", "1\u00a0234")]
)
def test_days_and_numbers(app: Flask, language: str, day: str, number: str) -> None:
    with app.test_request_context(headers={"Accept-Language": language}):
        assert texts.day(1793836800) == day
        assert texts.number(1234) == number


def test_values_are_escaped(app: Flask) -> None:
    with app.test_request_context():
        assert (
            texts.say("<strong>{name}</strong> was deleted.", name="<b>") == "<strong>&lt;b&gt;</strong> was deleted."
        )
        assert texts.problem("has <b>") == "has &lt;b&gt;"


def test_the_browser_says_and_the_switch_overrules(client: FlaskClient) -> None:
    ukrainian = {"Accept-Language": "uk-UA,uk;q=0.9,en;q=0.8"}
    assert '<html lang="en">' in client.get("/", headers={"Accept-Language": "fr"}).text
    assert '<html lang="uk">' in client.get("/", headers=ukrainian).text
    assert "Посилань ще немає" in client.get("/", headers=ukrainian).text
    answer = client.post("/.language", data={"language": "en", "next": "/.help"})
    assert answer.headers["Location"] == "/.help"
    assert "HttpOnly" in answer.headers["Set-Cookie"]
    assert '<html lang="en">' in client.get("/", headers=ukrainian).text
    client.set_cookie("language", "xx")
    assert '<html lang="uk">' in client.get("/", headers=ukrainian).text


def test_the_switch_leads_nowhere_else(client: FlaskClient) -> None:
    for following in ("https://evil.example/", "//evil.example", "/wiki", "/\\evil.example", "", "/.a\nb"):
        answer = client.post("/.language", data={"language": "xx", "next": following})
        assert answer.headers["Location"] == "/"
        assert "Set-Cookie" not in answer.headers


def test_errors_are_told_in_the_language(client: FlaskClient) -> None:
    answer = client.post("/", data={"name": "", "url": "x" * 3000}, headers={"Accept-Language": "uk"})
    assert "Назва не може бути порожньою." in answer.text
    assert "Адреса має понад 2\u00a0048 символів." in answer.text
