"""Several networks as one, by the mean of their probabilities (Song and Huang, ISLES 2018: the four of a 4-fold
cross-validation).

The weights stay with the members, each in a subfolder of its own that also loads by itself::

    AutoModelForSemanticSegmentation.from_pretrained("org/ensemble")
    AutoModelForSemanticSegmentation.from_pretrained("org/ensemble", subfolder="fold-0")
"""

from pathlib import Path

import torch
from huggingface_hub import CommitOperationAdd, HfApi
from torch import nn
from transformers import AutoModelForSemanticSegmentation, PreTrainedConfig, PreTrainedModel

from .configuration_fold_ensemble import FoldEnsembleConfig
from .outputs import LesionSegmenterOutput, RegionSegmenterOutput, lesion_probability

#: The largest float32 below 1, and as little above 0: their logits are finite.
_SURE = 1 - 2**-24
_UNLIKELY = 2**-126


class FoldEnsembleForSemanticSegmentation(PreTrainedModel):
    """Networks of one kind whose mean probability is the ensemble's.

    Parameters
    ----------
    config : FoldEnsembleConfig
    members : sequence of PreTrainedModel
        In the order of ``config.members``.

    Raises
    ------
    ValueError
        Without a member, or with another number of members than the configuration names.
    """

    config: FoldEnsembleConfig
    base_model_prefix = "fold_ensemble"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    accepts_loss_kwargs = False  # it has no loss

    def __init__(self, config, members=()):
        super().__init__(config)
        if not members or len(members) != len(config.members):
            raise ValueError(
                f"an ensemble of {len(config.members)} members was given {len(members)} networks; it is made by "
                "`from_pretrained` of its folder, not from its configuration alone"
            )
        self.members = nn.ModuleList(members)
        self.post_init()

    def _init_weights(self, module):
        """Leave the members' weights as they are."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, config=None, **kwargs):
        """Load every member from its subfolder; the keyword arguments are those of a single network.

        With ``output_loading_info`` the keys of a member stand behind the name of its subfolder.
        """
        subfolder = kwargs.pop("subfolder", "")
        if not isinstance(config, PreTrainedConfig):
            shared = ("revision", "token", "cache_dir", "local_files_only", "force_download", "proxies")
            where = {name: kwargs[name] for name in shared if name in kwargs}
            config = FoldEnsembleConfig.from_pretrained(pretrained_model_name_or_path, subfolder=subfolder, **where)
        wants_info = kwargs.pop("output_loading_info", False)
        kwargs = {name: value for name, value in kwargs.items() if name not in _OF_THE_AUTO_CLASS}
        members, info = [], {}
        for name in config.members:
            place = f"{subfolder}/{name}" if subfolder else name
            try:
                member, found = AutoModelForSemanticSegmentation.from_pretrained(
                    pretrained_model_name_or_path, *model_args, subfolder=place, output_loading_info=True, **kwargs
                )
            except OSError as error:
                raise OSError(f"member {name} cannot be loaded: {error}") from error
            if member.config.model_type != config.member_type:
                raise ValueError(f"member {name} is a {member.config.model_type}, not a {config.member_type}")
            if member.config.num_channels != config.num_channels:
                raise ValueError(
                    f"member {name} takes {member.config.num_channels} channels, not {config.num_channels}"
                )
            members.append(member)
            for kind, keys in found.items():
                if isinstance(keys, (set, list, tuple)):
                    info.setdefault(kind, set()).update(f"{name}: {_key(key)}" for key in keys)
        model = cls(config, members).eval()
        return (model, info) if wants_info else model

    def save_pretrained(self, save_directory, *, push_to_hub=False, state_dict=None, is_main_process=True, **kwargs):
        """Save every member into its subfolder, and the configuration beside them.

        The arguments are those of a single network. With ``push_to_hub`` all of it goes into one commit.

        Parameters
        ----------
        save_directory : path-like
        push_to_hub : bool
            Upload what was saved, and nothing else that lies in the folder, to ``repo_id`` (by default the folder's
            name), with ``commit_message``, ``create_pr`` and ``token``; others go to ``create_repo``.
        state_dict : dict, optional
            Weights of the whole ensemble to save instead of its own.
        is_main_process : bool
            Only such a process writes and uploads.
        """
        folder = Path(save_directory)
        repository = _repository_of(kwargs, folder) if push_to_hub and is_main_process else None
        for number, (name, member) in enumerate(zip(self.config.members, self.members, strict=True)):
            own = None if state_dict is None else _below(state_dict, f"members.{number}.")
            member.save_pretrained(folder / name, state_dict=own, is_main_process=is_main_process, **kwargs)
        self.config.architectures = [type(self).__name__]
        if is_main_process:
            self.config.save_pretrained(save_directory)
        if repository is not None:
            saved = [folder / "config.json", *(path for name in self.config.members for kind in _SAVED
                                               for path in sorted((folder / name).glob(kind)))]  # fmt: skip
            files = [CommitOperationAdd(path.relative_to(folder).as_posix(), str(path)) for path in saved]
            HfApi().create_commit(operations=files, **repository)

    def forward(self, pixel_values, **kwargs):
        r"""Mean probability of the members, as the logit of it.

        Parameters
        ----------
        pixel_values : torch.Tensor of shape (batch, num_channels, height, width)

        Returns
        -------
        LesionSegmenterOutput
            ``logits`` of shape (batch, 1, height, width), float32. Of members that find regions also the ``boxes``,
            ``box_indices`` and ``scores`` of all of them.

        Raises
        ------
        ValueError
            For ``labels``: members are trained one by one.
        """
        if kwargs.get("labels") is not None:
            raise ValueError("an ensemble has no loss; train its members one by one")
        total, outputs = None, []
        for member in self.members:  # one after the other: the memory of one forward pass at a time
            output = member(pixel_values=pixel_values)
            probability = lesion_probability(output.logits)
            total = probability if total is None else total + probability
            if getattr(output, "boxes", None) is not None:
                outputs.append((output.boxes, output.box_indices, output.scores))
        logits = (total / len(self.members)).clamp(_UNLIKELY, _SURE).logit().unsqueeze(1)
        if not outputs:
            return LesionSegmenterOutput(logits=logits)
        boxes, indices, scores = (torch.cat(parts) for parts in zip(*outputs, strict=True))
        order = torch.argsort(indices, stable=True)
        return RegionSegmenterOutput(
            logits=logits, boxes=boxes[order], box_indices=indices[order], scores=scores[order]
        )


#: What `save_pretrained` of a member writes.
_SAVED = ("config.json", "*.safetensors", "*.safetensors.index.json", "*.py")

#: Arguments that an Auto class hands on to the ensemble and sets anew for every member.
_OF_THE_AUTO_CLASS = ("_from_auto", "_commit_hash", "adapter_kwargs", "code_revision", "return_unused_kwargs")


def _key(key):
    return str(key[0] if isinstance(key, (tuple, list)) else key)


def _below(weights, prefix):
    """Those of a dictionary of weights whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def _repository_of(kwargs, folder):
    """Make the repository that a push goes to; takes what belongs to it out of ``kwargs``."""
    commit = {name: kwargs.pop(name, None) for name in ("commit_message", "create_pr", "token")}
    commit["commit_message"] = commit["commit_message"] or "Upload model"
    settings = {name: kwargs.pop(name) for name in ("private", "visibility", "exist_ok") if name in kwargs}
    settings.setdefault("exist_ok", True)
    repository = HfApi().create_repo(kwargs.pop("repo_id", folder.name), token=commit["token"], **settings)
    return {"repo_id": repository.repo_id, **commit}
