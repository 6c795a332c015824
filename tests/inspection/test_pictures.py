"""Pictures: what is in them, that nothing in them overlaps, and that they read without colour."""

import subprocess
import sys
import warnings
from itertools import combinations, pairwise
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection

from gat.errors import IndexRangeError, InputError, MissingDependencyError
from gat.inspection.measures import change_over_epochs, entropy, head_agreement
from gat.inspection.pictures import (
    caption_of,
    draw_deletion_curves,
    draw_embedding,
    draw_entropy,
    draw_epochs,
    draw_head_agreement,
    draw_neighbourhood,
    draw_weight_by_degree,
    embedding,
    palette,
    style,
)
from gat.inspection.pictures.placing import gather, place
from gat.inspection.pictures.sketch import THIN, WIDE
from gat.inspection.record import Attention
from tests.graphs import GRAPHS
from tests.inspection.figures import (
    assert_well_laid_out,
    legend_of,
    parts,
)
from tests.inspection.picture_records import record_of, star

WITH_NODES = [name for name in GRAPHS if GRAPHS[name][2]]


def edges_of(figure):
    """Line widths of the edges, one array for each panel."""
    return [np.array(panel[0].get_linewidths()) for panel in parts(figure, "edges")]


# Neighbourhood


@pytest.mark.parametrize("hops", [1, 2, 3])
@pytest.mark.parametrize("name", WITH_NODES)
def test_gather_takes_the_edges_on_the_way_to_the_node(name, hops):
    edge_index, num_src, num_dst = GRAPHS[name]
    record = record_of(edge_index, num_src, num_dst)
    if not record.same_nodes:
        hops = 1
    hood = gather(record, 0, hops, max_nodes=1000)
    source, target = edge_index.tolist()
    # Breadth first, written out.
    hop, level = {0: 0} if record.same_nodes else {}, {0}
    for number in range(1, hops + 1):
        new = {s for s, t in zip(source, target, strict=True) if t in level} - set(hop)
        hop.update(dict.fromkeys(new, number))
        level = new
    inner = {node for node, number in hop.items() if number < hops} | {0}
    rows = [
        row
        for row, (s, t) in enumerate(zip(source, target, strict=True))
        if (t in inner if record.same_nodes else t == 0) and not (s == t and record.same_nodes)
    ]
    assert hood.rows.tolist() == rows
    shown = hood.nodes.tolist() if record.same_nodes else hood.nodes.tolist()[1:]
    assert sorted(shown) == sorted(hop)
    assert hood.nodes[0] == 0
    assert hood.num_left_out == 0
    ends = zip(hood.nodes[hood.start].tolist(), hood.nodes[hood.end].tolist(), strict=True)
    assert list(ends) == [(source[row], target[row]) for row in rows]


@pytest.mark.parametrize("name", WITH_NODES)
@pytest.mark.parametrize("hops", [1, 2])
def test_gather_keeps_the_most_attended_with_a_path_to_each(name, hops):
    edge_index, num_src, num_dst = GRAPHS[name]
    record = record_of(edge_index, num_src, num_dst)
    hops = hops if record.same_nodes else 1
    whole, few = gather(record, 0, hops, 1000), gather(record, 0, hops, 4)
    assert few.nodes.tolist() == whole.nodes[:4].tolist()
    assert few.num_left_out == len(whole.nodes) - len(few.nodes)
    assert all(few.hop[few.parent[1:]] == few.hop[1:] - 1)
    direct = few.nodes[1:][few.hop[1:] == 1]
    weights = record.weights.mean(1)
    best = [float(weights[(record.target == 0) & (record.source == node)].max()) for node in direct]
    assert best == sorted(best, reverse=True)


@pytest.mark.parametrize("name", ["random", "sixty_three_edges", "path_both_ways"])
@pytest.mark.parametrize("hops", [1, 2, 3])
def test_places_are_rings_by_hops_without_two_nodes_on_one_spot(name, hops):
    hood = gather(record_of(*GRAPHS[name]), 3, hops, 60)
    spots = place(hood)
    radii = [np.unique(np.hypot(*spots[hood.hop == ring].T).round(9)) for ring in range(hops + 1)]
    assert all(len(radius) == 1 for radius in radii)
    assert radii[0] == [0]
    assert radii[-1] == [1]
    assert all(inner < outer - 0.1 for inner, outer in pairwise(radii))
    # The most attended is at the top.
    assert np.allclose(spots[1], [0, *radii[1]])
    assert min(np.hypot(*(a - b)) for a, b in combinations(spots, 2)) > 0.02


