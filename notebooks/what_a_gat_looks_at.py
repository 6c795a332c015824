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
# # What does a graph attention network look at?
#
# Each layer of a graph attention network gives every neighbour of a node a **weight**, from the
# features of both, and sums the neighbours by these weights. It is tempting to read the weights as
# an explanation: "the network looked at this neighbour". Here the network of the paper that
# introduced them is trained on Cora, a graph of papers and their citations, and its weights are
# read, measured, taken away and tested. The answers are sobering, so the same tools are also shown
# on a puzzle where there is something to find.
#
# Needs matplotlib: `pip install "graph-attention[plot]"`. Cora is downloaded, unless `GAT_DATA`
# names a folder that has it. Run it as a script, or open it as a notebook with jupytext.

# %%
import io
import sys
import tempfile
from contextlib import nullcontext

import torch
import torch.nn.functional as F

import gat
from gat.inspection import (
    faithfulness,
    gatt,
    measure,
    rollout,
    summary,
    switch_off_heads,
    uniform_attention,
    verdicts,
)
from gat.inspection.pictures import (
    caption_of,
    draw_deletion_curves,
    draw_entropy,
    draw_epochs,
    draw_head_agreement,
    draw_neighbourhood,
)
from gat.models import GAT
from gat.train import open_run, recipe_for, train

figures = []


def show(figure):
    """Keep the figure, and show it where this runs in Jupyter."""
    figures.append(figure)
    if "ipykernel" in sys.modules:
        from IPython.display import Image, display

        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=100)
        display(Image(png.getvalue(), alt=caption_of(figure)))


# %% [markdown]
# ## A network to ask
#
# The recipe is that of the paper's authors: two layers, eight heads in the first (eight sets of
# weights, learned side by side), one in the second. 140 papers have a known class; the network is
# judged by 1,000 others.

# %%
folder = tempfile.TemporaryDirectory()
result = train(recipe_for("cora"), folder.name)
run = open_run(folder.name)
model, x, edge_index, y = run.model, run.x, run.edge_index, run.labels
test_nodes = run.part("test")
print(f"test accuracy {result.test:.1%}, trained for {result.epochs} epochs")

# %% [markdown]
# ## Its weights
#
# A forward pass inside `record_attention` keeps the weight of every edge. Each layer also lets a
# node look at itself, by a loop that it adds. The weights of one node sum to 1.
#
# First an ordinary paper: the first test paper with five citations, not all in one class.


# %%
def neighbours_of(node):
    """The papers that cite or are cited by this one."""
    return edge_index[0, edge_index[1] == node]


ordinary = next(
    node
    for node in test_nodes.tolist()
    if len(neighbours_of(node)) == 5 and len(y[neighbours_of(node)].unique()) > 1
)
with torch.no_grad(), gat.record_attention(model) as attention:
    model(x, edge_index)
first, last = attention.values()

print(f"paper {ordinary} looks at, first layer, mean of {first.num_heads} heads:")
for neighbour in first.neighbours(ordinary):
    itself = " (itself)" if neighbour.node == ordinary else ""
    weight, label = float(neighbour.weights.mean()), int(y[neighbour.node])
    print(f"  {weight:.4f}  paper {neighbour.node}, class {label}{itself}")
show(draw_neighbourhood(first, ordinary, y, heads=[0, 1, 2]))

# %% [markdown]
# All lines have nearly the same width: every neighbour gets about a sixth, and so does the paper
# itself. The most connected paper has far more to choose from.

# %%
hub = int(first.graph.in_degree.argmax())
ranked = first.neighbours(hub)
print(f"paper {hub} has {len(ranked)} neighbours, itself included")
print(f"even weight {1 / len(ranked):.5f}")
print(f"largest     {float(ranked[0].weights.mean()):.5f}, paper {ranked[0].node}")
print(f"smallest    {float(ranked[-1].weights.mean()):.5f}, paper {ranked[-1].node}")
show(draw_neighbourhood(first, hub, y, heads=[], max_nodes=40))

# %% [markdown]
# Two papers are anecdotes, and a ranking can always be printed: "the most attended neighbour"
# exists even where it is ahead by a hair.
#
# ## All nodes, in numbers
#
# The **entropy** of a node's weights says how evenly they are spread; its exponential is an
# effective number of neighbours: of five, 5 is perfectly even, 1 is all on one. From this, and from
# the weight on the node itself and on neighbours of its own class, each head gets a verdict.

# %%
measures = measure(attention, y)
found = verdicts(measures)
for verdict in found:
    print(f"{verdict.layer}: {verdict.sentence}")
