"""What became of the cases of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class CaseOutcome:
    """What became of one case.

    Attributes
    ----------
    case : str
        Stem of its outputs.
    input : str
        As the user named it.
    status : {"done", "kept", "failed"}
        "kept": its outputs were there already, made from the same scan, network and settings.
    reason : str or None
        Reason of a failure.
    error : Exception or None
        The failure itself.
    files : dict of str to Path
        Outputs by kind ("mask", "lesions", "preview", "record"); empty for a failed case.
    n_lesions : int or None
    total_volume_ml : float or None
    seconds, compile_seconds : float
        All of it, and what of it went into compiling the network.
    warnings : tuple of str
    flags : tuple of dict
        What makes the mask doubtful, see :func:`~hf_lesionseg.inference.flags.find_flags`.
    """

    case: str
    input: str
    status: str
    reason: str | None = None
    error: Exception | None = None
    files: dict[str, Path] = field(default_factory=dict)
    n_lesions: int | None = None
    total_volume_ml: float | None = None
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    flags: tuple[dict, ...] = ()
    compile_seconds: float = 0.0


@dataclass(frozen=True)
class SegmentationRun:
    """Outcomes of all cases, in the order of the inputs.

    Attributes
    ----------
    outcomes : list of CaseOutcome
    notice : str
        What is to be known of every mask, such as that the network learned from generated data; often empty.
    """

    outcomes: list[CaseOutcome]
    notice: str = ""

    @property
    def failed(self) -> list[CaseOutcome]:
        return [outcome for outcome in self.outcomes if outcome.status == "failed"]

    @property
    def exit_status(self) -> int:
        """0 when every case is done or kept, 1 when one failed."""
        return 1 if self.failed else 0
