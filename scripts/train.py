"""Train a network: ``accelerate launch scripts/train.py --data prepared -o runs/clci-net --recipe clci-net-atlas``.

The options are those of ``lesionseg train``. The loop that this runs is ``hf_lesionseg/training/loop.py``, written to
be read from top to bottom.
"""

import sys

from hf_lesionseg.cli.train import main

if __name__ == "__main__":
    sys.exit(main())
