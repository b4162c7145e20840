import re

import numpy as np
import pytest
import torch
import yaml
from bundle_helpers import NAMES, make_info, make_model, make_report
from huggingface_hub import ModelCard
from PIL import Image

from autoseg.bundle import save_bundle
from autoseg.card import REPO_PLACEHOLDER, render_card
from autoseg.config import Geometry

REPORT = make_report(NAMES[:3])


def front_matter(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def test_the_front_matter_holds_licence_tags_and_scores():
    values = front_matter(render_card(make_info(), REPORT))
    assert values["license"] == "apache-2.0"
    assert values["pipeline_tag"] == "image-segmentation"
    (result,) = values["model-index"][0]["results"]
    metrics = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert metrics["IoU (macro)"] == 0.8
    assert "boundary IoU (macro)" not in metrics, "a score that is undefined is left out"
    assert result["dataset"]["split"] == "test"


def test_the_hub_reads_the_scores():
    results = ModelCard(render_card(make_info(), REPORT)).data.eval_results
    assert {result.metric_type for result in results} >= {"mean_iou", "accuracy"}


def test_a_model_without_a_report_says_so():
    card = render_card(make_info(), None)
    assert "not evaluated" in card and "model-index" not in front_matter(card)


def test_scores_on_images_that_chose_the_model_are_marked():
    card = render_card(make_info(), {**REPORT, "untouched": False, "split": "validation"})
    assert "somewhat too high" in card


def test_a_licence_the_hub_does_not_know_is_named():
    info = make_info()
    object.__setattr__(info, "weights_licence", "dinov3-license")
    values = front_matter(render_card(info, None))
    assert (values["license"], values["license_name"]) == ("other", "dinov3-license")


def test_class_names_cannot_break_the_card():
    """Names come from users: line breaks, quotes, Markdown and HTML are shown, not obeyed."""
    names = ("a\n---\nlicense: mit", '"b": [', "<script>|`x`", "c\x07\u2028\ud800")
    info = make_info(num_classes=4)
    object.__setattr__(info.classes, "names", names)
    card = render_card(info, make_report(names))
    card.encode("utf-8")
    assert front_matter(card)["license"] == "apache-2.0"
    assert "<script>" not in card
    rows = [line for line in card.splitlines() if re.match(r"\| \d+ \|", line)]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [8] * 4


@pytest.mark.parametrize("geometry", [{"box": (96, 128)}, {"scale": 0.4}, {"scale": 1.0}], ids=str)
def test_both_snippets_run_and_agree(tmp_path, monkeypatch, geometry):
    info = make_info(geometry=Geometry(window=(64, 96), **geometry))
    card = render_card(info, REPORT)
    save_bundle(tmp_path / "model", make_model(info), info, card=card)
    coarse = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((150, 101), Image.Resampling.BICUBIC)
    image.save(tmp_path / "image.png")
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    ours, stock = ({}, {})
    exec(snippets[0].replace(REPO_PLACEHOLDER, "model"), ours)
    exec(snippets[1].replace(REPO_PLACEHOLDER, "model"), stock)
    assert (tmp_path / "overlay.png").is_file()
    logits = torch.nn.functional.interpolate(
        stock["logits"].softmax(1), size=(101, 150), mode="bilinear"
    )
    assert (logits.argmax(1)[0].numpy() == ours["prediction"].mask).mean() > 0.995
