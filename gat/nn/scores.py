"""How an edge is scored: what `AttentionConv` takes as ``score``, by name or as an object.

A score of your own is one class: derive from `Score`, make parameters in ``setup``, say in
``forward`` which of the forms (`gat.nn.forms`) the score comes down to, and name it with
``@SCORES.add("name")`` if you want a name. Of a score that fits no form, give the numbers [E, H].
q_i, k_j: query of the target and key of the source, [H, C] each; e: the edge's
features projected, [H, C].
"""

import math
from abc import ABC, abstractmethod
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn.inits import glorot, zeros

from gat.errors import InputError
from gat.graph import Graph
from gat.nn.edge_features import EdgeFeatures
from gat.nn.forms import Additive, Dot, Edgewise, Form, Hidden
from gat.nn.head_scores import end_scores
from gat.nn.registry import Registry
from gat.ops import additive_scores, dot_scores
from gat.ops.precision import wide

__all__ = [
    "SCORES",
    "AdditiveScore",
    "BilinearScore",
    "CosineScore",
    "DotScore",
    "GATv2Score",
    "MLPScore",
    "Score",
    "SuperGATScore",
]


class Score(nn.Module, ABC):
    """Scores edges by query, key and edge features. An object serves one layer.

    share: what the layer projects once by default, as the score's paper does: "all" (query, key
    and value are one projection, on a bipartite graph key and value), "key_value", or "none".
    """

    share: ClassVar[str] = "none"
    # Whether its form is `Hidden`, which a layer with update_edges needs.
    has_hidden: ClassVar[bool] = False
    heads: int = 0

    def attach(self, heads: int, channels: int, takes_edges: bool) -> None:
        """Make the parameters for a layer of ``heads`` x ``channels``, and draw them."""
        if self.heads:
            raise InputError(
                f"this {type(self).__name__} belongs to a layer already; make another object, or "
                f"give the score by name"
            )
        self.heads = heads
        self.setup(heads, channels, takes_edges)
        self.reset_parameters()

    def setup(self, heads: int, channels: int, takes_edges: bool) -> None:
        """Make the parameters; takes_edges: whether ``forward`` will be given edge features."""

    @abstractmethod
    def forward(
        self, graph: Graph, query: Tensor, key: Tensor, edge: EdgeFeatures | None
    ) -> Form | Tensor:
        """The score of every edge: a form, or numbers [E, H] in listed order.

        query [num_dst, H, C], key [num_src, H, C].

        H is the layer's heads or, for a batch of features on one graph, a multiple of them: see
        `spread`.
        """

    def reset_parameters(self) -> None:
        """Draw the parameters anew: vectors and matrices as PyG's ``glorot``."""
        for parameter in self.parameters():
            glorot(parameter)

    def spread(self, per_head: Tensor, like: Tensor) -> Tensor:
        """A parameter [H, ...] for all the heads of ``like`` [N, B*H, C]."""
        times = like.size(1) // self.heads
        return per_head if times == 1 else per_head.repeat(times, *[1] * (per_head.dim() - 1))


SCORES: Registry[Score] = Registry("score", Score)