def test_places_give_a_crowded_inner_ring_more_room():
    edges = torch.tensor([[*range(1, 41), 41], [0] * 40 + [1]])
    hood = gather(record_of(edges, 42, 42), 0, 2, 60)
    radius = np.hypot(*place(hood).T)
    assert radius[hood.hop == 1] == pytest.approx(0.78)
    assert radius[hood.hop == 2] == pytest.approx(1)


@pytest.mark.parametrize("heads", [1, 2, 8])
def test_draw_neighbourhood_has_the_mean_and_up_to_five_heads(heads):
    figure = draw_neighbourhood(star(7, heads), 0)
    titles = [ax.get_title().splitlines()[0] for ax in figure.axes]
    several = [f"mean of {heads} heads", *(f"head {number}" for number in range(min(heads, 5)))]
    assert titles == (several if heads > 1 else ["head 0"])
    assert ("3 more heads can be drawn by heads=[5, 6, 7]" in caption_of(figure)) == (heads == 8)
    assert_well_laid_out(figure)


def test_draw_neighbourhood_has_the_heads_asked_for():
    record = star(7, 4)
    titles = [ax.get_title() for ax in draw_neighbourhood(record, 0, heads=[3, 1]).axes]
    assert [title.splitlines()[0] for title in titles] == ["head 3", "head 1"]
    own = record.to_self[0]
    assert titles[0].endswith(f"on itself: {float(own[3]):.2g}")
    (mean,) = draw_neighbourhood(record, 0, heads=[]).axes
    assert mean.get_title().startswith("mean of 4 heads")
    with pytest.raises(IndexRangeError, match="no record of head 9"):
        draw_neighbourhood(record, 0, heads=[9])


def test_draw_neighbourhood_draws_wider_and_darker_lines_for_more_weight():
    record = star(9, 3, sharp=2.0)
    figure = draw_neighbourhood(record, 0, hops=1)
    enters = record.target == 0
    for head, panel in enumerate(parts(figure, "edges")[1:]):
        weights = record.weights[enters, head].sort().values.numpy()
        widths, greys = panel[0].get_linewidths(), panel[0].get_colors()[:, 0]
        assert len(widths) == 9
        assert np.all(np.diff(widths) > 0)
        assert np.all(np.diff(greys) < 0)
        # One scale for all panels: widths are a line over weights.
        largest = max(float(record.weights[enters].max()), float(record.to_self[0].max()))
        expected = width_of(weights / largest)
        assert np.allclose(widths, expected, atol=1e-5)


def width_of(share):
    return THIN + (WIDE - THIN) * share


def test_draw_neighbourhood_rings_are_as_wide_as_the_weight_on_self():
    record = star(5, 1)
    (rings,) = parts(draw_neighbourhood(record, 0, hops=2), "rings")
    # Of the leaves too: their messages are among those drawn, so their loops are.
    assert len(rings[0].get_linewidths()) == 6
    (rings,) = parts(draw_neighbourhood(record, 0, hops=1), "rings")
    (width,) = rings[0].get_linewidths()
    largest = max(float(record.weights[record.target == 0].max()), float(record.to_self[0]))
    assert width == pytest.approx(width_of(float(record.to_self[0]) / largest), rel=1e-5)


@pytest.mark.parametrize(("hops", "read"), [(1, "darker a line"), (2, "darker an arrow")])
def test_draw_neighbourhood_has_arrows_where_edges_go_to_several_nodes(hops, read):
    figure = draw_neighbourhood(star(3, 1), 0, hops=hops)
    arrows = [one for one in figure.axes[0].collections if isinstance(one, PolyCollection)]
    assert [len(one.get_paths()) for one in arrows] == ([] if hops == 1 else [6])
    assert read in caption_of(figure)


