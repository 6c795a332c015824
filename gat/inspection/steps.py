"""A layer that was asked once a step, as a decoder's attention is: its calls as one record."""

from dataclasses import replace
from itertools import count, takewhile
from typing import NamedTuple

import torch
from torch import Tensor

from gat.errors import InputError
from gat.graph.intervals import ranges
from gat.inspection.blocks import Lengths, sizes_of
from gat.inspection.record import Attention, AttentionRecord

__all__ = ["joined"]


def joined(
    attention: Attention, layer: str, target_lengths: Lengths | None = None
) -> AttentionRecord:
    """The calls of a layer that ran once a step, "decoder.attention", "decoder.attention#2" and so
    on, as one record.

    Each call has a target for each sentence of the batch, as on ``bipartite(source_lengths, 1)``;
    the record is that of ``bipartite(source_lengths, target_lengths)``: step t of a sentence is
    target t of its block, and edges are in order of sentence, step and source. Where the sources
    grow from step to step, as in a recurrent network that looks at its states so far, they are
    numbered from the first. A layer that ran once is returned as it is.

    target_lengths: how many steps each sentence has, [sentences], or one number for all; later
    steps are left out, and sentences that ended may have left the batch. None: every step counts.

    Steps are told apart within one forward pass of the recorded model. To see how a sentence was
    written, record the model's forward pass with the written sentence as its target.

    Raises InputError where the targets or sources of the steps do not fit together.
    """
    calls = _calls(attention, layer)
    if len(calls) == 1:
        if target_lengths is not None:
            sizes_of("target_lengths", target_lengths, calls[0].num_dst, f"targets of {layer}")
        return calls[0]
    lengths = _steps_of(calls, target_lengths)
    of = [_sentences(call, step, lengths) for step, call in enumerate(calls)]
    numbers, num_src = _source_numbers(calls, of, lengths.numel())
    steps = [
        _step(call, step, whose, number, lengths)
        for step, (call, whose, number) in enumerate(zip(calls, of, numbers, strict=True))
    ]
    return _put_together(calls[0], steps, num_src)


class _Step(NamedTuple):
    """What one step gives, by the numbers of the joined record: edges [2, E'] and their weights,
    the targets it has, int64 [n], and what is told of each."""

    edges: Tensor
    weights: Tensor
    targets: Tensor
    loops: Tensor
    seen: Tensor | None
    complete: Tensor | None


def _step(call: AttentionRecord, step: int, of: Tensor, number: Tensor, lengths: Tensor) -> _Step:
    """of: the sentence of each target; number: of each source the number in the joined record."""
    device = call.weights.device
    going = (lengths[of] > step).to(device)
    targets = ((lengths.cumsum(0) - lengths)[of] + step).to(device)
    rows = going[call.target].nonzero().squeeze(1)
    edges = torch.stack([number.to(device)[call.source[rows]], targets[call.target[rows]]])
    seen, complete = (None if one is None else one[going] for one in (call.seen, call.complete))
    return _Step(edges, call.weights[rows], targets[going], call.loops[going], seen, complete)


def _put_together(first: AttentionRecord, steps: list[_Step], num_src: int) -> AttentionRecord:
    edges = torch.cat([step.edges for step in steps], dim=1)
    order = (edges[1] * num_src + edges[0]).argsort(stable=True)
    # Each target is of one step.
    place = torch.cat([step.targets for step in steps]).argsort()

    def told(parts: list[Tensor | None]) -> Tensor | None:
        known = [part for part in parts if part is not None]
        return torch.cat(known)[place] if len(known) == len(parts) else None

    return replace(
        first,
        edge_index=edges[:, order],
        weights=torch.cat([step.weights for step in steps])[order],
        loops=torch.cat([step.loops for step in steps])[place],
        num_src=num_src,
        num_dst=place.numel(),
        flow="source_to_target",
        edge_id=None,
        seen=told([step.seen for step in steps]),
        complete=told([step.complete for step in steps]),
    )


def _calls(attention: Attention, layer: str) -> list[AttentionRecord]:
    """The records of a layer's calls, the first call first."""
    later = takewhile(lambda name: name in attention, (f"{layer}#{call}" for call in count(2)))
    return [attention[layer], *(attention[name] for name in later)]


def _steps_of(calls: list[AttentionRecord], target_lengths: Lengths | None) -> Tensor:
    """How many steps each sentence has, int64 [sentences]."""
    sentences = calls[0].num_dst
    given = len(calls) if target_lengths is None else target_lengths
    lengths = torch.as_tensor([given] * sentences if isinstance(given, int) else given).cpu()
    if lengths.shape != (sentences,) or (lengths.is_floating_point() and sentences):
        raise InputError(
            f"target_lengths is {target_lengths!r}; expected how many steps each of the "
            f"{sentences} targets of {calls[0].layer} has"
        )
    wrong = [one for one in lengths.tolist() if not 0 <= one <= len(calls)]
    if wrong:
        raise InputError(
            f"target_lengths has {wrong[0]}; expected 0 to {len(calls)}, as often as "
            f"{calls[0].layer} ran"
        )
    return lengths.long()


def _sentences(call: AttentionRecord, step: int, lengths: Tensor) -> Tensor:
    """Which sentence each target of a step is, int64 [num_dst]: all, or those that go on."""
    sentences, going = lengths.numel(), (lengths > step).nonzero().squeeze(1)
    if call.num_dst == sentences:
        return torch.arange(sentences)
    if call.num_dst == going.numel():
        return going
    raise InputError(
        f"{call.layer} has {call.num_dst} targets; expected the {sentences} of the first step, or "
        f"the {going.numel()} that target_lengths gives more than {step} steps. Record one "
        f"sentence at a time, or pass the target_lengths of this batch"
    )


def _source_numbers(
    calls: list[AttentionRecord], of: list[Tensor], sentences: int
) -> tuple[list[Tensor], int]:
    """Of each step's sources the numbers in the joined record, and how many that record has."""
    sizes = [call.num_src for call in calls]
    if sentences == 1 or len(set(sizes)) == 1:
        return [torch.arange(size) for size in sizes], max(sizes)
    counts = torch.zeros(len(calls), sentences, dtype=torch.int64)
    for step, call in enumerate(calls):
        counts[step, of[step]] = _own_sources(call, calls[0])
    whole = counts.amax(0)
    start = whole.cumsum(0) - whole
    numbers = [ranges(start[here], row[here]) for here, row in zip(of, counts, strict=True)]
    return numbers, int(whole.sum())


def _own_sources(call: AttentionRecord, first: AttentionRecord) -> Tensor:
    """How many sources each target looks at, int64 [num_dst]: all of its sentence, in order."""
    source, target = call.source.cpu(), call.target.cpu()
    order = (target * call.num_src + source).argsort()
    if not torch.equal(source[order], torch.arange(call.num_src)):
        raise InputError(
            f"{call.layer} has {call.num_src} sources and {first.layer} {first.num_src}; where "
            f"their number changes, each target must look at all sources of its sentence, or "
            f"nothing tells whose they are. Record one sentence at a time"
        )
    return target.bincount(minlength=call.num_dst)
