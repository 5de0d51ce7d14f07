"""Completion for bash, zsh and fish, made from the command line's own parser by shtab.

The scripts are static: a Tab starts no Python, except to look up snapshots and releases. The command is three words,
which no shell completes by itself: so each script completes `orchestrator`, and the completion of python hands over.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import shtab

from orchestrator import releases
from orchestrator.arguments import PROGRAM, parser
from orchestrator.checked import keys
from orchestrator.errors import OrchestratorError
from orchestrator.schema import Services
from orchestrator.session import Session
from orchestrator.state import Observed
from orchestrator.status import snapshots

NAME = "orchestrator"

#: What stands for what, by its name in the help. Nothing is looked up where there are no requirements yet: that would
#: make a virtual environment.
_LOOK_UP = f"test -d .venv -o x != x$VIRTUAL_ENV && {PROGRAM} completion %s 2>/dev/null </dev/null"
_VALUES = {
    "SNAPSHOT": shtab.cmd(_LOOK_UP % "snapshots"),
    "RELEASE": shtab.cmd(_LOOK_UP % "releases"),
    "FOLDER": shtab.DIRECTORY,
    "FILE": shtab.FILE,
}

_HAND_OVER = {
    "bash": """
_orchestrator_python() {
  if [ "$COMP_CWORD" -ge 3 ] && [ "${COMP_WORDS[1]} ${COMP_WORDS[2]}" = "-m orchestrator" ]; then
    COMP_WORDS=(orchestrator "${COMP_WORDS[@]:3}")
    COMP_CWORD=$((COMP_CWORD - 2))
    _shtab_orchestrator
  elif declare -F _python >/dev/null; then
    _python "$@"
  fi
}
complete -o bashdefault -o default -F _orchestrator_python python python3
""",
    "zsh": """
_orchestrator_python() {
  if (( CURRENT > 3 )) && [[ "$words[2] $words[3]" == "-m orchestrator" ]]; then
    words=(orchestrator "${(@)words[4,-1]}")
    (( CURRENT -= 2 ))
    _shtab_orchestrator
  elif (( $+functions[_python] )); then
    _python "$@"
  else
    _default
  fi
}
compdef _orchestrator_python -N python python3
""",
    "fish": """
function _orchestrator_is_meant
  set -l words (commandline -opc)
  test (count $words) -ge 3; and test "$words[2] $words[3]" = "-m orchestrator"
end
function _orchestrator_words
  set -l words (commandline -opc)
  complete -C (string join ' ' -- orchestrator (string escape -- $words[4..-1]) (commandline -ct))
end
complete -c python -n _orchestrator_is_meant -k -f -a '(_orchestrator_words)'
complete -c python3 -n _orchestrator_is_meant -k -f -a '(_orchestrator_words)'
""",
}
#: How a shell is told, for the first lines of its script.
_USE = {
    "bash": f"in ~/.bashrc: source <({PROGRAM} completion bash)",
    "zsh": f"in ~/.zshrc, after compinit: source <({PROGRAM} completion zsh)",
    "fish": f"{PROGRAM} completion fish | source, in ~/.config/fish/config.fish",
}


def script(shell: str) -> str:
    """The script that a shell reads to complete this program's command line."""
    top = parser()
    for made in _parsers(top):
        made.prog = made.prog.replace(PROGRAM, NAME)
        for action in made._actions:
            if action.metavar == "SERVICE":
                action.choices = tuple(keys(Services))
            elif action.metavar in _VALUES:
                action.complete = _VALUES[str(action.metavar)]  # type: ignore[attr-defined] # as shtab wants it
    text = shtab.complete(top, shell)
    return f"# Completion of `{PROGRAM}`. Use it {_USE[shell]}\n{text}\n{_HAND_OVER[shell]}"


def _parsers(top: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser itself and those of its verbs, each described in one line."""
    yield top
    for group in top._actions:
        if isinstance(group, argparse._SubParsersAction):
            for told in group._choices_actions:
                made = group.choices[told.dest]
                made.description = told.help
                yield made


def words(session: Session, kind: str) -> list[str]:
    """The snapshots or releases that a command line may name, newest first; none where they can't be known."""
    try:
        if kind == "releases":
            return [str(entry["release"]) for entry in releases.releases(session)["releases"]]
        observed: Observed = session.engine.observe(session.stack.project)
        return ["latest", *(str(entry["snapshot"]) for entry in snapshots(session, observed))]
    except OrchestratorError as error:
        print(error.message, file=sys.stderr)
        return []
