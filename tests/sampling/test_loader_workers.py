"""Epochs and worker processes: the same batches from any number, others in every epoch."""

import pickle
import warnings

import pytest
import torch
from torch_geometric.loader import NodeLoader

from gat import notices
from gat.errors import IndexRangeError, InputError
from gat.graph import graph_of
from gat.sampling import NeighborLoader, NeighborSampler
from tests.sampling.citations import library, papers


def passes(loader, count=2):
    """What ``count`` passes give, as lists that compare."""
    return [
        [(b.n_id.tolist(), b.e_id.tolist(), b.edge_index.tolist()) for b in loader]
        for _ in range(count)
    ]


def end_workers(loader):
    """Persistent ones, which wait for seconds if it is left to a collection of cycles."""
    loader._iterator = None


def loader_of(**options):
    options = {"batch_size": 8, "shuffle": True, "seed": 3} | options
    options = {"generator": torch.Generator().manual_seed(5)} | options
    return NeighborLoader(papers(), [3, 2], **options)


@pytest.mark.parametrize(
    "options",
    [
        {"num_workers": 2},
        {"num_workers": 2, "filter_per_worker": False},
        {"filter_per_worker": False},
    ],
    ids=["workers", "filtered here", "filtered here, no workers"],
)
def test_workers_give_the_same_batches(options):
    expected = passes(loader_of())
    assert passes(loader_of(**options)) == expected


def test_persistent_workers_give_the_same_batches():
    options = {"num_workers": 2, "persistent_workers": True, "shuffle": False}
    loader = loader_of(**options)
    assert passes(loader, 3) == passes(loader_of(shuffle=False), 3)
    end_workers(loader)


def test_workers_that_start_anew_give_the_same_batches():
    # torch cannot send a generator to them.
    options = {"num_workers": 1, "multiprocessing_context": "spawn", "shuffle": False}
    assert passes(loader_of(**options, generator=None), 1) == passes(loader_of(shuffle=False), 1)


@pytest.mark.parametrize("workers", [0, 2])
def test_epochs_draw_different_neighbours(workers):
    loader = loader_of(shuffle=False, num_workers=workers, persistent_workers=workers > 0)
    first, second = passes(loader)
    assert first != second
    assert [nodes[:2] for nodes, *_ in first] == [nodes[:2] for nodes, *_ in second]
    assert loader.epoch == 2
    loader.set_epoch(0)
    assert passes(loader, 1) == [first]
    end_workers(loader)


def test_a_run_goes_on_at_its_epoch():
    whole = passes(loader_of(shuffle=False), 3)
    later = loader_of(shuffle=False)
    later.set_epoch(2)
    assert passes(later, 1) == whole[2:]
    assert loader_of(seed=4, shuffle=False).epoch == 0
    assert passes(loader_of(seed=4, shuffle=False), 1) != whole[:1]


def test_heterogeneous_batches_are_the_same_from_workers():
    def batches(workers):
        loader = NeighborLoader(library(), [3, 2], "paper", batch_size=10, num_workers=workers)
        return [
            [kind.e_id.tolist() for kind in batch.edge_stores]
            + [kind.n_id.tolist() for kind in batch.node_stores]
            for _ in range(2)
            for batch in loader
        ]

    assert batches(2) == batches(0)


def test_batches_of_workers_are_known_to_be_sorted(monkeypatch):
    loader = loader_of(num_workers=2)
    with monkeypatch.context() as patched:
        patched.delattr("gat.graph.structure._sort")
        for batch in loader:
            graph = graph_of(batch.edge_index, (batch.num_nodes, batch.num_nodes))
            assert graph.num_edges == batch.num_edges
            assert len(batch.graphs) == 2


def test_a_workers_refusal_is_raised_here():
    loader = NeighborLoader(
        papers(), [2], input_nodes=torch.tensor([1, 1]), batch_size=2, num_workers=1
    )
    with pytest.raises(InputError, match="input_nodes: 1 is there twice"):
        list(loader)
    sampler = NeighborSampler(papers(), [2])
    with pytest.raises(IndexRangeError, match="input_nodes: 77 in place 0"):
        list(NodeLoader(papers(), sampler, torch.tensor([77]), num_workers=1))


@pytest.mark.parametrize("workers", [0, 2])
def test_pygs_node_loader_draws_the_epoch_it_is_told(workers):
    data = papers()
    sampler = NeighborSampler(data, [3, 2], seed=3)
    loader = NodeLoader(
        data, sampler, batch_size=8, num_workers=workers, persistent_workers=workers > 0
    )
    told = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        told += passes(loader, 1)
    end_workers(loader)
    assert told == passes(loader_of(shuffle=False))


def test_forgotten_epochs_are_told_once():
    notices.warn_once.cache_clear()
    data = papers()
    loader = NodeLoader(data, NeighborSampler(data, [3, 2]), batch_size=8)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="the neighbours of some nodes")
        first = passes(loader, 1)
        whole = NodeLoader(data, NeighborSampler(data, [-1]), batch_size=8)
        passes(whole, 2)
    with pytest.warns(UserWarning, match="call set_epoch of gat.sampling.NeighborSampler") as said:
        assert passes(loader, 2) == first * 2
    assert sum("set_epoch" in str(warning.message) for warning in said) == 1


def test_a_pickled_sampler_draws_the_same():
    data = papers()
    sampler = NeighborSampler(data, [3, 2], seed=1)
    sampler.set_epoch(4)
    copy = pickle.loads(pickle.dumps(sampler))
    assert copy.epoch == 4
    ours, theirs = (NodeLoader(data, s, batch_size=9) for s in (sampler, copy))
    assert passes(ours, 1) == passes(theirs, 1)
    copy.set_epoch(5)
    assert sampler.epoch == 4


@pytest.mark.parametrize("epoch", [-1, 1.5, True])
def test_epochs_that_are_none_are_refused(epoch):
    with pytest.raises(InputError, match="expected a whole number from 0 up"):
        loader_of().set_epoch(epoch)
    with pytest.raises(InputError, match="epoch is"):
        NeighborSampler(papers(), [2]).set_epoch(epoch)
