"""L-Net: where the regions are, as a heat map of their centres and the distances to their sides."""

import math

from torch import nn
from torch.nn import functional as F
from transformers import initialization as init

from .layers import he_normal_
from .losses import dice_loss, segmentation_loss
from .region_losses import diou_loss, penalty_reduced_focal_loss
from .region_targets import centre_cells, component_boxes, locating_targets
from .resnet_decoder import FCNDecoder, UNetDecoder
from .resnet_encoder import ResNetEncoder

#: Pixels per cell of the heat map.
CELL = 4


class KeypointConv2d(nn.Conv2d):
    """The convolution that ends in the heat map: its bias begins at a low probability, as most cells hold no centre."""

    def __init__(self, in_channels, prior):
        self.prior = prior
        super().__init__(in_channels, 1, 1)

    def init_weights(self):
        he_normal_(self.weight)
        init.constant_(self.bias, math.log(self.prior / (1 - self.prior)))


def _conv(in_channels, out_channels, kernel_size):
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)


class RegionLocator(nn.Module):
    """ResNet encoder, decoder up to stride 4, a head for the heat map and one for the boxes.

    14,502,853 parameters in the U-Net form on a ResNet-18, the 14.50 M of the paper's Table 3.

    Parameters
    ----------
    config : LSNetConfig
    """

    def __init__(self, config):
        super().__init__()
        width = config.base_width
        self.config = config
        self.encoder = ResNetEncoder(config.locator_depth, config.num_channels, width)
        if config.architecture == "unet":
            self.decoder = UNetDecoder(self.encoder.widths, (4 * width, 2 * width, width))
        else:
            self.decoder = FCNDecoder(self.encoder.widths, width, stride=config.fcn_lateral_stride)
        self.keypoint_head = nn.Sequential(
            *(layer for _ in range(3) for layer in (_conv(width, width, 3), nn.ReLU(inplace=True))),
            KeypointConv2d(width, config.heatmap_prior),
        )
        self.box_head = nn.Sequential(
            *(layer for _ in range(2) for layer in (_conv(width, width, 3), nn.ReLU(inplace=True))),
            _conv(width, 4, 13),
        )

    def forward(self, images):
        """Locate regions in images whose height and width are multiples of 32.

        Returns
        -------
        heat_logits : torch.Tensor of shape (batch, height / 4, width / 4)
            Before the sigmoid.
        distances : torch.Tensor of shape (batch, 4, height / 4, width / 4)
            From each cell's point to the left, top, right and bottom side, in pixels, positive; float32.
        hidden_states : tuple of torch.Tensor
            The encoder's maps, finest first, and the decoder's, coarsest first.
        """
        maps = self.encoder(images)
        levels = self.decoder(maps, return_levels=True)
        features = levels[-1]
        if features.shape[-1] * CELL < images.shape[-1]:
            features = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
        raw = self.box_head(features).float()
        positive = F.softplus(raw) if self.config.distance_activation == "softplus" else raw.clamp(max=10).exp()
        return self.keypoint_head(features)[:, 0], CELL * positive, (*maps, *levels)

    def loss(self, heat_logits, distances, masks):
        """Loss of heat map and boxes (eq. 5), with targets from the connected components of ``masks``.

        A batch without foreground has no box loss. Parameters as :meth:`forward` returns them, and

        Parameters
        ----------
        masks : torch.Tensor of shape (batch, height, width)
            Foreground where not zero; of the padded images.

        Returns
        -------
        torch.Tensor of shape ()
            float32.
        """
        config = self.config
        boxes, indices = component_boxes(masks, config.minimum_component_pixels)
        heatmap, wanted = locating_targets(
            boxes,
            indices,
            len(masks),
            tuple(heat_logits.shape[1:]),
            CELL,
            sigma=config.heatmap_sigma,
            relative_sigma=config.relative_sigma,
        )
        positive = heatmap > config.positive_threshold
        if config.positive_cells == "inside":
            positive = positive & (wanted > 0).all(dim=1)
        found, targets = (tensor.permute(0, 2, 3, 1)[positive] for tensor in (distances, wanted))
        box_loss = diou_loss(found, targets)
        box_loss = box_loss.mean() if len(found) else box_loss.sum()
        if config.heatmap_focal == "soft":
            return segmentation_loss(heat_logits[:, None], heatmap, config) + box_loss
        centres = centre_cells(boxes, indices, heatmap.shape, CELL)
        focal = penalty_reduced_focal_loss(heat_logits, heatmap, centres)
        settings = config.loss_settings
        dice = dice_loss(heat_logits.float(), heatmap, smooth=settings["smooth"])
        return focal + settings["dice_weight"] * dice + box_loss
