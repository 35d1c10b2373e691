"""How masks are compared: what a run of ``evaluate`` counts, and how."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from .presets import Preset, find_preset
from .slicewise import check_slice_axis


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """What is counted, and how.

    Attributes
    ----------
    slice_axis : {"axial", "coronal", "sagittal"}
        Along which the Dice of single slices is taken (:mod:`hf_lesionseg.evaluation.slicewise`).
    distances : bool
        Measure surface distances (:mod:`hf_lesionseg.evaluation.surface`) and count single lesions
        (:mod:`hf_lesionseg.evaluation.lesionwise`), too.
    preset : {"isles2018", "isles2022", "isles2024", "atlas-r2"}, optional
        Count as that challenge's evaluator does (:mod:`hf_lesionseg.evaluation.presets`).
    label : str or int, optional
        Value of the label that is lesion in truths and predictions, where they hold several; with commas for some.
    prediction_label : str or int, optional
        That of the predictions, where it is another than that of the truths.

    Raises
    ------
    UsageError
        If the axis or the preset is unknown, or a preset needs the distances.
    """

    slice_axis: str = "axial"
    distances: bool = True
    preset: str | None = None
    label: str | int | None = None
    prediction_label: str | int | None = None

    def __post_init__(self):
        check_slice_axis(self.slice_axis)
        if self.challenge is not None and not self.distances:
            raise UsageError(f"preset {self.preset} reports distances or single lesions; evaluate with distances")

    @property
    def challenge(self) -> Preset | None:
        """The preset itself."""
        return find_preset(self.preset)
