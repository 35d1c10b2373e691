"""Find a network with its image processor, in a folder or on the Hub, and refuse what would not segment rightly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingModelError, ModelError, UsageError
from ..models import ENSEMBLE_REGISTRY, loadable
from ..models.file_diagnosis import is_file, is_folder, what_is, what_is_denied, what_model_folder_is, what_weights_are
from ..pretrained import find_packaged
from ..provenance import of_folder, of_network

if TYPE_CHECKING:
    import torch

    from .processes import Processes

_PROCESSOR = "preprocessor_config.json"
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
        Checksum of a folder's weights; None for a Hub id, whose commit identifies them.
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
        """Return what identifies this network in a run record."""
        members = getattr(self.model.config, "members", None)
        exported = getattr(self.model, "exported_from", None)
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        return {
            **({"members": list(members), "member_type": self.model.config.member_type} if members else {}),
            "id": self.source,
            **({"packaged": self.packaged} if self.packaged else {}),
            "revision": self.revision,
            "commit": self.commit,
            "weights_sha256": self.weights_sha256,
            "training_data": of_network(self.model.config),
            "model_type": self.model.config.model_type,
            "parameters": parameters if exported is None else exported["parameters"],
            **({"exported_from": exported} if exported else {}),
        }


@dataclass(frozen=True)
class ModelSource:
    """Where a network is to be found; :meth:`load` finds it.

    Attributes
    ----------
    id_or_folder, revision, token, device, trust_remote_code
        As for :func:`load_model`.
    """

    id_or_folder: str | Path
    revision: str | None = None
    token: str | None = field(default=None, repr=False)
    device: str = "auto"
    trust_remote_code: bool = False

    def load(self) -> LoadedModel:
        """Load the network, see :func:`load_model`."""
        return load_model(
            self.id_or_folder, self.revision, self.token, self.device, trust_remote_code=self.trust_remote_code
        )

    def for_process(self, processes: Processes) -> ModelSource:
        """The source for one of several processes: on a device of its own where none was asked for by its number."""
        return replace(self, device=processes.device(self.device))


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
        Type of the weights, whatever they are stored in: packaged ones are stored in float16.
    trust_remote_code : bool
        Run the repository's own code where its network is not of this package. Only for code that you have read.

    Raises
    ------
    UsageError
        No such device or dtype.
    ModelError
        Nothing usable is there; the message says what is missing and what to do.
    """
    import torch
    from transformers import AutoModelForSemanticSegmentation

    import hf_lesionseg  # noqa: F401  (fills the Auto factories)

    if dtype not in ("float32", "bfloat16", "float16"):
        raise UsageError(f"dtype {dtype!r} is unknown; use float32, bfloat16 or float16")
    chosen = choose_device(device)
    packaged = find_packaged(id_or_folder)
    source = str(id_or_folder) if packaged is None else packaged.name
    folder = Path(id_or_folder) if packaged is None else packaged.folder
    cached = None
    if is_folder(folder) or is_file(folder):
        commit = None
        config = _check_folder(folder)
        origin, where = str(folder), {}
    elif reason := what_is_denied(folder):
        raise ModelError(f"{source}: {reason}")
    else:
        config_file, commit, unreachable = _find_on_hub(source, revision, token)
        config, cached = _read_json(config_file), Path(config_file).parent
        # The commit, so that config, weights and processor are of one state of the repository.
        origin, where = source, {"revision": commit, "token": token}
        if unreachable:  # or each file that may be there, and is not in the cache, would be asked for in vain
            where["local_files_only"] = True
    _check_model_type(source, config, trust_remote_code)
    where["trust_remote_code"] = trust_remote_code
    try:
        model, info = AutoModelForSemanticSegmentation.from_pretrained(
            origin, dtype=getattr(torch, dtype), use_safetensors=True, output_loading_info=True, **where
        )
    except _unusable() as error:
        if cached is not None and unreachable:
            raise ModelError(f"{source}: not all of it is in the local cache, and {unreachable}") from error
        for path in () if cached is None else cached.glob("model*.safetensors"):
            _check_file(path, what_weights_are)
        raise ModelError(f"{source}: the network cannot be loaded ({_in_short(error)}); {_REMEDY}") from error
    _check_weights(source, info)
    processor = load_processor(source, origin, where, folder if cached is None else None)
    _check_processor(source, processor, model.config)
    weights = None if commit else _weights_sha256(folder, config.get("members"))
    if not commit and of_network(model.config) is None and (known := of_folder(folder)):
        model.config.training_data = known  # trained by an earlier version, whose configuration did not say it
    return LoadedModel(
        model.to(chosen).eval(), processor, source, revision, commit, weights,
        packaged=packaged.name if packaged else None,
    )  # fmt: skip


