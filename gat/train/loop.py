"""The loop over epochs: train, evaluate, log, save when it is time, leave when asked."""

import time
from collections.abc import Callable
from typing import Any, NoReturn

from gat.errors import NonFiniteLossError
from gat.train import checkpoint
from gat.train.run import EpochRecord, RunFolder
from gat.train.run_session import RunSession
from gat.train.signals import Interrupted, SignalWatch, Terminated

__all__ = ["OnEpoch", "fit"]

OnEpoch = Callable[[EpochRecord], Any]


def fit(session: RunSession, folder: RunFolder | None, on_epoch: OnEpoch | None) -> None:
    """Train ``session`` to its end. ``folder`` None saves nothing."""
    at = session.at
    # A run resumed may have been given more epochs, or fewer.
    if at.stopped_by != "patience":
        at.stopped_by = "epochs" if at.epoch >= session.config.epochs else ""
    if at.stopped_by:
        return
    saver = _Saver(session, folder)
    try:
        with SignalWatch() as watch:
            while not at.stopped_by:
                complete = session.train_epoch(lambda: watch.received is not None)
                record = session.end_epoch(saver.seconds()) if complete else None
                if record is not None:
                    _report(record, folder, on_epoch)
                if watch.received is not None:
                    saver.save()
                    _leave(watch.received, session, folder)
                saver.save_if_due()
            saver.save()
    except NonFiniteLossError as error:
        _note_fault(session, folder, error)
        raise


def _report(record: EpochRecord, folder: RunFolder | None, on_epoch: OnEpoch | None) -> None:
    if folder is not None:
        folder.log(record)
    if on_epoch is not None:
        on_epoch(record)


class _Saver:
    """Saves the run at the configured cadence and counts its seconds."""

    def __init__(self, session: RunSession, folder: RunFolder | None):
        self.session, self.folder = session, folder
        self.cadence = session.config.checkpoint
        self.began = time.perf_counter() - session.at.seconds
        self.saved_at, self.saved_epoch = time.monotonic(), session.at.epoch

    def seconds(self) -> float:
        """Of training, earlier sessions included."""
        return time.perf_counter() - self.began

    def save_if_due(self) -> None:
        waited, done = time.monotonic() - self.saved_at, self.session.at.epoch - self.saved_epoch
        by_time = 0 < self.cadence.every_seconds <= waited
        if by_time or 0 < self.cadence.every_epochs <= done:
            self.save()

    def save(self) -> None:
        self.session.at.seconds = self.seconds()
        if self.folder is not None:
            # The log first, so that it is never behind the checkpoint.
            self.folder.flush(sync=True)
            checkpoint.save(self.folder.path, self.session.checkpoint())
        self.saved_at, self.saved_epoch = time.monotonic(), self.session.at.epoch


def _note_fault(session: RunSession, folder: RunFolder | None, error: NonFiniteLossError) -> None:
    if folder is not None:
        at = session.at
        folder.log({"epoch": at.epoch + 1, "step": at.step, "error": str(error)})
        folder.flush(sync=True)


def _leave(signum: int, session: RunSession, folder: RunFolder | None) -> NoReturn:
    kind = Interrupted if signum == 2 else Terminated
    where = f"after epoch {session.at.epoch}"
    if folder is None:
        raise kind(f"stopped {where}; nothing was saved, since there is no run folder", signum)
    raise kind(
        f"stopped {where} and saved in {folder.path}; continue with: "
        f"gat train --resume {folder.path}",
        signum,
    )
