"""The package ogb without its side effects: no thread, no network, no prints, no unsafe pickles."""

import csv
import io
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from gat.errors import MissingDependencyError

__all__ = ["guarded", "master_row", "require"]

# With this set, torch.load runs whatever a pickle asks for.
UNSAFE = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
# What is changed for a while and put back belongs to the process: by one thread at a time, or one
# would put back what another had changed.
IMPORTING, READING = threading.Lock(), threading.Lock()


def require() -> Any:
    """The module ``ogb.nodeproppred``; MissingDependencyError says how to install it."""
    with IMPORTING:
        if "ogb.nodeproppred" in sys.modules:
            return sys.modules["ogb.nodeproppred"]
        try:
            with _no_question_at_import(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import ogb.nodeproppred
        except ImportError as error:
            raise MissingDependencyError(
                f"OGB data sets need the package ogb, which is not installed ({error}): "
                "pip install graph-attention[ogb]"
            ) from None
        return ogb.nodeproppred


@contextmanager
def _no_question_at_import() -> Iterator[None]:
    """Importing ogb starts a thread that asks the network for ogb's latest version, and may hang.

    It does so through the package ``outdated``; without that it does not.
    """
    absent = object()
    before: Any = sys.modules.get("outdated", absent)
    ignore = os.environ.get("OUTDATED_IGNORE")
    # None makes `import outdated` an ImportError.
    sys.modules["outdated"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if before is absent:
            del sys.modules["outdated"]
        else:
            sys.modules["outdated"] = before
        _set_variable("OUTDATED_IGNORE", ignore)


def master_row(name: str) -> dict[str, str]:
    """What ogb's table of data sets says of ``name``, by ogb's own keys."""
    table = Path(require().__file__).parent / "master.csv"
    with table.open(newline="", encoding="utf-8") as stream:
        return {row[""]: row[name] for row in csv.DictReader(stream)}


@contextmanager
def guarded() -> Iterator[None]:
    """Let ogb print into the void, and torch.load admit PyG's three globals and no others.

    Threads take turns. What another one prints meanwhile is lost as well.
    """
    from torch.serialization import safe_globals
    from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
    from torch_geometric.data.storage import GlobalStorage

    with ExitStack() as stack:
        stack.enter_context(READING)
        stack.callback(_set_variable, UNSAFE, os.environ.pop(UNSAFE, None))
        stack.enter_context(redirect_stdout(io.StringIO()))
        stack.enter_context(redirect_stderr(io.StringIO()))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(safe_globals([DataEdgeAttr, DataTensorAttr, GlobalStorage]))
        yield


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
