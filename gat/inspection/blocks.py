"""One example out of a batch: the record of one sentence, image or document.

The examples of a ragged batch stand one after the other as blocks of one graph (`gat.topology`);
what is drawn is one of them.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gat.errors import IndexRangeError, InputError
from gat.inspection.record import AttentionRecord

__all__ = ["Lengths", "block", "sizes_of"]

Lengths = int | Sequence[int] | Tensor


def block(
    record: AttentionRecord,
    number: int,
    lengths: Lengths,
    target_lengths: Lengths | None = None,
) -> AttentionRecord:
    """The record of the ``number``-th block of a batch, its nodes numbered from 0.

    lengths: how many nodes, or sources, each block has, [blocks], or one number for all;
    target_lengths: how many targets, where they are other nodes than the sources.

    Raises IndexRangeError for a block that is not there, InputError for lengths that do not fit the
    record and for an edge that enters the block from another one.
    """
    sources = sizes_of("lengths", lengths, record.num_src, f"sources of {record.name}")
    given = ("lengths", lengths) if target_lengths is None else ("target_lengths", target_lengths)
    targets = sizes_of(*given, record.num_dst, f"targets of {record.name}")
    if sources.numel() != targets.numel():
        raise InputError(
            f"lengths are of {sources.numel()} blocks and target_lengths of {targets.numel()}; "
            f"expected as many"
        )
    if not 0 <= number < sources.numel():
        raise IndexRangeError(f"number is {number}; expected a block in [0, {sources.numel()})")
    source, target = _bounds(sources, number), _bounds(targets, number)
    rows = ((record.target >= target.start) & (record.target < target.stop)).nonzero().squeeze(1)
    own = record.source[rows]
    if bool(((own < source.start) | (own >= source.stop)).any()):
        raise InputError(
            f"an edge of {record.name} enters block {number} from another block; expected lengths "
            f"of blocks without edges between them"
        )
    return replace(
        record,
        edge_index=torch.stack([own - source.start, record.target[rows] - target.start]),
        weights=record.weights[rows],
        loops=record.loops[target],
        num_src=source.stop - source.start,
        num_dst=target.stop - target.start,
        flow="source_to_target",
        edge_id=None if record.edge_id is None else record.edge_id[rows],
        seen=None if record.seen is None else record.seen[target],
        complete=None if record.complete is None else record.complete[target],
    )


def sizes_of(name: str, lengths: Lengths, total: int, what: str) -> Tensor:
    """The length of each block, int64 [blocks]; they must sum to ``total``, the number of ``what``.

    A number is the length of every block.
    """
    if isinstance(lengths, int):
        if lengths < 1 or total % lengths:
            raise InputError(f"{name} is {lengths}; expected a divisor of {total}, the {what}")
        return torch.full((total // lengths,), lengths)
    sizes = torch.as_tensor(lengths)
    if sizes.dim() != 1 or (sizes.is_floating_point() and sizes.numel()):
        raise InputError(f"{name} is {lengths!r}; expected whole numbers, one for each block")
    sizes = sizes.cpu().long()
    if int(sizes.sum()) != total or bool((sizes < 0).any()):
        raise InputError(
            f"{name} sum to {int(sizes.sum())}; expected {total}, the {what}, as lengths of 0 or "
            f"more, one for each block in their order"
        )
    return sizes


def _bounds(sizes: Tensor, number: int) -> slice:
    first = int(sizes[:number].sum())
    return slice(first, first + int(sizes[number]))
