"""What a run can be asked for is checked when it is asked for."""

import math

import pytest

from hf_lesionseg.errors import UsageError
from hf_lesionseg.inference import Computing, ModelSource, SeriesOptions


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        (Computing, {"batch_size": 0}, "batch size 0 is too small"),
        (Computing, {"precision": "half"}, "precision 'half' is unknown; use float32"),
        (Computing, {"memory_format": "nhwc"}, "memory format 'nhwc' is unknown; use auto, contiguous, channels-last"),
        (SeriesOptions, {"frame_seconds": 0}, "frame time 0 s is not possible"),
        (SeriesOptions, {"frame_seconds": math.nan}, "frame time nan s is not possible"),
    ],
)
def test_what_cannot_be_is_refused(kind, wrong, message):
    with pytest.raises(UsageError, match=message):
        kind(**wrong)


def test_only_what_was_asked_for_stands_in_the_record():
    assert SeriesOptions().given() == {}
    assert SeriesOptions(0.5, True).given() == {"frame_seconds": 0.5, "trust_frame_order": True}
    usual = {"precision": "float32", "deterministic": False}
    assert Computing(batch_size=3).settings() == usual
    assert Computing(memory_format="contiguous").settings() == usual | {"memory_format": "contiguous"}


def test_a_token_is_not_shown():
    assert "secret" not in repr(ModelSource("org/name", token="secret"))
