"""How much each layer gives up. One file per allocation; the file registers it."""

from secateur.pruning.allocation._base import ALLOCATIONS, Allocation, Layer
from secateur.pruning.allocation._named import Named, Wanted, find_allocation

__all__ = ["ALLOCATIONS", "Allocation", "Layer", "Named", "Wanted", "find_allocation"]
