"""Where the facts that travel with the package stand: data set cards and experiments.

Installed, they are in ``gat/_shelf/``; in a checkout (and an editable install) they are the
folders ``datasets/`` and ``experiments/`` beside the package.
"""

from pathlib import Path

from gat.errors import InputError

__all__ = ["checkout", "shelf"]


def checkout() -> Path | None:
    """The folder of the checkout that this package lies in; None where it was installed."""
    root = Path(__file__).resolve().parents[1]
    # A site-packages folder may hold someone else's `datasets`; a checkout has pyproject.toml.
    return root if (root / "pyproject.toml").is_file() else None


def shelf(name: str) -> Path:
    """The folder ``name`` ("datasets" or "experiments") of this installation."""
    package = Path(__file__).resolve().parent
    candidates = [package.parent / name, package / "_shelf" / name]
    if checkout() is None:
        candidates.reverse()
    for folder in candidates:
        if folder.is_dir() and any(folder.rglob("*.toml")):
            return folder
    raise InputError(
        f"the folder {name!r} that belongs to gat was not found in {candidates[0]} or "
        f"{candidates[1]}; reinstall the package (pip install --force-reinstall graph-attention)"
    )
