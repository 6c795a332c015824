"""The command line: parse and call, nothing else. What is done belongs to the rooms below.

Exit codes: 0 done; 2 the user's input (3 corrupt data), said in one message on stderr; 1 a bug,
with its traceback; 130 Ctrl-C; 143 SIGTERM.
"""

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``gat`` with these arguments (default: the process's) and return its exit code."""
    from gat.cli.faults import guarded

    arguments = list(sys.argv[1:] if argv is None else argv)
    return guarded(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    from gat._version import __version__
    from gat.cli.options import parse

    if arguments[:1] == ["--version"]:
        print(f"gat {__version__}")
        return 0
    try:
        options = parse(arguments)
    except SystemExit as stop:
        # --help leaves with 0, a usage error with 2.
        return stop.code if isinstance(stop.code, int) else 2
    options.run()
    return 0