def test_draw_neighbourhood_of_two_hops_bends_edges_that_come_back():
    (panel,) = parts(draw_neighbourhood(star(3, 1), 0, hops=2), "edges")
    middles = [tuple(np.round(path.vertices[6], 6)) for path in panel[0].get_paths()]
    assert len(middles) == 6
    assert len(set(middles)) == 6


def test_draw_neighbourhood_tells_copies_of_an_edge_apart():
    record = record_of(torch.tensor([[1, 1, 1], [0, 0, 0]]), 2, 2, heads=1)
    (panel,) = parts(draw_neighbourhood(record, 0), "edges")
    assert len({tuple(np.round(path.vertices[6], 6)) for path in panel[0].get_paths()}) == 3


def test_draw_neighbourhood_of_a_hub_says_how_many_nodes_are_missing():
    record = star(168, 8)
    figure = draw_neighbourhood(record, 0, torch.arange(169) % 7)
    assert [len(widths) for widths in edges_of(figure)] == [59] * 6
    assert "around it 59 nodes" in caption_of(figure)
    assert "Left out: the 109 nodes" in caption_of(figure)
    shown = record.weights[record.target == 0].mean(1).sort(descending=True).values[:59].sum()
    share = float(shown + record.to_self[0].mean())
    assert f"have {share:.0%} of its attention" in caption_of(figure)
    assert_well_laid_out(figure)


def test_draw_neighbourhood_legend_has_the_classes_that_are_there():
    record = star(4, 1)
    y = torch.tensor([2, 0, 0, -1, 5])
    names = ["zero", "one", "two", "three", "four", "$five_{x}$ which is long, too long to show"]
    figure = draw_neighbourhood(record, 0, y, class_names=names)
    assert legend_of(figure)[:4] == ["zero", "two", "$five_{x}$ which is lon…", "no label"]
    assert [entry.startswith("weight") for entry in legend_of(figure)[4:]] == [True] * 3
    (nodes,) = parts(figure, "nodes")
    assert [len(group.get_offsets()) for group in nodes] == [2, 1, 1, 1]
    assert_well_laid_out(figure)


def test_draw_neighbourhood_without_labels_has_no_classes_in_the_legend():
    assert all(entry.startswith("weight") for entry in legend_of(draw_neighbourhood(star(3), 0)))


def test_draw_neighbourhood_of_a_node_without_edges_says_so():
    edge_index, num_src, num_dst = GRAPHS["isolated_nodes"]
    figure = draw_neighbourhood(record_of(edge_index, num_src, num_dst), 5, torch.zeros(7).long())
    assert caption_of(figure).startswith("Node 5 alone: no message of another node reaches it")
    assert [len(widths) for widths in edges_of(figure)] == [0, 0, 0]
    assert_well_laid_out(figure)


def test_draw_neighbourhood_writes_long_names_short_and_no_formulas():
    record = star(12, 1)
    names = [f"$x_{{{node}}}$ a very long name & <b>" for node in range(13)]
    figure = draw_neighbourhood(record, 0, names=names)
    (labels,) = parts(figure, "name")
    assert len(labels) == 12
    assert all(len(label.get_text()) <= 14 and not label.get_parse_math() for label in labels)
    assert_well_laid_out(figure)
    assert_well_laid_out(draw_neighbourhood(star(12, 8), 0, names=names))


def test_draw_neighbourhood_of_many_nodes_leaves_names_away_and_says_so():
    figure = draw_neighbourhood(star(40, 1), 0)
    assert parts(figure, "name") == [[]]
    assert "names are left away" in caption_of(figure)


def test_draw_neighbourhood_of_a_bipartite_graph():
    record = record_of(*GRAPHS["bipartite_wide"])
    y = torch.arange(11) % 3, torch.full((5,), 3)
    figure = draw_neighbourhood(record, 2, y)
    sources = record.source[record.target == 2]
    assert [len(widths) for widths in edges_of(figure)] == [len(sources)] * 3
    classes = sorted({int(one) for one in y[0][sources]} | {3})
    assert legend_of(figure)[:-3] == [f"class {number}" for number in classes]
    assert "on itself" not in figure.axes[0].get_title()
    assert_well_laid_out(figure)
    with pytest.raises(InputError, match="no second hop follows the first: pass hops=1"):
        draw_neighbourhood(record, 2, hops=2)


