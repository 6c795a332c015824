"""Every error this library raises on purpose, and the exit code the command line gives it.

A message names the thing, what was expected, what came, and the next step. Each class is also the
built-in error Python users would expect (ValueError, IndexError, TypeError, ...), so existing
``except`` clauses keep working.
"""

from typing import ClassVar

__all__ = [
    "ArgumentTypeError",
    "BackendError",
    "CheckpointMismatchError",
    "ConfigError",
    "CorruptDataError",
    "DoesNotFitError",
    "DownloadError",
    "GatError",
    "IndexRangeError",
    "InputError",
    "MissingDependencyError",
    "NonFiniteLossError",
    "RunLockedError",
    "WrongResultError",
]


class GatError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what ``gat`` exits with."""

    exit_code: ClassVar[int] = 2


class InputError(GatError, ValueError):
    """An argument, file or option has a value that cannot be used."""


class ArgumentTypeError(GatError, TypeError):
    """An argument is of the wrong type or dtype."""


class IndexRangeError(GatError, IndexError):
    """A node, edge or label number lies outside its range."""


class ConfigError(InputError):
    """A configuration has an unknown key or an impossible value."""


class BackendError(GatError, RuntimeError):
    """A backend asked for by name cannot run here; the message says why and what to install."""


class MissingDependencyError(GatError, ImportError):
    """An optional package is needed; the message names the extra that installs it."""


class DownloadError(GatError, OSError):
    """A file could not be fetched; the message has the URL and where to put the file by hand."""


class CorruptDataError(GatError, ValueError):
    """A file is damaged, truncated or not what its name says; nothing of it was used."""

    exit_code = 3


class CheckpointMismatchError(InputError):
    """A checkpoint belongs to another architecture; lists missing and unexpected keys."""


class RunLockedError(GatError, OSError):
    """Another process is using this run folder or cache entry."""


class NonFiniteLossError(GatError, ArithmeticError):
    """Training met a NaN or infinite loss; the last good checkpoint is kept."""


class DoesNotFitError(GatError, MemoryError):
    """What was asked for needs more memory than there is."""


class WrongResultError(GatError, ArithmeticError):
    """Something that was to be measured computes wrong results; names it and the tensor."""

    exit_code = 1
