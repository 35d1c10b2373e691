"""``python -m hf_lesionseg.testing.loopback_hub``: run the server until it is interrupted."""

import argparse
import contextlib
import threading

from . import LoopbackHub


def main():
    parser = argparse.ArgumentParser(description="A Hub on 127.0.0.1 for tests.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--root", default="loopback-hub", help="folder for repositories and files")
    parser.add_argument("--token", help="the only token to accept; any token by default")
    parser.add_argument("--no-lfs", action="store_true", help="take every file inside the commit")
    options = parser.parse_args()
    with LoopbackHub(options.root, options.port, options.token, lfs=not options.no_lfs) as hub:
        print(hub.endpoint, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
