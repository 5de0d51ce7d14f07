"""The settings of who may do what."""

from __future__ import annotations

import pytest

from service import links
from service.access import WEB_SCHEMES, Access, address_of, fold_person, is_person, read_access, within
from service.settings import SettingsError, read_settings


def test_the_defaults() -> None:
    problems: list[str] = []
    found = read_access(dict.fromkeys(("AUTH", "READ", "EDIT", "READ_ONLY", "SESSION_DAYS"), ""), problems)
    assert not problems
    assert (found.auth, found.read, found.edit, found.read_only, found.session_days) == (
        "open",
        "open",
        "owner",
        False,
        30,
    )
    assert found.schemes == WEB_SCHEMES
    assert not within(address_of("10.0.0.1"), found.forwarders)
    assert within(address_of("::1"), found.forwarders)


def test_all_of_them() -> None:
    problems: list[str] = []
    found = read_access(
        {
            "AUTH": "Proxy",
            "READ": "closed",
            "EDIT": "anyone",
            "READ_ONLY": "TRUE",
            "PROXY_USER_HEADER": "X-Auth-Request-Email",
            "PROXY_TRUSTED": "172.30.0.5, fd00::/8",
            "ADMINS": "Ada@example.com ed",
            "SCHEMES": "mailto,Slack",
            "SESSION_DAYS": "7",
        },
        problems,
    )
    assert not problems
    assert found.read_only
    assert found.admins == {"ada@example.com", "ed"}
    assert found.schemes == {"http", "https", "mailto", "slack"}
    assert within(address_of("::ffff:172.30.0.5"), found.trusted)
    assert within(address_of("fd00::1"), found.trusted)
    assert not within(address_of("172.30.0.6"), found.trusted)


def test_every_wrong_one_is_named_at_once() -> None:
    wrong = {
        "AUTH": "maybe",
        "READ": "closed",
        "EDIT": "no",
        "READ_ONLY": "1",
        "PROXY_USER_HEADER": "X-Forwarded-For",
        "PROXY_TRUSTED": "10.0.0.0/99",
        "ADMINS": "a,b c;d",
        "SCHEMES": "mailto,javascript",
        "SESSION_DAYS": "0",
        "LOG_LEVEL": "loud",
    }
    with pytest.raises(SettingsError) as raised:
        read_settings(wrong)
    assert [name for name in wrong if name not in str(raised.value)] == []


@pytest.mark.parametrize("scheme", ["javascript", "data", "VBScript", "file", "blob", "1x", "a b:"])
def test_schemes_that_no_setting_allows(scheme: str) -> None:
    problems: list[str] = []
    read_access({"SCHEMES": scheme}, problems)
    assert problems


def test_a_proxy_must_be_named() -> None:
    problems: list[str] = []
    read_access({"AUTH": "proxy"}, problems)
    assert len(problems) == 1
    assert "PROXY_TRUSTED" in problems[0]


@pytest.mark.parametrize(("name", "good"), [("Ada", True), ("a.b+c@example.com", True), ("auth0|12", True)])
def test_names(name: str, good: bool) -> None:
    assert is_person(fold_person(name)) is good


@pytest.mark.parametrize("name", ["", "a b", "a,b", "a\nb", "-a", "x" * 101, "a\u202eb", "<b>"])
def test_names_that_are_none(name: str) -> None:
    assert not is_person(fold_person(name))


def test_targets_have_allowed_schemes_alone() -> None:
    try:
        assert links.url_problem("mailto:a@example.com") == "must begin with http:// or https://"
        links.allow_schemes(Access(schemes=WEB_SCHEMES | {"mailto", "slack"}).schemes)
        for url in ("mailto:a@example.com", "slack://channel?id=1", "https://example.com/", "MAILTO:a@b"):
            assert links.url_problem(url) is None
        for url in (
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "https:///x",
        ):
            assert links.url_problem(url) is not None
    finally:
        links.allow_schemes(WEB_SCHEMES)


def test_a_template_may_have_the_schemes_that_are_allowed() -> None:
    try:
        links.allow_schemes(frozenset({"http", "https", "mailto"}))
        assert links.url_problem("mailto:{{.Path}}@example.com") is None
        assert links.resolve("mailto:{{.Path}}@example.com", "ann", "") == "mailto:ann@example.com"
    finally:
        links.allow_schemes(WEB_SCHEMES)
    assert links.url_problem("mailto:{{.Path}}@example.com")
