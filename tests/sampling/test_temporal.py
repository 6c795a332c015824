"""Neighbours that are not newer than their seed, and trees that are kept apart."""

import inspect

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.loader import NeighborLoader as PyGLoader
from torch_geometric.sampler import NodeSamplerInput

from gat.errors import ArgumentTypeError, InputError
from gat.ops import cpu
from gat.sampling import NeighborLoader, NeighborSampler, hops
from gat.sampling.reference import expand_slowly
from tests.sampling.citations import CITES, library, papers
from tests.sampling.test_hetero import flat, sampled

compiled = pytest.mark.skipif(cpu.library() is None, reason="needs the compiled library")
both = pytest.mark.parametrize("time_attr", ["time", "edge_time"])


def neighbourhood(sampler, nodes, time=None):
    sampler.set_epoch(0)
    return sampler.sample_from_nodes(NodeSamplerInput(None, torch.tensor(nodes), time))


@compiled
@both
@pytest.mark.parametrize("options", [{}, {"temporal_strategy": "last"}, {"replace": True}])
def test_compiled_sampler_draws_what_the_definition_draws(time_attr, options, monkeypatch):
    plain = NeighborSampler(papers(), [3, 2], time_attr=time_attr, **options)
    hetero = NeighborSampler(library(), [3, 2], time_attr=time_attr, **options)
    time = torch.tensor([6, 2, 9])

    def drawn():
        first = neighbourhood(plain, [4, 4, 8], time)
        tensors = (first.node, first.row, first.col, first.edge, first.batch)
        return [t.tolist() for t in tensors], flat(sampled(hetero, [4, 4, 8], time=time))

    fast = drawn()
    monkeypatch.setattr(hops, "_expand", expand_slowly)
    assert fast == drawn()


def allowed(data, time_attr, node, until):
    """Edges that enter a node and are not newer, newest last."""
    entering = (data.edge_index[1] == node).nonzero()[:, 0].tolist()
    times = data.time[data.edge_index[0]] if time_attr == "time" else data.edge_time
    return sorted((int(times[e]), e) for e in entering if int(times[e]) <= until)


@both
@pytest.mark.parametrize("strategy", ["uniform", "last"])
def test_only_edges_not_newer_than_the_trees_seed(time_attr, strategy):
    data, fanouts = papers(), [4, 3]
    sampler = NeighborSampler(data, fanouts, time_attr=time_attr, temporal_strategy=strategy)
    seeds, time = list(range(0, 50, 3)), torch.arange(17) % 10
    out = neighbourhood(sampler, seeds, time)
    hop_of = torch.arange(3).repeat_interleave(torch.tensor(out.num_sampled_nodes))
    for place, node in enumerate(out.node.tolist()):
        chosen = out.edge[out.col == place].tolist()
        if hop_of[place] == 2:
            assert chosen == []
            continue
        fanout = fanouts[hop_of[place]]
        may = allowed(data, time_attr, node, int(time[out.batch[place]]))
        assert len(chosen) == min(fanout, len(may))
        assert set(chosen) <= {e for _, e in may}
        if strategy == "last":
            times = sorted(t for t, e in may if e in chosen)
            assert times == [t for t, _ in may][-fanout:]


@both
def test_trees_are_apart_and_a_seed_may_have_two(time_attr):
    data = papers()
    sampler = NeighborSampler(data, [3, 3], time_attr=time_attr)
    assert sampler.disjoint
    out = neighbourhood(sampler, [4, 4, 9], torch.tensor([9, 0, 9]))
    assert out.batch[:3].tolist() == [0, 1, 2]
    assert torch.equal(out.batch[out.row], out.batch[out.col])
    ends = torch.stack([out.node[out.row], out.node[out.col]])
    assert torch.equal(ends, data.edge_index[:, out.edge])
    assert torch.stack([out.node, out.batch]).unique(dim=1).size(1) == out.node.numel()


def test_a_trees_draws_do_not_depend_on_its_place():
    sampler = NeighborSampler(papers(), [3, 3], disjoint=True)

    def tree(seeds, place):
        out = neighbourhood(sampler, seeds)
        return out.edge[out.batch[out.col] == place].tolist()

    assert tree([4, 9, 30], 1) == tree([9], 0) == tree([30, 0, 9], 2)
    assert tree([9, 9], 1) != tree([9, 9], 0)