print(*summary(measures), sep="\n")
show(draw_entropy(first))

# %% [markdown]
# Every head is "uniform": the network does little else than average over neighbours. Do the heads
# at least differ from one another, or prefer papers of the node's own class? The second question
# needs care. Most neighbours on Cora are of the node's class, so most of the weight is on them
# whatever a head does: the weight must be compared with the share of such neighbours, at nodes that
# have both kinds.

# %%
print(f"{'':21}own class gets   own class is   difference ± standard error, in points")
for layer in measures.values():
    mixed = layer.same_class_mixed
    for column, head in enumerate(layer.heads):
        print(
            f"{layer.layer:>14} head {head}",
            f"{mixed.weight[column]:14.1%} {mixed.share[column]:14.1%}",
            f"{100 * mixed.difference[column]:15.2f} ± {100 * mixed.standard_error[column]:.2f}",
        )
show(draw_head_agreement(first))

# %% [markdown]
# With hundreds of nodes even a difference far below one percentage point can be several standard
# errors from zero: certain, perhaps, and of no importance. That neighbours are alike is the work of
# the graph, not of the attention.
#
# ## Does the accuracy need the attention?
#
# Small differences in weights could matter all the same. So take them away, and leave everything
# else as it was: `uniform_attention` makes all weights of a node the same, `switch_off_heads`
# removes a head altogether.


# %%
@torch.no_grad()
def accuracy(model, x, edge_index, y, nodes):
    """The share of ``nodes`` whose class is told right."""
    return float((model(x, edge_index)[nodes].argmax(dim=1) == y[nodes]).float().mean())


cora = (x, edge_index, y, test_nodes)
as_trained = accuracy(model, *cora)
with uniform_attention(model):
    made_even = accuracy(model, *cora)
without = []
for head in first.heads:
    with switch_off_heads(model, {first.layer: [head]}):
        without.append(accuracy(model, *cora))
print(f"as trained          {as_trained:.1%}")
print(f"all weights even    {made_even:.1%}")
print(f"one head off        {min(without):.1%} to {max(without):.1%}, by the head")

# %% [markdown]
# What follows: for the accuracy of this trained network, on these papers, it is next to irrelevant
# that its weights are the learned ones. That one head can go says something else: its *features* go
# with it, not only its weights, and the other seven make up for most of that.
#
# What does not follow: that a network which never had attention would learn as well. For that, two
# more are trained, one of them with even weights from the start. (200 epochs and no early stopping;
# with other random numbers each result moves by a point or so, so look for no winner here.)


