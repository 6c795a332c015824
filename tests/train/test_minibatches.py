"""The batches of an epoch: with all neighbours they are the full graph, and each is a function of
(seed, epoch, step)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gat
from gat.data import NodeTask, normalize_features
from gat.errors import ConfigError
from gat.sampling import Sampler
from gat.train import TrainConfig
from gat.train.batches import Batch, make_batches
from gat.train.metrics import loss
from gat.train.minibatches import Minibatches, whole_graphs
from gat.train.objectives import Objective
from gat.train.session import build_model
from gat.train.step import forward

CPU = torch.device("cpu")
NO_DROPOUT = {"feature_dropout": 0.0, "attention_dropout": 0.0, "value_dropout": 0.0}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "gatv2, residual": {"attention": "gatv2", "residual": "linear"},
    "jumping knowledge": {"jumping_knowledge": "cat"},
    "symmetric norm": {"symmetric_norm": True},
    "no loops, linear ends": {"add_self_loops": False, "linear_input": True, "linear_output": True},
}


def made(
    config: TrainConfig, task: NodeTask, model: dict[str, Any] | None = None, **sampling: Any
) -> tuple[TrainConfig, Minibatches]:
    sampling = {"name": "neighbor", "batch_size": 5, "num_neighbors": [2, 3], **sampling}
    values = {**config.to_dict(), "sampling": sampling}
    values["model"] |= {**NO_DROPOUT, **(model or {})}
    config = TrainConfig(**values)
    return config, Minibatches(whole_graphs(task, config), config, CPU)


def with_edge_features(task: NodeTask) -> NodeTask:
    graph = task.graphs[0]
    attr = torch.randn(graph.num_edges, 2, generator=torch.Generator().manual_seed(3))
    return replace(task, graphs=(replace(graph, edge_attr=attr),))


def flat(batch: Batch) -> list[Tensor]:
    graphs = batch.edges if isinstance(batch.edges, list) else [batch.edges]
    part = batch.parts["train"]
    edges = [graph.edge_index for graph in graphs]
    return [batch.x, batch.nodes, part.y, *edges]  # type: ignore[list-item]


def same(first: Batch, second: Batch) -> bool:
    pairs = zip(flat(first), flat(second), strict=True)
    return all(torch.equal(one, two) for one, two in pairs)


def loss_and_gradients(model: nn.Module, batches: list[Batch]) -> tuple[Tensor, list[Tensor]]:
    """Of the mean over all training rows, batch by batch."""
    count = sum(len(batch.parts["train"].y) for batch in batches)
    model.zero_grad()
    total = torch.zeros(())
    for batch in batches:
        part = batch.parts["train"]
        mean = loss(part.select(forward(model, batch)), part.y) * (len(part.y) / count)
        mean.backward()
        total += mean.detach()
    return total, [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("edge_features", [False, True], ids=["plain edges", "edge features"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_all_neighbours_give_the_full_graphs_loss_and_gradients(
    options: dict[str, Any], edge_features: bool, config: TrainConfig, toy: NodeTask
) -> None:
    task = with_edge_features(toy) if edge_features else toy
    config, minibatches = made(config, task, {**options, "num_layers": 2}, num_neighbors=-1)
    torch.manual_seed(0)
    model = build_model(config.model, task.num_features, 2, task.edge_dim)
    full = make_batches(task, config.data.model_copy(update={"features": "dense"}), CPU)
    expected, gradients = loss_and_gradients(model, full)
    batches = list(minibatches.epoch(0))
    assert len(batches) == 3
    found, summed = loss_and_gradients(model, batches)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(summed, gradients)
    assert any(bool(gradient.abs().max() > 1e-3) for gradient in gradients)
    with torch.no_grad():
        outputs = forward(model, full[0])
        for batch in batches:
            assert batch.nodes is not None
            seeds = batch.nodes[: batch.edges[-1].num_dst]
            torch.testing.assert_close(forward(model, batch), outputs[seeds])


def test_all_neighbours_have_the_full_graphs_attention(config: TrainConfig, toy: NodeTask) -> None:
    """Recorded batch by batch, the first layer's targets in full, the last layer's the seeds."""
    config, minibatches = made(config, toy, num_neighbors=-1)
    model = build_model(config.model, toy.num_features, 2).eval()
    graph = toy.graphs[0]
    sampler = Sampler(minibatches.whole.edges, [-1, -1], seed=config.seed)
    with gat.record_attention(model) as full:
        model(graph.x, graph.edge_index)
    with gat.record_attention(model, full=graph.edge_index) as found:
        for batch in minibatches.epoch(0):
            assert batch.nodes is not None
            sample = sampler.sample(batch.nodes[: batch.edges[-1].num_dst])
            found.batch(n_id=batch.nodes, e_id=sample.edges)
            forward(model, batch)
    for name, record in found.items():
        rows = slice(None) if record.edge_id is None else record.edge_id
        torch.testing.assert_close(record.weights, full[name].weights[rows])
    seen = found["output"].coverage
    assert (seen.complete, seen.sampled) == (12, 0)


def test_batch_is_a_function_of_seed_epoch_and_step(config: TrainConfig, toy: NodeTask) -> None:
    config, minibatches = made(config, toy)
    epochs = [list(minibatches.epoch(epoch)) for epoch in range(2)]
    _, again = made(config, toy, prefetch=0)
    for epoch, batches in enumerate(epochs):
        assert [len(batch.parts["train"].y) for batch in batches] == [5, 5, 2]
        seeds = torch.cat([b.nodes[: len(b.parts["train"].y)] for b in batches])  # type: ignore[index]
        assert seeds.sort().values.tolist() == list(range(12))
        assert all(same(batch, again.batch(epoch, step)) for step, batch in enumerate(batches))
        rest = list(again.epoch(epoch, first=1))
        assert len(rest) == 2
        assert all(map(same, rest, batches[1:]))
    assert not same(epochs[0][0], epochs[1][0])
    _, other = made(config.updated(seed=1), toy)
    assert not same(epochs[0][0], other.batch(0, 0))


@pytest.mark.parametrize(("size", "sizes"), [(1, [1] * 12), (12, [12]), (1000, [12])])
def test_any_batch_size(size: int, sizes: list[int], config: TrainConfig, toy: NodeTask) -> None:
    _, minibatches = made(config, toy, batch_size=size)
    found = [len(batch.parts["train"].y) for batch in minibatches.epoch(0)]
    assert (found, len(minibatches)) == (sizes, len(sizes))


def test_layers_compute_only_what_the_next_needs(config: TrainConfig, toy: NodeTask) -> None:
    _, minibatches = made(config, toy)
    batch = minibatches.batch(0, 0)
    first, last = batch.edges
    assert (batch.num_nodes, first.num_dst, last.num_dst) == (first.num_src, last.num_src, 5)
    assert first.num_src > last.num_src > 5
    # Self-loops and transposes are there before the model asks.
    for graph in batch.edges:
        assert "by_source" in vars(vars(graph)["_looped"])


def test_features_stay_in_their_file(config: TrainConfig, toy: NodeTask, tmp_path: Path) -> None:
    graph = toy.graphs[0]
    np.save(tmp_path / "x.npy", graph.x.numpy())
    mapped = torch.from_numpy(np.load(tmp_path / "x.npy", mmap_mode="c"))
    task = replace(toy, graphs=(replace(graph, x=mapped),))
    rows = config.updated(**{"data.normalize_features": "row"})
    rows, minibatches = made(rows, task)
    assert minibatches.whole.x.data_ptr() == mapped.data_ptr()
    batch = minibatches.batch(0, 0)
    assert torch.equal(batch.x, normalize_features(graph.x)[batch.nodes])
    model = build_model(rows.model, 6, 2).eval()
    expected = model(normalize_features(graph.x), graph.edge_index)
    for options in (
        {"inference_batch_size": 7},
        {"inference_memory": 1e-6},
        {"evaluation": "full"},
    ):
        changed = {f"sampling.{key}": value for key, value in options.items()}
        (whole,) = whole_graphs(task, rows.updated(**changed))
        torch.testing.assert_close(forward(model, whole), expected)


def test_several_graphs_are_sampled_as_one(config: TrainConfig, toy_graphs: NodeTask) -> None:
    config, minibatches = made(config, toy_graphs, num_neighbors=-1, batch_size=30)
    training = toy_graphs.graphs[:5]
    assert minibatches.whole.num_nodes == sum(graph.num_nodes for graph in training) == 83
    model = build_model(config.model, 6, 3)
    outputs = torch.cat([model(graph.x, graph.edge_index) for graph in training])
    labels = torch.cat([graph.y for graph in training])
    for batch in minibatches.epoch(0):
        assert batch.nodes is not None
        seeds = batch.nodes[: len(batch.parts["train"].y)]
        assert torch.equal(batch.parts["train"].y, labels[seeds])
        torch.testing.assert_close(forward(model, batch), outputs[seeds])


def test_symmetric_norm_counts_the_whole_graphs_edges(config: TrainConfig, toy: NodeTask) -> None:
    """Few neighbours are drawn, and the degrees that weight messages are still the graph's own."""
    _, minibatches = made(config, toy, {"symmetric_norm": True}, num_neighbors=[1, 1])
    looped = toy.graphs[0].graph().with_self_loops()
    batch = minibatches.batch(0, 0)
    assert batch.nodes is not None
    for graph in batch.edges:
        found = graph.with_self_loops()
        assert torch.equal(found.out_degree, looped.out_degree[batch.nodes[: graph.num_src]])
        assert torch.equal(found.in_degree, looped.in_degree[batch.nodes[: graph.num_dst]])


def test_walks_that_were_counted_weight_the_loss(config: TrainConfig, toy: NodeTask) -> None:
    """Over many subgraphs the weighted losses have the mean of the training nodes' as theirs."""
    walks = {"name": "random-walk", "roots": 4, "walk_length": 2, "steps": 400, "coverage": 150}
    config = TrainConfig(**{**config.to_dict(), "sampling": walks})
    minibatches = Minibatches(whole_graphs(toy, config), config, CPU)
    logits = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    part = minibatches.whole.parts["train"]
    expected = loss(part.select(logits), part.y)
    total = 0.0
    for batch in minibatches.epoch(0):
        if "train" in batch.parts:
            assert batch.nodes is not None
            total += float(Objective()(logits[batch.nodes], batch))
    assert total / 400 == pytest.approx(float(expected), rel=0.1)


def test_auto_must_have_been_settled(config: TrainConfig, toy: NodeTask) -> None:
    with pytest.raises(ConfigError, match=r"is settled by the memory budget.*name \"neighbor\""):
        made(config, toy, name="auto")
