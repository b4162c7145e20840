"""The command that writes a model for other programs."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoseg.errors import ConfigError

if TYPE_CHECKING:
    from autoseg.engines import EngineName


class Target(StrEnum):
    """What a model is written for."""

    ONNX = "onnx"
    OPENVINO = "openvino"


def export(
    model: Annotated[
        str, typer.Argument(help="A run (name or folder), the folder of a model, or OWNER/NAME.")
    ],
    to: Annotated[Target, typer.Option(help="Format of the file.")] = Target.ONNX,
    out: Annotated[
        Path | None, typer.Option(help="The file (else model.onnx or model.xml).")
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="In int8, if that costs at most 0.3 points of mIoU.")
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(help="Data set to calibrate int8 with (else the one of the model's run)."),
    ] = None,
) -> None:
    """Write a model as ONNX or for OpenVINO, checked against the original."""
    if data is not None and not int8:
        raise ConfigError("--data is for --int8 only: nothing else needs images.")
    from autoseg.bundle import load_bundle  # noqa: PLC0415 - torch
    from autoseg.export import export_onnx, export_openvino  # noqa: PLC0415 - torch
    from autoseg.predictor import locate_model  # noqa: PLC0415 - torch
    from autoseg.workspace import Workspace  # noqa: PLC0415 - numpy, Pillow

    bundle = load_bundle(locate_model(Workspace().model_source(model)))
    path = out or Path("model.onnx" if to is Target.ONNX else "model.xml")
    if int8:
        from autoseg.quantization import calibration_data, export_int8  # noqa: PLC0415 - torch

        engine: EngineName = "onnxruntime" if to is Target.ONNX else "openvino"
        found = export_int8(
            bundle, path, engine, calibration_data(bundle, data), lambda text: typer.echo(text)
        )
        typer.echo(
            f"Validation mIoU {found.miou_before:.2%} before, {found.miou_after:.2%} with "
            f"{found.layers} in int8."
        )
    elif to is Target.ONNX:
        export_onnx(bundle, path)
    else:
        export_openvino(bundle, path)
    weights = path.with_suffix(".bin")
    files = [path, weights] if to is Target.OPENVINO else [path]
    size = sum(file.stat().st_size for file in files)
    typer.echo(f"Wrote {' and '.join(map(str, files))} ({size / 1e6:.1f} MB).")
    if int8:
        from autoseg.int8_files import places_of_int8  # noqa: PLC0415 - torch

        typer.echo(_where_it_serves(path.parent, places_of_int8(bundle)))


def _where_it_serves(folder: Path, places: list[Path]) -> str:
    """Where a file in int8 must lie for predictions on this machine to use it."""
    said = "Predictions with this model on this machine use it where it is faster"
    if folder.resolve() in [place.resolve() for place in places]:
        return f"{said}."
    # A run that writes its model again replaces the model's folder as a whole.
    place = places[-1]
    if place.parent.name == "snapshots":  # The Hub's cache belongs to huggingface_hub.
        return (
            f"{said} if it lies beside it: pull the model into a folder of your own "
            f"(`autoseg pull OWNER/NAME --out FOLDER`), move it there, and predict with FOLDER."
        )
    return f"{said} if it lies in {place}."
