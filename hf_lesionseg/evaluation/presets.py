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

from dataclasses import dataclass, field

from ..errors import UsageError
from .lesionwise import BY_A_VOXEL, LesionRule
from .metrics import EmptyRule
from .scored_case import CaseMetrics


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
    empty : mapping of metric to EmptyRule
        Rules for empty masks that differ from the metric's own; None in one leaves that value as it is.
    policy : str
        The rule, as it is printed in the outputs.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    lesions: LesionRule = BY_A_VOXEL
    rounds: bool = False
    empty: dict[str, EmptyRule] = field(default_factory=dict)
    policy: str = ""


_ISLES_COLUMNS = ("dice", "avd_ml", "lesion_count_difference", "lesion_f1")

PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="isles2018",
            title="ISLES 2018",
            columns=("dice", "hd_mm", "precision", "recall", "avd_ml"),
            empty={
                "dice": EmptyRule(both=0.0),
                "hd_mm": EmptyRule(both=0.0, truth=1e8, prediction=1e8),
                "precision": EmptyRule(both=0.0),
                "recall": EmptyRule(both=0.0, truth=0.0),
            },
            policy="Preset isles2018: the Hausdorff distance is 1e8 where one mask is empty. Only its 1e8 for an empty "
            "prediction is evidenced, by the published table; that challenge's evaluator is not public. An empty truth "
            "follows its public ancestor (ISLES 2015 and 2016): recall 0, and with an empty prediction too Dice, "
            "precision and the Hausdorff distance 0. HD95 and ASSD, which it does not have, stay undefined.",
        ),
        Preset(
            name="isles2022",
            title="ISLES 2022",
            columns=_ISLES_COLUMNS,
            empty={"dice": EmptyRule(both=1.0), "lesion_f1": EmptyRule(both=1.0)},
            policy="Preset isles2022: Dice and lesion-wise F1 are 1 where truth and prediction are empty.",
        ),
        Preset(
            name="isles2024",
            title="ISLES 2024",
            columns=_ISLES_COLUMNS,
            lesions=LesionRule(minimum_iou=0.2),
            empty={"dice": EmptyRule(both=1.0), "lesion_f1": EmptyRule(both=1.0)},
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
            empty={
                "dice": EmptyRule(both=1.0),
                "lesion_f1": EmptyRule(both=1.0),
                "precision": EmptyRule(both=0.0),
                "recall": EmptyRule(both=0.0, truth=0.0),
            },
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
    values = {name: rule.value(case.counts) for name, rule in preset.empty.items()}
    return case.with_values({name: value for name, value in values.items() if value is not None})
