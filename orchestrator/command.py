"""What the verbs have in common: the session they work in, how they answer, and how a person is asked."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import bootstrap
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.report import Reporter
    from orchestrator.session import Session

ROOT = Path(bootstrap.ROOT)


def give_way() -> None:
    """On the machine of the service, its requests come first: this process takes what time they leave."""
    os.nice(10)


def reporter(options: argparse.Namespace) -> Reporter:
    from orchestrator.report import Reporter

    return Reporter(verbose=options.verbose)


def session(options: argparse.Namespace) -> Session:
    from orchestrator.engine import connect
    from orchestrator.session import Session
    from orchestrator.settings import load
    from orchestrator.stack import build_stack

    settings = load(ROOT, options.environment, os.environ)
    return Session(settings, build_stack(settings), connect(settings.engine_environment), reporter(options))


@contextmanager
def until_interrupted(endless: bool) -> Iterator[None]:
    """What goes on until Ctrl-C has ended well when that comes."""
    try:
        yield
    except KeyboardInterrupt:
        if not endless:
            raise


def answer(options: argparse.Namespace, result: dict[str, Any], text: str) -> int:
    """Prints a verb's result: one JSON document, or the text for people."""
    from orchestrator.report import document

    print(document(result) if options.json else text)
    return 0


def person(options: argparse.Namespace) -> Callable[[str], bool] | None:
    """How a person is asked: None where nobody can answer."""
    from orchestrator.packages import terminal

    return (lambda _: True) if options.yes else terminal()


def consent(options: argparse.Namespace, why: str) -> Callable[[str], None]:
    """A question that must be answered with yes before something goes on; where nobody can be asked, `why` is told."""
    ask = person(options)

    def confirm(question: str) -> None:
        if ask is None:
            raise UsageError(f"{why}.", hint="say so with --yes.")
        if not ask(question):
            raise UsageError("nothing was done.")

    return confirm
