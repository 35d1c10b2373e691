"""A wall time: how it is read, how many steps fit into it, and how it is shared out."""

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from hf_lesionseg.errors import UsageError
from hf_lesionseg.reproduce.pace import Allowance, TimeBudget, groups_that_share_runs, parse_duration, steps_within
from hf_lesionseg.reproduce.papers import TABLES
from hf_lesionseg.reproduce.probe import Cost


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20m", 1200), ("90s", 90), ("1h", 3600), ("1h30m", 5400), ("1.5h", 5400), (" 5M ", 300), ("2", 120)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "0m", "-5m", "20 m m", "20x", "m", "1h 30m", "nan"])
def test_what_is_no_duration(text):
    with pytest.raises(UsageError, match="is not a duration; give one such as 90s, 20m or 1h30m"):
        parse_duration(text)


def test_steps_by_hand():
    """1000 s less 12 % are 880; 2 x (10 + 20) + 1 x (5 + 15) = 80 go beside the steps; 2 x 1 + 1 x 2 = 4 s a step."""
    fast, slow = Cost(step=1.0, before=10, after=20), Cost(step=2.0, before=5, after=15)
    assert steps_within(1000, [fast, fast, slow]) == 200
    assert steps_within(60, [fast, fast, slow]) == 10  # the fewest


def test_what_is_left_is_shared_by_what_the_runs_take():
    runs = [SimpleNamespace(folder=Path(name)) for name in "ab"]
    costs = {(runs[0].folder, 0): Cost(1.0, 10, 20), (runs[1].folder, 0): Cost(2.0, 10, 20)}
    allowance = Allowance(time.monotonic() + 720, costs, steps=100)
    # 130 and 230 of 360 s: the first has 260 s, 20 of them after its last step.
    assert allowance.minutes_for(runs[0], 0) == pytest.approx(240 / 60, rel=0.01)
    assert allowance.minutes_for(runs[0], 0) is None  # crossed off
    # Nothing was spent yet: all is left for the second.
    assert allowance.minutes_for(runs[1], 0) == pytest.approx(700 / 60, rel=0.01)


def test_a_late_run_can_still_start_and_step():
    run = SimpleNamespace(folder=Path("a"))
    allowance = Allowance(time.monotonic() - 100, {(run.folder, 0): Cost(1.0, 10, 20)}, steps=100)
    assert allowance.minutes_for(run, 0) == pytest.approx((10 + 10) / 60)
    assert allowance.overrun() == pytest.approx(100, abs=1)
    assert Allowance(time.monotonic() + 100, {}, steps=100).overrun() == 0


def test_tables_that_share_runs_are_timed_together():
    groups = [[table.id for table in group] for group in groups_that_share_runs(TABLES.values())]
    assert groups == [
        ["l-snet-1", "l-snet-2", "l-snet-3", "l-snet-4"],
        ["clci-net-1", "clci-net-2"],
        ["res-unet-1"],
        ["ms-dcnn-1"],
        ["egs-net-1"],
    ]


def test_the_choice_is_told():
    chosen = TimeBudget(1200, ("a-1", "a-2"), 10, {"1 U-Net": Cost(0.25, 1, 1)}, expected=1100)
    text = chosen.describe()
    assert text.startswith("20 minutes for a-1, a-2: 10 steps for every row (the fewest that are taken")
    assert text.endswith("seconds per step of 1 U-Net 0.250")
    assert "these rows need about 25 minutes)" in replace(chosen, expected=1500).describe()
