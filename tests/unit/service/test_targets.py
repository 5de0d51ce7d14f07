"""Templates in targets: what golink's links need of Go's, told apart from what is wrong, and bounded."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from service import golang, targets
from service.golang import format_time
from service.links import resolve, take_apart, url_problem
from service.patterns import ValueProblem
from service.targets import SignInNeededError, TargetError, check, expand

NOW = datetime(2022, 6, 2, 1, 2, 3, 456_000, UTC)
E = "https://e.com/"


def at(url: str, path: str = "", query: str = "", user: str = "me@example.com") -> str:
    return expand(url, path, query, user, NOW)


@pytest.mark.parametrize(
    ("url", "path", "expected"),
    [
        ("{{if .Path}}search?q={{QueryEscape .Path}}{{end}}", "", ""),
        ("{{if .Path}}search?q={{QueryEscape .Path}}{{end}}", "a/b+c", "search?q=a%2Fb%2Bc"),
        ("{{PathEscape .Path}}", "a/b+c", "a%2Fb+c"),
        ("{{with .Path}}week&src={{.}}@e.com{{end}}", "amelie", "week&src=amelie@e.com"),
        ("{{with .Path}}{{.}}{{else}}home{{end}}", "", "home"),
        ("{{with .Path}}{{$.User}}{{end}}", "x", "me@example.com"),
        ('{{TrimPrefix .Path "BUG-"}}', "BUG-123", "123"),
        ('{{TrimSuffix .Path "/"}}', "a/", "a"),
        ("{{ToLower .Path}}|{{ToUpper .Path}}".replace("|", "-"), "Bug", "bug-BUG"),
        ("{{.Path | ToLower | QueryEscape}}", "A B", "a+b"),
        (r'{{if Match "\\d+" .Path}}id/{{.Path}}{{else}}s/{{.Path}}{{end}}', "123", "id/123"),
        (r'{{if Match "\\d+" .Path}}id/{{.Path}}{{else}}s/{{.Path}}{{end}}', "abc", "s/abc"),
        (r"{{if Match `^[a-z]{2}\d*$` .Path}}1{{else if Match `x` .Path}}2{{else}}3{{end}}", "ab1", "1"),
        (r"{{if Match `^[a-z]{2}\d*$` .Path}}1{{else if Match `x` .Path}}2{{else}}3{{end}}", "xyz", "2"),
        ('{{if or (eq .Path "a" "b") (not .Path)}}y{{else}}n{{end}}', "b", "y"),
        ('{{if and .Path (ne .Path "a")}}y{{else}}n{{end}}', "a", "n"),
        ("{{or .Path `home`}}", "", "home"),
        ("{{if lt .Now.Hour 12}}am{{else}}pm{{end}}", "", "am"),
        ('{{.Now.Format "01-02-2006"}}', "", "06-02-2022"),
        ('{{(.Now.AddDate 0 0 -2).Format "2006/1/_2"}}', "", "2022/5/31"),
        ("{{.Now.Unix}}/{{.Now.Year}}/{{.Now.Month}}/{{.Now.Day}}/{{.Now.YearDay}}", "", "1654131723/2022/June/2/153"),
        ("{{.Now.Weekday}}{{if eq .Now.Month 6}}!{{end}}", "", "Thursday!"),
        ("{{.Now}}", "", "2022-06-02%2001:02:03.456%20+0000%20UTC"),
        ("a {{- .Path -}} b".replace("a ", "a ").replace(" b", " b"), "x", "axb"),
        ("{{/* why */}}{{- /* and */ -}}x", "", "x"),
        ('{{`a`}}{{"b\\u0020\\""}}{{true}}{{-7}}', "", "ab%20%22true-7"),
        ("{{.Path}}", "100%25/%2F?".replace("?", ""), "100%25//"),
        ("{{.Path}}", "%D0%B2%20x", "%D0%B2%20x"),
        ("{{.Path}}#{{.Path}}", "a", "a#a"),
    ],
)
def test_what_golinks_templates_do(url: str, path: str, expected: str) -> None:
    if " {{-" not in url:
        assert check(E + url) is None
    assert at(E + url, path) == E + expected


def test_the_host_and_the_query() -> None:
    url = "http://{{if .Path}}{{.Path}}{{else}}host{{end}}.example/varz?a=1#top"
    assert at(url, "n-1", "b=2") == "http://n-1.example/varz?a=1&b=2#top"
    assert at(url) == "http://host.example/varz?a=1#top"
    assert resolve(f"{E}{{{{.Path}}}}", "a%2Fb", "q=1") == f"{E}a/b?q=1"
    assert at("https://приклад.укр/{{.Path}}", "%D0%B2") == "https://xn--80aikifvh.xn--j1amh/%D0%B2"
    assert expand("slack:{{.Path}}", "a%20b", "", "", NOW, {"slack"}) == "slack:a%20b"


@pytest.mark.parametrize(
    "path", ["evil.example/", "evil.example%2F", "evil.example%23", "a%5C", "u@evil.example", "a%20b", "x:y", "%3F"]
)
def test_a_path_never_makes_another_host(path: str) -> None:
    for url in ("https://{{.Path}}.example.com/", "https://{{ToLower .Path}}", "https://e.com{{.Path}}", "{{.Path}}"):
        with pytest.raises(TargetError):
            at(url, path)


def test_a_path_never_splits_a_header() -> None:
    for path in ("a%0D%0ASet-Cookie:x", "%00", "%0A", "%E2%80%AE", "%C2%85"):
        with pytest.raises(TargetError, match="control"):
            at(E + "{{.Path}}", path)


def test_a_scheme_that_is_not_allowed() -> None:
    for url in ("javascript:{{.Path}}", "ftp://e.com/{{.Path}}", "{{`java`}}script:x", "//{{.Path}}", "/x{{.Path}}"):
        assert "must begin with" in str(check(url))
    assert check("slack:{{.Path}}", {"slack"}) is None


def test_whose_link_it_is() -> None:
    url = E + "{{.User}}"
    assert check(url) is None
    assert targets.uses_user(url)
    assert at(url) == E + "me@example.com"
    with pytest.raises(SignInNeededError, match="not signed in"):
        at(url, user="")
    assert at(E + "{{if .Path}}{{.User}}{{end}}", user="") == E


@pytest.mark.parametrize(
    ("url", "message", "place"),
    [
        ("{{", "never closed", 15),
        ("{{.Path", "never closed", 15),
        ("{{.Path}", "means nothing", 22),
        ("{{}}", "value is missing", 15),
        ("{{.Foo}}", "no .Foo: the page has .Path, .Now, .User", 17),
        ("{{.Query}}", "no .Query", 17),
        ("{{.Path.Foo}}", "text has no fields", 22),
        ("{{.Now.Foo}}", "a time has .Format", 21),
        ("{{Foo}}", "no Foo here; functions are and, eq", 17),
        ("{{range .Path}}{{end}}", "no range here", 17),
        ("{{template `x`}}", "no template here", 17),
        ("{{$x := .Path}}", "variables", 17),
        ("{{if .Path}}", "{{if}} is never closed by {{end}}", 15),
        ("{{if .Path}}{{else}}{{else}}{{end}}", "never closed", 15),
        ("{{end}}", "{{end}} has no if", 15),
        ("{{else}}", "{{else}} has no if", 15),
        ("{{if .Path}}{{end x}}", "nothing can stand behind end", 33),
        ('{{"a}}', "quotes is never closed", 17),
        (r'{{Match "\d" .Path}}', r"\d is no escape", 24),
        (r"{{Match `(` .Path}}", "regular expression that can't be read", 17),
        (r"{{Match `(?=x)` .Path}}", "no look-around", 17),
        (r"{{Match `(x)\1` .Path}}", r"\1, which is not supported", 17),
        (r"{{Match `x{2000}` .Path}}", "1000 times", 17),
        (r"{{Match `((x{20}){20}){20}` .Path}}", "1000 times", 17),
        ("{{Match `a` .Path}}" * 6, "more than 5 regular", 112),
        ("{{Match .Path `x`}}", "in quotes first", 17),
        ("{{PathEscape .Now}}", "takes text as argument 1, not a time", 17),
        ("{{TrimPrefix .Path}}", "takes 2 arguments, not 1", 17),
        ("{{.Now.Format}}", "takes 1 arguments, not 0", 21),
        ("{{.Path `x`}}", ".Path takes 0 arguments, not 1", 17),
        ("{{`x` .Path}}", "takes no arguments", 17),
        ("{{eq .Path 1}}", "can't compare text with a number", 17),
        ("{{lt true false}}", "can't compare a truth value", 17),
        ("{{TrimPrefix ToLower .Path `x`}}", "parentheses", 28),
        ("{{(.Path}}", "never closed", 17),
        ("{{.Path)}}", "no ( for this )", 22),
        ("{{.Path}} x", "no space or backslash", 24),
        ("{{.Path}}\\", "no space or backslash", 24),
        ("{{.}}", "prints the whole page", None),
        ("{{.Path}}\n", "control characters", None),
        ("{{.Path}}\u202e", "control characters", None),
        ("{{if .Path}}" * 11 + "{{end}}" * 11, "in each other", 135),
        ("{{.Path}}" * 101, "more than 100 parts", None),
    ],
)
def test_what_is_wrong_is_said_with_its_place(url: str, message: str, place: int | None) -> None:
    told = str(url_problem(f" {E}{url}" if not url.endswith("\n") else f"{E}{url}x"))
    assert message in told
    if place is not None:
        assert f"at character {place}" in told


def test_layouts_of_time() -> None:
    layout = "Monday Mon January Jan Monkey 1 01 2 _2 02 __2 002 15 3 03 4 04 5 05 PM pm 06 2006 _2006 MST"
    zones = " Z07:00 -0700 -07 .000 .999 x"
    days = "Thursday Thu June Jun Monkey 6 06 2  2 02 153 153 13 1 01 4 04 5 05 PM pm 22 2022 _2022 UTC"
    moment = datetime(2022, 6, 2, 13, 4, 5, 120_000, UTC)
    assert format_time(moment, layout + zones) == days + " Z +0000 +00 .120 .12 x"
    assert format_time(moment.replace(microsecond=0), "5.999") == "5"


def test_a_regular_expression_has_its_time() -> None:
    url = E + r"{{if Match `^(a|aa|a[ab]?)+$` .Path}}y{{end}}"
    assert check(url) is None
    began = time.thread_time()
    with pytest.raises(TargetError, match="too long"):
        at(url, "a" * 60 + "c")
    assert time.thread_time() - began < 0.5


def test_what_is_written_is_bounded() -> None:
    with pytest.raises(TargetError, match="8192"):
        at(E + "{{.Path}}{{.Path}}", "x" * 5000)
    with pytest.raises(TargetError, match="8192"):
        at(E + "{{.Path" + "|QueryEscape" * 40 + "}}", "%2F" * 2000)
    with pytest.raises(ValueProblem, match="out of range"):
        golang.MEMBERS[datetime]["AddDate"].call(NOW, 9999, 0, 0)
    assert golang.MEMBERS[datetime]["AddDate"].call(NOW.replace(day=31, month=1), 0, 1, 0).day == 3
    assert golang.MEMBERS[datetime]["AddDate"].call(NOW, 0, -6, 0) == NOW.replace(year=2021, month=12) + timedelta()


PIECES = st.sampled_from(
    [
        *("{{", "}}", "{{-", "-}}", " ", "(", ")", "|", ".", "$", '"', "`", "\\", "/*", "*/", "https://", "e.com", "/"),
        *(".Path", ".User", ".Now", ".Month", '.Format "2006"', ".AddDate 0 1 -1", "{{.Path}}", "{{end}}", "{{else}}"),
        *(
            "if ",
            "with ",
            "else if ",
            "PathEscape ",
            "QueryEscape ",
            "TrimPrefix ",
            "ToUpper ",
            "Match ",
            "and ",
            "or ",
        ),
        *(
            "not ",
            "eq ",
            "lt ",
            "true",
            "12",
            "-1",
            '"a"',
            "`^(a|aa)+$`",
            "`[^`",
            "(?i)",
            "{2,3}",
            "\\d",
            "é",
            "\u202e",
        ),
    ]
)


@given(st.lists(PIECES | st.text(max_size=3), max_size=30).map("".join), st.text(max_size=40), st.booleans())
@example("{{.Path|QueryEscape}}" * 16, "%" * 500, True)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_is_typed_and_asked(url: str, path: str, web: bool) -> None:
    """No crash, nothing longer than the bound, nothing slow; and what may be saved is safe in a header."""
    source = E + "{{" + url + "}}" if web else url
    problem = check(source) if "{{" in source else "is none"
    asked = take_apart("/n/" + path)
    # Processor time of this thread: others are busy, too.
    began = time.thread_time()
    try:
        result = at(source, asked.rest, asked.query) if "{{" in source else E
    except TargetError as error:
        assert str(error)
    else:
        assert result.isascii() and result.isprintable() and " " not in result
        assert result.startswith(("http://", "https://"))
        assert len(result) <= 3 * targets.MAX_OUTPUT
    assert time.thread_time() - began < 0.1
    assert problem is None or problem
