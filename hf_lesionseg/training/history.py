"""``history.jsonl``: the losses of every logged step and the figures of every epoch, one JSON object a line."""

import json

from .checkpoints import writing


class History:
    """Append-only log of a run.

    After a resume the records past the checkpoint are dropped, since their steps are taken again.
    """

    def __init__(self, path, resume_step=None, resume_epoch=0):
        self.path = path
        kept = []
        if resume_step is not None and path.is_file():
            kept = [
                record
                for record in read_history(path)
                if record["step"] <= resume_step and (record["kind"] != "epoch" or record["epoch"] <= resume_epoch)
            ]
        aside = path.with_name(f".{path.name}.partial")
        with writing(path):
            aside.write_text("".join(json.dumps(record) + "\n" for record in kept))
            aside.replace(path)

    def append(self, **record):
        with writing(self.path), self.path.open("a") as lines:
            lines.write(json.dumps(record) + "\n")


def read_history(path):
    """Read the records; a last line that a killed run left incomplete is passed over."""
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records
