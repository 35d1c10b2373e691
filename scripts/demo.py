"""``make demo``: start a Hub on loopback, then run the demo against it."""

import subprocess
import sys
import tempfile
from pathlib import Path

from hf_lesionseg.demo import run_demo
from hf_lesionseg.errors import LesionSegError

REPOSITORY = Path(__file__).resolve().parent.parent


def main():
    with tempfile.TemporaryDirectory() as store:
        server = subprocess.Popen(
            [sys.executable, REPOSITORY / "tests" / "hub" / "loopback_hub.py", "--port", "0", "--root", store],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            endpoint = server.stdout.readline().strip()
            if not endpoint.startswith("http://"):
                raise LesionSegError("the Hub on loopback did not start; see its message above")
            run_demo(REPOSITORY / "demo-output", endpoint=endpoint)
        except LesionSegError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_status
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        finally:
            server.terminate()
            server.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
