"""ResNet encoders for segmentation: transformers' ``ResNetModel`` with its feature maps at five resolutions."""

import torch
from torch import nn
from transformers import ResNetConfig, ResNetModel

from .layers import BatchNorm2d

#: depth -> (kind of layer, layers of each stage, widths of the stages in multiples of the stem's)
_ARCHITECTURES = {
    10: ("basic", (1, 1, 1, 1), (1, 2, 4, 8)),  # small, for trials: nobody has published weights of it
    18: ("basic", (2, 2, 2, 2), (1, 2, 4, 8)),
    34: ("basic", (3, 4, 6, 3), (1, 2, 4, 8)),
    50: ("bottleneck", (3, 4, 6, 3), (4, 8, 16, 32)),
    101: ("bottleneck", (3, 4, 23, 3), (4, 8, 16, 32)),
}

#: output stride -> how many of the last stages are dilated to reach it
_DILATED_STAGES = {32: 0, 16: 1, 8: 2}


class ResNetEncoder(nn.Module):
    """ResNet (He et al., CVPR 2016) that returns the maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of the input's size.

    The layers are those of transformers' ``ResNetModel`` and keep their names below ``resnet.``, so that the weights of
    ``microsoft/resnet-18`` fit by name (:func:`load_resnet_weights`). Its batch norms are exchanged for ones whose
    statistics stay exact under activation checkpointing, which recomputes stage by stage.

    Parameters
    ----------
    depth : {10, 18, 34, 50, 101}
        18 has 11,176,512 parameters, 34 has 21,284,672.
    num_channels : int
    base_width : int
        Feature maps of the stem; every other width is a multiple of it. 64 in the published networks.
    output_stride : {32, 16, 8}
        Below 32, the last stage or the last two keep the resolution and dilate their convolutions instead
        (:func:`dilate_stage`); the same weights fit.

    Attributes
    ----------
    widths : tuple of int
        Feature maps of the five maps, finest first: 64, 64, 128, 256, 512 for depths 18 and 34.

    Raises
    ------
    ValueError
        For another depth or output stride.

    Examples
    --------
    >>> import torch
    >>> [tuple(features.shape) for features in ResNetEncoder(18, base_width=4)(torch.rand(2, 3, 64, 64))]
    [(2, 4, 32, 32), (2, 4, 16, 16), (2, 8, 8, 8), (2, 16, 4, 4), (2, 32, 2, 2)]
    """

    gradient_checkpointing = False  # set by the model's activation_checkpointing_enable, with the function to call

    def __init__(self, depth, num_channels=3, base_width=64, output_stride=32):
        super().__init__()
        check_depth(depth)
        if output_stride not in _DILATED_STAGES:
            raise ValueError(f"output_stride is {output_stride!r}; use one of {', '.join(map(str, _DILATED_STAGES))}")
        layer_type, depths, multiples = _ARCHITECTURES[depth]
        stages = [base_width * multiple for multiple in multiples]
        self.depth = depth
        self.widths = (base_width, *stages)
        self.resnet = ResNetModel(
            ResNetConfig(
                num_channels=num_channels,
                embedding_size=base_width,
                hidden_sizes=stages,
                depths=list(depths),
                layer_type=layer_type,
            )
        )
        for module in list(self.resnet.modules()):
            if isinstance(getattr(module, "normalization", None), nn.BatchNorm2d):
                module.normalization = BatchNorm2d(module.normalization.num_features)
        dilation = 1
        for stage in self.resnet.encoder.stages[4 - _DILATED_STAGES[output_stride] :]:
            dilation = dilate_stage(stage, dilation)

    def forward(self, images):
        """Encode images of shape (batch, num_channels, height, width); a tuple of five maps, finest first.

        The maps halve in size from one to the next only where height and width are multiples of the output stride, and
        not beyond that stride.
        """
        embedder = self.resnet.embedder
        maps = [self._run(embedder.embedder, images)]
        features = embedder.pooler(maps[0])
        for stage in self.resnet.encoder.stages:
            features = self._run(stage, features)
            maps.append(features)
        return tuple(maps)

    def _run(self, stage, features):
        if self.gradient_checkpointing and self.training:
            return self._gradient_checkpointing_func(stage.__call__, features)
        return stage(features)


