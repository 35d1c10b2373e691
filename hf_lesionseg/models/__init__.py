"""The networks. Flat on purpose: what lies here can be published to the Hub as remote code as it is.

To add a network: write ``configuration_<m>.py`` and ``modeling_<m>.py`` and add its entry to ``network_table.py``; the
Auto classes, the public names, the shared model tests, the model card and the remote-code publisher take it from there.
A network of another package joins them by :func:`hf_lesionseg.register_network`.
"""

from .network_table import ENSEMBLES, NETWORKS
from .networks import Network, Paper

#: model_type -> :class:`Network`, of all that can be trained
MODEL_REGISTRY = {network.model_type: network for network in NETWORKS}

#: The same of what consists of networks that were trained one by one.
ENSEMBLE_REGISTRY = {network.model_type: network for network in ENSEMBLES}

__all__ = ["ENSEMBLE_REGISTRY", "MODEL_REGISTRY", "Network", "Paper", "loadable"]


def loadable():
    """``{model_type: Network}`` of all that can be loaded.

    Examples
    --------
    >>> loadable()["clci-net"].modules[1]
    'hf_lesionseg.models.modeling_clci_net'
    """
    return {**MODEL_REGISTRY, **ENSEMBLE_REGISTRY}
