"""Find healthy slices in which a network marks lesions, so that the next stage of training sees them again.

    python scripts/mine_hard_negatives.py runs/heads heads --slices 6000

Slices of heads without a stroke are rendered from the anatomies that training uses; those with the most marked pixels
are kept in the catalogue, and `lesionseg train` draws from them (`heads: {hard_negatives: 0.3}` in the recipe).
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from hf_lesionseg.datasets.prepared import PreparedDataset
from hf_lesionseg.datasets.synthetic.heads.slices import HeadSlices
from hf_lesionseg.inference.loading import load_model
from hf_lesionseg.inference.prepared import prepare_network
from hf_lesionseg.models.outputs import lesion_probability


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("prepared", type=Path, help="folder of `lesionseg prepare heads`")
    parser.add_argument("--slices", type=int, default=6000, help="healthy slices to look at")
    parser.add_argument("--keep", type=int, default=600, help="hardest ones to keep at most")
    parser.add_argument("--fewest", type=int, default=8, help="pixels that must be marked")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    loaded = load_model(arguments.model, device="cpu")
    network = prepare_network(loaded.model).network
    dataset = PreparedDataset(arguments.prepared)
    slices = HeadSlices(dataset.heads, loaded.processor, length=arguments.slices, epochs=1)
    marked = np.zeros(arguments.slices, int)
    for first in tqdm(range(0, arguments.slices, 16), unit="batch"):
        numbers = range(first, min(first + 16, arguments.slices))
        values = np.stack([slices.render_healthy(arguments.seed, number)[0] for number in numbers])
        with torch.inference_mode():
            probability = lesion_probability(network(torch.from_numpy(values)).logits)
        marked[numbers.start : numbers.stop] = (probability > loaded.processor.threshold).sum(dim=(1, 2)).numpy()
    order = np.argsort(-marked, kind="stable")
    hard = [number for number in order[: arguments.keep] if marked[number] >= arguments.fewest]
    dataset.heads.keep_hard_negatives(arguments.seed, hard, found_by=loaded.identity()["weights_sha256"])
    share = float((marked >= arguments.fewest).mean())
    print(
        f"{share:.1%} of {arguments.slices} healthy slices have {arguments.fewest} marked pixels or more; "
        f"{len(hard)} kept"
    )


if __name__ == "__main__":
    main()