@SCORES.add("additive")
class AdditiveScore(Score):
    """LeakyReLU(a_src . k_j + a_dst . q_i + a_edge . e)
    (Velickovic et al. 2018, "Graph Attention Networks", eq. 3: a concatenation, split).
    """

    share = "all"

    def __init__(self, negative_slope: float = 0.2) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def setup(self, heads: int, channels: int, takes_edges: bool) -> None:
        self.att_src = nn.Parameter(torch.empty(heads, channels))
        self.att_dst = nn.Parameter(torch.empty(heads, channels))
        self.att_edge = nn.Parameter(torch.empty(heads, channels)) if takes_edges else None

    def forward(self, graph: Graph, query: Tensor, key: Tensor, edge: EdgeFeatures | None) -> Form:
        return Additive(*self.terms(query, key, edge), negative_slope=self.negative_slope)

    def terms(
        self, query: Tensor, key: Tensor, edge: EdgeFeatures | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """What source, target and edge add: [num_src, H], [num_dst, H], [E, H] or None."""
        att_src, att_dst = (self.spread(a, key).unsqueeze(0) for a in (self.att_src, self.att_dst))
        src, dst = end_scores(key, query, att_src, att_dst)
        assert dst is not None
        if edge is None:
            return src, dst, None
        assert self.att_edge is not None
        return src, dst, edge.against(self.att_edge)


@SCORES.add("gatv2")
class GATv2Score(Score):
    """a . LeakyReLU(q_i + k_j + e)
    (Brody et al. 2022, "How Attentive are Graph Attention Networks?", eq. 7).
    """

    share = "key_value"
    has_hidden = True

    def __init__(self, negative_slope: float = 0.2) -> None:
        super().__init__()
        self.negative_slope = negative_slope

    def setup(self, heads: int, channels: int, takes_edges: bool) -> None:
        self.att = nn.Parameter(torch.empty(heads, channels))

    def forward(self, graph: Graph, query: Tensor, key: Tensor, edge: EdgeFeatures | None) -> Form:
        edges = None if edge is None else edge.vectors()
        att = self.spread(self.att, query)
        return Hidden(query, key, att, edges, negative_slope=self.negative_slope)


@SCORES.add("mlp")
class MLPScore(Score):
    """v . tanh(q_i + k_j + e)
    (Bahdanau et al. 2015, "Neural Machine Translation by Jointly Learning to Align and Translate",
    appendix A.1.2; the layer's projections are its W_a and U_a).

    With ``normalized`` g v / |v| takes the place of v, and a bias is added inside tanh (weight
    normalisation, Salimans and Kingma 2016, eq. 2); g starts at 1 / sqrt(C).
    """

    has_hidden = True

    def __init__(self, normalized: bool = False) -> None:
        super().__init__()
        self.normalized = normalized

    def extra_repr(self) -> str:
        return f"normalized={self.normalized}"

    def setup(self, heads: int, channels: int, takes_edges: bool) -> None:
        self.v = nn.Parameter(torch.empty(heads, channels))
        if self.normalized:
            self.g = nn.Parameter(torch.empty(heads, 1))
            self.b = nn.Parameter(torch.empty(heads, channels))

    def forward(self, graph: Graph, query: Tensor, key: Tensor, edge: EdgeFeatures | None) -> Form:
        att: Tensor = self.v
        if self.normalized:
            att = self.g * F.normalize(self.v, dim=-1)
            query = query + self.spread(self.b, query)
        edges = None if edge is None else edge.vectors()
        return Hidden(query, key, self.spread(att, query), edges, activation="tanh")

    def reset_parameters(self) -> None:
        glorot(self.v)
        if self.normalized:
            nn.init.constant_(self.g, self.v.size(-1) ** -0.5)
            zeros(self.b)


SCORES.add("normed_mlp")(partial(MLPScore, normalized=True))


@SCORES.add("dot")
class DotScore(Score):
    """scale * q_i . (k_j + e)
    (scale 1: Luong et al. 2015, "Effective Approaches to Attention-based Neural Machine
    Translation", eq. 8, "dot"; the edge term: Shi et al. 2021, "Masked Label Prediction", eq. 3).

    scale: a number; "inverse_root", 1 / sqrt(C) (Vaswani et al. 2017, "Attention Is All You Need",
    eq. 1); or "learned", a parameter per head that starts at 1 (scaled Luong attention).
    """

    def __init__(self, scale: float | str = 1.0) -> None:
        super().__init__()
        if isinstance(scale, str) and scale not in ("inverse_root", "learned"):
            raise InputError(f"scale is {scale!r}; expected a number, 'inverse_root' or 'learned'")
        if not isinstance(scale, str) and not math.isfinite(scale):
            raise InputError(f"scale is {scale}; expected a finite number")
        self.scale = scale

    def extra_repr(self) -> str:
        return f"scale={self.scale!r}"

    def setup(self, heads: int, channels: int, takes_edges: bool) -> None:
        learned = self.scale == "learned"
        self.g = nn.Parameter(torch.empty(heads, 1)) if learned else None

    def forward(self, graph: Graph, query: Tensor, key: Tensor, edge: EdgeFeatures | None) -> Form:
        edges = None if edge is None else edge.vectors()
        if self.g is not None:
            return Dot(query * self.spread(self.g, query), key, edges)
        scale = query.size(-1) ** -0.5 if self.scale == "inverse_root" else float(self.scale)
        return Dot(query, key, edges, scale)

    def reset_parameters(self) -> None:
        if self.g is not None:
            nn.init.ones_(self.g)


SCORES.add("scaled_dot")(partial(DotScore, scale="inverse_root"))
SCORES.add("scaled_luong")(partial(DotScore, scale="learned"))


@SCORES.add("bilinear")
class BilinearScore(Score):
    """q_i . W (k_j + e), with W [C, C] per head (Luong et al. 2015, eq. 8, "general")."""

    def setup(self, heads: int, channels: int, takes_edges: bool) -> None:
        self.weight = nn.Parameter(torch.empty(heads, channels, channels))

    def forward(self, graph: Graph, query: Tensor, key: Tensor, edge: EdgeFeatures | None) -> Form:
        # q . W (k + e) = (W' q) . (k + e): W meets the nodes, not the edges.
        heads = query.unflatten(1, (-1, self.heads))
        turned = torch.einsum("nbhc,hcd->nbhd", heads, self.weight).flatten(1, 2)
        return Dot(turned, key, None if edge is None else edge.vectors())


@SCORES.add("cosine")
class CosineScore(Score):
    """beta * cos(q_i, k_j) + a . e
    (Thekumparampil et al. 2018, "Attention-based Graph Neural Network for Semi-Supervised
    Learning", eq. 6, with a beta per head; the edge term is ours).
    """

    share = "all"

    def setup(self, heads: int, channels: int, takes_edges: bool) -> None:
        self.beta = nn.Parameter(torch.empty(heads, 1))
        self.att_edge = nn.Parameter(torch.empty(heads, channels)) if takes_edges else None

    def forward(self, graph: Graph, query: Tensor, key: Tensor, edge: EdgeFeatures | None) -> Form:
        form = Dot(_unit(query) * self.spread(self.beta, query), _unit(key))
        if edge is None:
            return form
        assert self.att_edge is not None
        return Edgewise(form.scores(graph) + edge.against(self.att_edge))

    def reset_parameters(self) -> None:
        nn.init.ones_(self.beta)
        if self.att_edge is not None:
            glorot(self.att_edge)


@SCORES.add("supergat_mx")
class SuperGATScore(AdditiveScore):
    """The two scores of SuperGAT (Kim and Oh 2021, "How to Find Your Friendly Neighborhood",
    eq. 4).

    MX: LeakyReLU((a_src . k_j + a_dst . q_i + a_edge . e) * sigmoid(q_i . k_j));
    SD: LeakyReLU(q_i . (k_j + e) / sqrt(C)).
    """

    def __init__(self, kind: str = "MX", negative_slope: float = 0.2) -> None:
        super().__init__(negative_slope)
        if kind not in ("MX", "SD"):
            raise InputError(f"kind is {kind!r}; expected 'MX' or 'SD'")
        self.kind = kind

    def extra_repr(self) -> str:
        return f"kind={self.kind!r}"

    def setup(self, heads: int, channels: int, takes_edges: bool) -> None:
        if self.kind == "MX":
            super().setup(heads, channels, takes_edges)

    def forward(self, graph: Graph, query: Tensor, key: Tensor, edge: EdgeFeatures | None) -> Form:
        if self.kind == "SD":
            edges = None if edge is None else edge.vectors()
            scores = dot_scores(graph, query, key, edges)
        else:
            terms = self.terms(query, key, edge)
            likely = torch.sigmoid(dot_scores(graph, query, key, scale=1.0))
            scores = additive_scores(graph, *terms, negative_slope=1.0) * likely
        return Edgewise(F.leaky_relu(scores, self.negative_slope))


SCORES.add("supergat_sd")(partial(SuperGATScore, kind="SD"))


def _unit(rows: Tensor) -> Tensor:
    """Rows of length 1; those shorter than 1e-6 stay shorter, or derivatives would overflow."""
    square = wide(rows).square().sum(dim=-1, keepdim=True)
    return (rows * square.clamp(min=1e-12).rsqrt()).to(rows.dtype)
