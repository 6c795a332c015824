"""The bytes that attention over a graph has to move, whoever computes it.

A row of F = H * C features of b bytes is gathered for each edge, since no cache holds them all;
what belongs to a node is read or written once; an edge costs its 4-byte number and, in the
backward, what is handed from one direction's pass to the other's.
"""

from gat.checks import one_of

__all__ = ["floor"]

# Rows gathered per edge and rows touched per node, forward then backward; bytes per edge and head,
# and per edge.
COUNTS = {
    "gat": ((1, 1, 4, 4), (1, 4, 20, 4)),
    "gatv2": ((1, 2, 0, 4), (3, 6, 8, 8)),
    "dot": ((2, 2, 0, 4), (4, 8, 8, 8)),
}


def floor(
    operator: str, nodes: int, edges: int, heads: int, channels: int, size: int = 4
) -> dict[str, int]:
    """Bytes by part, "forward", "backward" and "together"; ``size``: bytes per element."""
    one_of("operator", operator, COUNTS)
    row = heads * channels * size
    forward, backward = (
        edges * gathered * row + nodes * touched * row + edges * heads * head + edges * edge
        for gathered, touched, head, edge in COUNTS[operator]
    )
    return {"forward": forward, "backward": backward, "together": forward + backward}
