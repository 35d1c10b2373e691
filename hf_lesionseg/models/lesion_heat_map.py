"""A heat map around the true lesion from its signed distance function, which weighs the losses of EGS-Net."""

import numpy as np
import torch
from scipy import ndimage


def signed_distance(mask):
    """Signed distance function of one slice, in pixels.

    The distance to the lesion outside of it; inside, minus the distance to the background plus 1, so that the lesion's
    outermost pixels have 0 (the convention of the boundary loss, Kervadec et al., MIDL 2019).

    Parameters
    ----------
    mask : numpy.ndarray of shape (height, width)
        Nonzero in the lesion.

    Returns
    -------
    numpy.ndarray of shape (height, width)
        float64. Infinite without a lesion; where the lesion fills the slice, what lies beyond counts as background.

    Examples
    --------
    >>> signed_distance(np.array([[0, 0, 1, 1, 1, 0]]))[0, :2]
    array([2., 1.])
    """
    mask = np.asarray(mask, dtype=bool)
    if not mask.any():
        return np.full(mask.shape, np.inf)
    if mask.all():
        return 1 - ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    outside, inside = ndimage.distance_transform_edt(~mask), ndimage.distance_transform_edt(mask)
    return np.where(mask, 1 - inside, outside)


@torch.compiler.disable  # SciPy takes a break in a compiled graph
def lesion_heat_map(targets, peak=4.0, decay=8.0):
    """Weight of each pixel: ``1 + peak exp(-max(phi, 0) / decay)`` with phi the signed distance to the lesion.

    The printed formula of the paper is lost; this one is assumed: ``1 + peak`` in the lesion, falling to 1 far from it.

    Parameters
    ----------
    targets : torch.Tensor of shape (batch, height, width)
        Nonzero in the lesion, any device.
    peak : float
    decay : float
        Pixels.

    Returns
    -------
    torch.Tensor of shape (batch, height, width)
        float32 on the device of ``targets``; 1 everywhere in a slice without lesion.
    """
    masks = targets.detach().cpu().numpy()
    distances = np.stack([signed_distance(mask) for mask in masks]) if len(masks) else np.empty(masks.shape)
    weights = 1 + peak * np.exp(-np.maximum(distances, 0) / decay)
    return torch.from_numpy(weights.astype(np.float32)).to(targets.device)
