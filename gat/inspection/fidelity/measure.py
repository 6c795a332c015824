"""`faithfulness`: whether the edges a method points at are those the prediction depends on."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gat.errors import InputError
from gat.inspection.fidelity import arguments as read
from gat.inspection.fidelity.answers import Plan, answers
from gat.inspection.fidelity.inputs import Inputs, checked
from gat.inspection.fidelity.orders import units
from gat.inspection.fidelity.probe import steps_back
from gat.inspection.fidelity.results import Faithfulness
from gat.inspection.fidelity.scorers import METHODS, Scorer
from gat.inspection.fidelity.scoring import Scorers
from gat.inspection.fidelity.statistics import Resampling
from gat.inspection.fidelity.still import held_still
from gat.inspection.fidelity.subgraph import neighbourhood, run_counting
from gat.inspection.fidelity.summary import Told, summary

__all__ = ["faithfulness"]

TENTHS = tuple(tenth / 10 for tenth in range(11))
MIB = 2**20


def faithfulness(
    model: nn.Module,
    x: Tensor,
    edge_index: Tensor,
    nodes: int | Sequence[int] | Tensor,
    methods: Sequence[str] = METHODS,
    *,
    scorers: Mapping[str, Scorer] | None = None,
    fractions: Sequence[float] = TENTHS,
    top_k: Sequence[int] = (1, 2, 5),
    target: Tensor | None = None,
    output: str = "logits",
    undirected: bool = False,
    hops: int | None = None,
    draws: int = 10,
    epochs: int = 100,
    resamples: int = 2000,
    confidence: float = 0.95,
    edge_args: Mapping[str, Tensor] | None = None,
    node_args: Mapping[str, Tensor] | None = None,
    model_args: Mapping[str, Any] | None = None,
    memory: int = 64 * MIB,
    seed: int = 0,
) -> Faithfulness:
    """How the model's predictions change when edges go, by the scores of each method::

        found = faithfulness(model, x, edge_index, test_nodes[:100])
        print(found["attention"].verdict)

    For each node, its computational subgraph is taken (it gives the same output as the whole graph,
    which is checked), every method scores the subgraph's edges, and the model answers with the
    highest removed and with the highest alone. Reported are, with intervals over nodes:

    fidelity+ and fidelity-, by k: the class's probability on all edges less that without the k
    highest, and less that with these alone (Pope et al. 2019; Fidelity+prob and Fidelity-prob of
    Yuan et al. 2022; fid+ and fid- of GraphFramEx, Amara et al. 2022, there of both kinds), and the
    same of whether the class is the predicted one. A node with fewer than k edges loses them all.
    Deletion and insertion curves: the probability with each fraction of the edges removed, or put
    into the graph without edges, highest first; and the areas under them (Petsiuk et al. 2018).
    The differences of all these to random orders, and to the nearest edges first, paired over
    nodes, and a verdict in words.

    model(x, edge_index, ...) gives [N, C], C >= 2 classes. x: [N, F] dense; edge_index: [2, E].
    nodes: numbers or a bool mask [N]; nodes without an edge to remove are left out and counted.
    methods: of 'attention' (weights averaged over heads and layers), 'gatt', 'rollout',
    'gradient_x_input', 'gnn_explainer', 'nearest' (edges by their steps to the node alone) and
    'random', which is always measured. scorers: callables (model, x, edge_index, node) -> [E] of
    your own, by name. Equal scores are put in random order.
    target: int64 [N], the class to follow at each node, such as the labels; None: the predicted.
    output: what the model returns, 'logits', 'log_probs' or 'probs'.
    undirected: remove all edges between two nodes as one, scored by the sum of their scores; else
    each edge on its own. Self-loops, the layers' and the caller's, always stay.
    hops: rounds of message passing; None: counted. Where layers scale by degrees (GCNConv), edges
    one step further count too. draws: random orders a node. epochs: of GNNExplainer.
    resamples, confidence: of the bootstrap over nodes (see `Resampling`).
    edge_args, node_args: further keyword arguments with a row for each edge, for each node;
    model_args: others. memory: bytes of features and edges in one forward pass; what the model
    itself needs for them comes on top.

    A node costs as much as about 2 x (methods + draws) x (fractions + k) passes over its part of
    the graph, less where edges taken out leave it smaller or graphs alike, and what its scores
    cost, of which GNNExplainer's ``epochs`` passes forward and back are the most.

    The model is run in eval mode, and is as before afterwards: parameters, gradients, training
    flags, torch's random numbers. Intervals are not corrected for looking at many methods.
    A graph with edges removed may be unlike any the model was trained on; the measures do not
    tell that from faithfulness.

    Raises InputError, ArgumentTypeError or IndexRangeError naming the argument, and InputError for
    a model whose output on the subgraph is another.
    """
    began = time.perf_counter()
    counts = {"draws": draws, "epochs": epochs, "resamples": resamples, "memory": memory}
    read.check_numbers(confidence, **counts)
    flow = read.flow_of(model)
    inputs = checked(
        Inputs(x, edge_index, flow, edge_args or {}, node_args or {}, model_args or {})
    )
    wanted = read.read_nodes(nodes, inputs.num_nodes)
    fraction, k = read.read_fractions(fractions), read.read_top_k(top_k)
    plan = Plan(fraction, k, output, undirected, draws, memory, seed)
    scoring = Scorers(methods, scorers or {}, output, epochs, seed)
    with held_still(model), torch.no_grad():
        told, left_out, steps = _ask(model, inputs, wanted, target, hops, scoring, plan)
    if not told:
        raise InputError(
            f"none of the {len(wanted)} nodes has an edge to remove; expected at least one node "
            f"that another sends to"
        )
    resampling = Resampling(len(told), resamples, confidence, seed)
    settings = {
        "fractions": fraction.tolist(),
        "top_k": k.tolist(),
        "class": "predicted" if target is None else "given",
        "undirected": undirected,
        "steps": steps,
        "draws": draws,
        "epochs": epochs,
        "resamples": resamples,
        "confidence": confidence,
        "seed": seed,
    }
    return summary(told, left_out, plan, resampling, settings, began)


def _ask(
    model: nn.Module,
    inputs: Inputs,
    nodes: list[int],
    target: Tensor | None,
    hops: int | None,
    scoring: Scorers,
    plan: Plan,
) -> tuple[list[Told], tuple[int, ...], int]:
    """What is found at each node, the nodes without an edge to remove, and the steps back."""
    whole, rounds = run_counting(model, inputs)
    classes = read.read_classes(target, whole, nodes)
    steps = steps_back(model, inputs, read.read_hops(hops, rounds))
    scoring.prepare(model, inputs)
    told, left_out = [], []
    for node, chosen in zip(nodes, classes.tolist(), strict=True):
        part = neighbourhood(model, inputs, whole, node, steps)
        unit, count = units(part.inputs, plan.undirected)
        if not count:
            left_out.append(node)
            continue
        scores, seconds = scoring.scores(model, part, chosen)
        found, tied, ends = answers(model, part, unit, chosen, scores, plan)
        told.append(Told(node, chosen, count, found, tied, seconds, part.difference, ends))
    return told, tuple(left_out), steps
