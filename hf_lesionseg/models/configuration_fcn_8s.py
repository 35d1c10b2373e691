"""Configuration of the FCN-8s on VGG16."""

from huggingface_hub.dataclasses import strict

from .configuration_segmenter import SegmenterConfig, check_dropout


@strict
class FCN8sConfig(SegmenterConfig):
    r"""Configuration of :class:`~hf_lesionseg.models.modeling_fcn_8s.FCN8sForSemanticSegmentation`.

    The defaults are the FCN-8s that CLCI-Net is compared with, for grey slices: 134,264,259 parameters. Beside the
    fields below: those of :class:`~hf_lesionseg.models.configuration_segmenter.SegmenterConfig`.

    Parameters
    ----------
    base_width : int
        Feature maps of the first stage; 64 in VGG16, whose classifier has 64 times as many.
    dropout : float
        After each of the classifier's two layers.
    batch_norm : bool
        After each 3x3 convolution; not in the paper, a help where nothing pretrained is at hand.
    """

    model_type = "fcn-8s"

    dropout: float | int = 0.5
    batch_norm: bool = False

    def validate_dropout(self):
        check_dropout(self.dropout)
