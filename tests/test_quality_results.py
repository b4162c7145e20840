"""The quality benchmark's bookkeeping: resuming, pairing, and the data that every side gets."""

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).parent / "benchmarks"


@pytest.fixture
def results(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import quality_results  # noqa: PLC0415 - scripts, found from their own folder

    return quality_results


@pytest.fixture
def sides(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import quality_sides  # noqa: PLC0415 - scripts, found from their own folder

    return quality_sides


def line(score: float, commit: str = "c") -> dict:
    return {
        "macro_iou": score,
        "macro_imagewise_iou": score,
        "wall_s": 60.0,
        "peak_memory_bytes": 10**9,
        "commit": commit,
        "machine": "m",
        "load_before": 0.0,
    }


def test_a_line_cut_off_by_a_kill_costs_only_its_own_cell(results, sides, tmp_path):
    file = tmp_path / "results.jsonl"
    cell = sides.Cell("expert", "leaves", None, 60.0, 0, 2, "cpu")
    results.append_result(file, cell, line(0.1))
    whole = file.read_text()
    file.write_text(whole + whole[: len(whole) // 2])
    results.append_result(file, replace(cell, seed=1), line(0.3))
    results.append_result(file, cell, line(0.2))
    found = results.read_results(file)
    assert {cell.seed: found[cell]["macro_iou"] for cell in found} == {0: 0.2, 1: 0.3}


def test_lines_of_before_working_sizes_could_be_limited_are_cells_without_a_limit(
    results, sides, tmp_path
):
    file = tmp_path / "results.jsonl"
    cell = sides.Cell("default", "leaves", None, 60.0, 0, 2, "cpu")
    results.append_result(file, cell, line(0.1))
    file.write_text(file.read_text().replace('"max_side": null, ', ""))
    limited = replace(cell, max_side=128)
    results.append_result(file, limited, line(0.2))
    found = results.read_results(file)
    assert found[cell]["macro_iou"] == 0.1 and found[limited]["macro_iou"] == 0.2
    assert len(results.grouped(found)) == 2  # Not in one mean.


def test_what_autoseg_is_ahead_by_is_paired_by_seed(results, sides):
    cell = sides.Cell("expert", "leaves", None, 60.0, 0, 2, "cpu")
    found = {
        replace(cell, seed=1): line(0.50),
        replace(cell, seed=2): line(0.90),
        replace(cell, side="autoseg", seed=0): line(0.10),
        replace(cell, side="autoseg", seed=1): line(0.60),
    }
    expert, autoseg = results.table_rows(found)
    assert expert[:3] == ["60 s expert", "70.00 ± 28.28", "+10.00"]
    assert autoseg[:3] == ["60 s autoseg", "35.00 ± 35.36", ""]
    assert set(results.common(found)) == {
        replace(cell, seed=1),
        replace(cell, side="autoseg", seed=1),
    }


def test_the_report_says_in_which_budget_autoseg_reaches_the_best_peer(results, sides, capsys):
    cell = sides.Cell("autoseg", "leaves", None, 60.0, 0, 2, "cpu")
    found = {
        cell: line(0.80, commit="abc"),
        replace(cell, budget_s=360.0): line(0.90),
        replace(cell, side="default", budget_s=360.0): line(0.89),
        replace(cell, side="fastai", budget_s=360.0): line(0.50),
        replace(cell, side="expert", budget_s=360.0): line(0.79),
    }
    results.print_report(found)
    told = capsys.readouterr().out
    assert "The best peer in 360 s is expert with 79.00; autoseg reaches that in 60 s." in told
    assert "abc (1), c (1)" in told


def test_the_plot_has_a_panel_for_each_data_set(results, sides, tmp_path):
    cell = sides.Cell("expert", "leaves", None, 60.0, 0, 2, "cpu")
    found = {cell: line(0.5), replace(cell, dataset="cells", budget_s=360.0): line(0.7)}
    results.plot(found, tmp_path / "plots" / "quality.svg")
    drawn = (tmp_path / "plots" / "quality.svg").read_text()
    assert "leaves, 2 threads, cpu" in drawn
    assert "cells, 2 threads, cpu" in drawn


def test_a_subset_keeps_the_test_images_and_parts_the_rest_for_all_sides(sides):
    with sides.prepared("sample-70", None, 3) as data:
        whole = [data.dataset.image(i) for i in data.splits.test]
    with sides.prepared("sample-70", 20, 3) as data:
        kept = [data.dataset.image(i) for i in data.splits.test]
        task = json.loads(data.task.read_text())
        assert len(data.splits.train) + len(data.splits.val) == 20
        for i, (image, mask) in zip(data.splits.train, task["train"], strict=True):
            assert Path(image).samefile(data.dataset.samples[i].image_path)
            assert np.array_equal(np.asarray(Image.open(mask)), data.dataset.mask(i))
        assert task["num_classes"] == 5
    assert len(kept) == len(whole)
    assert all(np.array_equal(one, other) for one, other in zip(kept, whole, strict=True))
