"""Evaluators of challenges: what they report in which order, and the values that they give to undefined metrics.

None is used unless it is asked for. A preset replaces a few values of the rows; everything else stays by the policy of
:mod:`~hf_lesionseg.evaluation.metrics`, and so do voxel counts and the number of undefined cases.

* ``isles2018``: the platform behind the challenge gave a Hausdorff distance of 1e8 to a case in which a mask is empty.
  It shows in the published table: 12 of 62 such cases make 12 / 62 * 1e8 = 19,354,838.7 of a mean of 19,354,857.7, and
  their population standard deviation is 39,507,899. Such a mean counts empty masks, and says next to nothing of mm.
* ``isles2022``: Dice and lesion-wise F1 are 1 where both masks are empty (Hernandez Petzsche et al., Scientific Data
  9:762, 2022), which is this package's own rule too: here it is part of the emulation, whatever that becomes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..errors import UsageError
from .metrics import CaseMetrics


@dataclass(frozen=True)
class Preset:
    """How a challenge's evaluator counts.

    Attributes
    ----------
    name, title : str
    columns : tuple of str
        Metrics that the challenge reports, in its order.
    undefined : mapping of metric to value
        Where the prediction, the truth or both are empty.
    both_empty : mapping of metric to value
        Where both are empty.
    policy : str
        The rule, as it is printed in the outputs.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    undefined: dict[str, float] = field(default_factory=dict)
    both_empty: dict[str, float] = field(default_factory=dict)
    policy: str = ""


PRESETS = {
    "isles2018": Preset(
        name="isles2018",
        title="ISLES 2018",
        columns=("dice", "hd_mm", "precision", "recall", "avd_ml"),
        undefined={"hd_mm": 1e8},
        policy="Preset isles2018: the Hausdorff distance is 1e8 where a mask is empty, as that challenge's evaluator "
        "counts it; HD95 and ASSD, which it does not have, stay undefined.",
    ),
    "isles2022": Preset(
        name="isles2022",
        title="ISLES 2022",
        columns=("dice", "avd_ml", "lesion_count_difference", "lesion_f1"),
        both_empty={"dice": 1.0, "lesion_f1": 1.0},
        policy="Preset isles2022: Dice and lesion-wise F1 are 1 where truth and prediction are empty.",
    ),
}


def find_preset(name: str | None) -> Preset | None:
    """Return the preset of that name, None for none.

    Raises
    ------
    UsageError
        There is no such preset.
    """
    if name is not None and name not in PRESETS:
        raise UsageError(f"preset {name!r} is unknown; use {', '.join(PRESETS)}")
    return None if name is None else PRESETS[name]


def apply_preset(case: CaseMetrics, preset: Preset | None) -> CaseMetrics:
    """Return the case with the values that a challenge's evaluator gives; failed cases stay without a number."""
    if preset is None or case.failed:
        return case
    if case.truth_is_empty or case.prediction_is_empty:
        case = replace(case, **preset.undefined)
    if case.truth_is_empty and case.prediction_is_empty:
        case = replace(case, **preset.both_empty)
    return case
