"""`Schedule`: which program of a GPU works on which edges. Rows in classes by degree, hubs cut up.

Worked out on the graph's own device, once per graph and direction.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Schedule", "most_units", "schedule_rows"]

# A row of at most so many edges is light.
LIGHT = 32

# A row of more is a hub: several programs share its edges, at most so many each.
CHUNK = 1024


@dataclass(frozen=True, eq=False)
class Schedule:
    """Units of work: a row's edges, or a chunk of a hub's.

    units  [`most_units`, 2], as wide as rowptr: the row and the first edge of each; hubs' come
           first, then rows of middle degree, then light ones, each class in the order of its rows;
           what is left over at the end is -1
    counts [4] int64, always on the CPU: units of hubs, middle rows, light rows, and the chunk
    """

    units: Tensor
    counts: Tensor

    def to(self, device: torch.device, non_blocking: bool = False) -> "Schedule":
        return Schedule(self.units.to(device, non_blocking=non_blocking), self.counts)


def most_units(rows: int, num_edges: int) -> int:
    """What units there can be at most: known from sizes alone."""
    return rows + num_edges // CHUNK


def schedule_rows(rowptr: Tensor, num_edges: int) -> Schedule:
    """The schedule of CSR rows. The GPU is waited for once, to count the classes."""
    degree = rowptr.diff()
    hub, light = degree > CHUNK, degree <= LIGHT
    order = torch.sort(torch.where(hub, 0, torch.where(light, 2, 1)), stable=True).indices
    chunks = ((degree + CHUNK - 1) // CHUNK).clamp(min=1)[order]
    total, num_hubs, num_light = torch.stack([chunks.sum(), hub.sum(), light.sum()]).tolist()
    row = order.repeat_interleave(chunks, output_size=total)
    first = (chunks.cumsum(0) - chunks).repeat_interleave(chunks, output_size=total)
    begin = rowptr[row] + (torch.arange(total, device=rowptr.device) - first) * CHUNK
    units = rowptr.new_full((most_units(degree.numel(), num_edges), 2), -1)
    units[:total, 0], units[:total, 1] = row.to(rowptr.dtype), begin.to(rowptr.dtype)
    num_middle = degree.numel() - num_hubs - num_light
    hub_units = total - num_middle - num_light
    counts = [hub_units, num_middle, num_light, CHUNK]
    # Whatever the default device is: a call that reads them must not wait for a GPU.
    return Schedule(units, torch.tensor(counts, device="cpu"))
