"""Put a trained network into the package, as one that `lesionseg segment` finds by its name.

    python scripts/package_network.py runs/heads stroke-t1w --data heads --report report.json

The weights that the run kept (the moving average where the recipe has one) are stored in float16, after their masks on
made heads were compared with those of float32. The folder hf_lesionseg/pretrained/NAME is replaced as a whole.
"""

import argparse
import json
import sys
from pathlib import Path

from hf_lesionseg.errors import LesionSegError
from hf_lesionseg.pretrained import FOLDER
from hf_lesionseg.training.packaging import Words, package_network

#: Of networks that learned from `lesionseg prepare heads`.
UNTRIED = (
    "Children, and people above 55: the anatomies are of younger adults, and old age was made up.",
    "Scanners well below 1.5 T or above 3 T; scans after contrast agent; T2-weighted and FLAIR images.",
    "Brains with tumours, bleeding, multiple sclerosis, after surgery or with implants: such may be marked.",
    "Strokes of the first days, which a T1w scan hardly shows.",
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="output folder of `lesionseg train`, finished or not")
    parser.add_argument("name", help="what it is called by")
    parser.add_argument("--data", type=Path, help="prepared folder that it learned from; sources and licences")
    parser.add_argument("--recipe", default="clci-net-heads", help="of a run that is not finished")
    parser.add_argument("--seed", type=int, default=0, help="of a run that is not finished")
    parser.add_argument("--earlier", action="append", default=[], metavar="RUN=RECIPE", help="a stage before, in order")
    parser.add_argument("--report", type=Path, help="JSON of scripts/report_default_network.py; its figures beside it")
    parser.add_argument("--marks", default="chronic stroke", help="what it finds")
    parser.add_argument("--takes", default="T1w MRI of a whole head or a stripped brain", help="scans that it takes")
    parser.add_argument("--note", action="append", default=[], help="a known failure, in a sentence for the card")
    parser.add_argument("--untried", action="append", default=[], help="an age, scanner or illness nobody tried it on")
    parser.add_argument("--picture", action="append", default=[], metavar="FILE=CAPTION", help="PNG of a failure")
    parser.add_argument("-o", "--output", type=Path, default=FOLDER, help="default: inside the package")
    options = parser.parse_args()
    earlier = [
        (run, recipe or "clci-net-heads") for run, _, recipe in (each.partition("=") for each in options.earlier)
    ]
    pictures = [tuple(each.split("=", 1)) for each in options.picture]
    words = Words(options.marks, options.takes, options.note, options.untried or UNTRIED, pictures)
    try:
        record = package_network(
            options.run, options.output / options.name, words, data=options.data, recipe=options.recipe,
            seed=options.seed, report=options.report, earlier=earlier,
        )  # fmt: skip
    except LesionSegError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    print(json.dumps(record, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