# %%
def fit(model, x, edge_index, y, nodes, even=False, lr=0.005, weight_decay=5e-4):
    """Train for 200 epochs; the attention recorded at some of them, by epoch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=weight_decay)
    history = {}
    with uniform_attention(model) if even else nullcontext():
        for epoch in range(201):
            if epoch in (0, 5, 10, 20, 50, 100, 150, 200):
                model.eval()
                with torch.no_grad(), gat.record_attention(model) as history[epoch]:
                    model(x, edge_index)
            model.train()
            optimizer.zero_grad()
            F.cross_entropy(model(x, edge_index)[nodes], y[nodes]).backward()
            optimizer.step()
    model.eval()
    return history


sparse = x.to_sparse_csr()
torch.manual_seed(0)
learned = GAT(x.size(1), run.task.num_classes)
history = fit(learned, sparse, edge_index, y, run.part("train"))
torch.manual_seed(0)
never = GAT(x.size(1), run.task.num_classes)
fit(never, sparse, edge_index, y, run.part("train"), even=True)
learned_accuracy = accuracy(learned, *cora)
with uniform_attention(never):
    never_accuracy = accuracy(never, *cora)
print(f"trained with attention     {learned_accuracy:.1%}")
print(f"trained with even weights  {never_accuracy:.1%}")

# %% [markdown]
# Was there attention earlier in training, and was it lost? No: it starts even and hardly moves
# (mind the scale on the right).

# %%
show(draw_epochs(history, first.layer))

# %% [markdown]
# ## Are the measures blind?
#
# A measure that always says "uniform" would have said so here. So let there be a graph on which a
# node *must* choose: each question has eight neighbours of random classes, one of which is marked,
# and the class of the question is that of the marked one. An average can count classes, but not
# tell whose the mark is. One layer with one head is trained on half of the questions.

# %%
ANSWERS, QUESTIONS, CHOICES, CLASSES = 400, 600, 8, 4
torch.manual_seed(0)
marked = torch.arange(ANSWERS) < ANSWERS // 2
classes = torch.randint(CLASSES, (ANSWERS,))
right = torch.randint(ANSWERS // 2, (QUESTIONS, 1))
wrong = torch.randint(ANSWERS // 2, ANSWERS, (QUESTIONS, CHOICES - 1))
questions = ANSWERS + torch.arange(QUESTIONS)
puzzle_edges = torch.stack(
    [torch.cat([right, wrong], dim=1).flatten(), questions.repeat_interleave(CHOICES)]
)
puzzle_x = torch.zeros(ANSWERS + QUESTIONS, CLASSES + 1)
puzzle_x[:ANSWERS, :CLASSES] = F.one_hot(classes, CLASSES).float()
puzzle_x[:ANSWERS, CLASSES] = marked.float()
puzzle_y = torch.cat([classes, classes[right.squeeze(1)]])
seen, unseen = questions.chunk(2)


def solver(even):
    """A network trained on the puzzle, and its attention by epoch."""
    torch.manual_seed(0)
    network = GAT(
        CLASSES + 1, CLASSES, num_layers=1,
        feature_dropout=0, attention_dropout=0, value_dropout=0,
    )  # fmt: skip
    puzzle = puzzle_x, puzzle_edges, puzzle_y, seen
    return network, fit(network, *puzzle, even=even, lr=0.05, weight_decay=0)


puzzle = puzzle_x, puzzle_edges, puzzle_y, unseen
choosing, puzzle_history = solver(even=False)
averaging, _ = solver(even=True)
puzzle_as_trained = accuracy(choosing, *puzzle)
with uniform_attention(choosing):
    puzzle_made_even = accuracy(choosing, *puzzle)
with uniform_attention(averaging):
    puzzle_never = accuracy(averaging, *puzzle)
print(f"as trained                 {puzzle_as_trained:.1%}")
print(f"then all weights even      {puzzle_made_even:.1%}")
print(f"trained with even weights  {puzzle_never:.1%}")

puzzle_attention = puzzle_history[200]["output"]
(puzzle_verdict,) = verdicts(measure(puzzle_attention))
print(f"{puzzle_verdict.kind}: {puzzle_verdict.sentence}")
show(draw_neighbourhood(puzzle_attention, int(unseen[0]), puzzle_y))
show(draw_epochs(puzzle_history))

# %% [markdown]
# Here attention is learned early in training, the verdict sees it, and without it the accuracy is
# gone. So the tools that find nothing on Cora do find attention where there is some.
#
# Mind the words, though. Told the classes, the same measures call this very head "class-seeking",
# yet it cannot know the question's class: it seeks the mark, and the class comes along.

# %%
(told_classes,) = verdicts(measure(puzzle_attention, puzzle_y))
print(f"{told_classes.kind}: {told_classes.sentence}")

# %% [markdown]
# ## Does the ranking mean anything?
#
# Back to Cora. Nearly even weights can still be put in order, and the highest be shown as an
# explanation. `faithfulness` tests such an order: edges are removed from a paper's neighbourhood,
# the highest ranked first, and the probability of the predicted class is followed. If the order is
# faithful, it falls early (a small area under the **deletion** curve), and comes back early when
# the edges are added in that order (a large area under the **insertion** curve). Beside attention
# stand:
#
# - `gatt`, attention followed through both layers;
# - `gradient_x_input`, which asks the model how its answer would change;
# - `random` order, and the edges `nearest` to the paper first: both know nothing of the model;
# - "even weights": one over the number of neighbours, what attention would be had it learned
#   nothing.


# %%
def even_weights(model, x, edge_index, node):
    """The weight of each edge if all of a node's edges and its loop had the same."""
    target = edge_index[1]
    return 1 / (1 + torch.bincount(target, minlength=x.size(0)))[target]


asked = torch.randperm(len(test_nodes), generator=torch.Generator().manual_seed(0))[:100]
faithful = faithfulness(
    model, x, edge_index, test_nodes[asked],
    ["attention", "gatt", "gradient_x_input", "nearest", "random"],
    scorers={"even weights": even_weights},
)  # fmt: skip
show(draw_deletion_curves(faithful))

# %% [markdown]
# The bars are wide since papers differ, but all orders are tested on the same papers, so the
# difference between two of them is known better than either. Below are the methods' areas less
# those of random order, then less those of the nearest edges, with 95 % intervals over papers; `*`
# where the interval leaves out 0.


# %%
def with_interval(estimate):
    """A difference of areas with its interval, in thousandths."""
    star = "*" if estimate.low > 0 or estimate.high < 0 else " "
    mean, low, high = (1000 * one for one in (estimate.mean, estimate.low, estimate.high))
    return f"{mean:+7.0f} ({low:+4.0f} to {high:+4.0f}){star}"


