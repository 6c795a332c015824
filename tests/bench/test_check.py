"""Every peer is right, and one that is not is named, with the tensor, before any speed is told."""

import pytest
import torch

from gat.bench import check, graphs, layer, peers
from gat.bench.case import Plan
from gat.bench.shape import DTYPES, OPERATORS, Shape, make_inputs
from gat.cli import main
from gat.errors import WrongResultError
from gat.ops import backend

NARROW = ("bfloat16", "float16")


def bounds_of(inputs, operator, dtype=torch.float32):
    return check.bounds(lambda dtype: check.truth(inputs, operator, dtype), dtype=dtype)


def skip_if_absent(name, operator):
    """A peer that cannot compute here; that it says so in words is tested elsewhere."""
    reason = peers.PEERS[name].why_not(Shape(operator, 2, 5, "tiny"))
    if name in ("cpu", "triton"):
        reason = backend.why_not(name, {"gat": "additive"}.get(operator, operator), "cpu")
    if reason:
        pytest.skip(f"{name} {reason}")


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("name", peers.PEERS)
def test_every_peer_computes_what_the_reference_does(operator, name):
    skip_if_absent(name, operator)
    inputs = make_inputs(graphs.build("tiny"), operator, 2, 5)
    bounds = bounds_of(inputs, operator)
    assert set(bounds) == {"out", *(f"grad {tensor}" for tensor in OPERATORS[operator])}
    errors = check.errors(peers.PEERS[name].of(operator)(inputs.graph), inputs, bounds)
    check.refuse_wrong(name, {name: errors}, {k: b.tolerance for k, b in bounds.items()})
    assert max(bound.tolerance for bound in bounds.values()) < 1e-4


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("name", ["gat", "blockwise", "reference"])
@pytest.mark.parametrize("dtype", NARROW)
def test_ours_are_right_in_a_narrow_dtype_to_what_it_can_tell(dtype, name, operator):
    found = layer.check(Shape(operator, 2, 5, "tiny", dtype=dtype).to_dict(), [name])
    check.refuse_wrong(name, found["errors"], found["tolerance"])
    eps = torch.finfo(DTYPES[dtype]).eps
    assert all(eps <= tolerance <= 20 * eps for tolerance in found["tolerance"].values())
    wide = layer.check(Shape(operator, 2, 5, "tiny").to_dict(), ["gat"])
    assert found["floor"]["together"] < wide["floor"]["together"]


@pytest.mark.parametrize("dtype", NARROW)
def test_a_peer_that_is_off_by_a_tenth_is_wrong_in_a_narrow_dtype_too(monkeypatch, dtype):
    def off(graph):
        attend = peers.PEERS["gat"].of("gat")(graph)
        return lambda tensors: attend({**tensors, "value": tensors["value"] * 1.1})

    monkeypatch.setitem(peers.PEERS, "wrong", peers.Kind("off", lambda operator: off))
    found = layer.check(Shape("gat", 2, 5, "tiny", dtype=dtype).to_dict(), ["gat", "wrong"])
    with pytest.raises(WrongResultError, match="wrong computes out wrong"):
        check.refuse_wrong("it", found["errors"], found["tolerance"])


def test_the_reference_in_narrow_blocks_errs_hardly_more_than_at_once(monkeypatch):
    inputs = make_inputs(graphs.build("tiny"), "gatv2", 2, 5, torch.bfloat16)
    whole = bounds_of(inputs, "gatv2", torch.bfloat16)
    monkeypatch.setattr(check, "BLOCK", 30)
    parts = bounds_of(inputs, "gatv2", torch.bfloat16)
    for name, bound in whole.items():
        assert parts[name].tolerance <= 2 * bound.tolerance
        assert parts[name].truth.dtype is torch.float64


