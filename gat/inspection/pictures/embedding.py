"""A network's embeddings in the plane, by class: t-SNE, UMAP or PCA."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gat.checks import one_of
from gat.errors import InputError, MissingDependencyError
from gat.inspection.pictures.palette import Classes
from gat.inspection.pictures.style import drawn, finish, grid
from gat.inspection.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_embedding"]

METHODS = {"tsne": "t-SNE", "umap": "UMAP", "pca": "PCA"}


@drawn
def draw_embedding(
    x: Tensor,
    y: Tensor | None = None,
    method: str = "tsne",
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    max_nodes: int = 5000,
    title: str | None = None,
) -> "Figure":
    """The rows of ``x`` [N, F], a layer's output say, brought to the plane and coloured by class.

    y: int64 [N], negative without a label. method: "tsne" (t-SNE), "umap" (extra ``umap``) or
    "pca". Of more than ``max_nodes`` nodes that many are drawn, chosen by ``seed``, which also
    makes t-SNE and UMAP repeat themselves.
    Raises InputError for another method and for values that are not finite.
    """
    rows = _read(x, method)
    classes = Classes(y, class_names, len(rows))
    chosen = np.arange(len(rows))
    if len(rows) > max_nodes:
        chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:max_nodes])
    spots = _to_plane(rows[chosen], method, seed)
    figure, (ax,) = grid(1, 5.5, 5.0)
    size = float(np.clip(20000 / max(1, len(chosen)), 7, 40))
    for number in classes.present(chosen):
        here = classes.labels[chosen] == number
        look = classes.scatter(number, size)
        ax.scatter(*spots[here].T, **look, linewidths=0.2, gid="nodes")
    ax.set_aspect("equal", adjustable="datalim")
    ax.set(xticks=[], yticks=[])
    if method == "pca":
        ax.set(xlabel="first principal component", ylabel="second principal component")
    ax.spines[:].set_visible(method == "pca")
    numbers = classes.present(chosen) if y is not None else []
    heading = title or f"{METHODS[method]} of {counted(len(chosen), 'embedding')}"
    return finish(
        figure, heading, _caption(rows, chosen, method, y is not None), classes.handles(numbers)
    )


def _read(x: Tensor, method: str) -> np.ndarray:
    """float32 [N, F]."""
    one_of("method", method, METHODS)
    if method == "umap" and find_spec("umap") is None:
        raise MissingDependencyError(
            "method='umap' needs umap-learn, which is not installed: "
            "pip install graph-attention[umap], or use method='tsne'"
        )
    rows = torch.as_tensor(x).detach().float().cpu()
    if rows.dim() != 2:
        raise InputError(f"x has shape {list(rows.shape)}; expected a row for each node, [N, F]")
    if not bool(rows.isfinite().all()):
        raise InputError("x has values that are NaN or infinite; expected finite embeddings")
    return rows.numpy()


def _to_plane(rows: np.ndarray, method: str, seed: int) -> np.ndarray:
    """[n, 2]; PCA for so few nodes, or such equal ones, that they have no neighbourhoods."""
    count = len(rows)
    # Of rows that are all equal scikit-learn's t-SNE divides by 0, and then crashes the process.
    if method == "pca" or count < 5 or not np.ptp(rows, axis=0).any():
        return _pca(rows)
    if method == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (count - 1) / 3)
        init = "pca" if min(rows.shape) >= 2 else "random"
        return TSNE(perplexity=perplexity, init=init, random_state=seed).fit_transform(rows)
    from umap import UMAP

    init = "spectral" if count > 10 else "random"
    # One worker, as a seeded run has anyway: UMAP would say so in a warning.
    reducer = UMAP(n_neighbors=min(15, count - 1), random_state=seed, n_jobs=1, init=init)
    return np.asarray(reducer.fit_transform(rows))


def _pca(rows: np.ndarray) -> np.ndarray:
    """The first two principal components; the sign is that of the largest loading."""
    centred = rows - rows.mean(0, keepdims=True) if len(rows) else rows
    _, _, axes = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    signs = np.sign([axis[np.abs(axis).argmax()] for axis in axes[:2]])
    spots = centred @ (axes[:2] * signs[:, None]).T
    return np.pad(spots, ((0, 0), (0, 2 - spots.shape[1])))


def _caption(rows: np.ndarray, chosen: np.ndarray, method: str, labelled: bool) -> str:
    said = [
        f"Each point is a node, by {METHODS[method]} from {counted(rows.shape[1], 'number')} to "
        f"two; {'colour and marker are its class' if labelled else 'no classes were given'}."
    ]
    if method == "pca":
        said.append("Distances along the axes are those of the embeddings; all others are dropped.")
    else:
        said.append(
            "Nodes that are close here are close in the network's eyes. Distances between groups, "
            "their sizes and the axes mean little: another seed moves them."
        )
    if len(chosen) < len(rows):
        said.append(f"Drawn at random: {len(chosen):,} of {counted(len(rows), 'node')}.")
    return " ".join(said)
