"""The README as tests read it: its headings, blocks of code, commands, tables."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
#: In another language: the same headings and blocks of code, the same generated parts.
TRANSLATIONS = tuple(sorted(ROOT.glob("README.*.md")))

_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
_PROMPT = "$ "


@dataclass(frozen=True)
class Block:
    """A block of code, without its indentation."""

    language: str
    text: str


def read() -> str:
    return README.read_text(encoding="utf-8")


def blocks(text: str) -> list[Block]:
    """All blocks of code in their order."""
    return [Block(found["language"], textwrap.dedent(found["text"])) for found in _BLOCK.finditer(text)]


def prose(text: str) -> str:
    """The text without its blocks of code."""
    return _BLOCK.sub("", text)


def headings(text: str) -> list[tuple[int, str]]:
    """(level, heading) in their order."""
    return [(len(marks), title) for marks, title in re.findall(r"^(#+) (.*)$", prose(text), re.MULTILINE)]


def section(text: str, heading: str) -> str:
    """What stands below a heading of the second level, up to the next."""
    began = text.index(f"\n## {heading}\n")
    end = text.find("\n## ", began + 1)
    return text[began : end if end >= 0 else len(text)]


def script(text: str) -> list[str]:
    """The commands of a block of shell, without their comments; one that goes on in the next line is one."""
    whole = re.sub(r" *\\\n *", " ", text)
    lines = (re.sub(r"(^|\s+)#\s.*$", "", line).strip() for line in whole.splitlines())
    return [line for line in lines if line]


def commands(text: str) -> list[str]:
    """What a reader is told to type: all lines of blocks of shell."""
    return [command for block in blocks(text) if block.language == "sh" for command in script(block.text)]


def sessions(text: str) -> list[tuple[str, str]]:
    """(command, what it printed) of all blocks that show both."""
    found = []
    for block in blocks(text):
        if block.language == "console":
            for part in re.split(rf"^{re.escape(_PROMPT)}", block.text, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                found.append((command, output))
    return found


def rows(text: str) -> list[list[str]]:
    """The cells of the first table in a text, without its head."""
    table = re.search(r"^\|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table, "there is no table"
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table[1].splitlines()]


def code(text: str) -> list[str]:
    """What stands in backquotes."""
    return re.findall(r"`([^`\n]+)`", prose(text))
