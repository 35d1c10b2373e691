"""Neighbouring cases overlap: one is read, one computed, one written; what goes wrong stays with its case."""

import gc
import json
import threading
import warnings
import weakref
from itertools import pairwise

import pytest

from hf_lesionseg.inference import segment, segment_cases
from hf_lesionseg.inference.background import Background, warnings_by_work, work
from hf_lesionseg.inference.cohort import CaseSteps

LONG = 60  # s; what waits so long waits in vain
NAMES = ("a", "b", "c", "d")


class Watched(CaseSteps):
    """The real steps, of which a list says when each began and ended."""

    events, moved = [], threading.Condition()

    @classmethod
    def note(cls, *event):
        with cls.moved:
            cls.events.append(event)
            cls.moved.notify_all()

    @classmethod
    def wait_for(cls, *event):
        with cls.moved:
            return cls.moved.wait_for(lambda: event in cls.events, LONG)

    def read(self, run):
        self.note("read", run.case.stem)
        with work(run.told):
            warnings.warn(f"while {run.case.stem} was read", stacklevel=1)
        prepared = super().read(run)
        self.note("was read", run.case.stem)
        return prepared

    def predict(self, run, prepared):
        self.note("compute", run.case.stem)
        predicted = super().predict(run, prepared)
        self.note("was computed", run.case.stem)
        return predicted

    def write(self, run, predicted):
        self.note("write", run.case.stem)
        outcome = super().write(run, predicted)
        self.note("was written", run.case.stem)
        return outcome


@pytest.fixture
def use(monkeypatch):
    """Let a run take these steps, and forget what others noted."""

    def use(steps):
        Watched.events.clear()
        monkeypatch.setattr(segment, "CaseSteps", steps)
        return steps

    return use


@pytest.fixture
def paths(write_head):
    return [write_head(f"{name}.nii").path for name in NAMES]


def names_in(folder):
    return sorted(path.name for path in folder.rglob("*"))


def complete(*stems):
    return sorted(f"{stem}_{end}" for stem in stems for end in ("lesions.json", "mask.nii.gz", "record.json"))


def test_reading_and_writing_go_on_beside_the_network(loaded, paths, out, use):
    class Beside(Watched):
        def predict(self, run, prepared):
            number = NAMES.index(run.case.stem)
            if number + 1 < len(NAMES):
                assert self.wait_for("was read", NAMES[number + 1])
            if number:
                assert self.wait_for("was written", NAMES[number - 1])
            return super().predict(run, prepared)

    use(Beside)
    run = segment_cases(paths, loaded, out, preview=False)
    assert [(outcome.case, outcome.status) for outcome in run.outcomes] == [(name, "done") for name in NAMES]
    assert names_in(out) == complete(*NAMES)


def test_one_case_at_most_is_read_ahead_and_one_written(loaded, paths, out, use):
    alive, runs = [], []

    class Slow(Watched):
        def read(self, run):
            runs.append(weakref.ref(run))
            return super().read(run)

        def predict(self, run, prepared):
            gc.collect()
            alive.append(sum(each() is not None for each in runs))
            return super().predict(run, prepared)

    use(Slow)
    segment_cases(paths, loaded, out, preview=False)
    at = {event: number for number, event in enumerate(Watched.events)}
    for before, name in zip(NAMES, NAMES[2:], strict=False):
        assert at["was computed", before] < at["read", name]
    for before, name in pairwise(NAMES):
        assert at["was written", before] < at["write", name]
    assert max(alive) <= 3