@pytest.mark.parametrize("leaves", [8, 60, 200])
def test_draw_neighbourhood_rings_of_crowded_nodes_hide_no_node(leaves):
    record = star(leaves, 1)
    figure = draw_neighbourhood(record, 0, hops=2, max_nodes=leaves + 1)
    [[rings]] = parts(figure, "rings")
    sizes, widths = rings.get_sizes() ** 0.5, rings.get_linewidths()
    spots = rings.get_offsets()
    figure.draw_without_rendering()
    points = rings.axes.transData.transform(spots) * 72 / figure.dpi
    apart = np.linalg.norm(points[1] - points[2])
    # A ring ends before the middle of the next node's marker.
    assert (sizes + widths)[1:].max() / 2 < apart


def test_draw_neighbourhood_draws_negative_weights_dashed():
    record = star(3, 1)
    record.weights[:, 0] *= torch.tensor([1, -1, 1, 1, 1, 1])
    figure = draw_neighbourhood(record, 0)
    styles = [dashes for _, dashes in parts(figure, "edges")[0][0].get_linestyles()]
    assert sum(dashes is not None for dashes in styles) == 1
    assert "Dashed lines are negative weights" in caption_of(figure)


def test_draw_neighbourhood_of_a_partial_record():
    seen = torch.tensor([True, False, True, True])
    complete = torch.tensor([False, False, True, True])
    record = star(3, 1, seen=seen, complete=complete)
    assert "Only a sample of the edges into node 0" in caption_of(draw_neighbourhood(record, 0))
    with pytest.raises(InputError, match="conv1 has no record of node 1"):
        draw_neighbourhood(record, 1)


def test_draw_neighbourhood_of_several_layers_is_of_the_last():
    first, last = star(3, 4), star(3, 1)
    object.__setattr__(last, "layer", "conv2")
    figure = draw_neighbourhood(Attention([first, last]), 0)
    assert len(figure.axes) == 1
    assert figure.texts[0].get_text() == "What node 0 looks at in conv2"


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"node": 4}, IndexRangeError, r"node is 4; expected a node in \[0, 4\)"),
        ({"hops": 0}, InputError, "hops is 0"),
        ({"max_nodes": 1}, InputError, "max_nodes 1"),
        ({"y": torch.zeros(3).long()}, InputError, r"expected one class per node, \[4\]"),
        ({"y": torch.tensor([0, 1, 2, 3]), "class_names": ["a"]}, InputError, "has 1 names"),
        ({"names": ["a"]}, InputError, "names has 1"),
    ],
    ids=["node", "hops", "max_nodes", "labels", "class_names", "names"],
)
def test_draw_neighbourhood_refuses(wrong, error, says):
    with pytest.raises(error, match=says):
        draw_neighbourhood(**{"attention": star(3), "node": 0, **wrong})


# Distributions


@pytest.mark.parametrize("draw", [draw_entropy, draw_weight_by_degree])
@pytest.mark.parametrize("heads", [1, 14])
def test_distributions_have_a_panel_for_each_head_up_to_twelve(draw, heads):
    edge_index, num_src, num_dst = GRAPHS["random"]
    figure = draw(record_of(edge_index, num_src, num_dst, heads))
    assert len(figure.axes) == min(heads, 12)
    assert ("the first 12 of 14 heads" in caption_of(figure)) == (heads == 14)
    assert_well_laid_out(figure)


def heights(ax, gid):
    """The bars' heights of one histogram, filled or an outline."""
    patches = [one for one in ax.patches if one.get_gid() == gid]
    if len(patches) > 1:
        return [round(bar.get_height()) for bar in patches]
    outline = patches[0].get_xy()
    return [round(y) for y in outline[1:-1:2, 1]]


