"""A trained model at work: any image in, its mask at the image's own size out."""

import io
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from autoseg.bundle import CONFIG_FILE, Bundle, copy_bundle, load_bundle
from autoseg.data.images import decode_image, read_image
from autoseg.engine_choice import choose_engine
from autoseg.engines import Engine, check_engine
from autoseg.errors import BundleError, DatasetError, PredictionError
from autoseg.hub.connection import connect, parse_repo
from autoseg.hub.pull import pull_model
from autoseg.hub.push import Pushed, PushOptions, plan_push, push
from autoseg.inference import segment
from autoseg.prediction import Prediction
from autoseg.preprocessing import round_up
from autoseg.training.hardware import (
    Precision,
    choose_device,
    is_out_of_memory,
    limit_threads,
    predicting_precision,
)

ImageLike = Path | str | np.ndarray | Image.Image
"""A file, an array (H, W, 3) or (H, W) uint8, or a Pillow image."""


@dataclass(frozen=True)
class Predictor:
    """A loaded model, ready to predict."""

    bundle: Bundle
    """The model and what is known of it."""
    precision: Precision
    """Where and how it computes."""
    wanted_engine: str = "torch"
    """What is to compute: "auto", or a name of `ENGINE_NAMES` or `INT8_NAMES`."""

    @classmethod
    def from_pretrained(
        cls,
        path_or_repo_id: str | Path,
        *,
        device: str = "auto",
        engine: str = "auto",
        revision: str | None = None,
        token: str | None = None,
    ) -> "Predictor":
        """Load a model from a folder or from the Hub.

        Args:
            path_or_repo_id: Folder of a model or of a finished run, or a repository on the Hub
                ("owner/name", "owner/name@revision", its address). A folder of that name wins.
            device: torch device, or "auto": the first GPU, else the CPU.
            engine: What computes: "torch", "onnxruntime", "openvino", or "auto": on a CPU, torch
                until OpenVINO, or ONNX Runtime where that is not installed, has been prepared
                beside the work and found to be as good and faster. Before they are used they are
                compared with torch, on one image to three: of each at most 0.1 % of the pixels
                may get another class. In int8 it may be 1 %: that is computed by "openvino int8"
                and "onnxruntime int8", and by "auto" where it is faster, if beside the model lies
                a file that `autoseg export --int8` accepted on this machine.
            revision: Branch, tag or commit on the Hub; not for folders.
            token: For private repositories on the Hub; None: the saved login.

        Raises:
            BundleError: There is no sound model.
            HubError: The Hub does not give it, or not to this account.
            ConfigError: `device` is none of this machine, or `engine` is not installed or has no
                accepted file in int8.
        """
        check_engine(engine)
        folder = locate_model(path_or_repo_id, revision=revision, token=token)
        try:
            bundle = load_bundle(folder)
        except BundleError as error:
            if Path(path_or_repo_id).expanduser().exists():
                raise
            # Where the Hub's cache keeps it is of no use to anybody.
            said = str(error).replace(f"{folder}/", "").replace(str(folder), str(path_or_repo_id))
            raise BundleError(
                f"{path_or_repo_id} on the Hub cannot be used: {said} Ask its author to push a "
                f"sound one, or name an older revision."
            ) from error
        runs_on_cpu = engine not in ("auto", "torch")
        limit_threads()
        chosen = choose_device("cpu" if device == "auto" and runs_on_cpu else device)
        precision = predicting_precision(chosen)
        bundle.model.to(chosen)
        if chosen.type in ("cpu", "cuda"):
            bundle.model.to(memory_format=torch.channels_last)
        predictor = cls(bundle, precision, engine)
        assert predictor._network  # What cannot be had is told now.
        return predictor

    @cached_property
    def _network(self) -> Engine:
        return choose_engine(self.bundle, self.precision, self.wanted_engine)

    @property
    def engine(self) -> str:
        """What computes at present; with "auto" that may change from "torch" as images come.

        A name of `ENGINE_NAMES`, or of `INT8_NAMES` where a file of `autoseg export --int8`
        computes.
        """
        return self._network.name

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class; the position is the mask value."""
        return self.bundle.info.classes.names

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user of this model must be told, such as what had to be guessed."""
        return self.bundle.info.notes

    def predict(
        self,
        image: ImageLike,
        *,
        flip: bool = False,
        tile_px: int | None = None,
        with_probabilities: bool = False,
    ) -> Prediction:
        """Predict the class of every pixel of one image.

        An image larger than a tile is cut into overlapping tiles whose seams are blended, so
        memory does not grow with the image beyond the image itself and what is returned.

        Args:
            image: A file, an array (H, W, 3) or (H, W) uint8, or a Pillow image.
            flip: Average with the mirrored image: twice the time, for 0.1 points of macro IoU as
                measured. Refused where classes are left or right of something, as a mirrored image
                has wrong ones.
            tile_px: Longest side of a tile at working size, for less memory; rounded up to a
                multiple of 32. None: as large as is sensible.
            with_probabilities: Keep the probabilities of all classes: K times the memory.

        Raises:
            PredictionError: The image does not decode, is no image, memory ran out, or `flip` is
                refused.
        """
        if flip:
            self.check_flip()
        start = time.perf_counter()
        pixels = _pixels(image)
        info = self.bundle.info
        try:
            result = segment(
                self._forward,
                pixels,
                info.preprocessing,
                device=self.precision.device,
                tile=self._tile(tile_px),
                flip=flip,
                with_probabilities=with_probabilities,
                raw=True,
            )
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise PredictionError(
                f"There is not enough memory on {self.precision.device} for an image of "
                f'{pixels.shape[1]}x{pixels.shape[0]} pixels. Use device="cpu".'
            ) from error
        return Prediction(
            mask=result.mask,
            confidence=result.confidence,
            class_names=info.classes.names,
            palette=info.classes.palette,
            source=Path(image) if isinstance(image, str | Path) else None,
            seconds=time.perf_counter() - start,
            probabilities=result.probabilities,
            engine=self.engine,
        )

    def check_flip(self) -> None:
        """Refuse averaging with mirrored images if the model was trained without them.

        Raises:
            PredictionError: It was.
        """
        recipe = self.bundle.info.recipe
        if recipe is not None and recipe.flip == "none":
            raise PredictionError(
                "This model was trained without mirrored images, as for classes that are left or "
                "right of something, so averaging with the mirrored image would mix them up. "
                "Predict without it."
            )

    def _tile(self, side_px: int | None) -> tuple[int, int] | None:
        """Largest input (height, width): what was asked, and no more than the model takes."""
        own = self.bundle.tile
        if side_px is None:
            return own
        if side_px < 1:
            raise PredictionError(f"`tile_px` must be at least 1, but got {side_px}.")
        side = round_up(side_px)
        return (side, side) if own is None else (min(side, own[0]), min(side, own[1]))

    def predict_many(
        self, images: Iterable[ImageLike], *, flip: bool = False
    ) -> Iterator[Prediction]:
        """Predict one image after the other, as they are asked for.

        Raises:
            PredictionError: An image cannot be predicted; the ones before it were.
        """
        for image in images:
            yield self.predict(image, flip=flip)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Copy the model into a folder that `from_pretrained` loads, whole or not at all.

        Raises:
            BundleError: The folder holds something else, or the disk is full.
        """
        return copy_bundle(self.bundle.path, Path(folder))

    def push_to_hub(
        self,
        repo_id: str,
        *,
        public: bool = False,
        revision: str | None = None,
        tag: str | None = None,
        licence: str | None = None,
        data_licence: str | None = None,
        examples: bool | None = None,
        message: str | None = None,
        token: str | None = None,
    ) -> Pushed:
        """Publish the model on the Hub in one commit, or bring its repository up to date.

        Args:
            repo_id: "owner/name"; the owner is the account or an organisation of it.
            public: Whether everybody may see it; a new repository is private without it.
            revision: Branch, made if it is new; None: the main branch.
            tag: Name for this version, such as "v1".
            licence: Of the model; None: the one that follows from weights and data.
            data_licence: Of the training images; None: what the data set says, if anything.
            examples: Whether the card shows a few of the user's images; None: while private.
            message: Message of the commit.
            token: Access token; None: the saved login.

        Raises:
            HubError: The Hub refuses or gives no answer; nothing is half there.
            LicenceError: A licence forbids what is asked.
        """
        options = PushOptions(
            public=public, revision=revision, tag=tag, licence=licence, data_licence=data_licence,
            examples=examples, message=message,
        )  # fmt: skip
        connection = connect(token)
        return push(plan_push(self.bundle.path, repo_id, connection, options), connection)

    def _forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (N, 3, h, w) uint8 -> logits (N, K, h, w)."""
        return self._network(pixels)