def test_seeds_have_their_own_time_unless_told():
    data = papers()
    sampler = NeighborSampler(data, [5, 5], time_attr="time")
    own = neighbourhood(sampler, [1, 2, 3])
    told = neighbourhood(sampler, [1, 2, 3], data.time[1:4])
    assert torch.equal(own.edge, told.edge)
    assert not torch.equal(own.edge, neighbourhood(sampler, [1, 2, 3], torch.full((3,), 9)).edge)


def test_batches_say_their_trees_and_times():
    data, time = papers(), torch.arange(50) % 7
    loader = NeighborLoader(data, [2, 2], input_time=time, time_attr="edge_time", batch_size=20)
    for batch in loader:
        assert torch.equal(batch.seed_time, time[batch.input_id])
        assert batch.batch[: batch.batch_size].tolist() == list(range(batch.batch_size))
        assert (batch.edge_time <= batch.seed_time[batch.batch[batch.edge_index[1]]]).all()
    hetero = NeighborLoader(library(), [2, 2], "paper", time_attr="time", batch_size=9)
    batch = next(iter(hetero))
    source, target = batch[CITES].edge_index
    seeds = batch["paper"].time[batch["paper"].batch[target]]
    assert (batch["paper"].time[source] <= seeds).all()


@pytest.mark.parametrize(
    ("options", "kind", "sentence"),
    [
        ({"time_attr": "age"}, InputError, "time_attr is 'age', but no nodes or edges"),
        ({"time_attr": "edge_attr"}, ArgumentTypeError, r"'edge_attr' is torch.float64 of shape"),
        ({"weight_attr": "x"}, InputError, "weight_attr is 'x', but no edges"),
        ({"time_attr": "time", "temporal_strategy": "first"}, InputError, "'uniform' or 'last'"),
        (
            {"time_attr": "time", "temporal_strategy": "last", "replace": True},
            InputError,
            "replace=True and weight_attr have no meaning",
        ),
        ({"time_attr": "time", "subgraph_type": "induced"}, InputError, "'directional' or 'bid"),
        ({"subgraph_type": "all"}, InputError, r"subgraph_type is 'all'; expected one of \['dir"),
    ],
    ids=["no such", "float", "node weights", "strategy", "last drawn", "induced", "type"],
)
def test_options_that_cannot_be_meant_are_refused(options, kind, sentence):
    with pytest.raises(kind, match=sentence):
        NeighborSampler(papers(), [2], **options)


@both
def test_times_changed_later_do_not_change_the_draws(time_attr):
    # Sorted edges and int64, so nothing had to be converted.
    data = Data(
        edge_index=torch.tensor([[1, 2, 3, 4], [0, 0, 0, 0]]),
        time=torch.tensor([5, 1, 1, 9, 9]),
        edge_time=torch.tensor([1, 1, 9, 9]),
        num_nodes=5,
    )
    sampler = NeighborSampler(data, [2], time_attr=time_attr)
    data[time_attr].copy_(data[time_attr].flip(0))
    assert neighbourhood(sampler, [0], torch.tensor([5])).edge.tolist() == [0, 1]


def test_times_that_are_not_there_are_asked_for():
    with pytest.raises(InputError, match="have no time of their own; pass input_time"):
        neighbourhood(NeighborSampler(papers(), [2], time_attr="edge_time"), [1])
    with pytest.raises(InputError, match="input_time is given, but no time_attr"):
        NeighborLoader(papers(), [2], input_time=torch.zeros(50).long())
    with pytest.raises(InputError, match=r"input_time has shape \[9\]; expected \[50\], one for"):
        NeighborLoader(papers(), [2], input_time=torch.zeros(9).long(), time_attr="time")
    sampler = NeighborSampler(papers(), [2], time_attr="time")
    with pytest.raises(InputError, match="expected whole numbers, one for each of the 1 input"):
        neighbourhood(sampler, [1], torch.tensor([0.5]))


def test_times_of_some_types_are_theirs_alone():
    data = library()
    data["author"].time = torch.zeros(24).long()
    with pytest.raises(
        ArgumentTypeError, match=r"'time' of type 'author' is .* of shape \[24\]; exp"
    ):
        NeighborSampler(data, [2], time_attr="time")
    data["author"].edge_time = torch.zeros(25).long()
    with pytest.raises(InputError, match="which nodes of type 'author' and edges of type"):
        NeighborSampler(data, [2], time_attr="edge_time")


def test_arguments_are_pygs():
    ours, theirs = (inspect.signature(loader).parameters for loader in (NeighborLoader, PyGLoader))
    assert [name for name in ours if name != "seed"] == list(theirs)
    for name, parameter in theirs.items():
        default = ours[name].default
        assert default == parameter.default, name
