from hub_helpers import connected
from loopback_hub import LoopbackHub
from smp_helpers import make_smp

from autoseg.hub.pull import pull_model
from autoseg.hub.push import plan_push
from autoseg.predictor import Predictor


def test_a_model_that_stock_smp_pushed_is_pulled_and_pushed_with_its_transforms(tmp_path):
    folder = make_smp(tmp_path / "stock", classes=1)
    (folder / "albumentations_config_eval.json").write_text(
        '{"transform": {"__class_fullname__": "LongestMaxSize", "max_size": 128}}'
    )
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    with LoopbackHub(tmp_path / "hub") as hub:
        hub.add_repo("alice/stock", files)
        pulled = pull_model("alice/stock", connected(hub.endpoint, None, tmp_path))
        connection = connected(hub.endpoint, "hf_alice", tmp_path)
        pushed = {file.path for file in plan_push(pulled.folder, "alice/again", connection).files}
    assert pushed == files.keys()
    predictor = Predictor.from_pretrained(pulled.folder)
    assert predictor.class_names == ("background", "class 1")
    assert predictor.bundle.info.preprocessing.geometry.box == (128, 128)