@pytest.mark.parametrize("operator", OPERATORS)
def test_the_reference_in_blocks_is_the_reference(monkeypatch, operator):
    inputs = make_inputs(graphs.build("tiny"), operator, 2, 5)
    whole = check.truth(inputs, operator, torch.float64)
    # Ten entries an edge: blocks of about three edges, and of one target where it has more.
    monkeypatch.setattr(check, "BLOCK", 30)
    assert len(list(check._blocks(inputs.graph, 10))) > 20
    parts = check.truth(inputs, operator, torch.float64)
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, rtol=1e-12, atol=1e-12)


def test_blocks_cover_every_target_once_also_those_without_edges():
    graph = check.Graph.from_edge_index(torch.tensor([[0, 1, 2, 0], [3, 3, 3, 6]]), 9)
    seen = [
        target for first, last, _ in check._blocks(graph, 1 << 24) for target in range(first, last)
    ]
    assert seen == list(range(9))


def _slightly_wrong(graph):
    attend = peers.PEERS["gat"].of("gat")(graph)
    return lambda tensors: attend({**tensors, "score_dst": tensors["score_dst"] * 1.0001})


@pytest.fixture
def wrong(monkeypatch):
    kind = peers.Kind("wrong by a ten-thousandth", lambda operator: _slightly_wrong)
    monkeypatch.setitem(peers.PEERS, "wrong", kind)


@pytest.mark.usefixtures("wrong")
def test_a_wrong_peer_is_refused_before_anything_is_timed(at_home):
    with pytest.raises(WrongResultError, match=r"wrong computes .* wrong for gat 2x5 on tiny"):
        layer.measure_layer(Shape("gat", 2, 5, "tiny"), Plan(("gat", "wrong"), repeats=1))
    assert [function for function, _ in at_home] == ["layer.check"]


@pytest.mark.usefixtures("wrong", "at_home")
def test_the_command_exits_with_1_and_prints_no_figure(capsys, tmp_path):
    arguments = ["--peers", "gat,wrong", "--graph", "tiny", "--heads", "2", "--channels", "5"]
    output = tmp_path / "figures.json"
    assert main(["bench", "layer", *arguments, "--output", str(output)]) == 1
    said = capsys.readouterr()
    assert "\ngat: wrong computes out wrong for gat 2x5 on tiny: it is " in said.err
    assert "No speed of wrong results is told; leave wrong out, or mend it" in said.err
    assert said.out == ""
    assert not output.exists()


@pytest.mark.parametrize("value", [2e-6, float("nan"), float("inf")])
def test_what_exceeds_its_tolerance_is_named_with_its_error(value):
    errors = {"gat": {"out": 1e-7}, "pyg": {"out": 0.0, "grad value": value}}
    tolerance = {"out": 1e-6, "grad value": 1e-6}
    with pytest.raises(WrongResultError, match="pyg computes grad value wrong for it: it is") as e:
        check.refuse_wrong("it", errors, tolerance)
    assert e.value.exit_code == 1
    assert "1.0e-06 is tolerated" in str(e.value)


def test_a_result_of_another_shape_is_infinitely_wrong():
    bound = check.ErrorBound(torch.ones(3), 1.0, 1e-6)
    assert bound.error(torch.ones(2)) == float("inf")
    assert bound.error(torch.ones(3)) == 0


def test_a_peer_that_does_not_fit_is_absent_and_a_bug_is_not():
    def find(name):
        if name == "large":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")
        if name == "bug":
            raise RuntimeError("shape mismatch")
        return {"out": 0.0}

    found, absent = check.all_errors(find, ["small", "large"])
    assert found == {"small": {"out": 0.0}}
    assert absent == {"large": "did not fit in memory"}
    with pytest.raises(RuntimeError, match="shape mismatch"):
        check.all_errors(find, ["bug"])


def test_where_the_whole_graph_is_too_much_fewer_edges_are_checked(monkeypatch):
    monkeypatch.setattr(layer, "CHECKED_MOST", 2000)
    found = layer.check(Shape("gat", 2, 5, "tiny").to_dict(), ["gat"])
    assert found["facts"]["edges"] > 400
    checked, whole = found["on"].split(" of ")
    assert 200 <= int(checked) < int(whole.split()[0]) == found["facts"]["edges"]