for baseline in ("random", "nearest"):
    print(f"\nless {baseline}, thousandths:      deletion (less: better)  insertion (more: better)")
    for name, method in faithful.items():
        differences = getattr(method, f"against_{baseline}")
        if differences and name != baseline:
            areas = (
                with_interval(differences[f"{kind}_area"]) for kind in ("deletion", "insertion")
            )
            print(f"  {name:>20}", *areas, sep="    ")

print(f"\nAll edges together change the probability by {faithful.change.mean:.2f} on average.\n")
for name in ("attention", "gradient_x_input"):
    print(faithful[name].verdict, end="\n\n")

# %% [markdown]
# Attention beats random order, which is where such a comparison often ends. But where does its lead
# come from? "Even weights" have a lead too, and hold nothing that was learned: they rank edges by
# how few neighbours the receiving paper has. So attention is held against them, paper by paper.


# %%
def beyond_even(name, kind):
    """A method's area less that of even weights: mean and two standard errors over papers."""
    areas = [getattr(faithful[one], kind).areas for one in (name, "even weights")]
    difference = areas[0] - areas[1]
    return float(difference.mean()), 2 * float(difference.std() / len(difference) ** 0.5)


print("less even weights, thousandths (± two standard errors)")
beyond = {
    (name, kind): beyond_even(name, kind)
    for name in ("attention", "gradient_x_input")
    for kind in ("deletion", "insertion")
}
for (name, kind), (mean, error) in beyond.items():
    print(f"{name:>18} {kind:>10}: {1000 * mean:+6.1f} ± {1000 * error:.1f}")
for kind in ("deletion", "insertion"):
    lead, of_even = (
        faithful[name].against_random[f"{kind}_area"].mean for name in ("attention", "even weights")
    )
    print(f"of attention's lead over random, even weights have {of_even / lead:.0%} ({kind})")

# %% [markdown]
# Most of attention's lead over random is there without anything learned. What learning adds is
# small, whether or not 100 papers tell it from nothing. An order that asks the model,
# `gradient_x_input`, goes much further, so there was more to find.
#
# And where attention must choose, does the same test see it?

# %%
puzzle_faithful = faithfulness(
    choosing, puzzle_x, puzzle_edges, unseen[:60], ["attention", "random"]
)
print(puzzle_faithful["attention"].verdict)
show(draw_deletion_curves(puzzle_faithful, "The same test where attention must choose"))

# %% [markdown]
# ## Through both layers
#
# A paper's class rests on papers two steps away. **Rollout** multiplies the layers' weights: how
# much of each input paper arrives. With even weights that is where a walk of two random steps ends,
# which needs no network either. **GAtt** does the like for edges, each counted at every place it
# has on the way. Neither sees what the layers do to the features.

# %%
arrives = rollout(attention, [ordinary]).of(ordinary)
with torch.no_grad(), uniform_attention(model), gat.record_attention(model) as even_attention:
    model(x, edge_index)
walk = rollout(even_attention, [ordinary]).matrix.to_dense()[0]
print(f"{len(arrives.nodes)} papers reach paper {ordinary}; most of all   (a random walk)")
for node, share in zip(arrives.nodes[:6].tolist(), arrives.values[:6].tolist(), strict=True):
    print(f"  {share:6.1%}  paper {node:<5} class {int(y[node])}{float(walk[node]):>24.1%}")

scores = gatt(attention, ordinary)
print("GAtt: the edges that count most")
for edge in scores.edges.topk(5).indices.tolist():
    source, target = edge_index[:, edge].tolist()
    print(f"  {float(scores.edges[edge]):6.3f}  {source} -> {target}")

# %% [markdown]
# ## What we may conclude, and what not
#
# - **The networks trained here hardly attend.** Their weights are close to even in every head, from
#   the start of training to its end; made exactly even, they give about the same accuracy. That is
#   no verdict on attention: elsewhere it may be all that counts, as in the puzzle. So measure it;
#   `gat inspect` does for a run.
# - **"It looks at its own class" is no finding** without the share of such neighbours beside it.
# - **A ranking is no explanation** until it beats what can be ranked without the model. "Better
#   than random" was true of an order in which nothing was learned.
# - **Faithfulness has limits too.** A neighbourhood with edges removed is unlike what the network
#   was trained on, and 100 papers leave wide intervals.
# - **Few networks were asked.** Other random numbers give other networks; a claim about attention
#   in general needs many of them, and other graphs.
