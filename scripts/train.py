"""Train a network: ``accelerate launch scripts/train.py --recipe clci-net-atlas --data_dir ... --output_dir ...``.

The loop that this runs is ``hf_lesionseg/training/loop.py``, written to be read from top to bottom.
"""

import sys

from hf_lesionseg.training.command import main

if __name__ == "__main__":
    sys.exit(main())
