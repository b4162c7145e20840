import pytest

from autoseg.errors import BundleError
from autoseg.pulled_models import PulledModel, PulledModels


@pytest.fixture
def models(tmp_path):
    return PulledModels(tmp_path / "models")


def pulled(tmp_path, repo_id: str, commit: str = "a" * 40) -> PulledModel:
    folder = tmp_path / "cache" / repo_id / commit
    folder.mkdir(parents=True, exist_ok=True)
    return PulledModel(repo_id, commit, str(folder))


def test_models_are_listed_by_name(models, tmp_path):
    for repo_id in ("bob/leaves", "Alice/cells"):
        models.add(pulled(tmp_path, repo_id))
    assert [model.repo_id for model in models.all()] == ["Alice/cells", "bob/leaves"]


def test_a_newer_commit_takes_the_place_of_the_older(models, tmp_path):
    models.add(pulled(tmp_path, "bob/leaves"))
    newer = pulled(tmp_path, "bob/leaves", "b" * 40)
    models.add(newer)
    assert models.all() == [newer] == [models.get("bob/leaves")]


def test_a_model_whose_files_are_gone_is_not_offered(models, tmp_path):
    models.add(PulledModel("bob/leaves", "a" * 40, str(tmp_path / "gone")))
    assert models.all() == []
    with pytest.raises(BundleError, match="Pull it again"):
        models.get("bob/leaves")


def test_a_removed_model_is_no_longer_listed(models, tmp_path):
    models.add(pulled(tmp_path, "bob/leaves"))
    models.remove("bob/leaves")
    models.remove("bob/leaves")
    assert models.all() == []


def test_a_damaged_record_hides_no_other(models, tmp_path):
    models.add(pulled(tmp_path, "bob/leaves"))
    (tmp_path / "models" / "x--y.json").write_text("{")
    assert [model.repo_id for model in models.all()] == ["bob/leaves"]
