"""Publish a model folder: checked first, then sent as one commit, so that readers see all of it or none.

Large files are uploaded before the commit names them. When an upload breaks off, ``main`` still points to what was
there, and the next call does not send again what has arrived.
"""

import logging
import shutil
import tempfile
import time
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import validate_repo_id

from .. import __version__
from ..errors import HubError, UsageError
from ..imaging.atomic import link_or_copy, replace_folder_aside
from ..pretrained import RECORD_FILE, REPORT_FILE, locate_model
from ..provenance import of_folder
from .model_card import CARD_FILE, SUMMARY_FILE, is_generated, write_model_card
from .model_check import check_model_folder
from .own_machine import clean_folder
from .remote_code import (
    CONFIG_FILE,
    MODELS_FOLDER,
    add_remote_code,
    check_remote_code,
    read_json,
    remove_auto_map,
    write_json,
)
from .transport import TRANSPORT_ERRORS, check_settings, explain

logger = logging.getLogger(__name__)

WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")
#: All that is published, and nothing else: no checkpoints, no data, no file that happens to lie in the folder.
PUBLISHED = (
    "config.json",
    "preprocessor_config.json",
    *WEIGHTS,
    CARD_FILE,
    SUMMARY_FILE,
    RECORD_FILE,
    REPORT_FILE,
    "report.png",
    "history.jsonl",
    "figures/*.png",
    "cross_validation.md",
)
#: The same of every member of an ensemble.
OF_A_MEMBER = tuple(
    f"fold-*/{name}" for name in ("config.json", "preprocessor_config.json", *WEIGHTS, SUMMARY_FILE, "history.jsonl")
)
#: These name single cases and people; the overlays do in their titles.
NAMES_PEOPLE = (
    "splits.json",
    "metrics.csv",
    "metrics.json",
    "figures/overlays.png",
    "held_out.json",
    "cross_validation.csv",
    "cross_validation.json",
    "fold-*/splits.json",
    "fold-*/held_out.json",
)
_RETRIED_STATUSES = (408, 412, 429, 500, 502, 503, 504)

#: How often to try in all where the network fails.
ATTEMPTS = 3


def publish(
    folder,
    repo_id,
    *,
    private=False,
    token=None,
    remote_code=True,
    splits=True,
    license="apache-2.0",
    commit_message=None,
    endpoint=None,
    check=False,
):
    """Publish a model folder to the Hub.

    Weights, configuration, image processor, figures, history and a model card go into one commit, those of all members
    where the folder is an ensemble. The card is written
    anew unless the folder's ``README.md`` is a text of one's own (see :data:`~hf_lesionseg.hub.model_card.MARKER`).
    The folder itself is not changed.

    Parameters
    ----------
    folder : path-like
        What training left, or ``save_pretrained`` of network and image processor; or the name of a packaged network.
    repo_id : str
        "org/name"; made where it does not exist.
    private : bool
        Publish to a private repository; refuses one that is public.
    token : str, optional
        With write access; by default ``HF_TOKEN`` or the one of ``hf auth login``.
    remote_code : bool
        Add the source files with which the network loads by ``trust_remote_code=True`` where this package is missing.
    splits : bool
        Also publish what names single cases and people by the pseudonymous ids of the data set: ``splits.json``,
        ``metrics.csv``, ``metrics.json``, ``figures/overlays.png`` and the rows per case of ``training_summary.json``.
        False leaves them out and removes those that are there; the repository's history keeps them.
    license : str
        Licence of the weights, for the card.
    commit_message : str, optional
    endpoint : str, optional
        By default ``HF_ENDPOINT``, or huggingface.co.
    check : bool
        Before anything is sent, load the source files in a fresh process without this package (some 15 s).

    Returns
    -------
    str
        Address of the repository.

    Raises
    ------
    UsageError
        If ``repo_id`` is not of the form org/name.
    ModelError
        If the folder does not hold a network that loads and is finite; nothing was sent.
    HubError
        If the Hub cannot be reached, or refuses.
    """
    folder = Path(locate_model(folder))
    endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
    _check_repo_id(repo_id)
    token = _find_token(token)
    check_settings(endpoint)
    check_model_folder(folder)
    with tempfile.TemporaryDirectory(prefix="hf_lesionseg-") as staging:
        files = stage(folder, Path(staging), repo_id, remote_code=remote_code, splits=splits, license=license)
        if remote_code and check:
            check_remote_code(staging)
        api = HfApi(endpoint=endpoint, token=token, library_name="hf_lesionseg", library_version=__version__)
        message = commit_message or f"Publish with hf_lesionseg {__version__}"
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return _send(api, repo_id, files, private, message)
            except (HfHubHTTPError, OfflineModeIsEnabled, *TRANSPORT_ERRORS, RuntimeError, ValueError) as error:
                explained, temporary = _explain(error, repo_id, endpoint)
                if attempt == ATTEMPTS or not temporary:
                    raise explained from error
                logger.warning("%s Trying again (%d of %d).", explained, attempt + 1, ATTEMPTS)
                time.sleep(2**attempt)


