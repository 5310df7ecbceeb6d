"""What is remembered between sessions: Preferences page and last used settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_physgen.errors import UserError

if TYPE_CHECKING:
    from napari_physgen.settings import Settings

PLUGIN = "napari-physgen"


def preference(name: str) -> Any:
    """Return one value of the plugin's page in napari's Preferences, None if there is none."""
    from napari.settings import get_plugin_settings

    try:
        return getattr(get_plugin_settings(PLUGIN).computing, name)
    except (KeyError, AttributeError):
        return None


def output_folder() -> Path:
    """Return the folder that save dialogs open in first."""
    folder = Path(preference("output_folder") or "").expanduser()
    return folder if folder.is_dir() else Path.home()


def config_dir() -> Path:
    """Return the folder that keeps the last used settings."""
    from platformdirs import user_config_path

    return user_config_path(PLUGIN, appauthor=False)


def remember(tool: str, settings: Settings) -> None:
    """Keep the settings of a tool for the next session."""
    from napari_physgen.recipe import Recipe

    try:
        config_dir().mkdir(parents=True, exist_ok=True)
        values = settings.model_dump(mode="json")
        Recipe(tool=tool, settings=values).save(config_dir() / f"{tool}.yaml")
    except (OSError, UserError):
        pass  # a read-only home folder is no reason to bother anybody


def recall(tool: str) -> dict[str, Any]:
    """Return the settings last used, empty if there are none that can be read."""
    from napari_physgen.recipe import Recipe

    path = config_dir() / f"{tool}.yaml"
    try:
        return dict(Recipe.load(path).settings) if path.is_file() else {}
    except (OSError, UserError):
        return {}
