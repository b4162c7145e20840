import pytest

from autoseg.data.dataset import check_dataset
from autoseg.data.sample import make_sample_dataset
from autoseg.data.splits import make_splits
from autoseg.report_facts import data_facts


@pytest.mark.parametrize(
    ("source", "licence"),
    [
        (None, None),
        ({"repo_id": "bob/cells", "licence": "mit"}, "mit"),
        ({"repo_id": "bob/cells", "licence": None}, "unknown"),
    ],
)
def test_data_of_the_hub_have_a_licence_known_or_not(source, licence, tmp_path):
    dataset = check_dataset(make_sample_dataset(tmp_path, 6, size=(48, 64)))
    assert data_facts(dataset, make_splits(dataset, 0), source)["licence"] == licence
