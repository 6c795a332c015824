"""record_attention where models are run in other ways than once, plainly, in one thread."""

import copy
import pickle
import threading

import pytest
import torch
import torch_geometric.nn as pyg
from torch.utils.checkpoint import checkpoint

import gat
from gat.errors import ArgumentTypeError, InputError
from tests.graphs import GRAPHS
from tests.inspection.networks import WIDTH

EDGES, NODES, _ = GRAPHS["loops_and_duplicates"]
LIBRARIES = pytest.mark.parametrize("library", [pyg, gat.nn], ids=["pyg", "gat"])


def features():
    torch.manual_seed(2)
    return torch.randn(NODES, WIDTH)


class Again(torch.nn.Module):
    """Runs a layer ``times``, of which a checkpoint holds all but the first."""

    def __init__(self, conv, last=None, reentrant=False):
        super().__init__()
        self.conv, self.last, self.reentrant = conv, last, reentrant

    def forward(self, x, edge_index, times=2):
        x = self.conv(x, edge_index)
        for _ in range(times - 1):
            x = checkpoint(self.conv, x, edge_index, use_reentrant=self.reentrant)
        return self.last(x, edge_index) if self.last is not None and times > 1 else x


def again(library, name="GATConv", **options):
    torch.manual_seed(3)
    return Again(getattr(library, name)(WIDTH, WIDTH), **options)


@LIBRARIES
@pytest.mark.parametrize("name", ["GATConv", "SuperGATConv"])
@pytest.mark.parametrize("reentrant", [True, False], ids=["reentrant", "not_reentrant"])
def test_what_a_checkpoint_runs_again_is_no_new_call(library, name, reentrant):
    model = again(library, name, reentrant=reentrant)
    with gat.record_attention(model) as attention:
        out = model(features(), EDGES)
        before = {layer: record.weights.clone() for layer, record in attention.items()}
        out.sum().backward()
    assert list(attention) == ["conv", "conv#2"]
    assert not torch.equal(before["conv"], before["conv#2"])
    for layer, weights in before.items():
        assert torch.equal(attention[layer].weights, weights)


@LIBRARIES
def test_layers_that_the_last_pass_left_out_have_no_record(library):
    model = again(library, last=library.GATConv(WIDTH, 3))
    with gat.record_attention(model) as attention:
        model(features(), EDGES)
        assert list(attention) == ["conv", "conv#2", "last"]
        model(features(), EDGES, times=1)
    assert list(attention) == ["conv"]


@LIBRARIES
@pytest.mark.parametrize(
    "how", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copied", "pickled"]
)
@pytest.mark.parametrize("name", ["GATConv", "SuperGATConv"])
def test_a_copy_made_in_the_block_is_not_recorded(library, name, how):
    model = again(library, name).eval()
    with gat.record_attention(model) as attention:
        expected = model(features(), EDGES)
        twin = how(model)
    known = [hook for part in twin.modules() for hook in part._forward_hooks.values()]
    record, weights = attention["conv"], attention["conv"].weights.clone()
    assert torch.equal(twin(features(), EDGES), expected)
    twin(features() + 1, EDGES)
    assert attention["conv"] is record
    assert torch.equal(record.weights, weights)
    assert not any("attention" in repr(vars(hook)).lower() for hook in known)


@LIBRARIES
def test_a_second_thread_at_the_same_time_is_refused(library):
    model, said = again(library), []

    def elsewhere():
        with pytest.raises(InputError) as caught:
            model(features(), EDGES)
        said.append(str(caught.value))

    def meanwhile(*_):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()

    with gat.record_attention(model) as attention:
        handle = model.conv.register_forward_pre_hook(meanwhile)
        model(features(), EDGES)
        handle.remove()
        assert len(said) == 2
        assert "second thread" in said[0]
        assert "one after the other" in said[0]
        thread = threading.Thread(target=model, args=(features(), EDGES))
        thread.start()
        thread.join()
    assert list(attention) == ["conv", "conv#2"]


def test_a_name_with_underscores_is_no_edge_type():
    model = torch.nn.Module()
    model.one__two__three = gat.nn.GATConv(WIDTH, 2)
    model.forward = lambda x, edge_index: model.one__two__three(x, edge_index)
    with gat.record_attention(model) as attention:
        model(features(), EDGES)
    assert list(attention) == ["one__two__three"]
    assert attention["one__two__three"].edge_type is None


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"heads": 0}, ArgumentTypeError, r"heads is 0; expected a list of numbers: \[0\]"),
        ({"heads": {"conv9": [0]}}, InputError, "heads names layer 'conv9'; recorded are 'conv'"),
        ({"nodes": {"paper": [0]}}, InputError, "conv has targets of one type alone"),
    ],
    ids=["one_number", "unknown_layer", "by_type"],
)
def test_restrictions_that_would_not_hold_are_refused(options, error, said):
    model = again(gat.nn)
    with pytest.raises(error, match=said), gat.record_attention(model, **options):
        model(features(), EDGES)


def test_a_folder_that_cannot_be_used_is_refused_before_the_model_runs(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    model, ran = again(gat.nn), []
    model.register_forward_hook(lambda *_: ran.append(True))
    with (
        pytest.raises(InputError, match=r"holds thesis\.tex"),
        gat.record_attention(model, folder=tmp_path),
    ):
        model(features(), EDGES)
    assert not ran
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