def _unusable() -> tuple[type[Exception], ...]:
    """What transformers raises for a folder or repository that holds no network of its kind."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError

    return (
        OSError,
        ValueError,
        RuntimeError,
        TypeError,
        KeyError,
        ImportError,
        SafetensorError,
        StrictDataclassError,
    )


def load_processor(source: str, origin: str, where: dict, folder: Path | None) -> Any:
    """The image processor beside a network; ``folder`` is None for one on the Hub."""
    # Not `from transformers`: before 5.18 that spelling is refused where torchvision is absent.
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    try:
        return AutoImageProcessor.from_pretrained(origin, **where)
    except _unusable() as error:
        above = None if folder is None else folder.resolve().parent / _PROCESSOR
        remedy = f"copy {above} there" if above is not None and is_file(above) else (
            "save the LesionImageProcessor of the training beside the network"
        )  # fmt: skip
        raise ModelError(f"{source}: {_PROCESSOR} is missing or unreadable ({_in_short(error)}); {remedy}") from error


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
    if not is_file(folder / "config.json") and not (folder / "config.json").is_symlink():
        reason = what_model_folder_is(folder) or f"no config.json in this folder; {_REMEDY}"
        raise ModelError(f"{folder}: {reason}")
    for name in ("config.json", _PROCESSOR):
        if (folder / name).is_symlink() or is_file(folder / name):
            _check_file(folder / name, what_is)
    config = _read_json(folder / "config.json")
    if config.get("model_type") not in ENSEMBLE_REGISTRY:
        _check_weights_file(folder)
        return config
    members = config.get("members") or ()
    if not members:
        raise ModelError(f"{folder / 'config.json'}: names no member; make it again with `lesionseg ensemble`")
    for member in members:
        if not (folder / str(member)).is_dir():
            raise ModelError(f"{folder}: member {member} of this ensemble is missing; copy or download all of it")
        _check_folder(folder / str(member))
    return config


def _check_file(path: Path, diagnose) -> None:
    if reason := diagnose(path):
        raise ModelError(f"{path}: {reason}")


def _check_weights_file(folder: Path) -> None:
    for path in sorted(folder.glob("model*.safetensors")):  # a link to nothing among them
        _check_file(path, what_weights_are)
    if is_file(folder / WEIGHTS[1]):
        _check_file(folder / WEIGHTS[1], what_is)
        _check_shards(folder / WEIGHTS[1])
    if not any(is_file(folder / name) for name in WEIGHTS):
        if is_file(folder / "export.json"):
            raise ModelError(f"{folder}: holds an exported network; run it by the backend onnxruntime")
        others = sorted(path.name for path in folder.glob("*.bin")) + sorted(path.name for path in folder.glob("*.pt*"))
        remedy = (
            f"{others[0]} is a pickle, which can run code: convert it to safetensors"
            if others
            else "the training did not finish or the download is incomplete"
        )
        raise ModelError(f"{folder}: no model.safetensors in this folder; {remedy}")


def _check_shards(index: Path) -> None:
    named = _read_json(index).get("weight_map")
    shards = sorted(set(named.values())) if isinstance(named, dict) else []
    missing = [name for name in shards if not is_file(index.parent / name)]
    if missing:
        raise ModelError(
            f"{index.parent / missing[0]}: is missing, and {index.name} names it; download or copy the network again"
        )


def _find_on_hub(repo_id: str, revision: str | None, token: str | None) -> tuple[str, str, str | None]:
    """Return the path of the cached ``config.json``, the commit that it is of, and why the Hub was not asked."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils import validate_repo_id

    from ..hub.transport import TRANSPORT_ERRORS, explain, why_no_cache, why_unreachable

    unreachable = None
    try:
        validate_repo_id(repo_id)
        if not constants.HF_HUB_OFFLINE:
            unreachable = why_unreachable() or why_no_cache()
        local = {"local_files_only": True} if unreachable else {}
        config = hf_hub_download(repo_id, "config.json", revision=revision, token=token, **local)
    except HFValidationError as error:
        remedy = "from the address of a Hub page, give the id alone, org/name" if "://" in repo_id else "check the path"
        raise MissingModelError(f"{repo_id}: no such folder, and not a Hub id either; {remedy}") from error
    except GatedRepoError as error:
        raise ModelError(
            f"{repo_id}: access is granted on request; ask for it on its page, then `hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise MissingModelError(
            f"{repo_id}: no such folder, and no such model on the Hub, or a private one that your token does not open; "
            "check the name, or `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise MissingModelError(f"{repo_id}: has no revision {revision!r}; check the branch, tag or commit") from error
    # Before EntryNotFoundError, of which it is a kind.
    except LocalEntryNotFoundError as error:
        reason = unreachable or "the Hub cannot be reached; connect once, or give a folder with the network"
        raise ModelError(f"{repo_id}: no such folder, not in the local cache, and {reason}") from error
    except EntryNotFoundError as error:
        raise ModelError(f"{repo_id}: this repository has no config.json; {_REMEDY}") from error
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        remedy = "the token is wrong or expired: `hf auth login`" if status in (401, 403) else "try again later"
        raise ModelError(f"{repo_id}: the Hub answered {status or _in_short(error)}; {remedy}") from error
    except TRANSPORT_ERRORS as error:
        raise ModelError(f"{repo_id}: {explain(error)[0]}") from error
    except OSError as error:
        raise ModelError(f"{repo_id}: cannot be fetched from the Hub ({_in_short(error)}); try again later") from error
    # .../snapshots/<commit>/config.json
    return config, Path(config).parent.name, unreachable


def _check_model_type(source: str, config: dict, trust_remote_code: bool) -> None:
    model_type = config.get("model_type")
    if model_type in loadable() or (trust_remote_code and "auto_map" in config):
        return
    remedy = _REMEDY
    if "auto_map" in config:
        remedy = "it brings its own code: read it, then allow it with --trust-remote-code"
    raise ModelError(
        f"{source}: model_type {model_type!r} is not one of this package's ({', '.join(loadable())}); {remedy}"
    )


def _check_weights(source: str, info: dict) -> None:
    """Refuse weights that do not fill the network exactly: the rest would be random numbers."""
    for kind, what in (
        ("mismatched_keys", "have another shape"),
        ("missing_keys", "are missing"),
        ("unexpected_keys", "do not belong to this network"),
    ):
        keys = sorted(str(key[0] if isinstance(key, (tuple, list)) else key) for key in info.get(kind) or ())
        if keys:
            raise ModelError(
                f"{source}: {len(keys)} weights {what}, such as {keys[0]}; "
                "config.json and model.safetensors belong to different networks"
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
            f"{channels} ({', '.join(processor.channel_names)}); they belong to different networks"
        )


def _weights_sha256(folder: Path, members: Sequence[str] | None) -> str:
    digest = hashlib.sha256()
    places = [folder / member for member in members] if members else [folder]
    for path in (path for place in places for path in sorted(place.glob("model*.safetensors"))):
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    return digest.hexdigest()