def test_draw_entropy_counts_each_node_once():
    record = record_of(*GRAPHS["random"], heads=1, sharp=2.0)
    (ax,) = draw_entropy(record).axes
    found = entropy(record)
    chooses = found.degree >= 2
    edges = [bar.get_x() for bar in ax.patches if bar.get_gid() == "even"]
    edges.append(float("inf"))
    for gid, values in (("even", found.uniform.exp()), ("head", found.effective_neighbours[:, 0])):
        expected = [
            int(((values[chooses] >= low) & (values[chooses] < high)).sum())
            for low, high in pairwise(edges)
        ]
        assert heights(ax, gid) == expected
        assert sum(expected) == int(chooses.sum())


def test_draw_entropy_of_an_even_spread_follows_the_grey_area():
    record = record_of(*GRAPHS["random"], heads=1, sharp=0.0)
    figure = draw_entropy(record)
    assert heights(figure.axes[0], "even") == heights(figure.axes[0], "head")
    assert figure.axes[0].get_title() == "head 0: 100.0% of even"


def test_draw_entropy_says_how_many_nodes_have_no_choice():
    figure = draw_entropy(record_of(*GRAPHS["isolated_nodes"]))
    assert caption_of(figure).startswith("2 nodes,")
    assert "Left out: 5 nodes with a single edge" in caption_of(figure)


def test_draw_entropy_of_no_node_counts_from_zero():
    record = record_of(torch.empty(2, 0, dtype=torch.int64), 3, 3)
    assert draw_entropy(record).axes[0].get_ylim()[0] == 0


def test_draw_weight_by_degree_has_medians_of_edges_at_their_degree():
    record = record_of(*GRAPHS["hub"], heads=1, loops=False)
    (ax,) = draw_weight_by_degree(record).axes
    (dot,) = [line for line in ax.lines if line.get_marker() == "o"]
    assert float(dot.get_xdata()[0]) == pytest.approx(97)
    assert float(dot.get_ydata()[0]) == pytest.approx(float(record.weights.median()), rel=1e-4)
    reference = ax.lines[0].get_xydata()
    assert np.allclose(reference[:, 1], 1 / reference[:, 0])
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_draw_weight_by_degree_draws_zero_on_the_lower_edge_and_says_so():
    record = star(3, 1)
    record.weights[0] = 0
    assert "Weights below 1e-06 are drawn there" in caption_of(draw_weight_by_degree(record))


# Heads


def test_draw_head_agreement_writes_the_divergences():
    record = record_of(*GRAPHS["random"], heads=3, sharp=2.0)
    figure = draw_head_agreement(record)
    numbers = [text.get_text() for text in parts(figure, "number")[0]]
    assert numbers == [f"{value:.2f}" for value in head_agreement(record).divergence.flatten()]
    assert "3 pairs of heads" in caption_of(figure)
    assert len(figure.axes) == 2
    assert_well_laid_out(figure)


def test_draw_head_agreement_of_nearly_equal_heads_counts_in_thousandths():
    figure = draw_head_agreement(torch.tensor([[0.0, 0.0012], [0.0012, 0.0]]))
    numbers = [text.get_text() for text in parts(figure, "number")[0]]
    assert numbers == ["0.00", "1.20", "1.20", "0.00"]
    assert figure.axes[1].get_ylabel().endswith("(0.001 nats)")
    # The scale goes on to 10, so that these are nearly white.
    assert figure.axes[0].images[0].get_clim() == (0, 10)


def test_draw_head_agreement_without_a_choice_says_so_and_not_that_heads_are_the_same():
    edges = torch.tensor([[1, 2], [0, 1]])
    caption = caption_of(draw_head_agreement(record_of(edges, 3, 3, heads=2, loops=False)))
    assert "no head has a choice" in caption
    assert "nearly the same" not in caption


@pytest.mark.parametrize("heads", [1, 8, 20])
def test_draw_head_agreement_of_any_number_of_heads(heads):
    figure = draw_head_agreement(record_of(*GRAPHS["random"], heads=heads))
    assert len(parts(figure, "number")[0]) == (heads * heads if heads <= 16 else 0)
    assert_well_laid_out(figure)


