"""An ensemble pushed by transformers' own methods is the ensemble, not its last member."""

import pytest
from huggingface_hub import HfApi

SAVED, PUSHED = "org/saved-ensemble", "org/pushed-ensemble"


def test_saved_with_push_to_hub_it_comes_back_whole(hub, run_python, tmp_path):
    told = run_python(
        "journey_of_a_pushed_ensemble.py", tmp_path / "ensemble", SAVED, PUSHED,
        endpoint=hub.endpoint, home=tmp_path / "home", OMP_NUM_THREADS="1",
    )  # fmt: skip
    for repository in (SAVED, PUSHED):
        assert told[repository] == pytest.approx(told["own"], abs=1e-5), repository
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    own = {
        "config.json",
        *(f"fold-{number}/{name}" for number in (0, 1) for name in ("config.json", "model.safetensors")),
    }
    assert set(api.list_repo_files(SAVED)) - {".gitattributes"} == own
    assert set(api.list_repo_files(PUSHED)) - {".gitattributes", "README.md"} == own
    messages = [commit.title for commit in api.list_repo_commits(SAVED)]
    assert len(messages) == 3, "one to make it, one for each push"
    assert "The first" in messages
