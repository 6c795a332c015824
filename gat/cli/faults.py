"""From errors, warnings and signals to what a person reads on stderr and the exit code."""

import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from typing import Any, TextIO

from gat.errors import GatError

__all__ = ["guarded"]

BUG, INTERRUPTED, TERMINATED = 1, 130, 143


class _Terminated(BaseException):
    """SIGTERM outside training; a BaseException, so that no handler on the way swallows it."""


def guarded(run: Callable[[], int | None]) -> int:
    """Call ``run`` and return the exit code: its own, or the one for how it failed."""
    before = _on_sigterm(_raise_terminated)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = run()
            sys.stdout.flush()
        return code or 0
    except GatError as error:
        print(f"gat: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("gat: interrupted", file=sys.stderr)
        return INTERRUPTED
    except _Terminated:
        print("gat: terminated", file=sys.stderr)
        return TERMINATED
    except BrokenPipeError:
        # The reader (say `head`) left; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        traceback.print_exc()
        print("gat: this is a bug in gat; please report it with the lines above", file=sys.stderr)
        return BUG
    finally:
        _on_sigterm(before)


def _on_sigterm(handler: Any) -> Any:
    if threading.current_thread() is not threading.main_thread() or handler is None:
        return None
    return signal.signal(signal.SIGTERM, handler)


def _raise_terminated(*_: object) -> None:
    raise _Terminated


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"gat: warning: {message}", file=sys.stderr)