def locate_model(
    path_or_repo_id: str | Path, *, revision: str | None = None, token: str | None = None
) -> Path:
    """The folder of a model that is here, or is pulled from the Hub; see `from_pretrained`.

    Raises:
        BundleError: There is none.
        HubError: The Hub does not give it, or not to this account.
    """
    path = Path(path_or_repo_id).expanduser()
    repo = None if path.exists() else parse_repo(str(path_or_repo_id))
    if repo is None:
        folder = find_bundle(path)
        if revision is not None or token is not None:
            raise BundleError(
                f"{folder} is a folder: `revision` and `token` are for models on the Hub."
            )
        return folder
    if revision is not None and repo.revision not in (None, revision):
        raise BundleError(
            f"{path_or_repo_id} names the revision {repo.revision}, but `revision` is {revision}."
        )
    connection = connect(token)
    return pull_model(repo.repo_id, connection, revision=revision or repo.revision).folder


def find_bundle(path: str | Path) -> Path:
    """The folder of the model: itself, or `model/` in the folder of a run.

    Raises:
        BundleError: There is none.
    """
    folder = Path(path).expanduser()
    if (folder / CONFIG_FILE).is_file():
        return folder
    if (folder / "model" / CONFIG_FILE).is_file():
        return folder / "model"
    if (folder / "search.json").is_file():
        raise BundleError(
            f"The run {folder} has no model yet: it is still going or was interrupted. "
            f"The same `autoseg search` command takes it to its end."
        )
    if folder.is_dir():
        raise BundleError(
            f"{folder} is a folder here and holds neither a model ({CONFIG_FILE}) nor a run. For a "
            f"model on the Hub write hf://owner/name."
        )
    raise BundleError(
        f"{folder} does not exist. Give the folder of a model, or of a run that has finished."
    )


def _pixels(image: ImageLike) -> np.ndarray:
    """Any image -> (H, W, 3) uint8 RGB."""
    try:
        if isinstance(image, str | Path):
            return read_image(Path(image))
        if isinstance(image, Image.Image):
            return _from_pillow(image)
    except DatasetError as error:
        raise PredictionError(str(error)) from error
    if not isinstance(image, np.ndarray):
        raise PredictionError(
            f"An image must be a path, an array or a Pillow image, but got {type(image).__name__}."
        )
    if image.dtype == np.uint8 and image.size:
        if image.ndim == 2:
            return np.repeat(image[:, :, None], 3, axis=2)
        if image.ndim == 3 and image.shape[2] == 3:
            return image
    raise PredictionError(
        f"An array must be (H, W, 3) or (H, W) of uint8 with at least one pixel, but got "
        f"{image.shape} of {image.dtype}."
    )


def _from_pillow(image: Image.Image) -> np.ndarray:
    """A Pillow image -> (H, W, 3) uint8 RGB, upright, by the rules for files."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        buffer = io.BytesIO()
        image.save(buffer, format="TIFF")
        return decode_image(buffer.getvalue(), Path("image"))
    if image.mode in ("P", "PA", "La", "RGBa", "LA"):
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))
