"""The volumes of a case, one per channel, on one grid."""

import os
from dataclasses import replace

from .grid_storage import advice_on_forms, bring_onto_grid
from .nifti_volume import check_varies, read_nifti, volume_from_array, volume_from_image
from .volume_geometry import VolumeError


def load_channels(case, channel_names, affine, name):
    """Load the channels of a case and make sure that they belong together.

    Parameters
    ----------
    case : path, nibabel image, array (X, Y, Z), or dict from channel name to one of these
    channel_names : sequence of str
    affine : array (4, 4) or None
        Affine of arrays; the identity by default.
    name : str
        Name of the case, for errors.

    Returns
    -------
    dict of str to (str, NiftiVolume)
        By channel, in the order of ``channel_names``: the name for messages, and the volume.

    Raises
    ------
    VolumeError
        A channel is missing, unknown, without contrast or on another grid.
    """
    if not isinstance(case, dict):
        if len(channel_names) > 1:
            raise VolumeError(
                f"{name}: one volume where the network takes {len(channel_names)} channels; give a dict with "
                f"{', '.join(channel_names)}"
            )
        case = {channel_names[0]: case}
    missing = [channel for channel in channel_names if channel not in case]
    unknown = [str(channel) for channel in case if channel not in channel_names]
    if missing or unknown:
        raise VolumeError(
            f"{name}: missing channels {missing}, unknown channels {unknown}; give exactly {', '.join(channel_names)}"
        )
    channels = {}
    for channel in channel_names:
        label = name if len(channel_names) == 1 else f"{name}, channel {channel}"
        label, volume = load_volume(case[channel], affine, label)
        check_varies(volume.data, label)
        channels[channel] = label, volume
    first_label, first = channels[channel_names[0]]
    return {name: (label, _onto(first, first_label, volume, label)) for name, (label, volume) in channels.items()}


def _onto(first, first_label, volume, label):
    """Bring a channel to the order of axes of the first one, or raise."""
    data = bring_onto_grid(volume.data, volume.affine, first.data.shape, first.affine)
    if data is volume.data:
        return volume
    if data is not None:
        note = f"{label}: its voxels are brought to the order of axes of {first_label}; none is changed"
        return replace(volume, data=data, affine=first.affine, header=first.header, warnings=(*volume.warnings, note))
    remedy = advice_on_forms(volume, first, first_label)
    if remedy is None:
        remedy = "register and resample all channels of a case onto one grid"
    raise VolumeError(
        f"{label}: shape {volume.data.shape} and grid differ from {first_label} with {first.data.shape}; {remedy}"
    )


def load_volume(source, affine, name):
    """Return the name that messages use, and the volume of a path, nibabel image or array."""
    if isinstance(source, str | os.PathLike):
        name, volume = str(source), read_nifti(source)
    elif hasattr(source, "dataobj"):
        name = source.get_filename() or name
        volume = volume_from_image(source, name)
    else:
        return name, volume_from_array(source, affine, name)
    if affine is not None:
        raise VolumeError(f"{name}: has an affine of its own; give affine only for arrays")
    return name, volume
