"""The tissues that heads are made of, and the labels of FreeSurfer and CHARM that name them."""

from enum import IntEnum

import numpy as np

from ....errors import DataError

__all__ = ["BRAIN", "INTRACRANIAL", "LABELS", "PARENCHYMA", "Tissue", "tissues_of_labels"]


class Tissue(IntEnum):
    """What one voxel of an anatomy holds."""

    AIR = 0
    WHITE = 1
    CORTEX = 2
    GREY = 3  # caudate, putamen, accumbens, hippocampus, amygdala
    PALE = 4  # thalamus, pallidum, ventral diencephalon: between grey and white on T1
    CSF = 5
    VENTRICLE = 6
    CEREBELLAR_WHITE = 7
    CEREBELLAR_CORTEX = 8
    STEM = 9
    CAP = 10  # white matter that is dark on T1, beside the ventricles
    SKIN = 11
    SOFT = 12  # muscle and all else that is soft
    BONE = 13
    MARROW = 14
    EYE = 15
    VESSEL = 16
    MUCOSA = 17
    CORD = 18
    OUTSIDE = 19  # of a real head: not the brain, its tissue unknown


#: What a stroke can destroy.
PARENCHYMA = np.zeros(len(Tissue), bool)
PARENCHYMA[[1, 2, 3, 4, 7, 8, 9, 10]] = True
#: Parenchyma and ventricles: what the size and place of a brain are measured on.
BRAIN = PARENCHYMA.copy()
BRAIN[Tissue.VENTRICLE] = True
INTRACRANIAL = BRAIN.copy()
INTRACRANIAL[Tissue.CSF] = True

#: FreeSurfer's labels, and from 500 on those of CHARM (SimNIBS), as in SynthSeg's training label maps.
LABELS = {
    0: Tissue.AIR,
    **dict.fromkeys((2, 41), Tissue.WHITE),
    **dict.fromkeys((3, 42), Tissue.CORTEX),
    **dict.fromkeys((4, 5, 14, 15, 43, 44, 72, 31, 63, 136, 137, 163, 164), Tissue.VENTRICLE),
    **dict.fromkeys((7, 46), Tissue.CEREBELLAR_WHITE),
    **dict.fromkeys((8, 47), Tissue.CEREBELLAR_CORTEX),
    **dict.fromkeys((10, 49, 13, 52, 28, 60), Tissue.PALE),
    **dict.fromkeys((11, 50, 12, 51, 17, 53, 18, 54, 26, 58), Tissue.GREY),
    **dict.fromkeys((16, 85), Tissue.STEM),
    **dict.fromkeys((24, 30, 62), Tissue.CSF),  # with the widened spaces around vessels
    **dict.fromkeys((25, 57, 77), Tissue.CAP),
    **dict.fromkeys(range(251, 256), Tissue.WHITE),  # corpus callosum
    502: Tissue.VESSEL,
    506: Tissue.EYE,
    507: Tissue.SOFT,
    508: Tissue.SOFT,  # rectus muscles
    509: Tissue.MUCOSA,
    511: Tissue.SKIN,
    512: Tissue.CORD,
    514: Tissue.VESSEL,
    515: Tissue.BONE,
    516: Tissue.MARROW,
    530: Tissue.SOFT,  # optic nerves
}


def tissues_of_labels(labels: np.ndarray, name: str) -> np.ndarray:
    """Turn a label map into tissues.

    Parameters
    ----------
    labels : integer array
    name : of the file, for errors

    Returns
    -------
    uint8 array of :class:`Tissue`

    Raises
    ------
    DataError
        For labels that the table does not know, and maps without white matter.
    """
    found = np.unique(labels)
    unknown = [int(label) for label in found if int(label) not in LABELS]
    if unknown:
        shown = ", ".join(map(str, unknown[:5])) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
        raise DataError(
            f"{name}: holds labels that no tissue stands for ({shown}); give maps with FreeSurfer's labels, and "
            "CHARM's (502 to 530) outside the brain"
        )
    table = np.zeros(int(found.max()) + 1, np.uint8)
    for label in found:
        table[int(label)] = LABELS[int(label)]
    tissues = table[labels]
    if not (tissues == Tissue.WHITE).any():
        raise DataError(f"{name}: holds no white matter (labels 2 and 41); is it a label map of a whole brain?")
    return tissues
