"""Configuration of several trained networks that predict as one."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig


@strict
class FoldEnsembleConfig(PreTrainedConfig):
    r"""What an ensemble consists of.

    Parameters
    ----------
    members : list of str
        Subfolder of each network, such as "fold-0"; each holds a network that loads by itself.
    member_type : str
        ``model_type`` of the members, the same for all.
    num_channels : int
        Channels of ``pixel_values``, as for every member.
    """

    model_type = "fold-ensemble"

    members: list[str] | tuple[str, ...] = ()
    member_type: str = ""
    num_channels: int = 1

    def __post_init__(self, **kwargs):
        if self.id2label is None and "num_labels" not in kwargs:
            self.id2label = {0: "background", 1: "lesion"}
            self.label2id = {"background": 0, "lesion": 1}
        super().__post_init__(**kwargs)

    def validate_members(self):
        if len(set(self.members)) != len(self.members):
            raise ValueError(f"members are {list(self.members)}; name each subfolder once")
        for member in self.members:
            if not member or member.startswith(".") or "/" in member or "\\" in member:
                raise ValueError(f"member {member!r} is not allowed; give the name of a folder beside config.json")
        if self.member_type == self.model_type:
            raise ValueError("member_type is 'fold-ensemble'; the members of an ensemble are single networks")
