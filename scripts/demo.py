"""``make demo``: start a Hub on loopback, then run the demo against it."""

import sys
import tempfile
from pathlib import Path

from hf_lesionseg.demo import run_demo
from hf_lesionseg.errors import LesionSegError
from hf_lesionseg.testing.loopback_hub import LoopbackHub

REPOSITORY = Path(__file__).resolve().parent.parent


def main():
    with tempfile.TemporaryDirectory() as store, LoopbackHub(store) as hub:
        try:
            run_demo(REPOSITORY / "demo-output", endpoint=hub.endpoint)
        except LesionSegError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_status
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
