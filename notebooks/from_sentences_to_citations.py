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
# # From a translated sentence to a citation graph
#
# A sentence pair is a bipartite graph: each word that is written looks at every word that is read.
# A citation graph is a graph already. Attention over the two is the same three steps along edges,
# so the same three lines look inside both:
#
# ```python
# with gat.record_attention(model) as attention:
#     model(*inputs)
# record = attention[layer]
# ```
#
# First a translation of dates is trained, then what it looks at is drawn; then the same is done
# with the papers of Cora. Needs matplotlib, and Cora is fetched at first use.

# %%
import matplotlib.pyplot as plt
import torch

import gat
from gat import topology
from gat.inspection.pictures import draw_alignment, draw_neighbourhood, draw_sentence
from gat.nn import Attend

# %% [markdown]
# ## A sentence pair is a graph
#
# Three words are written while five are read: fifteen edges. With queries and keys at hand,
# `Attend` is attention over them; nothing in it knows that these are words.

# %%
pair = topology.bipartite(5, 3)
print(pair)
print(pair.edge_index)

query, key, value = torch.randn(3, 1, 8), torch.randn(5, 1, 8), torch.randn(5, 1, 8)
written, (_, weights) = Attend(8)(query, key, value, pair, return_attention_weights=True)
print(written.shape, weights.view(3, 5).sum(1))

# %% [markdown]
# ## Dates
#
# "4th of August 1987" is to become "1987-08-04", one character after the other. The encoder reads,
# the decoder writes, and before each character it looks back (Luong et al. 2015). A third of the
# recipe's epochs are enough for a picture; `gat reproduce dates/luong-general` runs all of it.

# %%
recipe = gat.train.recipe_for("dates/luong-general")
run = gat.train.train(recipe.updated(epochs=14, beam_width=0, seed=1))
print(f"{run.test:.0%} of the test dates right to the last character, in {run.seconds:.0f} s")

# %%
dates = gat.data.load_examples("dates")
reading, writing = dates.source_vocabulary, dates.target_vocabulary
asked = reading.encode("Tue 4th of August 1987")
translator = run.model.cpu().eval()
(answer,) = gat.models.greedy(translator, asked, [len(asked)], max_length=12)
answer = torch.cat([answer, torch.tensor([1])])  # the end, which the answer leaves out
print(reading.decode(asked), "->", writing.decode(answer))

# %% [markdown]
# ## The three lines, on a sentence
#
# The model reads its own answer again, so that all its steps are one forward pass.

# %%
inputs = (asked, [len(asked)], answer, [len(answer)])
with torch.no_grad(), gat.record_attention(translator) as attention:
    translator(*inputs)
alignment = attention["decoder.alignment.attention"]

print(alignment)
for step, neighbours in enumerate(map(alignment.neighbours, range(len(answer)))):
    node, share, _ = neighbours[0]
    looks_at = reading.names(asked)[node]
    print(f"writing {writing.names(answer)[step]!r} it looks at {looks_at!r} ({share.mean():.0%})")

# %% [markdown]
# Each digit of the year is looked up where it stands. Those of the month stand nowhere: what is
# looked at are the encoder's states, and those beside the month's name have read it.

# %%
figures = [draw_alignment(alignment, reading.names(asked), writing.names(answer))]
figures.append(
    draw_sentence(alignment, reading.names(asked), [0, 5, 8], target_tokens=writing.names(answer))
)
plt.show()

# %% [markdown]
# ## The same three lines, on a citation graph

# %%
papers = gat.data.load("cora").graphs[0]
listener = gat.train.train(gat.train.recipe_for("cora").updated(epochs=40)).model.cpu().eval()

inputs = (gat.data.normalize_features(papers.x, "row"), papers.edge_index)
with torch.no_grad(), gat.record_attention(listener) as attention:
    listener(*inputs)
citations = attention["hidden.0.conv"]

print(citations)
for paper, share, edge in citations.neighbours(1839):
    print(f"paper 1839 gives paper {paper} {share.mean():.0%} of its attention (edge {edge})")

# %%
figures.append(draw_neighbourhood(citations, 1839, papers.y, heads=[0, 1]))
plt.show()

# %% [markdown]
# ## What is the same, and what is not
#
# Both are an `AttentionRecord`: edges as they were passed, a weight for each edge and head, weights
# that enter a node summing to 1. So whatever measures one measures the other. How many of its
# neighbours does a node look at, on average over nodes with more than one?

# %%
measured = {}
for name, record in (("alignment", alignment), ("citations", citations)):
    (measures,) = gat.inspection.measure(record).values()
    measured[name] = float(measures.effective_share.mean())
    print(f"{name}: weights as even as {measured[name]:.0%} of the neighbours would make them")

# %% [markdown]
# The decoder looks at a few characters at a time; the citation network spreads its attention almost
# evenly, as [what_a_gat_looks_at](what_a_gat_looks_at.py) shows in full. The library is the same;
# what was learned is not.