def test_warnings_stay_with_their_case(loaded, paths, out, use):
    class Beside(Watched):
        def predict(self, run, prepared):
            number = NAMES.index(run.case.stem)
            if number + 1 < len(NAMES):
                self.wait_for("was read", NAMES[number + 1])
            warnings.warn(f"while {run.case.stem} was computed", stacklevel=1)  # no work of the steps
            return super().predict(run, prepared)

        def write(self, run, predicted):
            with work(run.told):
                warnings.warn(f"while {run.case.stem} was written", stacklevel=1)
            return super().write(run, predicted)

    use(Beside)
    with pytest.warns(UserWarning, match="while b was computed"):
        run = segment_cases(paths, loaded, out, preview=False)
    for outcome in run.outcomes:
        assert outcome.warnings == tuple(f"while {outcome.case} was {done}" for done in ("read", "written"))
        assert json.loads(outcome.files["record"].read_text())["warnings"] == list(outcome.warnings)


def test_a_failure_is_told_in_its_turn_and_keeps_no_volume(loaded, paths, out, use):
    held = []

    class Failing(Watched):
        def read(self, run):
            if run.case.stem == "a":
                raise OSError("the disk is gone")
            return super().read(run)

        def write(self, run, predicted):
            if run.case.stem == "c":
                self.wait_for("was read", "d")
                volume = predicted["prediction"]
                held.append(weakref.ref(volume))
                raise ValueError("not like this")
            return super().write(run, predicted)

    use(Failing)
    seen = []
    run = segment_cases(paths, loaded, out, preview=False, on_case=seen.append)
    assert seen == run.outcomes
    assert [outcome.status for outcome in run.outcomes] == ["failed", "done", "failed", "done"]
    assert run.outcomes[0].reason == f"{paths[0]}: unexpected OSError: the disk is gone"
    assert "unexpected ValueError: not like this" in run.outcomes[2].reason
    assert names_in(out) == complete("b", "d")
    gc.collect()
    assert held[0]() is None


def test_ctrl_c_keeps_what_was_computed_and_touches_nothing_later(loaded, paths, out, use):
    segment_cases(paths[3:], loaded, out, preview=False)
    earlier = (out / "d_mask.nii.gz").read_bytes()

    class Interrupted(Watched):
        def predict(self, run, prepared):
            if run.case.stem == "c":
                self.wait_for("was read", "d")
                raise KeyboardInterrupt
            return super().predict(run, prepared)

    use(Interrupted)
    with pytest.raises(KeyboardInterrupt):
        segment_cases(paths, loaded, out, preview=False, existing="overwrite")
    assert names_in(out) == complete("a", "b", "d")
    assert (out / "d_mask.nii.gz").read_bytes() == earlier


def test_ctrl_c_does_not_wait_for_a_scan_that_is_being_read(loaded, paths, out, use):
    go_on = threading.Event()

    class Interrupted(Watched):
        def read(self, run):
            if run.case.stem == "b":
                go_on.wait(LONG)
            return super().read(run)

        def predict(self, run, prepared):
            raise KeyboardInterrupt

    use(Interrupted)
    with pytest.raises(KeyboardInterrupt):
        segment_cases(paths, loaded, out, preview=False)
    assert not go_on.is_set()
    go_on.set()
    assert names_in(out) == []


def test_an_error_of_the_callers_own_ends_the_run(loaded, paths, out):
    def refuse(outcome):
        raise RuntimeError(f"no {outcome.case}")

    with pytest.raises(RuntimeError, match="no a"):
        segment_cases(paths, loaded, out, preview=False, on_case=refuse)
    assert names_in(out) == complete("a")


def test_what_a_thread_raises_is_raised_where_it_is_asked_for():
    for error in (ValueError("no"), KeyboardInterrupt()):

        def fail(error=error):
            raise error

        with pytest.raises(type(error)):
            Background(fail).result()


def test_work_of_two_threads_collects_its_own_warnings():
    both = threading.Barrier(2, timeout=LONG)

    def warn(name, told):
        with work(told):
            for _ in range(3):
                both.wait()
                warnings.warn(name, stacklevel=1)

    one, two = [], []
    with warnings_by_work():
        threads = [Background(warn, "one", one), Background(warn, "two", two)]
        for thread in threads:
            thread.result()
    assert (one, two) == (["one"] * 3, ["two"] * 3)