def dilate_stage(stage, dilation):
    """Let a stage of a ResNet keep its input's resolution.

    The algorithme a trous (Chen et al., TPAMI 2018): strides become 1, and the kernels behind them are dilated by as
    much, so that every second pixel of every second row holds what the strided stage computes there. The convolution
    that had the stride itself keeps the dilation from before.

    Parameters
    ----------
    stage : transformers' ResNetStage
        Changed in place.
    dilation : int
        Product of the strides taken away before this stage.

    Returns
    -------
    int
        The same product behind it.
    """
    for layer in stage.layers:
        for conv in (module for module in layer.layer.modules() if isinstance(module, nn.Conv2d)):
            if conv.kernel_size != (1, 1):
                conv.dilation = conv.padding = (dilation, dilation)
            if conv.stride != (1, 1):
                dilation *= conv.stride[0]
                conv.stride = (1, 1)
        for conv in (module for module in layer.shortcut.modules() if isinstance(module, nn.Conv2d)):
            conv.stride = (1, 1)
    return dilation


def check_depth(depth, name="depth"):
    """Raise ``ValueError`` unless there is a ResNet of this depth here."""
    if depth not in _ARCHITECTURES:
        raise ValueError(f"{name} is {depth!r}; use one of {', '.join(map(str, _ARCHITECTURES))}")


class _PublishedResNet(ResNetModel):
    """A ResNet as it is loaded from a classification network, without a report on the head that is left out."""

    _keys_to_ignore_on_load_unexpected = (r"^classifier\.",)


@torch.no_grad()
def load_resnet_weights(encoder, name_or_path, token=None, *, local_files_only=False):
    """Copy the weights of a ResNet that transformers can load, such as ``microsoft/resnet-18``, into an encoder.

    A network whose input has another number of channels than the checkpoint's gets its first convolution from the sum
    over the checkpoint's channels, shared out evenly: the same grey image in every channel gives the same features.

    Parameters
    ----------
    encoder : ResNetEncoder
    name_or_path : str
        Hub id, or a folder written by ``save_pretrained``, with or without a classification head.
    token : str, optional
        For a private repository.
    local_files_only : bool
        Do not ask the Hub.

    Raises
    ------
    OSError
        If transformers finds no such network.
    ValueError
        If it is not a ResNet, one of another depth or width, or incomplete.
    """
    loaded, report = _PublishedResNet.from_pretrained(
        name_or_path, dtype="float32", token=token, output_loading_info=True, local_files_only=local_files_only
    )
    wanted = encoder.resnet.config
    if loaded.config.model_type != wanted.model_type:
        raise ValueError(f"{name_or_path} is a {loaded.config.model_type} network; give a ResNet")
    for field in ("layer_type", "depths", "embedding_size", "hidden_sizes"):
        found, expected = getattr(loaded.config, field), getattr(wanted, field)
        if found != expected:
            raise ValueError(
                f"{name_or_path} has {field} {found}, the encoder (ResNet-{encoder.depth}) has {expected}; give the "
                "weights of that ResNet: microsoft/resnet-18, -34, -50 and -101 have a base width of 64"
            )
    missing = sorted(report["missing_keys"])
    if missing:
        raise ValueError(
            f"{name_or_path} misses {len(missing)} weights of a ResNet, such as {missing[0]}; download it again"
        )
    weights = loaded.state_dict()
    first = "embedder.embedder.convolution.weight"
    channels = wanted.num_channels
    if weights[first].shape[1] != channels:
        shared = weights[first].sum(dim=1, keepdim=True) / channels
        weights[first] = shared.expand(-1, channels, -1, -1)
    encoder.resnet.load_state_dict(weights)
