"""The folder that keeps the finished steps of one material, and which folder it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_physgen.app.preferences import PLUGIN, config_dir, preference
from napari_physgen.app.result_bar import file_stem
from napari_physgen.errors import UserError
from napari_physgen.io.atomic import replacing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_physgen.segmentation.settings import LabourFreeSettings

# As in segmentation.labour_free, which loads torch.
FILES = {"look": "look.npz", "translation": "translation.safetensors", "model": "model.safetensors"}
STOPPED = "stopped early"
CORRECTED = "corrected.safetensors"
# The settings that a step depends on; the model depends on all.
_LOOK = {"classes", "particles", "look", "simulations", "trials", "pictures", "seed"}
_MATTER = {"look": _LOOK, "translation": _LOOK | {"translation", "translation_steps", "precision"}}
_NOTES = "project.json"


class Project:
    """One folder with its finished steps.

    Parameters
    ----------
    folder : Path
        Need not be there before something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, step: str) -> bool:
        """Whether a step is finished, with whatever settings."""
        known = _read(self.folder / "steps.json")
        return FILES[step] in known and (self.folder / FILES[step]).is_file()

    def stopped(self, step: str) -> bool:
        """Whether a step was ended before its time and kept as it was."""
        return self.has(step) and _read(self.folder / "steps.json")[FILES[step]] == STOPPED

    def fits(self, step: str, values: Mapping[str, Any]) -> bool:
        """Whether a finished step was made with these settings, as far as it depends on them."""
        made = self._notes()["steps"].get(step, {}).get("settings")
        if made is None:
            return True
        return all(values[name] == made.get(name) for name in _MATTER.get(step, values))

    def summary(self, step: str) -> str:
        """Return the words that a step ended with."""
        return str(self._notes()["steps"].get(step, {}).get("summary", ""))

    @property
    def images(self) -> list[list[Any]]:
        """Names and shapes of the images that the steps were made from."""
        return list(self._notes()["images"])

    def model(self) -> Path | None:
        """Return the newest model, None if there is none."""
        paths = [self.folder / name for name in (FILES["model"], CORRECTED)]
        there = [path for path in paths if path.is_file()]
        return max(there, key=lambda path: path.stat().st_mtime_ns) if there else None

    @property
    def files(self) -> list[tuple[str, list[Path]]]:
        """Name and files of each layer of images, those whose files are all there."""
        notes = self._notes()
        layers = zip(notes["images"], notes.get("files", []), strict=False)
        known = [(str(name), [Path(path) for path in paths]) for (name, _), paths in layers]
        return [(name, p) for name, p in known if p and all(path.is_file() for path in p)]

    def begin(self, images: Sequence[Sequence[Any]], files: Sequence[Sequence[str]]) -> None:
        """Keep which images are worked on, and their files."""
        own = {"images": [list(image) for image in images], "files": [list(f) for f in files]}
        self._write(self._notes() | own)

    def note(
        self,
        step: str,
        summary: str,
        settings: LabourFreeSettings,
        images: Sequence[Sequence[Any]],
    ) -> None:
        """Keep what a step ended with."""
        values = self._notes()
        values["images"] = [list(image) for image in images]
        values["steps"][step] = {
            "summary": summary,
            "settings": settings.model_dump(mode="json"),
        }
        self._write(values)

    def _write(self, values: Any) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"The folder {self.folder} cannot be made: choose another.") from error
        with replacing(self.folder / _NOTES) as part:
            part.write_text(json.dumps(values, indent=1), encoding="utf-8")

    def _notes(self) -> dict[str, Any]:
        values = _read(self.folder / _NOTES)
        fine = isinstance(values.get("steps"), dict) and isinstance(values.get("images"), list)
        return values if fine else {"steps": {}, "images": []}


def default_folder(name: str) -> Path:
    """Return where the steps made from an image are kept, if nobody says otherwise."""
    return _base() / "labour-free" / file_stem(name)


def remember_folder(folder: Path) -> None:
    """Keep in mind which project was open last."""
    try:
        config_dir().mkdir(parents=True, exist_ok=True)
        _last().write_text(json.dumps({"folder": str(folder)}), encoding="utf-8")
    except OSError:
        pass  # a read-only home folder is no reason to bother anybody


def last_folder() -> Path | None:
    """Return the project that was open last, None if it is gone."""
    folder = Path(str(_read(_last()).get("folder") or "."))
    return folder if (folder / _NOTES).is_file() else None


def _last() -> Path:
    return config_dir() / "labour-free.json"


def _base() -> Path:
    from platformdirs import user_data_path

    chosen = preference("output_folder")
    folder = Path(chosen).expanduser() if chosen else None
    return folder if folder and folder.is_dir() else user_data_path(PLUGIN, appauthor=False)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
