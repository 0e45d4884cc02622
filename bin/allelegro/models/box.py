"""The trained models that come with Allelegro: folders of checkpoints, found by name wherever the library is installed."""

from pathlib import Path

from allelegro.errors import DataError

# With the library in a wheel, at the top of a checkout.
_FOLDERS = (Path(__file__).parents[1] / "assets" / "models", Path(__file__).parents[3] / "assets" / "models")


def box() -> dict[str, Path]:
    """Folders of the models in the box, by name."""
    there = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    return {} if there is None else {path.name: path for path in sorted(there.iterdir()) if path.is_dir()}


def find_model(given: str | Path) -> Path:
    """The folder of the model in the box that is called ``given``, else ``given`` as a checkpoint or folder of checkpoints.

    Raises DataError when there is neither. A folder of the user's with a name in the box is ``./NAME``.
    """
    models = box()
    if str(given) in models:
        return models[str(given)]
    path = Path(given)
    if path.exists():
        return path
    raise DataError(
        f"{given}: no such checkpoint folder, and no model in the box; give a folder, or one of "
        f"{', '.join(models) or 'none (assets/models is missing)'}"
    )
