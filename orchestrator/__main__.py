"""`python3 -m orchestrator`: the first file any Python reads.

It must parse on every Python 3, so that an old one gets a sentence and not a SyntaxError: no annotations, no future
imports, nothing newer here. Everything else is in `bootstrap`.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this is where an older Python is told
    from orchestrator import old_python

    sys.exit(old_python.explain("orchestrator"))

from orchestrator import bootstrap

if __name__ == "__main__":
    sys.exit(bootstrap.main(sys.argv[1:]))
