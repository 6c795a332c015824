"""record_attention in heterogeneous models: one record for each layer and edge type."""

import pytest
import torch
import torch_geometric.nn as pyg

import gat
from gat.errors import InputError
from tests.inspection.networks import WIDTH

CITES, WRITES = ("paper", "cites", "paper"), ("author", "writes", "paper")
METADATA = (["author", "paper"], [CITES, WRITES])
EDGES = {
    CITES: torch.tensor([[0, 1, 1, 3, 2, 1], [1, 0, 1, 2, 3, 0]]),
    WRITES: torch.tensor([[1, 0, 2, 1], [3, 0, 0, 0]]),
}


def features():
    torch.manual_seed(1)
    return {"author": torch.randn(3, WIDTH).double(), "paper": torch.randn(4, WIDTH).double()}


class Typed(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.conv = layer

    def forward(self, x_dict, edge_index_dict):
        return self.conv(x_dict, edge_index_dict)


def recorded(layer, **options):
    torch.manual_seed(4)
    model = Typed(layer.double())
    plain = model(features(), EDGES)
    torch.manual_seed(4)
    with gat.record_attention(model, **options) as attention:
        out = model(features(), EDGES)
    for kind in plain:
        if plain[kind] is not None and not model.training:
            torch.testing.assert_close(out[kind], plain[kind])
    assert list(attention) == [("conv", CITES), ("conv", WRITES)]
    for kind in (CITES, WRITES):
        record = attention["conv", kind]
        assert torch.equal(record.edge_index, EDGES[kind])
        assert (record.num_src, record.num_dst) == ({CITES: 4, WRITES: 3}[kind], 4)
        assert record.edge_type == kind
        assert record.same_nodes is (kind == CITES)
    return attention


@pytest.mark.parametrize("library", [pyg, gat.nn], ids=["pyg", "gat"])
@pytest.mark.parametrize("when", ["before_dropout", "after_dropout"])
def test_han(library, when):
    torch.manual_seed(2)
    layer = library.HANConv(WIDTH, 6, METADATA, heads=2, dropout=0.5)
    attention = recorded(layer.eval(), when=when)
    theirs = gat.nn.HANConv(WIDTH, 6, METADATA, heads=2).double()
    theirs.load_state_dict(layer.state_dict())
    _, weights = theirs(features(), EDGES, return_attention_weights=True)
    for kind, (_, expected) in weights.items():
        torch.testing.assert_close(attention["conv", kind].weights, expected.detach())


@pytest.mark.parametrize("library", [pyg, gat.nn], ids=["pyg", "gat"])
def test_han_in_training(library):
    torch.manual_seed(2)
    layer = library.HANConv(WIDTH, 6, METADATA, heads=2, dropout=0.5).train()
    before, after = (recorded(layer, when=when) for when in ("before_dropout", "after_dropout"))
    layer.eval()
    undropped = recorded(layer)
    dropped = 0
    for key, record in undropped.items():
        torch.testing.assert_close(before[key].weights, record.weights)
        kept = after[key].weights != 0
        dropped += int((~kept).sum())
        torch.testing.assert_close(after[key].weights[kept], 2 * record.weights[kept])
    assert dropped > 0


def test_hgt_shares_one_softmax_among_the_edge_types_that_enter_a_node():
    torch.manual_seed(2)
    layer = pyg.HGTConv(WIDTH, 6, METADATA, heads=2)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    attention = recorded(layer)
    sums = sum(record.sums for record in attention.values())
    torch.testing.assert_close(sums, torch.ones(4, 2).double())
    expected = hgt_weights(layer)
    for kind in EDGES:
        torch.testing.assert_close(attention["conv", kind].weights, expected[kind])


def hgt_weights(layer):
    """Hu et al. 2020, "Heterogeneous Graph Transformer", eq. 3, edge by edge."""
    heads, width = 2, 3
    nodes = {kind: out.chunk(3, dim=1) for kind, out in layer.kqv_lin(features()).items()}
    scores = {}
    for number, kind in enumerate(layer.edge_types):
        key = nodes[kind[0]][0].view(-1, heads, width)
        query = nodes[kind[2]][1].view(-1, heads, width)
        prior = layer.p_rel["__".join(kind)].view(-1)
        rows = []
        for source, target in EDGES[kind].t().tolist():
            row = []
            for head in range(heads):
                matrix = layer.k_rel.weight[head * len(layer.edge_types) + number]
                row.append(key[source, head] @ matrix @ query[target, head] * prior[head])
            rows.append(torch.stack(row) / width**0.5)
        scores[kind] = torch.stack(rows).detach()
    total = torch.zeros(4, heads).double()
    for kind, score in scores.items():
        total.index_add_(0, EDGES[kind][1], score.exp())
    return {kind: score.exp() / total[EDGES[kind][1]] for kind, score in scores.items()}


@pytest.mark.filterwarnings("ignore:There exist node types")
@pytest.mark.parametrize("library", [pyg, gat.nn], ids=["pyg", "gat"])
def test_hetero_conv(library):
    convs = {
        CITES: library.GATConv(WIDTH, 5, heads=2),
        WRITES: library.GATConv((WIDTH, WIDTH), 5, heads=2, add_self_loops=False),
    }
    layer = library.HeteroConv(convs)
    attention = recorded(layer)
    for kind, conv in convs.items():
        x = features()
        pair = x["paper"] if kind == CITES else (x["author"], x["paper"])
        with gat.record_attention(conv) as alone:
            conv(pair, EDGES[kind])
        torch.testing.assert_close(attention["conv", kind].weights, alone["GATConv"].weights)
    with pytest.raises(KeyError, match="'conv' attends over 2 edge types; ask for one of"):
        attention["conv"]


@pytest.mark.filterwarnings("ignore:There exist node types")
def test_to_hetero_models_are_recorded_by_layer_and_type():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = gat.nn.GATv2Conv((-1, -1), 5, heads=2, add_self_loops=False)

        def forward(self, x, edge_index):
            return self.first(x, edge_index)

    model = pyg.to_hetero(Net(), METADATA)
    x = {kind: value.float() for kind, value in features().items()}
    model(x, EDGES)
    with gat.record_attention(model) as attention:
        model(x, EDGES)
    assert set(attention) == {("first", CITES), ("first", WRITES)}
    assert attention["first", WRITES].num_src == 3


def test_nodes_are_named_by_type():
    layer = gat.nn.HANConv(WIDTH, 6, METADATA, heads=2).double()
    with gat.record_attention(layer, nodes={"paper": [0]}) as attention:
        layer(features(), EDGES)
    assert attention["HANConv", WRITES].edge_id.tolist() == [1, 2, 3]
    assert attention["HANConv", CITES].edge_id.tolist() == [1, 5]


def test_a_list_of_nodes_says_of_which_type():
    layer = gat.nn.HANConv(WIDTH, 6, METADATA, heads=2).double()
    with (
        pytest.raises(InputError, match=r"nodes .* by node type: \{'paper': "),
        gat.record_attention(layer, nodes=[0]),
    ):
        layer(features(), EDGES)


class Wrapped(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = pyg.GATConv((WIDTH, WIDTH), 3, add_self_loops=False).double()

    def forward(self, x, edge_index):
        return self.inner(x, edge_index)


@pytest.mark.filterwarnings("ignore:There exist node types")
def test_a_layer_deeper_under_an_edge_type_has_that_type():
    model = Typed(pyg.HeteroConv({CITES: Wrapped(), WRITES: Wrapped()}))
    with gat.record_attention(model) as attention:
        model(features(), EDGES)
    assert list(attention) == [("conv.inner", CITES), ("conv.inner", WRITES)]
    assert torch.equal(attention["conv.inner", WRITES].edge_index, EDGES[WRITES])


@pytest.mark.filterwarnings("ignore:There exist node types")
def test_one_layer_for_several_edge_types_is_refused():
    layer = pyg.GATConv((WIDTH, WIDTH), 3, add_self_loops=False).double()
    model = Typed(pyg.HeteroConv({CITES: layer, WRITES: layer}))
    with (
        pytest.raises(InputError, match="GATConv in 'conv' is one layer for 2 edge types"),
        gat.record_attention(model),
    ):
        model(features(), EDGES)
