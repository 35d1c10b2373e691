"""What is published names no folder of the machine that it comes from."""

import csv
import io
import json

from ..imaging.atomic import write_aside
from ..machine_paths import local_name, without_machine_paths
from .model_card import CARD_FILE
from .remote_code import read_json, write_json

#: Keys under which a record holds a path even where it does not begin at the root.
PLACES = ("started_from", "predictions", "truths", "encoder_weights", "_name_or_path")


def clean_folder(folder):
    """Put file names in place of paths in all JSON, CSV and Markdown files of a folder, in place.

    A card of one's own, :data:`~hf_lesionseg.hub.model_card.CARD_FILE`, is its author's and stays as it is.

    Parameters
    ----------
    folder : Path
        A copy of a model folder; files that need no change are not written.

    Raises
    ------
    ModelError
        A JSON file is damaged.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CARD_FILE):
        if path.suffix == ".json":
            before = read_json(path)
            after = without_machine_paths(_without_places(before))
            if after != before:
                write_json(path, after)
        elif path.suffix in (".jsonl", ".csv", ".md"):
            before = path.read_text("utf-8")
            after = {".jsonl": _clean_lines, ".csv": _clean_table, ".md": without_machine_paths}[path.suffix](before)
            if after != before:
                with write_aside(path) as aside:
                    aside.write_text(after, "utf-8")


def _without_places(content):
    if isinstance(content, list):
        return [_without_places(value) for value in content]
    if not isinstance(content, dict):
        return content
    return {
        key: local_name(value) if key in PLACES and isinstance(value, str) else _without_places(value)
        for key, value in content.items()
    }


def _clean_lines(text):
    return "".join(f"{_clean_line(line)}\n" for line in text.splitlines())


def _clean_line(line):
    try:
        record = json.loads(line)
    except ValueError:  # the last one of a run that was killed
        return without_machine_paths(line)
    cleaned = without_machine_paths(_without_places(record))
    return line if cleaned == record else json.dumps(cleaned)


def _clean_table(text):
    rows = list(csv.reader(io.StringIO(text)))
    cleaned = without_machine_paths(rows)
    if cleaned == rows:
        return text
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows(cleaned)
    return written.getvalue()
