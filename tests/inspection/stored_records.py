"""Records of awkward shapes, by name, and what it takes for two to be equal."""

from dataclasses import fields, replace

import torch
from torch import Tensor

from gat.inspection import AttentionRecord
from tests.graphs import GRAPHS


def record(base: str = "random", heads: int = 3, dtype=torch.float32, **changed) -> AttentionRecord:
    """A record on one of GRAPHS with weights between 0 and 1; every third node has a loop."""
    edges, num_src, num_dst = GRAPHS[base]
    generator = torch.Generator().manual_seed(edges.size(1))
    loops = torch.rand(num_dst, heads, generator=generator).to(dtype)
    loops[torch.arange(num_dst) % 3 != 0] = 0
    loops[num_src:] = 0
    weights = torch.rand(edges.size(1), heads, generator=generator).to(dtype)
    given = {
        "layer": "conv1",
        "layer_type": "GATConv",
        "when": "before_dropout",
        "edge_index": edges,
        "weights": weights,
        "loops": loops,
        "num_src": num_src,
        "num_dst": num_dst,
    }
    return AttentionRecord(**{**given, **changed})


def partial() -> AttentionRecord:
    """Some edges of a graph whose sampling left targets out or cut them short."""
    return record(
        "sixty_three_edges",
        edge_id=torch.arange(63).flip(0) * 5 + 2**40,
        seen=torch.arange(13) % 2 == 0,
        complete=torch.arange(13) % 4 == 0,
    )


AWKWARD = {
    **{name: record(name) for name in GRAPHS},
    "partial": partial(),
    "one_head": record(heads=1),
    "float16": record(dtype=torch.float16),
    "bfloat16": record(dtype=torch.bfloat16),
    "float64": record(dtype=torch.float64),
    "two_dtypes": record(loops=torch.rand(31, 3, dtype=torch.bfloat16)),
    "target_to_source": record(
        "bipartite_wide",
        flow="target_to_source",
        num_src=5,
        num_dst=11,
        loops=torch.rand(11, 3) * (torch.arange(11) < 5).view(-1, 1),
    ),
    "some_heads": replace(record(heads=2), heads=(5, 1)),
    "edge_type": record("bipartite_tall", edge_type=("author", "writes", "paper")),
    "seen_only": record(seen=torch.zeros(31, dtype=torch.bool)),
    "strided": record(weights=torch.rand(3, 211).t(), edge_index=GRAPHS["random"][0].flip(0)),
}


def assert_same(found: AttentionRecord, expected: AttentionRecord) -> None:
    """Every field equal, tensors in dtype, shape and each value (NaN equal to NaN)."""
    for field in fields(AttentionRecord):
        ours, theirs = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(theirs, Tensor):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)
        else:
            assert ours == theirs, field.name
            assert type(ours) is type(theirs), field.name
