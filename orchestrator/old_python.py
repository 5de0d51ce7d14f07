"""What a Python that is too old says; parses and runs on every Python 3."""

import shutil
import sys


def explain(package: str) -> int:
    """Say on stderr which Python is needed, and which one of this machine to take; return exit code 2 (usage)."""
    found = ".".join(str(part) for part in sys.version_info[:3])
    newer = [name for name in ("python3.14", "python3.13", "python3.12", "python3.11") if shutil.which(name)]
    hint = f"run it as: {newer[0]} -m {package}" if newer else "install Python 3.11 or newer and run it with that"
    sys.stderr.write(f"error: this needs Python 3.11 or newer, and {sys.executable} is Python {found}\nhint: {hint}\n")
    return 2
