"""Ctrl-C and SIGTERM in training: finish the step, save, then leave with 130 or 143."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from gat.errors import GatError

__all__ = ["Interrupted", "SignalWatch", "Terminated"]


class Interrupted(GatError):
    """Training was stopped by a signal, after saving; ``signum`` is the signal's number."""

    exit_code = 130

    def __init__(self, message: str, signum: int = signal.SIGINT):
        super().__init__(message)
        self.signum = int(signum)


class Terminated(Interrupted):
    """Stopped by SIGTERM."""

    exit_code = 143


class SignalWatch:
    """While it is entered, SIGINT and SIGTERM are only noted in ``received``.

    A second SIGINT raises KeyboardInterrupt at once. Handlers are put back on leaving; outside the
    main thread, where Python forbids them, and for signals that are ignored, none are installed.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "SignalWatch":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                before = signal.getsignal(number)
                if before not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
