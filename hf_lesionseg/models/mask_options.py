"""How a map of probabilities becomes a mask: every option once, with its default and its rule.

An option is a row of :class:`MaskOptions` and a step of :func:`make_mask` or :func:`clean_mask`. The image processor
saves the options under these names in ``preprocessor_config.json``, and run records and metrics hold them.
"""

from dataclasses import dataclass, field, fields
from typing import TypedDict

import numpy as np

from .lesion_cleanup import clean_lesions, filter_slices
from .setting_rules import count_that, number_that


def _option(default, rule):
    return field(default=None, metadata={"default": default, "rule": rule})


@dataclass(frozen=True)
class MaskOptions:
    """Options of a mask that a person set; None leaves an option as the network was saved with it.

    Parameters
    ----------
    threshold : float, optional
        Probability between 0 and 1 above which a voxel is lesion; 0.5 where nothing was saved.
    minimum_lesion_ml : float, optional
        Lesions (26-connected) below this volume in mL are dropped; 0 keeps lesions of every size.
    keep_largest : int, optional
        Keep so many of the largest lesions only; 0 keeps all.
    median_filter : int, optional
        Side in voxels, odd, of the median filter that smooths each slice on the file grid, before lesions are dropped;
        0 for none.

    Raises
    ------
    ValueError
        For an impossible value; names the option and the values that it takes.

    Examples
    --------
    >>> MaskOptions(threshold=0.4).over({"threshold": 0.5, "minimum_lesion_ml": 0.1}).to_dict()
    {'threshold': 0.4, 'minimum_lesion_ml': 0.1, 'keep_largest': 0, 'median_filter': 0}
    """

    threshold: float | None = _option(
        0.5, number_that(lambda value: 0 < value < 1, "give a probability between 0 and 1; 0.5 is usual")
    )
    minimum_lesion_ml: float | None = _option(
        0.0, number_that(lambda value: 0 <= value <= 1e6, "give a volume in mL, 0 to keep all lesions")
    )
    keep_largest: int | None = _option(
        0, count_that(lambda value: value >= 0, "give a whole number of lesions, 0 to keep all")
    )
    median_filter: int | None = _option(
        0,
        count_that(
            lambda value: value == 0 or (3 <= value <= 15 and value % 2),
            "give an odd number of voxels from 3 to 15, 0 for no filter",
        ),
    )

    def __post_init__(self):
        for name, value in self.given().items():
            object.__setattr__(self, name, MASK_RULES[name](name, value))

    def given(self):
        """Return the options that are not None, by name."""
        return {each.name: getattr(self, each.name) for each in fields(self) if getattr(self, each.name) is not None}

    def to_dict(self):
        """Return all options by name, as run records hold them."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def over(self, saved=()):
        """Complete the options by saved ones.

        Parameters
        ----------
        saved : mapping of str to value
            Such as the settings of an image processor; other names are passed over, and options that it does not know
            (a processor of earlier code) have their default.

        Returns
        -------
        MaskOptions
            None of its options is None.
        """
        known = {name: saved[name] for name in MASK_DEFAULTS if name in saved}
        return MaskOptions(**{**MASK_DEFAULTS, **known, **self.given()})

    @classmethod
    def of(cls, processor, chosen=None):
        """Return the options of an image processor, with those in ``chosen`` in their place."""
        saved = {name: getattr(processor, name) for name in MASK_DEFAULTS if hasattr(processor, name)}
        return (chosen or cls()).over(saved)

    def differing_from(self, processor):
        """Return by name what has to be said to ``processor``, since it would take another value by itself.

        A processor of a repository's own code may not know every option; those that are off are not passed to it.
        """
        saved = MaskOptions.of(processor).to_dict()
        return {name: value for name, value in self.given().items() if value != saved[name]}


#: Default and rule of each option, by name.
MASK_DEFAULTS = {each.name: each.metadata["default"] for each in fields(MaskOptions)}
MASK_RULES = {each.name: each.metadata["rule"] for each in fields(MaskOptions)}

#: The options as settings of the image processor.
MaskSettings = TypedDict("MaskSettings", {name: type(value) for name, value in MASK_DEFAULTS.items()}, total=False)


def make_mask(probability, options, voxel_ml, slice_axis):
    """Cut probabilities at the threshold and clean what is above it.

    Parameters
    ----------
    probability : array (X, Y, Z)
        On the file grid.
    options : MaskOptions
        Complete, as :meth:`MaskOptions.over` returns them.
    voxel_ml : float
        Volume of a voxel in mL.
    slice_axis : int
        Axis of the file from slice to slice.

    Returns
    -------
    bool array (X, Y, Z)
    """
    mask = np.asarray(probability) > options.threshold
    clean_mask(mask, options, voxel_ml, slice_axis)
    return mask


def clean_mask(mask, options, voxel_ml, slice_axis):
    """Smooth the slices of a mask and drop lesions too small or not of the largest, in place; as :func:`make_mask`.

    Parameters
    ----------
    mask : bool array (X, Y, Z)
    """
    if options.median_filter:
        filter_slices(mask, options.median_filter, slice_axis)
    clean_lesions(mask, voxel_ml, options.minimum_lesion_ml, options.keep_largest)
