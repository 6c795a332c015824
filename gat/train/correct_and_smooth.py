"""Correct and Smooth: training errors, then labels, spread over the graph after training.

Q. Huang, H. He, A. Singh, S.-N. Lim, A. Benson: "Combining Label Propagation and Simple Models
Out-performs Graph Neural Networks", ICLR 2021 (arXiv 2010.13993), sections 2.2 and 2.3; computed by
PyG's ``CorrectAndSmooth``. Only labels of training nodes enter. Where ours may differ: the graph
has self-loops if asked for, and with 0 correction steps nothing is corrected (the published
ogbn-arxiv GAT only smooths: DGL, examples/pytorch/ogb/ogbn-arxiv/correct_and_smooth.py).
"""

import warnings

import torch
from torch import Tensor
from torch.nn import functional as F

from gat.graph import Graph
from gat.train.batches import Batch
from gat.train.tricks_config import CorrectAndSmoothConfig

__all__ = ["correct_and_smooth"]


@torch.no_grad()
def correct_and_smooth(
    config: CorrectAndSmoothConfig, batch: Batch, logits: Tensor, *, multilabel: bool = False
) -> Tensor:
    """Scores [N, K] for the metrics from logits [N, K] of all nodes of a batch, one whole graph.

    One class per node: the scores are probabilities, the largest is the prediction. Several labels:
    probabilities less 1/2, so that labels predicted are above 0, as in logits.
    """
    from torch_geometric.nn import CorrectAndSmooth

    model = CorrectAndSmooth(
        config.correction_layers,
        config.correction_alpha,
        config.smoothing_layers,
        config.smoothing_alpha,
        autoscale=config.scale is None,
        scale=1.0 if config.scale is None else config.scale,
    )
    soft = logits.float().sigmoid() if multilabel else logits.float().softmax(dim=-1)
    part = batch.parts["train"]
    rows = torch.arange(len(soft), device=soft.device) if part.rows is None else part.rows
    if multilabel:
        # An unknown label is as predicted: it has no error.
        true = torch.where(part.y.isnan(), soft[rows], part.y)
    else:
        true = F.one_hot(part.y, soft.shape[1]).to(soft.dtype)
    with warnings.catch_warnings():
        # Said once by torch, of CSR being in beta and unchecked: a user of ours cannot act on it.
        warnings.filterwarnings("ignore", message="Sparse (CSR tensor support|invariant checks)")
        adjacency = _adjacency(batch.edges, config.add_self_loops)
        # Without any error autoscaling would divide 0 by 0.
        if config.correction_layers and not torch.equal(soft[rows], true):
            soft = model.correct(soft, true, rows, adjacency)
        if config.smoothing_layers:
            soft = model.smooth(soft, true, rows, adjacency)
    return soft - 0.5 if multilabel else soft


def _adjacency(graph: Graph, self_loops: bool) -> Tensor:
    """Sparse CSR [N, N], row i the sources of i: memory of one number per edge, where PyG would
    hold K numbers per edge of an edge_index. PyG divides by the square roots of the degrees."""
    graph = graph.with_self_loops() if self_loops else graph
    return torch.sparse_csr_tensor(
        graph.rowptr,
        graph.col,
        torch.ones(graph.num_edges, device=graph.device),
        size=(graph.num_dst, graph.num_src),
    )
