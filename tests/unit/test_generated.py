"""Files that the program generates are committed as it would write them now."""

from __future__ import annotations

import pytest

from orchestrator import compose
from orchestrator.settings import for_compose
from orchestrator.stack import build_stack
from tests import generated, readme
from tests.unit.stacks import ROOT


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".env.example", generated.env_example(ROOT)),
        (compose.FILE, compose.render(build_stack(for_compose(ROOT, "production")))),
    ],
    ids=[".env.example", compose.FILE],
)
def test_committed_file_is_current(name: str, text: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == text


def test_a_translation_gets_the_parts_of_the_readme() -> None:
    english = readme.read()
    stale = (
        english.replace("| `setup` | ", "| `setup` | old ")
        .replace("\n$ ", "\nold\n$ ")
        .replace("# golinks,", "# Посилання,")
    )
    assert stale != english
    assert generated.translation(stale, "README.uk.md", english) == english.replace("# golinks,", "# Посилання,")
    with pytest.raises(
        SystemExit, match=r"README\.uk\.md: wanted are the parts of README.md: console, .*figures: stack"
    ):
        generated.translation(english.replace("<!-- figures: stack -->", ""), "README.uk.md", english)
