"""The network of the GAT paper and its usual variants, from one set of options."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor, nn

from gat.checks import check_sizes, one_of
from gat.errors import InputError
from gat.models.jumping import JUMPS, make_jump
from gat.models.parts import (
    ACTIVATIONS,
    NORMS,
    RESIDUALS,
    Activation,
    HiddenLayer,
    edge_encoders,
    heads_by_layer,
    reset_children,
)
from gat.models.stages import Stage, edge_rows, layer_graphs
from gat.nn import GATConv, GATv2Conv
from gat.nn.dropout import dropout
from gat.nn.features import Linear
from gat.ops.dropout import check_probability

__all__ = ["ACTIVATIONS", "ATTENTIONS", "GAT", "JUMPS", "NORMS", "RESIDUALS"]

ATTENTIONS: dict[str, Callable[..., nn.Module]] = {"gat": GATConv, "gatv2": GATv2Conv}


class GAT(nn.Module):
    """Graph attention network (Velickovic et al. 2018, section 3.3), or with GATv2's score.

    Each hidden layer is: feature dropout, attention, residual, normalisation, activation. The last
    attention layer gives the classes, its ``output_heads`` averaged; with ``linear_output`` or
    ``jumping_knowledge`` every attention layer is a hidden one and a linear layer gives the
    classes. The defaults are the paper's for Cora.

    in_channels, out_channels: features in, classes out. hidden_channels: per head. heads: of the
    hidden layers, one number or one per hidden layer; joined if ``concat``, else averaged.
    feature_dropout, attention_dropout, value_dropout: the official code's three dropouts, on what
    enters a layer, on the weights, and on the projected features that are summed. input_dropout:
    on the network's input, where it differs from feature_dropout.
    residual: "linear" (a learned projection), "identity" (as it is where widths match, else
    projected) or "none". norm: "batch", "layer" or "none". jumping_knowledge: "cat", "max", "lstm"
    (Xu et al. 2018; PyG's), another cell of `gat.nn.recurrent` in the place of the LSTM, "rnn",
    "gru", "janet", "indrnn", "attentive-rnn" or "attentive-lstm", or "attention" over the layers
    (see `gat.models.jumping.AttentiveJump`), or "none". linear_input: project and activate the
    features first.
    symmetric_norm: see `gat.nn.gat_layers.AttentionMixin`. edge_dim: features per edge, if any.
    share_weights: sources and targets have one projection ("gatv2" only; in "gat" they always do).

    Options of Wang et al. 2021 ("Bag of Tricks for Node Classification with Graph Neural Networks")
    and of their code for the OGB data sets: edge_dropout (see `gat.nn.gat_layers.AttentionMixin`);
    target_score, whether the target has a term in the score (see `gat.nn.GATConv`; for "gat" only);
    residual_output, a linear skip over the attention layer that gives the classes; output_bias, a
    bias in the layer that gives the classes (None: as ``bias`` says; a linear one has it);
    edge_embedding, if not 0: in each layer edge features are projected to so many by a linear layer
    of its own with ReLU, before they enter the score.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        hidden_channels: int = 8,
        num_layers: int = 2,
        heads: int | Sequence[int] = 8,
        output_heads: int = 1,
        attention: str = "gat",
        concat: bool = True,
        feature_dropout: float = 0.6,
        input_dropout: float | None = None,
        attention_dropout: float = 0.6,
        value_dropout: float = 0.6,
        edge_dropout: float = 0.0,
        activation: str = "elu",
        norm: str = "none",
        residual: str = "none",
        residual_output: bool = False,
        jumping_knowledge: str = "none",
        linear_input: bool = False,
        linear_output: bool = False,
        symmetric_norm: bool = False,
        target_score: bool = True,
        share_weights: bool = False,
        add_self_loops: bool = True,
        negative_slope: float = 0.2,
        bias: bool = True,
        output_bias: bool | None = None,
        edge_dim: int | None = None,
        edge_embedding: int = 0,
    ) -> None:
        # All it takes to make such a network again.
        self.options = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__()
        one_of("attention", attention, ATTENTIONS)
        counts = {"num_layers": num_layers, "hidden_channels": hidden_channels}
        check_sizes(**counts, output_heads=output_heads)
        ends_linear = linear_output or jumping_knowledge != "none"
        if residual_output and ends_linear:
            raise InputError(
                "residual_output is a skip over the attention layer that gives the classes, and "
                "with linear_output or jumping_knowledge a linear layer gives them; leave out one"
            )
        attend = partial(
            ATTENTIONS[attention],
            dropout=attention_dropout,
            value_dropout=value_dropout,
            edge_dropout=edge_dropout,
            symmetric_norm=symmetric_norm,
            add_self_loops=add_self_loops,
            negative_slope=negative_slope,
            bias=bias,
            edge_dim=edge_embedding or edge_dim,
            **_score_options(attention, target_score, share_weights),
        )
        self.feature_dropout = feature_dropout
        self.input_dropout = feature_dropout if input_dropout is None else input_dropout
        check_probability("feature_dropout", self.feature_dropout)
        check_probability("input_dropout", self.input_dropout)

        widths = [in_channels]
        self.input: nn.Module | None = None
        if linear_input:
            widths = [hidden_channels]
            self.input = nn.Sequential(Linear(in_channels, hidden_channels), Activation(activation))
        self.hidden = nn.ModuleList()
        for count in heads_by_layer(heads, num_layers - (not ends_linear)):
            conv = attend(widths[-1], hidden_channels, count, concat=concat)
            widths.append(hidden_channels * (count if concat else 1))
            self.hidden.append(
                HiddenLayer(conv, widths[-2], widths[-1], residual, norm, activation)
            )
        self.jump, width = make_jump(jumping_knowledge, widths)
        self.output: nn.Module
        if ends_linear:
            self.output = nn.Linear(width, out_channels, bias=output_bias is not False)
        else:
            options = {"concat": False, "residual": residual_output}
            options["bias"] = bias if output_bias is None else output_bias
            self.output = attend(width, out_channels, output_heads, **options)
        self.edge_encoders = edge_encoders(edge_dim, edge_embedding, num_layers)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        reset_children(self)

    def forward(self, x: Tensor, edges: Any, edge_attr: Tensor | None = None) -> Tensor:
        """Scores of the classes [N, out_channels].

        x [N, in_channels], dense or torch sparse CSR; edges: an edge_index [2, E] or a `gat.Graph`;
        edge_attr [E, edge_dim] in the caller's edge order.

        edges may also be a list of Graphs, one for each attention layer, the first layer's first,
        in which targets are the first sources and the sources of one are the targets of the one
        before, as samplers of neighbours make them. Each layer then computes its own targets alone:
        x [num_src of the first, in_channels], the result [num_dst of the last, out_channels], the
        edges of each graph the first of those of the graph before, edge_attr that of the first
        graph's. If these are all the edges that enter the targets, the result is the whole graph's
        for those nodes, but with ``symmetric_norm``, whose out-degrees are each graph's own.

        Raises InputError or ArgumentTypeError for graphs that do not fit layers or one another.
        """
        states: list[Tensor] = []
        stages = self.stages()
        graphs = layer_graphs(edges, len(stages))
        for number, (stage, graph) in enumerate(zip(stages, graphs, strict=True)):
            x = stage.forward(x, graph, edge_rows(edges, number, edge_attr))
            states = [*states, x] if self.keeps_states else [x]
        if isinstance(edges, list | tuple):
            states = [state.narrow(-2, 0, x.size(-2)) for state in states]
        return self.finish(states)

    def stages(self) -> list[Stage]:
        """The attention layers, each with all around it, in order: ``forward`` is these and
        `finish`.

        Stage k maps x [num_src, .] of its graph to [num_dst, stage.width]: the first takes the
        features and holds the linear input, each other takes what the one before gave. So all nodes
        can be computed layer by layer, a part of the targets at a time, in ``eval`` mode:

            for stage in model.stages():
                x = torch.cat([stage.forward(x[nodes], graph) for nodes, graph in parts])
            out = model.finish([x])

        where a part's graph has all the edges that enter its targets, and ``nodes`` are its
        sources, the targets first. With `keeps_states` what every stage gave is kept for `finish`.
        """
        count = len(self.hidden) + (not isinstance(self.output, nn.Linear))
        return [Stage(self, number) for number in range(count)]

    @property
    def keeps_states(self) -> bool:
        """Whether `finish` needs what every stage gave (jumping knowledge), not the last alone."""
        return self.jump is not None

    def finish(self, states: Sequence[Tensor]) -> Tensor:
        """Scores of the classes [N, out_channels], of what the stages gave the same N nodes.

        states: [N, stage.width] of each stage in order; without `keeps_states` the last is enough.
        Jumping knowledge and the linear output are here; without them the last is the result.
        """
        if not isinstance(self.output, nn.Linear):
            return states[-1]
        x = states[-1] if self.jump is None else self.jump(list(states))
        return self.output(self.drop(x))

    def drop(self, x: Tensor) -> Tensor:
        """Dropout of what enters a layer."""
        return dropout(x, self.feature_dropout, self.training)


def _score_options(attention: str, target_score: bool, share_weights: bool) -> dict[str, bool]:
    """The options of one kind of score alone."""
    if attention == "gat":
        if share_weights:
            raise InputError(
                "share_weights=True lets sources and targets of attention='gatv2' share one "
                "projection; in 'gat' they always do"
            )
        return {"target_score": target_score}
    if not target_score:
        raise InputError(
            f"target_score=False leaves a term out of the score of attention='gat'; that of "
            f"{attention!r} has no term of the target alone"
        )
    return {"share_weights": share_weights}
