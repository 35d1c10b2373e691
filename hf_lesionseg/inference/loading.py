"""Find a network with its image processor, in a folder or on the Hub, and refuse what would not segment rightly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, UsageError
from ..models import ENSEMBLE_REGISTRY, loadable
from ..pretrained import find_packaged

if TYPE_CHECKING:
    import torch

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_PROCESSOR_METHODS = ("preprocess", "restore_probability", "mask_from_probability")


@dataclass(frozen=True)
class LoadedModel:
    """A network that is ready to segment, and where it came from.

    Attributes
    ----------
    model : PreTrainedModel
        In eval mode, on ``device``.
    processor : LesionImageProcessor
    source : str
        Folder or Hub id, as given.
    revision : str or None
        Branch, tag or commit, as given.
    commit : str or None
        The Hub's commit; None for a folder.
    weights_sha256 : str or None
        Of a folder's weights; None for a Hub id, whose commit says it.
    packaged : str or None
        Name of the network where it came with this package.
    """

    model: Any
    processor: Any
    source: str
    revision: str | None = None
    commit: str | None = None
    weights_sha256: str | None = None
    packaged: str | None = None

    @property
    def device(self) -> torch.device:
        return self.model.device

    def identity(self) -> dict:
        """Return what tells this network from another in a run record."""
        members = getattr(self.model.config, "members", None)
        return {
            **({"members": list(members), "member_type": self.model.config.member_type} if members else {}),
            "id": self.source,
            **({"packaged": self.packaged} if self.packaged else {}),
            "revision": self.revision,
            "commit": self.commit,
            "weights_sha256": self.weights_sha256,
            "model_type": self.model.config.model_type,
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
        }


def choose_device(device: str = "auto") -> torch.device:
    """Return the device of that name; "auto" is the first CUDA device, or the CPU.

    Raises
    ------
    UsageError
        There is no such device here.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"device {device!r} cannot be used here ({reason}); use auto or cpu") from error
    return chosen


def load_model(
    id_or_folder: str | Path,
    revision: str | None = None,
    token: str | None = None,
    device: str = "auto",
    dtype: str = "float32",
    *,
    trust_remote_code: bool = False,
) -> LoadedModel:
    """Load a network and its image processor.

    Parameters
    ----------
    id_or_folder : str or Path
        A folder with ``config.json``, ``model.safetensors`` and ``preprocessor_config.json``, the name of a network
        that comes with the package (:mod:`hf_lesionseg.pretrained`), or an id on the Hub. Of an ensemble the weights
        lie in the subfolders that ``config.json`` names.
    revision : str, optional
        Branch, tag or commit on the Hub.
    token : str, optional
        Access token for the Hub; by default the one of ``hf auth login``.
    device : str
        "auto", "cpu", "cuda", "cuda:1", ...
    dtype : {"float32", "bfloat16", "float16"}
        Of the weights, whatever they are stored in: packaged ones are stored in float16.
    trust_remote_code : bool
        Run the repository's own code where its network is not of this package. Only for code that you have read.

    Raises
    ------
    UsageError
        No such device or dtype.
    ModelError
        Nothing usable is there; the message tells what is missing and what to do.
    """
    import torch
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers import AutoModelForSemanticSegmentation

    # Not `from transformers`: before 5.18 that spelling is refused where torchvision is absent.
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    import hf_lesionseg  # noqa: F401  (fills the Auto factories)

    unusable = (
        OSError,
        ValueError,
        RuntimeError,
        TypeError,
        KeyError,
        ImportError,
        SafetensorError,
        StrictDataclassError,
    )

    if dtype not in ("float32", "bfloat16", "float16"):
        raise UsageError(f"dtype {dtype!r} is unknown; use float32, bfloat16 or float16")
    chosen = choose_device(device)
    packaged = find_packaged(id_or_folder)
    source = str(id_or_folder) if packaged is None else packaged.name
    folder = Path(id_or_folder) if packaged is None else packaged.folder
    if folder.is_dir():
        commit = None
        config = _check_folder(folder)
        origin, where = str(folder), {}
    else:
        config_file, commit = _find_on_hub(source, revision, token)
        config = _read_json(config_file)
        # The commit, so that config, weights and processor are of one state of the repository.
        origin, where = source, {"revision": commit, "token": token}
    _check_model_type(source, config, trust_remote_code)
    where["trust_remote_code"] = trust_remote_code
    try:
        model, info = AutoModelForSemanticSegmentation.from_pretrained(
            origin, dtype=getattr(torch, dtype), use_safetensors=True, output_loading_info=True, **where
        )
    except unusable as error:
        raise ModelError(f"{source}: the network cannot be loaded ({_in_short(error)}); {_REMEDY}") from error
    _check_weights(source, info)
    try:
        processor = AutoImageProcessor.from_pretrained(origin, **where)
    except unusable as error:
        raise ModelError(
            f"{source}: preprocessor_config.json is missing or unreadable ({_in_short(error)}); "
            "save the LesionImageProcessor of the training beside the network"
        ) from error
    _check_processor(source, processor, model.config)
    weights = None if commit else _weights_sha256(folder, config.get("members"))
    return LoadedModel(
        model.to(chosen).eval(), processor, source, revision, commit, weights,
        packaged=packaged.name if packaged else None,
    )  # fmt: skip


