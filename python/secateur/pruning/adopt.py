"""Models that another library has pruned, taken over."""

from __future__ import annotations

from torch import Tensor, nn

from secateur.pruning.masks import Masks
from secateur.pruning.reparametrised import make_plain, mask_of, masked


def adopt(model: nn.Module) -> Masks:
    """Make what torch.nn.utils.prune and torch.ao.pruning have pruned plain, in place.

    Each weight is a parameter of its own name again, the same one that optimizers hold, and zero
    where it was masked. Other parametrisations, and zeros without a mask, stay as they are.
    `convert` needs none of this: it reads such models as they are.

    >>> from torch.nn.utils import prune
    >>> model = nn.Sequential(nn.Linear(8, 4))
    >>> layer = prune.l1_unstructured(model[0], "weight", 0.75)
    >>> masks = adopt(model)
    >>> masks.kept, list(model.state_dict())
    (8, ['0.bias', '0.weight'])

    Args:
        model: any module.

    Returns:
        the masks, for `attached`; none if there was nothing to do.
    """
    found: dict[str, Tensor] = {}
    for key, module, name in list(masked(model)):
        mask = mask_of(module, name)
        assert mask is not None
        make_plain(module, name)
        found[key] = mask
    masks = Masks(found, model)
    masks.apply_()
    return masks