def write_dry_run(folder, output, repo_id, *, remote_code=True, splits=True, license="apache-2.0", check=False):
    """Write what :func:`publish` would send, the card among it, into a folder of its own; nobody is contacted.

    Parameters
    ----------
    output : path-like
        New or empty folder; weights are linked there, and copied where links cannot be made.
    folder, repo_id, remote_code, splits, license, check
        As for :func:`publish`.

    Returns
    -------
    list of str
        Paths in the repository.

    Raises
    ------
    UsageError
        If ``output`` holds files, or ``repo_id`` is not of the form org/name.
    ModelError
        As :func:`publish` raises it.
    OutputError
        If ``output`` cannot be written.
    """
    folder, output = Path(locate_model(folder)), Path(output)
    _check_repo_id(repo_id)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output}: is not an empty folder; name a new one for what would be sent")
    check_model_folder(folder)
    with replace_folder_aside(output) as aside:
        files = stage(folder, aside, repo_id, remote_code=remote_code, splits=splits, license=license)
        if remote_code and check:
            check_remote_code(aside)
    return list(files)


def stage(folder, staging, repo_id, *, remote_code=True, splits=True, license="apache-2.0"):
    """Lay out in ``staging`` what is to be published.

    Small files are copied, since some are rewritten: no path of this machine stays in them. Weights are linked, where
    that is possible.

    Returns
    -------
    dict
        path in the repository -> Path of the file.
    """
    patterns = PUBLISHED + NAMES_PEOPLE
    if "members" in read_json(folder / CONFIG_FILE):
        patterns += OF_A_MEMBER
    else:
        patterns = [pattern for pattern in patterns if not pattern.startswith("fold-")]
    wanted = {path for pattern in patterns for path in folder.glob(pattern)}
    if not splits:
        wanted -= {path for pattern in NAMES_PEOPLE for path in folder.glob(pattern)}
    for source in sorted(wanted):
        target = staging / source.relative_to(folder)
        target.parent.mkdir(exist_ok=True)
        if source.suffix == ".safetensors":
            link_or_copy(source.resolve(), target)
        else:
            shutil.copyfile(source, target)
    _say_training_data(staging)
    clean_folder(staging)
    if not splits:
        records = (SUMMARY_FILE, REPORT_FILE, f"fold-*/{SUMMARY_FILE}")
        for path in (path for pattern in records for path in staging.glob(pattern)):
            write_json(path, _without_case_names(read_json(path)))
    if remote_code:
        add_remote_code(staging)
    else:
        remove_auto_map(staging)
    if not (staging / CARD_FILE).exists() or is_generated(staging / CARD_FILE):
        write_model_card(staging, repo_id, license=license)
    return {path.relative_to(staging).as_posix(): path for path in sorted(staging.rglob("*")) if path.is_file()}


def _say_training_data(staging):
    """Write into configurations of an earlier version what their networks learned from, where their record says it."""
    for path in (staging / CONFIG_FILE, *staging.glob(f"fold-*/{CONFIG_FILE}")):
        config, known = read_json(path), of_folder(path.parent)
        if known and config.get("training_data") is None:
            write_json(path, config | {"training_data": known})


