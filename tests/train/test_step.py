"""Batches, one training step, one evaluation."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from gat.data import NodeTask, TaskGraph
from gat.errors import InputError
from gat.models import GAT
from gat.ops import cpu, use_backend
from gat.train import metrics
from gat.train.batches import join, make_batches, training_order
from gat.train.config import DataConfig
from gat.train.step import evaluate_batches, forward, train_step

CPU = torch.device("cpu")
# torch multiplies sparse matrices in float32 and wider only; our kernels, in these too.
HALF = torch.sparse_csr if cpu.status().available else torch.strided


def small_gat(task: NodeTask, dropout: float = 0.0) -> GAT:
    return GAT(
        task.num_features,
        task.num_classes,
        hidden_channels=4,
        heads=2,
        feature_dropout=dropout,
        attention_dropout=dropout,
        value_dropout=dropout,
    )


def test_batch_holds_the_rows_of_each_part(toy: NodeTask) -> None:
    toy.graphs[0].y[[0, 13]] = -1
    (batch,) = make_batches(toy, DataConfig(), CPU)
    rows = {name: part.rows for name, part in batch.parts.items()}
    assert rows["train"].tolist() == list(range(1, 12))
    assert rows["val"].tolist() == [12, *range(14, 26)]
    assert torch.equal(batch.parts["test"].y, toy.graphs[0].y[26:])


def test_split_out_of_range_is_refused(toy: NodeTask) -> None:
    with pytest.raises(InputError, match=r"toy: data\.split must be below 1, .*got 3"):
        make_batches(toy, DataConfig(split=3), CPU)


def test_row_normalization_divides_by_the_sum(toy: NodeTask) -> None:
    toy.graphs[0].x[5] = 0
    (batch,) = make_batches(toy, DataConfig(normalize_features="row"), CPU)
    sums = batch.x.sum(1)
    assert sums[5] == 0
    assert torch.allclose(sums[:5], torch.ones(5))
    (plain,) = make_batches(toy, DataConfig(), CPU)
    assert torch.equal(plain.x, toy.graphs[0].x)


@pytest.mark.parametrize(
    ("features", "share", "precision", "layout"),
    [
        ("auto", 0.05, "float32", torch.sparse_csr),
        ("auto", 0.5, "float32", torch.strided),
        ("sparse", 0.5, "float32", torch.sparse_csr),
        ("dense", 0.05, "float32", torch.strided),
        ("auto", 0.05, "bfloat16", HALF),
    ],
)
def test_mostly_zero_features_are_multiplied_as_sparse(
    toy: NodeTask, features: str, share: float, precision: str, layout: torch.layout
) -> None:
    x = toy.graphs[0].x
    x[:] = torch.arange(x.numel()).view_as(x) % 100 < 100 * share
    config = DataConfig(features=features)
    (batch,) = make_batches(toy, config, CPU, precision)
    assert batch.x.layout is layout
    (dense,) = make_batches(toy, DataConfig(features="dense"), CPU)
    model, atol = small_gat(toy).eval(), 1e-6 if precision == "float32" else 0.02
    got, expected = (forward(model, each, precision) for each in (batch, dense))
    assert torch.allclose(got.float(), expected.float(), atol=atol)


def test_without_kernels_half_precision_is_dense(toy: NodeTask) -> None:
    toy.graphs[0].x[:] = 0
    with use_backend("blockwise"):
        (batch,) = make_batches(toy, DataConfig(features="sparse"), CPU, "bfloat16")
    assert batch.x.layout is torch.strided


def test_sparse_features_of_several_graphs_are_refused(toy_graphs: NodeTask) -> None:
    with pytest.raises(InputError, match=r"toys is several graphs, .* set data\.features to"):
        make_batches(toy_graphs, DataConfig(features="sparse"), CPU)


def test_undirected_adds_what_is_missing() -> None:
    edges = torch.tensor([[0, 1, 2], [1, 0, 3]])
    mask = torch.eye(4, dtype=torch.bool)
    graph = TaskGraph(
        edges, torch.ones(4, 2), torch.tensor([0, 1, 0, 1]), mask[0:1].T, mask[1:2].T, mask[2:3].T
    )
    task = NodeTask("line", (graph,), 2)
    (batch,) = make_batches(task, DataConfig(undirected=True), CPU)
    assert sorted(batch.edges.edge_index.T.tolist()) == [[0, 1], [1, 0], [2, 3], [3, 2]]


def test_joined_graphs_give_what_each_gives_alone(toy_graphs: NodeTask) -> None:
    batches = make_batches(toy_graphs, DataConfig(), CPU)
    model = small_gat(toy_graphs).eval()
    joined = join(batches[:3])
    alone = torch.cat([forward(model, batch) for batch in batches[:3]])
    assert torch.allclose(forward(model, joined), alone, atol=1e-6)
    assert torch.equal(joined.parts["train"].y, torch.cat([g.y for g in toy_graphs.graphs[:3]]))


def test_join_keeps_rows_where_only_some_nodes_train(toy: NodeTask) -> None:
    (batch,) = make_batches(toy, DataConfig(), CPU)
    joined = join([batch, batch])
    assert joined.parts["train"].rows.tolist() == [*range(12), *range(40, 52)]


def test_training_order_shuffles_training_graphs_by_seed_and_epoch(toy_graphs: NodeTask) -> None:
    batches = make_batches(toy_graphs, DataConfig(), CPU)

    def sizes(seed: int, epoch: int) -> list[list[int]]:
        order = training_order(batches, 2, seed, epoch)
        return [[batch.num_nodes for batch in group] for group in order]

    first = sizes(0, 0)
    assert [len(group) for group in first] == [2, 2, 1]
    assert sorted(size for group in first for size in group) == [11, 13, 17, 19, 23]
    assert first == sizes(0, 0)
    assert len({str(sizes(seed, epoch)) for seed in range(3) for epoch in range(3)}) > 5


def test_train_step_changes_every_parameter_once(toy: NodeTask) -> None:
    (batch,) = make_batches(toy, DataConfig(), CPU)
    model = small_gat(toy)
    expected = metrics.loss(forward(model, batch)[:12], toy.graphs[0].y[:12])
    before = {k: v.clone() for k, v in model.named_parameters()}
    loss = train_step(model, batch, torch.optim.SGD(model.parameters(), lr=0.5))
    assert not loss.requires_grad
    assert torch.equal(loss, expected.detach())
    for name, parameter in model.named_parameters():
        assert torch.allclose(before[name] - 0.5 * parameter.grad, parameter)


def test_evaluation_has_no_dropout_and_leaves_gradients(toy: NodeTask) -> None:
    (batch,) = make_batches(toy, DataConfig(), CPU)
    model = small_gat(toy, dropout=0.6)
    state = torch.get_rng_state()
    scores = [evaluate_batches(model, [batch], "accuracy") for _ in range(2)]
    assert scores[0] == scores[1]
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())


def test_evaluation_counts_all_graphs_together(toy_graphs: NodeTask) -> None:
    batches = make_batches(toy_graphs, DataConfig(), CPU)
    model = small_gat(toy_graphs).eval()
    found = evaluate_batches(model, batches, "micro-f1", ("train", "val"))
    logits = torch.cat([forward(model, batch) for batch in batches[:5]]).detach()
    y = torch.cat([graph.y for graph in toy_graphs.graphs[:5]])
    assert found["train"].metric == metrics.metric("micro-f1", logits, y)
    assert found["train"].loss == pytest.approx(float(metrics.loss(logits, y)))
    assert set(found) == {"train", "val"}


def test_evaluation_of_an_absent_part_is_nan(toy: NodeTask) -> None:
    graph = replace(toy.graphs[0], test_mask=torch.zeros(40, 1, dtype=torch.bool))
    batches = make_batches(NodeTask("toy", (graph,), 2), DataConfig(), CPU)
    score = evaluate_batches(small_gat(toy), batches, "accuracy", ("test",))["test"]
    assert score.metric != score.metric


def test_bfloat16_runs_under_autocast_and_keeps_float32_weights(toy: NodeTask) -> None:
    (batch,) = make_batches(toy, DataConfig(), CPU)
    model = small_gat(toy)
    seen: list[torch.dtype] = []

    class Watched(nn.Module):
        def forward(self, x: torch.Tensor, edges: object) -> torch.Tensor:
            seen.append((x @ x.T).dtype)
            return model(x, edges)

    optimizer = torch.optim.Adam(model.parameters())
    exact = float(train_step(model, batch, optimizer, precision="float32"))
    low = float(train_step(Watched(), batch, optimizer, precision="bfloat16"))
    assert seen == [torch.bfloat16]
    assert low == pytest.approx(exact, rel=0.05)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}


def test_tensors_that_are_not_contiguous_train_alike(toy: NodeTask) -> None:
    graph = toy.graphs[0]
    strided = replace(
        graph, x=graph.x.T.contiguous().T, edge_index=graph.edge_index.T.contiguous().T
    )
    assert not strided.x.is_contiguous()
    model, losses = small_gat(toy), []
    for task in (toy, NodeTask("toy", (strided,), 2)):
        (batch,) = make_batches(task, DataConfig(), CPU)
        losses.append(evaluate_batches(model, [batch], "accuracy")["val"].loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
