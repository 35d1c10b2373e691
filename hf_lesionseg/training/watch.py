"""What a network's output shows of its training besides the loss, and a warning if learned features vanish."""

import warnings


def scalars(watched):
    """The watched values that there are, as numbers; of this process's last batch."""
    return {name: float(value) for name, value in watched.items() if value is not None}


class CollapseWatch:
    """Warn, once for each, of feature norms that fall to nearly nothing.

    Two networks that are both trained to give near features (EGS-Net's perceptual networks) can satisfy that by giving
    none: their loss then vanishes without anything learned.

    Parameters
    ----------
    share : float
        Warn below this share of the first norm that was seen.
    """

    def __init__(self, share=1e-3):
        self.share = share
        self.first = {}
        self.collapsed = set()

    def look(self, values, step):
        """Compare the values whose names end in ``_feature_norm`` with the first of them; others pass.

        Returns
        -------
        list of str
            What was warned of, for the history.
        """
        told = []
        for name, value in values.items():
            if not name.endswith("_feature_norm") or name in self.collapsed:
                continue
            first = self.first.setdefault(name, value)
            if value <= self.share * first:
                self.collapsed.add(name)
                told.append(
                    f"{name} has collapsed from {first:.3g} to {value:.3g} at step {step}: these features no longer "
                    "teach anything; train with the network's setting perceptual=frozen or shared, or with a smaller "
                    "feature_weight"
                )
                warnings.warn(told[-1], stacklevel=2)
        return told

    def recall(self, history):
        """Take up a run where its history ends: its first norms, and what it was warned of."""
        for record in history:
            for name, value in record.items():
                if name.endswith("_feature_norm"):
                    self.first.setdefault(name, value)
                    if value <= self.share * self.first[name]:
                        self.collapsed.add(name)
