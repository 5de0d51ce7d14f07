"""Progress for people."""

from __future__ import annotations

import io
import json

import pytest

from orchestrator.report import Reporter, document, size, table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_each_step_is_a_line_with_its_time() -> None:
    out = io.StringIO()
    report = Reporter(out)
    with report.step("create network x"):
        pass
    assert out.getvalue() == "  0.0s  create network x\n"
    assert report.seconds == {"create network x": pytest.approx(0, abs=0.5)}


@pytest.mark.parametrize(
    "text", ["wait healthy x", "build image x", "pull image x", "stop container x", "undo: wait x"]
)
def test_slow_steps_are_announced(text: str) -> None:
    out = io.StringIO()
    with Reporter(out).step(text):
        assert out.getvalue() == f"        {text} ...\n"


def test_verbose_announces_the_quick_ones_too() -> None:
    out = io.StringIO()
    with Reporter(out, verbose=True).step("create network x"):
        assert out.getvalue() == "        create network x ...\n"


def test_failed_step_says_so() -> None:
    out = io.StringIO()
    with pytest.raises(KeyboardInterrupt), Reporter(out).step("create x"):
        raise KeyboardInterrupt
    assert out.getvalue() == "  0.0s  create x: failed\n"


def test_warnings_are_kept_for_the_result() -> None:
    out = io.StringIO()
    report = Reporter(out)
    report.say("hello")
    report.warn("careful")
    report.doing("not shown here")
    assert out.getvalue() == "  hello\n  warning: careful\n"
    assert report.warnings == ["careful"]


def test_terminal_shows_brackets_as_they_are() -> None:
    out = Terminal()
    report = Reporter(out)
    with report.step("create [red]x"):
        report.doing("half [bold] way")
        report.say("line [blue]")
    assert "line [blue]" in out.getvalue()
    assert "s  create [red]x\n" in out.getvalue()
    assert report.live


def test_table_is_plain_text_elsewhere() -> None:
    text = table(["NAME", "X"], [["a[b]", "1"], ["longer", ""]])
    assert text.splitlines() == ["NAME    X", "a[b]    1", "longer"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"), (5e9, "5.0 GB"), (5e12, "5000.0 GB")],
)
def test_size(count: float, text: str) -> None:
    assert size(count) == text


def test_document() -> None:
    assert json.loads(document({"a": ["ї"]})) == {"a": ["ї"]}
    assert "ї" in document({"a": "ї"})
