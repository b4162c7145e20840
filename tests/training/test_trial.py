import gc
import time
import weakref
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from training_helpers import CPU, make_data, random_weights, tiny_recipe

from autoseg.config import Geometry
from autoseg.data.batches import Pixels
from autoseg.data.cache import Cache
from autoseg.inference import MAX_TILE_SIDE, segment
from autoseg.metrics import confusion_matrix
from autoseg.model import build_model, encoder_stages
from autoseg.preprocessing import Preprocessing, pad_image, round_up
from autoseg.training.schedule import Schedule
from autoseg.training.trial import TrainingData, Trial, preprocessing_of, tile_of
from autoseg.training.validation import validation_confusions

START = random_weights()
SHORT = Schedule(windows=24, warmup_share=0)


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


def frozen_names(trial: Trial, frozen_depth: int) -> set[str]:
    """State of the stem and the stages up to the depth, norm statistics included."""
    kept = [t for stage in encoder_stages(trial.model.encoder)[: frozen_depth + 1] for m in stage
            for t in (*m.parameters(), *m.buffers())]  # fmt: skip
    pointers = {t.data_ptr() for t in kept}
    return {n for n, t in trial.model.state_dict().items() if t.data_ptr() in pointers}


@pytest.mark.parametrize("train_norm", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_frozen_stages_are_unchanged_by_fine_tuning(data, depth, train_norm):
    trial = Trial(tiny_recipe(frozen_depth=depth, train_norm=train_norm), data, CPU, 0, START)
    names = frozen_names(trial, depth)
    result = trial.fine_tune(SHORT)
    moved = changed(START, result.weights)
    assert names and not names & moved
    assert any(name.startswith("decoder.") for name in moved)
    if depth < 4:
        assert any(name.startswith("encoder.") for name in moved)


def test_without_frozen_stages_every_weight_moves_but_norm_statistics_do_not(data):
    trial = Trial(tiny_recipe(), data, CPU, 0, START)
    moved = changed(START, trial.fine_tune(SHORT).weights)
    trained = {name for name, _ in trial.model.named_parameters()}
    assert trained <= moved
    assert not any("running" in name for name in moved)
    other = Trial(tiny_recipe(train_norm=True), data, CPU, 0, START)
    assert any("running" in name for name in changed(START, other.fine_tune(SHORT).weights))


@pytest.mark.parametrize("decoder", ["fpn", "unet", "segformer"])
def test_the_decoder_phase_changes_decoder_and_head_alone(data, decoder):
    start = random_weights(decoder=decoder)
    trial = Trial(tiny_recipe(decoder_name=decoder), data, CPU, 0, start)
    assert trial.can_cache_features
    result = trial.train_decoder(SHORT, n_features=12, max_bytes=2**30)
    moved = changed(start, result.weights)
    assert {name.split(".")[0] for name in moved} == {"decoder", "segmentation_head"}


def test_fine_tuning_follows_the_decoder_phase_in_one_trial(data):
    trial = Trial(tiny_recipe(frozen_depth=2), data, CPU, 0, START)
    first = trial.train_decoder(SHORT, n_features=12, max_bytes=2**30)
    second = trial.fine_tune(SHORT)
    moved = changed(first.weights, second.weights)
    assert any(name.startswith("encoder.") for name in moved)
    assert not frozen_names(trial, 2) & moved


def test_features_are_cached_as_far_as_memory_goes(data):
    trial = Trial(tiny_recipe(batch_size=2), data, CPU, 0, START)
    result = trial.train_decoder(SHORT, n_features=500, max_bytes=1)
    assert result.reason == "complete" and result.windows == 24


@pytest.mark.alone
def test_the_time_of_a_decoder_phase_holds_the_computing_of_its_features(data, monkeypatch):
    """The final phase on a frozen encoder took as much longer as its features took."""
    trial = Trial(tiny_recipe(), data, CPU, 0, START)
    draw = trial._source.draw

    def slowly(count: int):
        time.sleep(0.05)
        return draw(count)

    monkeypatch.setattr(trial._source, "draw", slowly)
    started = time.monotonic()
    result = trial.train_decoder(Schedule(seconds=2.0), 10**6, 2**40)
    assert 1.9 < time.monotonic() - started < 3.0
    assert result.reason == "complete" and result.windows > 0


def test_a_stop_ends_the_decoder_phase_with_a_score(data):
    trial = Trial(tiny_recipe(), data, CPU, 0, START)
    result = trial.train_decoder(Schedule(windows=10**6), 10**6, 2**30, keep_going=lambda: False)
    assert result.reason == "stopped" and result.best is not None


def test_the_same_seed_trains_the_same_network(data):
    recipe = tiny_recipe(augmentation="strong")
    results = []
    for seed in (5, 5, 6):
        torch.manual_seed(99 + len(results))
        results.append(Trial(recipe, data, CPU, seed, START).fine_tune(SHORT).weights)
    assert not changed(results[0], results[1])
    assert changed(results[0], results[2])


def test_training_on_a_few_images_learns_them(data):
    """Scored on the images it trains on, so that it must rise."""
    memorised = replace(data, val=data.train)
    trial = Trial(tiny_recipe(decoder_lr=3e-3, augmentation="none"), memorised, CPU, 0, START)
    before = trial.scored().best.score
    result = trial.fine_tune(Schedule(windows=200, evaluations=(0.5, 1.0)))
    assert result.best.score > before + 0.1
    losses = [e.train_loss for e in result.evaluations]
    assert losses[1] < losses[0]


def test_the_result_says_how_it_went(data):
    trial = Trial(tiny_recipe(), data, CPU, 0, START)
    result = trial.fine_tune(Schedule(windows=16, evaluations=(0.5, 1.0)))
    assert result.windows == 16 and result.recipe.epochs == 16 / len(data.train)
    assert result.images_per_s > 0 and result.seconds > 0 and result.passes == 1
    assert result.parameters == sum(p.numel() for p in trial.model.parameters())
    assert result.peak_memory_bytes is None
    again = Trial(tiny_recipe(), data, CPU, 0, result.weights).scored()
    np.testing.assert_array_equal(again.best.confusions, result.best.confusions)


def test_timing_gives_seconds_per_window(data):
    trial = Trial(tiny_recipe(), data, CPU, 0, START)
    head_s, decoder_s = trial.time_decoder(1)
    step_s = trial.time_step(1)
    assert 0 < head_s < 1 and 0 < decoder_s < 1 and 0 < step_s < 1


def test_validation_counts_what_the_network_says_image_by_image(tmp_path):
    """Images of sizes that are no multiples of 32, in batches of equal shape."""
    data = odd_sized(tmp_path)
    trial = Trial(tiny_recipe(), data, CPU, 0, START)
    indices = (3, 0, 1, 5, 4, 2)
    found = trial.evaluate(indices)
    preprocessing = preprocessing_of(trial.recipe)
    for row, i in zip(found, indices, strict=True):
        image = torch.from_numpy(np.array(data.cache.image(i))).permute(2, 0, 1)[None]
        height, width = image.shape[-2:]
        padded = pad_image(image, round_up(height), round_up(width))
        with torch.inference_mode():
            logits = trial.model(preprocessing.normalize(padded))[0, :, :height, :width]
        predicted = logits.argmax(0).numpy().astype(np.uint8)
        expected = confusion_matrix(np.array(data.cache.mask(i)), predicted, data.num_classes)
        # Batched convolutions round differently: a few pixels on a tie may differ.
        assert np.abs(row - expected).sum() <= 0.002 * expected.sum()
        assert row.sum() == expected.sum()


def test_images_of_one_shape_are_scored_together_wherever_they_stand(tmp_path):
    data = odd_sized(tmp_path)
    trial = Trial(tiny_recipe(), data, CPU, 0, START)
    sizes = []

    def forward(images: torch.Tensor) -> torch.Tensor:
        sizes.append(tuple(images.shape))
        return trial.model(images)

    def score(indices: tuple[int, ...]) -> np.ndarray:
        return validation_confusions(
            forward, data.cache, indices, trial.preprocessing, data.num_classes, CPU
        )

    indices = (3, 2, 0, 5, 1, 4)
    found = score(indices)
    # The largest first; those of 50x70, padded to 64x96, share no pass with what is so large.
    assert sizes == [(1, 3, 64, 96), (1, 3, 64, 96), (3, 3, 64, 96), (1, 3, 64, 32)]
    for row, i in zip(found, indices, strict=True):
        mask = data.cache.mask(i)
        true = np.bincount(mask[mask != 255], minlength=data.num_classes)
        np.testing.assert_array_equal(row.sum(1), true)


def test_images_on_the_device_make_room_for_scoring(data):
    """Then the batch is halved, and the counts are the same."""
    trial = Trial(tiny_recipe(), data, CPU, 0, START)
    wanted = trial.evaluate(data.val)
    pixels = Pixels(data.cache, torch.device("cpu"), 2**30)
    pixels.keep(data.val)
    sizes = []

    def forward(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        if pixels.kept_bytes or len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return trial.model(images)

    arguments = (data.cache, data.val, trial.preprocessing, data.num_classes, CPU)
    found = validation_confusions(forward, *arguments, pixels)
    assert len(data.val) == 4 and sizes == [4, 4, 2, 2] and pixels.max_bytes == 0
    assert np.abs(found - wanted).sum() <= 0.002 * wanted.sum()


def odd_sized(folder) -> TrainingData:
    data = make_data(folder, n_images=6)
    shapes = np.array([[50, 70], [50, 70], [40, 90], [50, 70], [64, 96], [33, 31]], np.int32)
    # The pixels on disk, read as images of these shapes.
    return replace(data, cache=Cache(data.cache.folder, shapes))


def test_large_images_are_scored_in_tiles(tmp_path):
    class Tall:
        """One image far longer than any window."""

        shapes = np.array([[2400, 700]], np.int32)
        pixels = np.random.default_rng(0).integers(0, 256, (2400, 700, 3), dtype=np.uint8)
        classes = (np.arange(2400)[:, None] // 100 % 2 * np.ones((1, 700))).astype(np.uint8)

        def image(self, index):
            return self.pixels

        def mask(self, index):
            return self.classes

    sizes = []

    def forward(images: torch.Tensor) -> torch.Tensor:
        sizes.append(tuple(images.shape[-2:]))
        return torch.stack([images[:, 0], -images[:, 0]], dim=1)

    geometry = tiny_recipe().geometry
    as_it_is = Preprocessing(geometry, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    (matrix,) = validation_confusions(forward, Tall(), [0], as_it_is, 2, CPU)
    predicted = (Tall.pixels[..., 0] < 127.5).astype(np.uint8)
    np.testing.assert_array_equal(matrix, confusion_matrix(Tall.classes, predicted, 2))
    assert len(sizes) > 1 and max(max(size) for size in sizes) <= MAX_TILE_SIDE


def test_a_plain_vit_is_scored_by_the_tiles_that_it_predicts_with(data, monkeypatch):
    """It was chosen by whole images, up to 1024 pixels, and then predicted in training windows."""
    recipe = replace(
        tiny_recipe(decoder_name="dpt"),
        encoder_name="test_vit.r160_in1k",
        geometry=Geometry(window=(64, 64), scale=1.0),
    )
    model = build_model(recipe.encoder_name, "dpt", data.num_classes, pretrained=False)
    trial = Trial(recipe, data, CPU, seed=0, weights=model.state_dict())
    shapes, whole = set(), trial.model.forward

    def noted(images: torch.Tensor) -> torch.Tensor:
        shapes.add(tuple(images.shape[-2:]))
        return whole(images)

    monkeypatch.setattr(trial.model, "forward", noted)
    (matrix,) = trial.evaluate(data.val[:1])
    assert shapes == {(64, 64)}  # Of images of 64 x 96.
    image, mask = (
        np.array(a) for a in (data.cache.image(data.val[0]), data.cache.mask(data.val[0]))
    )
    predicted = segment(
        trial.model, image, preprocessing_of(recipe), device=CPU.device, tile=tile_of(recipe)
    )
    np.testing.assert_array_equal(matrix, confusion_matrix(mask, predicted.mask, data.num_classes))


@pytest.mark.slow
def test_memory_is_given_back_between_trials(data):
    """Five trials in a row: after the first two, which fill caches, nothing more is kept."""
    used = []
    for seed in range(6):
        trial = Trial(tiny_recipe(), data, CPU, seed, START)
        trial.train_decoder(SHORT, n_features=24, max_bytes=2**30)
        trial.fine_tune(SHORT)
        trial.close()
        del trial
        gc.collect()
        used.append(psutil.Process().memory_info().rss / 2**20)
    assert used[-1] - used[1] < 25, used


def test_a_closed_trial_holds_no_tensors(data):
    trial = Trial(tiny_recipe(), data, CPU, 0, START)
    trial.train_decoder(SHORT, n_features=12, max_bytes=2**30)
    trial.fine_tune(SHORT)
    kept = [weakref.ref(tensor) for tensor in trial.model.parameters()]
    assert all(ref() is not None for ref in kept)
    trial.close()
    assert all(ref() is None for ref in kept)