def test_draw_head_agreement_takes_measures_and_refuses_other_shapes():
    agreement = head_agreement(record_of(*GRAPHS["random"]))
    assert len(parts(draw_head_agreement(agreement), "number")[0]) == 4
    with pytest.raises(InputError, match=r"expected a row and a column for each head, \[H, H\]"):
        draw_head_agreement(torch.zeros(2, 3))


# Embedding


def blobs(count, width=6, classes=3):
    y = torch.arange(count) % classes
    noise = torch.randn(count, width, generator=torch.Generator().manual_seed(1))
    return noise + 8 * torch.eye(max(width, classes))[y][:, :width], y


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_draw_embedding_has_every_node_with_its_class(method):
    x, y = blobs(60)
    y[5] = -1
    figure = draw_embedding(x, y, method, class_names=["a", "b", "c"])
    assert legend_of(figure) == ["a", "b", "c", "no label"]
    (groups,) = parts(figure, "nodes")
    assert [len(group.get_offsets()) for group in groups] == [20, 20, 19, 1]
    assert "Each point is a node" in caption_of(figure)
    assert ("Distances between groups" in caption_of(figure)) == (method == "tsne")
    assert_well_laid_out(figure)


def spots_of(figure):
    return np.concatenate([group.get_offsets() for group in parts(figure, "nodes")[0]])


def test_draw_embedding_repeats_itself_and_pca_is_the_projection():
    x, y = blobs(40)
    assert np.array_equal(spots_of(draw_embedding(x, y)), spots_of(draw_embedding(x, y)))
    found = spots_of(draw_embedding(x, None, "pca"))
    centred = x - x.mean(0)
    expected = centred @ torch.linalg.svd(centred).Vh[:2].T
    assert np.allclose(np.abs(found), expected.abs().numpy(), atol=1e-4)


def test_draw_embedding_by_umap_hands_over_seed_and_neighbours(monkeypatch):
    # UMAP itself compiles for half a minute at its first call.
    asked = {}

    class UMAP:
        def __init__(self, **options):
            asked.update(options)

        def fit_transform(self, rows):
            return rows[:, :2]

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=UMAP, __spec__=object()))
    x, y = blobs(12)
    figure = draw_embedding(x, y, "umap", seed=7)
    assert (asked["random_state"], asked["n_neighbors"]) == (7, 11)
    assert figure.texts[0].get_text() == "UMAP of 12 embeddings"
    expected = torch.cat([x[y == number, :2] for number in range(3)])
    assert np.array_equal(spots_of(figure), expected.numpy())


@pytest.mark.parametrize("count", [0, 1, 2, 5, 7])
@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_draw_embedding_of_few_nodes(method, count):
    x, y = blobs(7)
    figure = draw_embedding(x[:count], y[:count], method)
    drawn = sum(len(group.get_offsets()) for group in parts(figure, "nodes")[0])
    assert drawn == count
    assert_well_laid_out(figure)


def test_draw_embedding_of_one_number_per_node():
    x, y = blobs(20, width=1)
    for method in ("tsne", "pca"):
        assert spots_of(draw_embedding(x, y, method)).shape == (20, 2)


def test_draw_embedding_of_nodes_that_are_all_alike():
    # t-SNE of such rows divides by 0 and then ends the whole process.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spots = spots_of(draw_embedding(torch.ones(30, 4)))
    assert np.allclose(spots, 0)


def test_draw_embedding_of_many_nodes_draws_some_and_says_so():
    x, y = blobs(90)
    figure = draw_embedding(x, y, "pca", max_nodes=50)
    assert len(spots_of(figure)) == 50
    assert "Drawn at random: 50 of 90 nodes" in caption_of(figure)


def test_draw_embedding_of_forty_classes_and_of_one():
    x, _ = blobs(80)
    figure = draw_embedding(x, torch.arange(80) % 40, "pca")
    assert legend_of(figure) == [f"class {number}" for number in range(40)]
    assert_well_laid_out(figure)
    assert legend_of(draw_embedding(x, torch.zeros(80).long(), "pca")) == ["class 0"]
    assert draw_embedding(x, None, "pca").legends == []


