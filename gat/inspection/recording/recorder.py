"""`record_attention`: the attention of a model's layers, taken down while the model runs."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gat.errors import ArgumentTypeError, InputError
from gat.inspection.compiled import plain_name
from gat.inspection.record import WHEN, Attention, AttentionRecord, EdgeType
from gat.inspection.recording.alignment import aligned
from gat.inspection.recording.batches import Batches
from gat.inspection.recording.ears import Heard
from gat.inspection.recording.hooks import Hook
from gat.inspection.recording.listening import attention_layers, listening
from gat.inspection.recording.places import Place, places_of
from gat.inspection.recording.restricting import (
    Heads,
    Nodes,
    check_heads,
    wanted_targets,
    with_heads,
    with_targets,
)
from gat.inspection.storing.attention_folder import AttentionFolder
from gat.inspection.storing.mapped_file import arrow
from gat.inspection.storing.saving import load_attention, save_attention

__all__ = ["Recording", "record_attention"]


@contextmanager
def record_attention(
    model: nn.Module,
    when: str = "before_dropout",
    *,
    layers: Iterable[str] | None = None,
    heads: Heads = None,
    nodes: Nodes = None,
    full: Any = None,
    folder: str | Path | None = None,
) -> Iterator["Recording"]:
    """Record the attention of every layer that runs inside the block::

        with gat.record_attention(model) as attention:
            model(x, edge_index)
        attention["conv1"].weights  # [E, H], one row per edge of edge_index

    The model may hold our layers and PyG's (GATConv, GATv2Conv, TransformerConv, SuperGATConv,
    AGNNConv, RGATConv, HANConv, HGTConv, FAConv, and any other that takes
    ``return_attention_weights``), on one graph or on a dict of them. Its output, random numbers and
    training state stay as they are without. What torch.compile compiled runs as written inside.

    when: "before_dropout" or "after_dropout"; they differ in training only, where the first costs
    layers of ours that return dropped weights one more run of the layer.
    layers: names of layers, or of modules that hold them; all by default. heads: numbers of heads
    to keep, of every layer or by layer. nodes: target nodes to keep, numbers or a bool mask, in a
    heterogeneous model by node type. The rest is dropped as soon as it is heard.

    A record is of the last forward pass. Mini-batches are put together instead, under the numbers
    of the whole graph: give that graph as ``full`` (edge_index [2, E], a Data, a HeteroData, a
    `gat.Graph`, or a dict of edge_index by edge type) and announce each batch::

        with gat.record_attention(model, full=data) as attention:
            for batch in loader:
                attention.batch(batch)
                model(batch.x, batch.edge_index)

    A target that several batches hold is recorded in the one with most of its edges, of equals in
    the one where it is nearest to the seeds. With all neighbours, as many hops as layers and every
    node a seed that is the whole graph's record; where a node is no seed, deeper layers may have
    heard it from neighbours whose own neighbours were not there.

    folder: where records are kept on disk (extra ``arrow``), for those larger than memory: there
    when the block ends, for `load_attention` too. Rows of batches then stand in the order in which
    they came, which ``edge_id`` tells.

    Raises InputError for a model without attention layers, names that it has not, one layer that
    serves several edge types, a second thread that runs the model meanwhile, a folder that holds
    other things, and at the end of the block if no layer ran.
    """
    if when not in WHEN:
        raise InputError(f"when is {when!r}; expected 'before_dropout' or 'after_dropout'")
    chosen = _chosen_layers(model, layers)
    batches = None if full is None else Batches(full, None if folder is None else Path(folder))
    places = places_of(model, chosen, () if batches is None else batches.kinds)
    check_heads(heads, places)
    recording = Recording(when, places, heads, nodes, batches, folder)
    with ExitStack() as stack:
        if folder is not None:
            # What cannot be written to is refused before the model runs, and stays ours till then.
            arrow()
            stack.enter_context(AttentionFolder(folder))
        stack.enter_context(listening(chosen, when, recording._hear))
        stack.callback(model.register_forward_pre_hook(Hook(recording._begin)).remove)
        ending = model.register_forward_hook(Hook(recording._end), always_call=True)
        stack.callback(ending.remove)
        stack.push(recording._close)
        yield recording
    if not len(recording):
        raise InputError(
            f"none of the recorded layers ran inside the block: {', '.join(chosen)}. Run the very "
            f"model that was passed, {type(model).__name__}"
        )


class Recording(Attention):
    """What `record_attention` fills: the `Attention` of what ran so far."""

    def __init__(
        self,
        when: str,
        places: dict[str, Place],
        heads: Heads,
        nodes: Nodes,
        batches: Batches | None,
        folder: str | Path | None,
    ) -> None:
        super().__init__()
        self._when, self._places, self._heads, self._nodes = when, places, heads, nodes
        self._batches = batches
        self._folder = None if folder is None else Path(folder)
        # How often each layer ran in this forward pass, and how many passes are running, where.
        self._calls: dict[Any, int] = {}
        self._depth = 0
        self._thread = 0

    def batch(self, batch: Any = None, *, n_id: Any = None, e_id: Any = None) -> None:
        """Say which nodes and edges of the whole graph the next forward pass runs on.

        batch: what a loader of PyG's yields, with ``n_id`` and ``e_id``; or these two: int64 [N']
        and [E'], the whole graph's number of each node and edge of the batch, dicts of them by node
        type and edge type in a heterogeneous graph.
        """
        if self._batches is None:
            raise InputError(
                "batches are put together under the numbers of the whole graph, which is not "
                "known: pass full=, its edge_index or Data, to record_attention"
            )
        self._batches.announce(batch, n_id, e_id)
        self._calls.clear()

    def __getitem__(self, key: Any) -> AttentionRecord:
        self._settle()
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[Any]:
        self._settle()
        return super().__iter__()

    def __len__(self) -> int:
        self._settle()
        return super().__len__()

    def _settle(self) -> None:
        """Put together what the batches recorded so far; on disk, when the block ends."""
        if self._batches is not None and self._batches.pending and self._folder is None:
            self._put_all(self._batches.records())

    def _put_all(self, records: Iterable[AttentionRecord]) -> None:
        for record in records:
            self._put(record)

    def _begin(self, *_: Any) -> None:
        self._depth += 1
        if self._depth == 1:
            self._thread = threading.get_ident()
            self._calls.clear()
            if self._batches is None:
                # What ran in the pass before may not run in this one.
                self._records.clear()
        elif self._thread != threading.get_ident():
            raise InputError(
                "a second thread runs the model while it is being recorded, and whose attention is "
                "whose could not be told; run one after the other"
            )

    def _end(self, *_: Any) -> None:
        self._depth -= 1

    def _close(self, error: Any, *_: Any) -> None:
        """At the end of the block: what was to go to disk is there, or given up after an error."""
        if self._batches is not None:
            try:
                if error is None and self._folder is not None:
                    self._put_all(self._batches.publish())
            finally:
                self._batches.close()
        elif self._folder is not None and error is None and len(self):
            save_attention(self, self._folder)
            self._put_all(load_attention(self._folder).values())

    def _hear(self, heard: Heard) -> None:
        # A checkpoint runs layers once more in the backward pass, which was heard before.
        if torch._C._current_graph_task_id() == -1:
            # What is made here outlives the caller's inference mode.
            with torch.inference_mode(False), torch.no_grad():
                self._take(heard)

    def _take(self, heard: Heard) -> None:
        layer, edge_type = self._places[heard.path]
        edge_type = edge_type if heard.kind is None else heard.kind
        name = self._numbered(layer, edge_type)
        record = aligned(heard, name, edge_type, self._when)
        record = with_heads(record, self._heads, layer)
        if self._batches is not None:
            self._batches.add(record, wanted_targets(record, self._nodes))
        else:
            self._put(with_targets(record, wanted_targets(record, self._nodes)))

    def _numbered(self, layer: str, edge_type: EdgeType | None) -> str:
        """The layer's name, with the number of its call from the second on in one pass."""
        key = layer, edge_type
        # Outside a forward pass of the model nothing tells a second call from a second pass.
        calls = self._calls.get(key, 0) + 1 if self._depth else 1
        self._calls[key] = calls
        return layer if calls == 1 else f"{layer}#{calls}"


def _chosen_layers(model: nn.Module, names: Iterable[str] | None) -> dict[str, nn.Module]:
    found = {plain_name(path): layer for path, layer in attention_layers(model).items()}
    if not found:
        raise InputError(
            f"{type(model).__name__} has no attention layer; expected at least one whose forward "
            f"takes return_attention_weights, such as GATConv, or PyG's SuperGATConv, AGNNConv, "
            f"HANConv or HGTConv"
        )
    if names is None:
        return found
    if isinstance(names, str):
        raise ArgumentTypeError(f"layers is {names!r}; expected a list of names: [{names!r}]")
    chosen: dict[str, nn.Module] = {}
    for name in names:
        fitting = {p: m for p, m in found.items() if p == name or p.startswith(f"{name}.")}
        if not fitting:
            raise InputError(
                f"the model has no attention layer {name!r}; it has {', '.join(found) or 'none'}"
            )
        chosen |= fitting
    return {path: module for path, module in found.items() if path in chosen}
