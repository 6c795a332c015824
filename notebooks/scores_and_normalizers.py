# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # One graph, five scores, five normalisers
#
# Attention on a graph is three steps for each node: **score** the edges that enter it,
# **normalise** the scores, **sum** the neighbours by the weights. `AttentionConv` takes any score
# with any normaliser. Here both are varied on a graph small enough to look at: the karate club of
# Zachary (1977), 34 people of whom half followed the instructor and half the officer when the club
# split.
#
# Needs matplotlib: `pip install "graph-attention[plot]"`. Run it as a script, or open it as a
# notebook with jupytext.

# %%
import matplotlib.pyplot as plt
import networkx as nx
import torch
import torch.nn.functional as F

from gat import Graph
from gat.nn import AttentionConv, laplacian_encoding

SCORES = ["additive", "gatv2", "scaled_dot", "cosine", "bilinear"]
NORMALIZERS = ["softmax", "entmax15", "sparsemax", "topk", "sigmoid"]

club = nx.karate_club_graph()
people = len(club)
side = torch.tensor([club.nodes[n]["club"] == "Officer" for n in club]).long()
graph = Graph.from_networkx(club).with_self_loops()
print(graph)

# %% [markdown]
# People have no features, so each is described by where it stands: the first eigenvectors of the
# graph's Laplacian, and its number of friends. The sides of eight people are known, those of the
# others are to be told from them.

# %%
degree = graph.in_degree.float().unsqueeze(1)
x = torch.cat([laplacian_encoding(graph, people, k=6), degree / degree.max()], dim=1)
x = (x - x.mean(0)) / x.std(0)
known = torch.tensor([0, 1, 2, 3, 30, 31, 32, 33])


class Network(torch.nn.Module):
    """One layer of attention, then a linear one."""

    def __init__(self, score: str, normalizer: str) -> None:
        super().__init__()
        self.attention = AttentionConv(
            x.size(1), 16, score=score, normalizer=normalizer, residual="linear"
        )
        self.classes = torch.nn.Linear(16, 2)

    def forward(self) -> torch.Tensor:
        return self.classes(F.elu(self.attention(x, graph)))

    def weights(self) -> torch.Tensor:
        """The weight of each edge."""
        _, (_, weights) = self.attention(x, graph, return_attention_weights=True)
        return weights.detach().squeeze(1)


def trained(score: str, normalizer: str) -> tuple[float, torch.Tensor]:
    """Accuracy on the people who were not known, and the weights of the edges."""
    torch.manual_seed(1)
    network = Network(score, normalizer)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02, weight_decay=5e-3)
    for _ in range(80):
        optimizer.zero_grad()
        F.cross_entropy(network()[known], side[known]).backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        right = (network().argmax(dim=1) == side).float()
    right[known] = torch.nan
    return float(right.nanmean()), network.weights()


results = {(s, n): trained(s, n) for s in SCORES for n in NORMALIZERS}
for score in SCORES:
    print(f"{score:>12}:", *(f"{n} {results[score, n][0]:.0%}" for n in NORMALIZERS), sep="  ")

# %% [markdown]
# ## Whom does person 0, the instructor, look at?
#
# One picture per pair: the lines are the edges that enter person 0 (the loop is person 0 looking at
# itself), as thick and dark as their weight. Sparse normalisers leave lines out altogether, "topk"
# keeps eight; "sigmoid" judges every edge by itself, so that its weights need not sum to 1. The
# number is how many neighbours that comes to, the exponential of the entropy of the weights'
# shares: 17 is attention spread evenly over all, which softmax hardly leaves on a graph so small.

# %%
NODE = 0
entering = (graph.edge_index[1] == NODE).nonzero().squeeze(1)
neighbours = graph.edge_index[0, entering].tolist()
place = nx.spring_layout(club, seed=4)
colours = ["#dddddd" if s == 0 else "#666666" for s in side.tolist()]


def spread(weights: torch.Tensor) -> float:
    """How many neighbours the weights come to."""
    share = weights / weights.sum()
    return float(torch.exp(-torch.xlogy(share, share).sum()))


def draw(axes: plt.Axes, weights: torch.Tensor) -> None:
    """The graph, and on it the weights of the edges that enter NODE."""
    nx.draw_networkx_edges(club, place, ax=axes, width=0.3, edge_color="#e8e8e8")
    strength = (weights / weights.max()).tolist()
    looked_at = [(s, j) for s, j in zip(strength, neighbours, strict=True) if s > 0]
    for s, j in sorted(looked_at):
        colour, width = plt.cm.viridis_r(0.15 + 0.85 * s), 0.4 + 3 * s
        if j == NODE:
            axes.scatter(
                *place[NODE], s=160, facecolors="none", edgecolors=colour, linewidths=width
            )
        else:
            axes.plot(*zip(place[j], place[NODE], strict=True), color=colour, linewidth=width)
    nx.draw_networkx_nodes(
        club, place, ax=axes, node_size=22, node_color=colours, edgecolors="black", linewidths=0.4
    ).set_zorder(3)
    axes.text(0.98, 0.02, f"{spread(weights):.1f}", transform=axes.transAxes, ha="right")
    axes.set_xticks([])
    axes.set_yticks([])


figure, grid = plt.subplots(len(SCORES), len(NORMALIZERS), figsize=(12, 12))
for row, score in zip(grid, SCORES, strict=True):
    for axes, normalizer in zip(row, NORMALIZERS, strict=True):
        draw(axes, results[score, normalizer][1][entering])
        if score == SCORES[0]:
            axes.set_title(normalizer)
    row[0].set_ylabel(score)
figure.suptitle(
    "Weights of the edges that enter person 0 of the karate club, by score (rows) and normaliser\n"
    "(columns). Thick and dark: large; a ring: its own loop; number: effective neighbours of 17."
)
figure.tight_layout()

# %% [markdown]
# ## The same weights, sorted
#
# What a normaliser does to the same kind of scores shows when the weights are put in order: softmax
# never reaches zero, sparsemax and entmax do, topk after eight edges.

# %%
figure, row = plt.subplots(1, len(NORMALIZERS), figsize=(12, 3), sharey=True)
for axes, normalizer in zip(row, NORMALIZERS, strict=True):
    for k, score in enumerate(SCORES):
        weights = results[score, normalizer][1][entering].sort(descending=True).values
        axes.plot(
            range(1, len(weights) + 1), weights, marker="os^Dv"[k], markersize=4, linewidth=1,
            color=plt.cm.viridis(k / len(SCORES)), label=score,
        )  # fmt: skip
    axes.set_title(normalizer)
    axes.set_xlabel("edges, largest weight first")
row[0].set_ylabel("weight")
row[0].legend(frameon=False)
figure.tight_layout()

plt.show()