def test_draw_embedding_refuses():
    x, y = blobs(10)
    with pytest.raises(InputError, match=r"method is 'lle'; expected one of 'tsne', 'umap', 'pca'"):
        draw_embedding(x, y, "lle")
    with pytest.raises(InputError, match="expected finite embeddings"):
        draw_embedding(x / 0, y)
    with pytest.raises(InputError, match=r"expected a row for each node, \[N, F\]"):
        draw_embedding(x[0], y)
    with pytest.raises(InputError, match=r"expected a class number for each of the 10 nodes"):
        draw_embedding(x, y[:3])


# Epochs


def history_of(heads, epochs=(0, 5, 50)):
    return {epoch: record_of(*GRAPHS["random"], heads=heads, sharp=epoch / 50) for epoch in epochs}


@pytest.mark.parametrize("heads", [1, 8])
def test_draw_epochs_has_a_line_for_each_head(heads):
    history = history_of(heads)
    figure = draw_epochs(history)
    change = change_over_epochs(history)
    for ax, values in zip(
        figure.axes,
        (change.series("effective_neighbours"), change.series("self_weight"), change.successive),
        strict=True,
    ):
        for head in range(heads):
            (line,) = [line for line in ax.lines if line.get_gid() == f"head {head}"]
            assert np.allclose(line.get_ydata(), values[:, head])
            assert line.get_xdata().tolist() == [0, 5, 50][-len(values) :]
        low, high = ax.get_ylim()
        assert low == 0
        assert high > float(values.max())
    assert legend_of(figure) == [*(f"head {head}" for head in range(heads)), "even spread"]
    assert f"at {len(history)} epochs" in caption_of(figure)
    assert_well_laid_out(figure)


def test_draw_epochs_of_one_epoch_numbers_it_alone():
    ax = draw_epochs(history_of(2, epochs=(3,))).axes[0]
    assert list(ax.get_xticks()) == [3]


def test_draw_epochs_takes_attention_by_epoch_and_one_epoch_alone():
    records = {epoch: Attention([one]) for epoch, one in history_of(2).items()}
    assert "conv1" in draw_epochs(records, layer="conv1").texts[0].get_text()
    assert "conv1" in draw_epochs(records).texts[0].get_text()
    assert_well_laid_out(draw_epochs({3: records[5]}))
    with pytest.raises(InputError, match="there are no records"):
        draw_epochs({})
    with pytest.raises(InputError, match="no record of 'conv9'"):
        draw_epochs(records, layer="conv9")


# Curves


def method_of(rate):
    fraction = torch.linspace(0, 1, 11)
    mean = (-rate * fraction).exp()

    def curve(mean):
        return SimpleNamespace(
            fraction=fraction, mean=mean, low=mean - 0.1, high=mean + 0.1, area=float(mean.mean())
        )

    return SimpleNamespace(deletion=curve(mean), insertion=curve(1 - mean))


def test_draw_deletion_curves_has_both_curves_of_each_method_with_intervals():
    methods = {"attention": method_of(2), "random": method_of(1), "rollout": method_of(3)}
    figure = draw_deletion_curves(methods)
    for ax, name in zip(figure.axes, ("deletion", "insertion"), strict=True):
        for line, method in zip(ax.lines, methods.values(), strict=True):
            curve = getattr(method, name)
            assert np.allclose(line.get_xdata(), 100 * curve.fraction)
            assert np.allclose(line.get_ydata(), curve.mean)
        for bars, method in zip(ax.collections, methods.values(), strict=True):
            curve = getattr(method, name)
            ends = np.array([path.vertices[:, 1] for path in bars.get_paths()])
            assert np.allclose(ends, np.stack([curve.low, curve.high], axis=1))
            low, high = ax.get_ylim()
            assert low < float(curve.low.min()) < float(curve.high.max()) < high
    areas = [
        f"{name} ({one.deletion.area:.3f}, {one.insertion.area:.3f})"
        for name, one in methods.items()
    ]
    assert legend_of(figure) == areas
    assert "The broken grey line is the baseline" in caption_of(figure)
    assert_well_laid_out(figure)


