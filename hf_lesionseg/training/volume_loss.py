"""A network's own loss over a whole volume, which passes through it in batches."""

import numpy as np
import torch


class VolumeLoss:
    """The loss that a network is trained with, in evaluation mode, of all slices of a volume as one batch.

    What the loss is computed from (``forward(..., keep_loss_inputs=True)``) is collected from every batch and joined;
    the network's ``loss_of`` then sees the volume as a whole. So the value depends neither on how many slices went
    through at once nor on which process took the volume, and needs no second forward. Sums over a batch, as in a Dice
    loss, run over the volume. Slices without tissue, which are not computed, do not count; neither does what training
    alone adds, such as the head of PSPNet's third stage.

    Collected tensors are kept on the CPU: for most networks a float32 and a bool volume.

    A network without ``loss_of`` must get its slices one by one (:attr:`batch_size`); its loss is then the mean of
    theirs.

    Parameters
    ----------
    model : PreTrainedModel
    case : PreparedCase
    slice_range : sequence of two int, optional
        The slices that count: the first, and the one behind the last.
    batch_size : int
        Slices that may go through at once.
    """

    def __init__(self, model, case, slice_range=None, batch_size=16):
        self.loss_of = getattr(model, "loss_of", None)
        self.batch_size = batch_size if self.loss_of else 1
        self._case = case
        self._targets = [name for name in getattr(model.config, "target_channels", ()) if name in case.target_channels]
        self._first, self._behind = slice_range or (0, case.num_slices)
        self._device = model.device
        self._collected = []

    def arguments(self, chosen):
        """Further inputs of ``forward`` for the slices of these numbers, an array."""
        given = {"labels": torch.from_numpy(self._case.labels(chosen).astype(np.int64))}
        given |= {name: torch.from_numpy(self._case.target(name, chosen)[:, None]) for name in self._targets}
        given = {name: values.to(self._device) for name, values in given.items()}
        return given | ({"keep_loss_inputs": True} if self.loss_of else {})

    def take(self, chosen, output):
        """Collect what the network made of these slices."""
        counted = torch.from_numpy((chosen >= self._first) & (chosen < self._behind))
        if not counted.any():
            return
        inputs = output.loss_inputs if self.loss_of else {"loss": output.loss[None]}
        self._collected.append({name: values.cpu()[counted] for name, values in inputs.items()})

    def value(self):
        """The loss; None where no slice that counts holds tissue."""
        if not self._collected:
            return None
        joined = {name: torch.cat([part[name] for part in self._collected]) for name in self._collected[0]}
        with torch.inference_mode():
            loss = self.loss_of(joined)["loss"] if self.loss_of else joined["loss"].float().mean()
        return loss.item()
