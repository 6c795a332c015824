"""GAT's scores of nodes: for each head the product of its channels with a learned vector."""

import torch
from torch import Tensor

from gat.ops.precision import result_dtype

__all__ = ["head_scores"]


def head_scores(projected: Tensor, *vectors: Tensor) -> list[Tensor]:
    """projected [N, H, C] times each vector [1, H, C], summed over the channels: [N, H] each.

    As one matrix product, of a matrix that is zero between heads: products head by head would
    write [N, H, C] once a vector, and again in the backward. In the common dtype, also under
    autocast, as elementwise products would be.
    """
    _, heads, channels = projected.shape
    dtype = result_dtype(projected, *vectors)
    flat = projected.flatten(1).to(dtype)
    each = [vector.to(dtype).view(heads, channels, 1) for vector in vectors]
    with torch.autocast(projected.device.type, enabled=False):
        if heads == 1:
            return [flat @ vector[0] for vector in each]
        same = torch.eye(heads, dtype=dtype, device=flat.device).unsqueeze(1)
        matrix = torch.cat([vector * same for vector in each], dim=2).flatten(0, 1)
        return list((flat @ matrix).split(heads, dim=1))
