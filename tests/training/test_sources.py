import pytest
import torch
from training_helpers import CPU, GEOMETRY

from autoseg.config import Recipe
from autoseg.model import build_model, decoders_for, split_forward
from autoseg.training.sources import FeatureSource
from autoseg.training.trial import Trial

VITS = ("vit_small_patch16_dinov3.lvd1689m", "vit_small_patch14_dinov2.lvd142m")


class Images:
    """Windows without augmentation."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randn(3, 3, *GEOMETRY.window, generator=generator)

    def draw(self, count: int) -> tuple[list[torch.Tensor], torch.Tensor]:
        masks = torch.arange(count, dtype=torch.uint8)[:, None, None]
        images = self.images[:count].contiguous(memory_format=torch.channels_last)
        return [images], masks.expand(-1, *GEOMETRY.window)


@pytest.mark.parametrize("encoder_name", ["test_resnet.r160_in1k", *VITS])
def test_cached_features_give_the_logits_of_their_images(encoder_name):
    """A ViT's prefix tokens have no channels-last format, so that drawing them failed."""
    decoder = decoders_for(encoder_name)[0]
    model = build_model(encoder_name, decoder, 2, pretrained=False).eval()
    model = model.to(memory_format=torch.channels_last)
    head, tail = split_forward(model, 4)
    source = Images()
    features = FeatureSource(source, head, CPU, seed=0)
    features.fill(3, 2, max_bytes=2**40)
    inputs, masks = features.draw(3)
    order = masks[:, 0, 0].long()
    with torch.inference_mode():
        found, expected = tail(inputs, GEOMETRY.window), model(source.images[order])
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_the_decoder_phase_of_a_plain_vit_trains(data):
    name = VITS[0]
    model = build_model(name, "dpt", data.num_classes, pretrained=False)
    recipe = Recipe(name, GEOMETRY, decoder_name="dpt", batch_size=2)
    trial = Trial(recipe, data, CPU, 0, model.state_dict())
    head_s, decoder_s = trial.time_decoder(1)
    assert head_s > 0 and decoder_s > 0


def test_images_on_the_device_make_room_for_features_before_the_batch_is_cut():
    class Kept(Images):
        """Images whose memory can be given back once."""

        kept = True

        def give_back(self) -> bool:
            kept, self.kept = self.kept, False
            return kept

    source, sizes = Kept(), []

    def head(images: torch.Tensor) -> list[torch.Tensor]:
        sizes.append(len(images))
        if source.kept or len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return [images]

    features = FeatureSource(source, head, CPU, seed=0)
    features.fill(3, 3, max_bytes=2**40)
    assert sizes == [3, 3, 1, 1, 1] and len(features) == 3
