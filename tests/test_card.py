import copy
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import yaml
from bundle_helpers import NAMES, make_info, make_model, make_report
from huggingface_hub import ModelCard
from PIL import Image

from autoseg.bundle import read_info, save_bundle
from autoseg.card import REPO_PLACEHOLDER, is_generated, render_card
from autoseg.config import Geometry

REPORT = make_report(NAMES[:3])

REVISION = "0123456789abcdef0123456789abcdef01234567"


def front_matter(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def full_report(names: tuple[str, ...] = NAMES[:3], **changes: object) -> dict:
    """A report with everything that a finished run writes."""
    report = copy.deepcopy(make_report(names))
    for row in report["model"]["per_class"]:
        row["images"] = 40
    report["confusion"] = np.eye(len(names), dtype=int).tolist()
    report["default_recipe"] = copy.deepcopy(report["model"])
    report["default_recipe"]["scores"]["macro_imagewise_iou"]["value"] = 0.769
    report["difference"] = {
        "value": 0.031, "low": 0.004, "high": 0.06, "probability_better": 0.98
    }  # fmt: skip
    report["data"] = {
        "pairs": 120,
        "sizes": "all 256x192",
        "splits": {"train": 80, "val": 20, "test": 20},
        "classes": [{"name": name, "share": 0.3, "train_images": 70} for name in names],
        "values": [
            {"raw": "255", "share": 0.5, "images": 3, "class_name": names[1], "why": "0 and 255"}
        ],
        "n_values": 1,
        "mended": ["2 masks were turned like their images, as EXIF says."],
        "ambiguous": [],
        "left_out": 4,
        "notes": [],
        "source": None,
        "licence": None,
    }
    report["search"] = {
        "trials": {"complete": 11, "pruned": 2, "failed": 1},
        "encoders": [{"value": "resnet18.a1_in1k", "trials": 14, "best_score": 0.7}],
        "frozen_depths": [{"value": 2, "trials": 14, "best_score": 0.7}],
        "winner": {"number": 7, "origin": "sampler", "epochs": 20.5},
        "parameters": 3_429_573,
        "seconds": 366.0,
        "device": "A CPU",
        "cores": 2,
        "attempts": 2,
        "energy_wh": 2.4,
        "energy_how": "estimated from 720 core-seconds at 12 W per core",
    }
    report["examples"] = [
        {
            "file": f"examples/example_{k}.jpg", "split": "test", "rank": rank, "n_images": 20,
            "score": 0.9 / k,
        }
        for k, rank in ((1, 1), (2, 20))
    ]  # fmt: skip
    return {**report, **changes}


def test_the_front_matter_holds_licence_tags_and_scores():
    values = front_matter(render_card(make_info(), REPORT))
    assert values["license"] == "apache-2.0"
    assert values["pipeline_tag"] == "image-segmentation"
    assert "autoseg" in values["tags"]
    assert values["base_model"] == "timm/test_resnet.r160_in1k"
    assert values["base_model_relation"] == "finetune"
    (result,) = values["model-index"][0]["results"]
    metrics = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert metrics["IoU (macro)"] == 0.8
    assert "boundary IoU (macro)" not in metrics, "a score that is undefined is left out"
    assert result["dataset"]["split"] == "test"


def test_the_hub_reads_the_scores():
    results = ModelCard(render_card(make_info(), REPORT)).data.eval_results
    assert {result.metric_type for result in results} >= {"mean_iou", "accuracy"}


def test_the_hub_is_told_the_data_set_that_a_model_was_trained_on():
    report = full_report()
    report["data"]["source"] = {"repo_id": "lab/leaves", "revision": REVISION, "licence": "mit"}
    card = render_card(make_info(), report, repo_id="lab/leaf-model")
    data = ModelCard(card).data
    assert data.datasets == ["lab/leaves"] and data.model_name == "leaf-model"
    scored = {result.dataset_type: result.dataset_revision for result in data.eval_results}
    assert scored == {"lab/leaves": REVISION}
    assert "`lab/leaves`" in card and REVISION in card


def test_a_model_without_a_report_says_so():
    card = render_card(make_info(), None)
    assert "not evaluated" in card and "model-index" not in front_matter(card)
    assert all(name in card for name in ("## How to use it", "## Recipe", "## Licence"))


def test_a_network_without_a_recipe_has_a_card():
    info = make_info()
    object.__setattr__(info, "recipe", None)
    object.__setattr__(info, "weights_licence", "")
    object.__setattr__(info, "notes", ("The sizes are a <guess>.",))
    card = render_card(info, None)
    values = front_matter(card)
    assert values["license"] == "unknown" and "base_model" not in values
    assert "## Recipe" not in card and "smp.from_pretrained" in card
    assert "- The sizes are a &lt;guess>." in card


def test_scores_on_images_that_chose_the_model_are_marked():
    card = render_card(make_info(), {**REPORT, "untouched": False, "split": "validation"})
    assert "somewhat too high" in card


def test_the_search_and_what_it_cost_are_told():
    card = render_card(make_info(), full_report())
    for text in (
        "14 trials (11 seen through, 2 stopped early and 1 failed)",
        "Trial 7 won: a suggestion of the search's sampler",
        "6.1 min in 2 attempts on A CPU (2 CPU cores)",
        "2.4 Wh",
        "720 core-seconds at 12 W per core",
        "wrong by a factor of two",
        "+3.1 percentage points",
        "better with probability 98 %",
    ):
        assert text in card, text


def test_measured_energy_is_not_called_an_estimate():
    report = full_report()
    report["search"]["energy_how"] = "measured by RAPL"
    card = render_card(make_info(), report)
    assert "whole chip" in card and "factor of two" not in card


@pytest.mark.parametrize("energy", [None, 12.0])
def test_a_gpu_that_was_not_counted_leaves_no_number_of_energy(energy):
    report = full_report()
    how = "GPU not counted, CPU estimated from 3,600 core-seconds at 12 W per core"
    report["search"].update(energy_wh=energy, energy_how=how)
    card = render_card(make_info(), report)
    assert "Energy: not measured" in card and "pip install autoseg-search[energy]" in card
    assert " Wh," not in card and "lamp" not in card


def test_the_data_is_described_as_it_was_read():
    card = render_card(make_info(), full_report())
    for text in (
        "120 pairs of image and mask, all 256x192",
        "80 to train, 20 to validate and 20 to test",
        "turned like their images",
        "4 files could not be used",
        "| `255` | 50.0 % | 3 |",
        "nobody said under which licence",
    ):
        assert text in card, text


def test_a_class_with_little_behind_its_score_is_named():
    report = full_report()
    report["data"]["classes"][2] = {"name": "stem", "share": 0.2, "train_images": 6}
    card = render_card(make_info(), report)
    assert "It saw little of stem (20 % of the pixels, in 6 training images, scored on 40)" in card


def test_a_model_of_few_images_is_told_to_be_one():
    report = full_report(n_images=3)
    report["data"]["splits"] = {"train": 9, "val": 3, "test": 0}
    card = render_card(make_info(), report)
    assert "trained on 9 images only and scored on 3" in card and "9 to train and 3 to" in card


def test_the_weakest_class_and_what_it_is_taken_for_are_named():
    report = full_report(confusion=[[90, 5, 5], [0, 80, 20], [30, 10, 60]])
    report["model"]["per_class"][2]["iou"] = 0.4
    card = render_card(make_info(), report)
    assert (
        "weakest class is stem, IoU 40.0 %; 30.0 % of its pixels are taken for background" in card
    )


def test_examples_are_shown_unless_they_stay_out():
    info, report = make_info(), full_report()
    card = render_card(info, report)
    assert re.findall(r"!\[.*\]\((.*)\)", card) == [
        "examples/example_1.jpg", "examples/example_2.jpg",
    ]  # fmt: skip
    assert "Rank 1 of 20 (the best), IoU 90.0 %" in card
    assert "Rank 20 of 20 (the worst), IoU 45.0 %" in card
    one = render_card(info, report, examples=("examples/example_2.jpg",))
    assert "example_2.jpg" in one and "example_1.jpg" not in one
    without = render_card(info, report, examples=())
    assert "example_1.jpg" not in without and "## Examples" not in without


def test_every_class_has_its_colour():
    card = render_card(make_info(), full_report())
    assert '<span style="color:#dc143c' in card and "`#dc143c`" in card


def test_the_same_bundle_gives_the_same_card(tmp_path):
    """Whoever pushes tells by this whether the user has changed the card."""
    info = make_info()
    save_bundle(
        tmp_path / "model",
        make_model(info),
        info,
        report=full_report(),
        card=render_card(info, full_report()),
        examples=[b"one", b"two"],
    )
    report = json.loads((tmp_path / "model" / "report.json").read_text(encoding="utf-8"))
    again = render_card(read_info(tmp_path / "model"), report)
    assert again == (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert (tmp_path / "model" / "examples" / "example_2.jpg").read_bytes() == b"two"


def test_a_card_tells_whether_somebody_edited_it():
    """Compared with a fresh one, every card of an older version looked edited."""
    card = render_card(make_info(), full_report(), repo_id="lab/leaf")
    assert is_generated(card) and is_generated(card.replace("\n", "\r\n"))
    assert not is_generated(card.replace("Scores", "My scores"))
    assert not is_generated(card + "\n## More\n")
    assert not is_generated("# Mine\n") and not is_generated("")


def test_a_licence_the_hub_does_not_know_is_named():
    info = make_info()
    object.__setattr__(info, "weights_licence", "dinov3-license")
    values = front_matter(render_card(info, None))
    assert (values["license"], values["license_name"]) == ("other", "dinov3-license")
    assert values["license_link"].startswith("https://")


def test_the_stricter_licence_of_weights_and_data_is_the_models():
    card = render_card(make_info(), REPORT, data_licence="cc-by-nc-4.0")
    assert front_matter(card)["license"] == "cc-by-nc-4.0"
    assert re.search(r"The training data: .*cc-by-nc-4.0.*, which forbids commercial use\.", card)
    report = full_report()
    report["data"]["licence"] = "cc-by-sa-4.0"
    assert front_matter(render_card(make_info(), report))["license"] == "cc-by-sa-4.0"
    assert front_matter(render_card(make_info(), report, licence="mit"))["license"] == "mit"


def test_class_names_cannot_break_the_card():
    """Names come from users: line breaks, quotes, Markdown and HTML are shown, not obeyed."""
    names = ("a\n---\nlicense: mit", '"b": [', "<script>|`x`", "c\x07\u2028\ud800")
    info = make_info(num_classes=4)
    object.__setattr__(info.classes, "names", names)
    for report in (make_report(names), full_report(names)):
        card = render_card(info, report)
        card.encode("utf-8")
        assert front_matter(card)["license"] == "apache-2.0"
        assert "<script>" not in card
        rows = [line for line in card.splitlines() if re.match(r"\| \d+ \|", line)]
        assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [8] * 4
        ModelCard(card)


def test_texts_of_the_data_cannot_break_the_card():
    report = full_report()
    report["data"]["values"][0].update(raw="`|<b>", why="<img src=x>| \n# Title")
    report["data"]["mended"] = ["</details><script>"]
    report["data"]["source"] = {"repo_id": "a/b`\n# x", "revision": '"'}
    card = render_card(make_info(), report)
    body = card.split("---\n", 2)[2]
    assert "<script>" not in body and "<img" not in body and "\n# x" not in body
    (row,) = [line for line in body.splitlines() if line.startswith("| `'")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 6
    front_matter(card)


def snippets(card: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)


def run_both(card: str, monkeypatch, folder) -> tuple[np.ndarray, np.ndarray]:
    """Masks that the two snippets of a card find in `image.png` of that folder."""
    monkeypatch.chdir(folder)
    ours, stock = ({}, {})
    exec(snippets(card)[0], ours)
    exec(snippets(card)[1], stock)
    assert (folder / "overlay.png").is_file()
    return ours["prediction"].mask, stock["mask"]


def write_image(folder, height: int, width: int) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    image.save(folder / "image.png")


@pytest.mark.parametrize("geometry", [{"box": (96, 128)}, {"scale": 0.4}, {"scale": 1.0}], ids=str)
def test_both_snippets_run_and_agree(tmp_path, monkeypatch, geometry):
    """At working size the masks are the same; resampling may round a pixel on an edge otherwise."""
    info = make_info(geometry=Geometry(window=(64, 96), **geometry))
    card = render_card(info, REPORT, repo_id="model")
    save_bundle(tmp_path / "model", make_model(info), info, card=card)
    write_image(tmp_path, 101, 150)
    ours, stock = run_both(card, monkeypatch, tmp_path)
    assert ours.shape == stock.shape == (101, 150)
    assert len(np.unique(ours)) > 1
    differing = int((ours != stock).sum())
    assert differing == 0 if geometry == {"scale": 1.0} else differing <= 5, differing


def test_both_snippets_agree_for_a_plain_vit_on_an_image_of_one_tile(tmp_path, monkeypatch):
    info = make_info(
        geometry=Geometry(window=(96, 160), scale=1.0),
        encoder_name="test_vit.r160_in1k",
        decoder_name="dpt",
    )
    card = render_card(info, REPORT, repo_id="model")
    assert "tiles of\n160x96 pixels" in card
    save_bundle(tmp_path / "model", make_model(info), info, card=card)
    write_image(tmp_path, 90, 150)
    ours, stock = run_both(card, monkeypatch, tmp_path)
    assert np.array_equal(ours, stock) and len(np.unique(ours)) > 1


def test_the_code_names_the_folder_until_a_repository_is_known():
    info = make_info()
    assert all(REPO_PLACEHOLDER in text for text in snippets(render_card(info, REPORT)))
    card = render_card(info, REPORT, repo_id="lab/leaf")
    assert all('"lab/leaf"' in text for text in snippets(card)) and REPO_PLACEHOLDER not in card


def test_the_recipe_in_the_card_is_complete(tmp_path):
    info = make_info()
    info = replace(info, recipe=replace(info.recipe, frozen_depth=4, drop_path=0.1))
    card = render_card(info, REPORT)
    (stored,) = re.findall(r"```json\n(.*?)```", card, flags=re.DOTALL)
    assert json.loads(stored)["drop_path"] == 0.1
    assert "stays as it was pretrained" in card and "learning rate of the encoder" not in card


def test_a_run_that_was_stopped_says_so_on_its_card():
    sentence = "The run was stopped by request after 38 s."
    assert sentence in render_card(make_info(), full_report(stopped_after_s=38.2))
    assert sentence not in render_card(make_info(), full_report(stopped_after_s=None))


def test_a_recipe_that_won_an_earlier_search_is_called_that():
    report = full_report()
    report["search"]["winner"]["origin"] = "earlier run"
    card = render_card(make_info(), report)
    assert "won: the recipe that won an earlier search on similar data." in card


def test_a_model_that_was_trained_on_is_compared_with_the_former_one():
    report = full_report(compared_with="former model")
    report["search"]["winner"]["origin"] = "former model"
    report["search"]["trials"] = {"complete": 1}
    report["default_note"] = "The former model is the one that training started from."
    card = render_card(make_info(), report)
    assert "| former model |" in card and "Against the former model: +3.1" in card
    assert "began with the recipe and the weights of a former model" in card
    assert "default recipe" not in card
