"""Evaluators of challenges: what they report in which order, what a lesion is to them, and what undefined metrics are.

None is used unless it is asked for. A preset replaces a few values of the rows; everything else stays by the policy of
:mod:`~hf_lesionseg.evaluation.metrics`, and so do voxel counts and the number of undefined cases.

* ``isles2018``: the evaluator of that challenge is not public. Evidenced is one thing: a Hausdorff distance of 1e8 for
  a case without prediction. It shows in the published table: 12 of 62 such cases make 12 / 62 * 1e8 = 19,354,838.7 of
  a mean of 19,354,857.7, and their population standard deviation is 39,507,899. Such a mean counts empty masks, and
  says next to nothing of mm. The rest follows its public ancestor, the evaluator of ISLES 2015 and 2016 on top of
  Covalic: recall is 0 where the truth is empty; where both masks are, so are all, the Hausdorff distance too.
* ``isles2022``: Dice and lesion-wise F1 are 1 where both masks are empty (Hernandez Petzsche et al., Scientific Data
  9:762, 2022), which is this package's own rule too: here it is part of the emulation, whatever that becomes.
* ``isles2024``: lesions are panoptica's instances, 26-connected and matched one to one at an IoU of 0.2 or more; Dice
  and F1 are 1 where both masks are empty. The challenge's public script leaves the threshold to panoptica, whose own
  is 0.5: there F1 is lower.
* ``atlas-r2``: the public evaluator of ATLAS R2.0. Values are rounded and cut to 0..1, lesions are joined by faces
  alone (6-connected, what ``scipy.ndimage.label`` does unless told otherwise) and found by one voxel, Dice and F1 are
  1 where both masks are empty, precision and recall 0 where they divide by zero, as scikit-learn has it. It gives the
  difference of the volumes in voxels; here it stays in mL.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..errors import UsageError
from .lesionwise import BY_A_VOXEL, LesionRule
from .metrics import CaseMetrics


@dataclass(frozen=True)
class Preset:
    """How a challenge's evaluator counts.

    Attributes
    ----------
    name, title : str
    columns : tuple of str
        Metrics that the challenge reports, in its order.
    lesions : LesionRule
        What one lesion is, and when it is found.
    rounds : bool
        Values of masks are rounded to integers before they count, so that 0.5 and less is background.
    only_truth_empty, only_prediction_empty, both_empty : mapping of metric to value
        Where these masks are empty.
    policy : str
        The rule, as it is printed in the outputs.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    lesions: LesionRule = BY_A_VOXEL
    rounds: bool = False
    only_truth_empty: dict[str, float] = field(default_factory=dict)
    only_prediction_empty: dict[str, float] = field(default_factory=dict)
    both_empty: dict[str, float] = field(default_factory=dict)
    policy: str = ""


_ISLES_COLUMNS = ("dice", "avd_ml", "lesion_count_difference", "lesion_f1")

PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="isles2018",
            title="ISLES 2018",
            columns=("dice", "hd_mm", "precision", "recall", "avd_ml"),
            only_truth_empty={"hd_mm": 1e8, "recall": 0.0},
            only_prediction_empty={"hd_mm": 1e8},
            both_empty={"dice": 0.0, "hd_mm": 0.0, "precision": 0.0, "recall": 0.0},
            policy="Preset isles2018: the Hausdorff distance is 1e8 where one mask is empty. Only its 1e8 for an empty "
            "prediction is evidenced, by the published table; that challenge's evaluator is not public. An empty truth "
            "follows its public ancestor (ISLES 2015 and 2016): recall 0, and with an empty prediction too Dice, "
            "precision and the Hausdorff distance 0. HD95 and ASSD, which it does not have, stay undefined.",
        ),
        Preset(
            name="isles2022",
            title="ISLES 2022",
            columns=_ISLES_COLUMNS,
            both_empty={"dice": 1.0, "lesion_f1": 1.0},
            policy="Preset isles2022: Dice and lesion-wise F1 are 1 where truth and prediction are empty.",
        ),
        Preset(
            name="isles2024",
            title="ISLES 2024",
            columns=_ISLES_COLUMNS,
            lesions=LesionRule(minimum_iou=0.2),
            both_empty={"dice": 1.0, "lesion_f1": 1.0},
            policy="Preset isles2024: a true and a predicted lesion (26-connected) are matched one to one, the best "
            "first, where their IoU is 0.2 or more, as panoptica does; lesion-wise F1 is its recognition quality. "
            "Dice and F1 are 1 where truth and prediction are empty.",
        ),
        Preset(
            name="atlas-r2",
            title="ATLAS R2.0",
            columns=(*_ISLES_COLUMNS, "precision", "recall"),
            lesions=LesionRule(connectivity=6),
            rounds=True,
            only_truth_empty={"recall": 0.0},
            both_empty={"dice": 1.0, "lesion_f1": 1.0, "precision": 0.0, "recall": 0.0},
            policy="Preset atlas-r2: values of masks are rounded (0.5 and less is background); lesions are 6-connected "
            "and found by a single voxel; Dice and lesion-wise F1 are 1 where truth and prediction are empty; "
            "precision and recall are 0 where they divide by zero.",
        ),
    )
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
    """Return the case with the values that a challenge's evaluator gives; failed cases stay without a number.

    A preset's rule for lesions and for rounding is applied earlier, where the case is scored.
    """
    if preset is None or case.failed:
        return case
    values = {
        (True, True): preset.both_empty,
        (True, False): preset.only_truth_empty,
        (False, True): preset.only_prediction_empty,
    }.get((case.truth_is_empty, case.prediction_is_empty), {})
    return replace(case, **values)