def test_draw_deletion_curves_of_one_node_and_of_no_method():
    only = method_of(2)
    only.deletion.low = only.deletion.high = torch.full((11,), torch.nan)
    figure = draw_deletion_curves({"attention": only})
    assert "baseline" not in caption_of(figure)
    assert_well_laid_out(figure)
    with pytest.raises(InputError, match="expected at least one method"):
        draw_deletion_curves({})


# All of them


@pytest.mark.parametrize("name", GRAPHS)
def test_pictures_of_any_graph_are_laid_out(name):
    record = record_of(*GRAPHS[name], heads=1)
    figures = [draw_entropy(record), draw_weight_by_degree(record), draw_head_agreement(record)]
    if record.num_dst:
        figures.append(draw_neighbourhood(record, 0, hops=1 + record.same_nodes))
    for figure in figures:
        assert_well_laid_out(figure)
        assert caption_of(figure)


def test_pictures_need_no_pyplot_and_their_module_no_matplotlib(tmp_path):
    code = """
import sys, torch
from gat.inspection import AttentionRecord, pictures
assert "matplotlib" not in sys.modules
edges, loops = torch.tensor([[0, 1], [1, 0]]), torch.full((2, 1), 0.5)
record = AttentionRecord("a", "A", "before_dropout", edges, loops, loops, 2, 2)
pictures.draw_neighbourhood(record, 0).savefig(sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules
import matplotlib.pyplot
assert matplotlib.pyplot.get_fignums() == []
"""
    picture = tmp_path / "picture.png"
    run = subprocess.run(
        [sys.executable, "-c", code, picture], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_pictures_look_the_same_whatever_rcparams_say():
    with mpl.rc_context({"text.color": "white", "figure.facecolor": "black", "font.size": 30}):
        before = dict(mpl.rcParams)
        figure = draw_entropy(star(5))
        assert dict(mpl.rcParams) == before
    assert figure.get_facecolor() == (1, 1, 1, 1)
    assert figure.texts[0].get_color() == "black"


def test_missing_matplotlib_is_refused_with_the_extra_to_install(monkeypatch):
    monkeypatch.setattr(style, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install graph-attention\[plot\]"):
        draw_entropy(star(3))


def test_missing_umap_is_refused_with_the_extra_to_install(monkeypatch):
    monkeypatch.setattr(embedding, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install graph-attention\[umap\]"):
        draw_embedding(*blobs(10), "umap")


# The palette

# Machado, Oliveira and Fernandes (2009), severity 1, of linear RGB.
SEEN_AS = {
    "all colours": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(colour, seen_as):
    """CIELAB of a colour as somebody sees it: distances of 10 are plain to see."""
    rgb = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.array(seen_as) @ linear, 0, 1)
    to_xyz = [
        [0.412456, 0.357576, 0.180438],
        [0.212673, 0.715152, 0.072175],
        [0.019334, 0.119192, 0.950304],
    ]
    xyz = np.array(to_xyz) @ seen / [0.95047, 1.0, 1.08883]
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


@pytest.mark.parametrize("eyes", SEEN_AS)
def test_palette_is_told_apart_by_all_eyes(eyes):
    seen = [lab(colour, SEEN_AS[eyes]) for colour in palette.COLOURS]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 10


def test_palette_is_told_apart_in_greyscale():
    lightness = [lab(colour, np.eye(3))[0] for colour in palette.COLOURS]
    assert min(abs(a - b) for a, b in combinations(lightness, 2)) > 5
    # The first colours, which most pictures use, differ more from one to the next.
    assert min(abs(a - b) for a, b in pairwise(lightness)) > 20


def test_88_classes_differ_in_colour_or_marker():
    looks = {(palette.kind(number).colour, palette.kind(number).marker) for number in range(88)}
    assert len(looks) == 88


@pytest.mark.parametrize("dpi", [60, 72, 100, 200])
def test_captions_fit_at_whatever_size_a_picture_is_saved(dpi):
    figure = draw_entropy(record_of(*GRAPHS["random"], heads=8))
    figure.set_dpi(dpi)
    renderer = FigureCanvasAgg(figure).get_renderer()
    for text in figure.texts:
        assert text.get_window_extent(renderer).x1 <= figure.bbox.x1
