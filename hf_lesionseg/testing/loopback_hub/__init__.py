"""A Hub of one's own on 127.0.0.1, for the tests and the demo; needs the standard library and PyYAML.

It speaks the part of the Hub's REST protocol that ``huggingface_hub``, ``transformers`` and the ``hf`` command use::

    python -m hf_lesionseg.testing.loopback_hub --port 0 --root DIR   # prints its endpoint on the first line
    HF_ENDPOINT=http://127.0.0.1:PORT HF_TOKEN=hf_any HF_HUB_DISABLE_XET=1 hf upload org/name FOLDER

Large files travel by LFS (``HF_HUB_DISABLE_XET=1``). With ``--no-lfs`` every file is sent inside the commit, which
also serves a client whose Xet transfer is left on. Tests can break it on purpose, see :class:`Faults`.
"""

import dataclasses
import re
import threading
from http.server import ThreadingHTTPServer

from .endpoints import Handler
from .store import Store


@dataclasses.dataclass
class Faults:
    """Faults on purpose; may be changed while the server runs.

    Parameters
    ----------
    drop_uploads : int
        So many LFS uploads from now on have their connection cut after half of the bytes.
    drop_commit_answers : int
        So many commits from now on are made, but their connection is cut before the answer.
    errors : list of [method, path pattern, status, times]
        Requests that match are answered with ``status`` so many times.
    delay_s : float
        Wait before each answer.
    """

    drop_uploads: int = 0
    drop_commit_answers: int = 0
    errors: list = dataclasses.field(default_factory=list)
    delay_s: float = 0.0

    def status_for(self, method, path):
        """Status of an injected error for this request, or None."""
        for rule in self.errors:
            if rule[0] == method and rule[3] > 0 and re.search(rule[1], path):
                rule[3] -= 1
                return rule[2]
        return None


class LoopbackHub:
    """A running server; a context manager that stops it.

    Parameters
    ----------
    root : path-like
        Folder of the store.
    port : int
        0 takes a free one.
    token : str, optional
        The only token that is accepted. Without it any token is, and none at all.
    lfs : bool
        False sends every file inside the commit.

    Attributes
    ----------
    endpoint : str
        The value for ``HF_ENDPOINT``.
    requests : list of Request
        Everything that was answered so far.
    faults : Faults
    """

    def __init__(self, root, port=0, token=None, lfs=True):
        self.store, self.token, self.lfs = Store(root), token, lfs
        self.faults, self.requests = Faults(), []
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._server.hub = self
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="loopback-hub", daemon=True)
        self._thread.start()

    def stop(self):
        """Close the socket: clients are refused from here on."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