_REMEDY = "give a folder or a Hub id that holds a network of hf_lesionseg"


def _in_short(error: BaseException) -> str:
    """The message of a library's error, on one line of bearable length."""
    text = " ".join(str(error).split())
    return (text if len(text) <= 200 else f"{text[:200]} ...").rstrip(".:; ") or type(error).__name__


def _read_json(path: str | Path) -> dict:
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path}: not valid JSON ({error}); download or save the network again") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: not a network's configuration; {_REMEDY}")
    return content


def _check_folder(folder: Path) -> dict:
    """Return the configuration of a network, or of an ensemble whose members are all there."""
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no config.json in this folder; {_REMEDY}")
    config = _read_json(folder / "config.json")
    if config.get("model_type") not in ENSEMBLE_REGISTRY:
        _check_weights_file(folder)
        return config
    members = config.get("members") or ()
    if not members:
        raise ModelError(f"{folder / 'config.json'}: names no member; make it anew with `lesionseg ensemble`")
    for member in members:
        if not (folder / str(member)).is_dir():
            raise ModelError(f"{folder}: member {member} of this ensemble is missing; copy or download all of it")
        _check_folder(folder / str(member))
    return config


def _check_weights_file(folder: Path) -> None:
    if not any((folder / name).is_file() for name in WEIGHTS):
        others = sorted(path.name for path in folder.glob("*.bin")) + sorted(path.name for path in folder.glob("*.pt*"))
        remedy = (
            f"{others[0]} is a pickle, which can run code: convert it to safetensors"
            if others
            else "the training did not finish or the download is incomplete"
        )
        raise ModelError(f"{folder}: no model.safetensors in this folder; {remedy}")


def _find_on_hub(repo_id: str, revision: str | None, token: str | None) -> tuple[str, str]:
    """Return the path of the cached ``config.json`` and the commit that it is of."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        config = hf_hub_download(repo_id, "config.json", revision=revision, token=token)
    except HFValidationError as error:
        raise ModelError(f"{repo_id}: no such folder, and no id of the Hub either; check the path") from error
    except GatedRepoError as error:
        raise ModelError(
            f"{repo_id}: access is granted on request; ask for it on its page, then `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"{repo_id}: no such folder, and no such model on the Hub, or a private one that your token does not open; "
            "check the name, or `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(f"{repo_id}: has no revision {revision!r}; check the branch, tag or commit") from error
    # Before EntryNotFoundError, of which it is a kind.
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"{repo_id}: not in the local cache, and the Hub cannot be reached; "
            "connect once, or give a folder with the network"
        ) from error
    except EntryNotFoundError as error:
        raise ModelError(f"{repo_id}: this repository has no config.json; {_REMEDY}") from error
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        remedy = "the token is wrong or expired: `hf auth login`" if status in (401, 403) else "try again later"
        raise ModelError(f"{repo_id}: the Hub answered {status or _in_short(error)}; {remedy}") from error
    except OSError as error:
        raise ModelError(f"{repo_id}: cannot be fetched from the Hub ({_in_short(error)}); try again later") from error
    # .../snapshots/<commit>/config.json
    return config, Path(config).parent.name


def _check_model_type(source: str, config: dict, trust_remote_code: bool) -> None:
    model_type = config.get("model_type")
    if model_type in loadable() or (trust_remote_code and "auto_map" in config):
        return
    remedy = _REMEDY
    if "auto_map" in config:
        remedy = "it brings code of its own: read it, then allow it by --trust-remote-code"
    raise ModelError(
        f"{source}: model_type {model_type!r} is none of this package's ({', '.join(loadable())}); {remedy}"
    )


def _check_weights(source: str, info: dict) -> None:
    """Refuse weights that do not fill the network exactly: the rest would be random numbers."""
    for kind, what in (
        ("mismatched_keys", "have another shape"),
        ("missing_keys", "are missing"),
        ("unexpected_keys", "have no place in this network"),
    ):
        keys = sorted(str(key[0] if isinstance(key, (tuple, list)) else key) for key in info.get(kind) or ())
        if keys:
            raise ModelError(
                f"{source}: {len(keys)} weights {what}, such as {keys[0]}; "
                "config.json and model.safetensors are of different networks"
            )


def _check_processor(source: str, processor: Any, config: Any) -> None:
    if not all(hasattr(processor, name) for name in _PROCESSOR_METHODS):
        raise ModelError(
            f"{source}: its image processor is {type(processor).__name__}, which cannot read scans; "
            "save a LesionImageProcessor beside the network"
        )
    # one published with code from before slice_stack has no num_channels
    channels = getattr(processor, "num_channels", len(processor.channel_names))
    if channels != config.num_channels:
        raise ModelError(
            f"{source}: the network takes {config.num_channels} channels and its image processor gives "
            f"{channels} ({', '.join(processor.channel_names)}); they are of different networks"
        )


def _weights_sha256(folder: Path, members: Sequence[str] | None) -> str:
    digest = hashlib.sha256()
    places = [folder / member for member in members] if members else [folder]
    for path in (path for place in places for path in sorted(place.glob("model*.safetensors"))):
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()
