"""FCN-8s on any encoder with maps at strides 2 to 32, and the VGG16 that its paper builds it on."""

from torch import nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from .layers import BatchNorm2d
from .resnet_decoder import FCNDecoder, ScoreConv2d


class FCN8s(nn.Module):
    """Fully convolutional network: 1x1 scores at strides 32, 16 and 8, summed, upsampled by 8 bilinearly.

    Parameters
    ----------
    encoder : torch.nn.Module
        From images to maps at strides 2, 4, 8, 16, 32; its ``widths`` are theirs.
    num_logits : int
    """

    def __init__(self, encoder, num_logits=1):
        super().__init__()
        self.encoder = encoder
        self.decoder = FCNDecoder(encoder.widths, num_logits, stride=8, conv=ScoreConv2d)

    def forward(self, images):
        """Segment images whose height and width are multiples of 32.

        Returns
        -------
        logits : torch.Tensor of shape (batch, num_logits, height, width)
        hidden_states : tuple of torch.Tensor
            The encoder's maps, finest first, and the sums of scores, coarsest first.
        """
        features = self.encoder(images)
        levels = self.decoder(features, return_levels=True)
        logits = F.interpolate(levels[-1], size=images.shape[-2:], mode="bilinear", align_corners=False)
        return logits, (*features, *levels)


#: 3x3 convolutions of each stage, and its feature maps in multiples of the first's.
_VGG16 = ((2, 1), (2, 2), (3, 4), (3, 8), (3, 8))


class VGGStage(GradientCheckpointingLayer):
    """3x3 convolutions with ReLU, then 2x2 max pooling."""

    def __init__(self, in_channels, width, convolutions, batch_norm=False):
        super().__init__()
        layers = []
        for index in range(convolutions):
            layers.append(nn.Conv2d(width if index else in_channels, width, 3, padding=1))
            if batch_norm:
                layers.append(BatchNorm2d(width))
            layers.append(nn.ReLU(inplace=True))
        self.layers = nn.Sequential(*layers, nn.MaxPool2d(2))

    def forward(self, features):
        return self.layers(features)


class VGGClassifier(GradientCheckpointingLayer):
    """The two hidden layers of VGG's classifier as convolutions: 7x7 and 1x1, each with ReLU and dropout.

    The 7x7 convolution is padded by 3, so that scores of all strides lie on one grid; the authors pad the image by 100
    instead and crop.
    """

    def __init__(self, in_channels, width, dropout=0.5):
        super().__init__()
        self.fc6 = nn.Conv2d(in_channels, width, 7, padding=3)
        self.fc7 = nn.Conv2d(width, width, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, features):
        features = self.dropout(F.relu(self.fc6(features)))
        return self.dropout(F.relu(self.fc7(features)))


class VGG16Encoder(nn.Module):
    """VGG16 (Simonyan & Zisserman, ICLR 2015) that returns its pooled maps at strides 2 to 16, and fc7 at stride 32.

    Parameters
    ----------
    num_channels : int
    base_width : int
        Feature maps of the first stage; 64 in the paper.
    dropout : float
        After fc6 and fc7.
    batch_norm : bool
        After each 3x3 convolution.

    Attributes
    ----------
    widths : tuple of int
        Feature maps of the five maps, finest first: 64, 128, 256, 512, 4096.
    """

    def __init__(self, num_channels=3, base_width=64, dropout=0.5, batch_norm=False):
        super().__init__()
        widths = [base_width * multiple for _, multiple in _VGG16]
        incoming = (num_channels, *widths)
        self.stages = nn.ModuleList(
            VGGStage(channels, width, convolutions, batch_norm)
            for channels, width, (convolutions, _) in zip(incoming, widths, _VGG16, strict=False)
        )
        self.classifier = VGGClassifier(widths[-1], 64 * base_width, dropout)
        self.widths = (*widths[:-1], 64 * base_width)

    def forward(self, images):
        """Encode images of shape (batch, num_channels, height, width); a tuple of five maps, finest first."""
        maps, features = [], images
        for stage in self.stages:
            features = stage(features)
            maps.append(features)
        maps[-1] = self.classifier(maps[-1])
        return tuple(maps)