def _without_case_names(summary):
    """The record without its rows per case and its lists of failed cases; all counts and means stay."""

    def strip(value):
        if isinstance(value, dict):
            return {key: strip(entry) for key, entry in value.items() if key != "failed"}
        return value

    return strip({key: value for key, value in summary.items() if key != "cases"})


def _check_repo_id(repo_id):
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UsageError(f"{repo_id!r} is not a repository id ({str(error).splitlines()[0]}); give org/name") from error
    if "/" not in repo_id:
        raise UsageError(f"{repo_id!r} names no owner; give org/name or user/name")


def _find_token(token):
    if constants.HF_HUB_OFFLINE:
        raise HubError("HF_HUB_OFFLINE is set, and publishing needs the network; unset it and run again")
    token = token or get_token()
    if not token:
        raise HubError("no token for the Hub; run `hf auth login`, or set HF_TOKEN to a token with write access")
    return token


def _send(api, repo_id, files, private, message):
    """Make the repository where needed and commit ``files`` to ``main``."""
    # None, not False: an organisation may make its new repositories private by default
    url = api.create_repo(repo_id, private=True if private else None, exist_ok=True)
    if private and not api.model_info(repo_id).private:
        raise HubError(
            f"{repo_id} exists and is public, but a private repository was asked for; "
            "make it private in its settings, or choose another name"
        )
    present = api.list_repo_files(repo_id)
    operations = [CommitOperationAdd(path_in_repo=path, path_or_fileobj=str(file)) for path, file in files.items()]
    operations += [CommitOperationDelete(path) for path in stale_files(present, files)]
    api.create_commit(repo_id, operations, commit_message=message)
    return str(url)


def stale_files(present, published):
    """Files of an earlier version that would mislead beside the new one: weights, source files, lists of people."""
    sources = tuple(path.name for path in MODELS_FOLDER.glob("*.py"))
    ours = (*WEIGHTS, *sources, *NAMES_PEOPLE, *OF_A_MEMBER, "cross_validation.md")
    return [path for path in present if path not in published and any(fnmatch(path, pattern) for pattern in ours)]


def _explain(error, repo_id, endpoint):
    """The :class:`HubError` that says what went wrong and what to do, and whether trying again may help."""
    root, seen = error, []
    while root is not None and not isinstance(root, (HfHubHTTPError, OfflineModeIsEnabled, *TRANSPORT_ERRORS)):
        seen.append(root)
        root = root.__cause__
    if isinstance(root, HfHubHTTPError) and root.response is not None:
        return _explain_status(root, repo_id, endpoint)
    reason = _one_line(root or seen[0])
    if isinstance(root, OfflineModeIsEnabled):
        return HubError("HF_HUB_OFFLINE is set, and publishing needs the network; unset it and run again"), False
    if root is None and isinstance(error, ValueError):
        return HubError(f"{repo_id}: the Hub does not take this commit ({reason}); correct it and run again"), False
    cause, temporary = explain(root or seen[0], endpoint)
    if not temporary:
        return HubError(f"{repo_id}: {cause}"), False
    return (
        HubError(
            f"{repo_id}: the connection to {endpoint} failed ({reason}); nothing half-published is "
            "visible. Run the same command again: what has arrived is not sent twice."
        ),
        True,
    )


def _explain_status(error, repo_id, endpoint):
    status = error.response.status_code
    message = _one_line(error.server_message or error)
    if status == 401:
        return HubError(
            f"{endpoint} does not accept the token ({message}); run `hf auth login`, or set HF_TOKEN to a valid token"
        ), False
    if status in (403, 404):
        owner = repo_id.partition("/")[0]
        return HubError(
            f"{repo_id}: the token may not write there ({message}); use a token with write access to {owner!r}"
        ), False
    again = status in _RETRIED_STATUSES
    remedy = "run the same command again later" if again else "correct it and run again"
    return HubError(f"{repo_id}: {endpoint} answered {status} ({message}); {remedy}."), again


def _one_line(error):
    """The first line that says something; the type's name for a silent error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
