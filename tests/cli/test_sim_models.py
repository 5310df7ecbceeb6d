"""Training a network for SIM on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import sim_sample as sample
import tifffile

from napari_physgen.cli import main
from napari_physgen.recipe import Recipe
from napari_physgen.sim.model import load


def test_sim_train_saves_a_model_that_knows_how_it_was_made(tmp_path: Path) -> None:
    frames = sample.recorded(sample.expected(80)).reshape(9, sample.SIZE, sample.SIZE)
    raw = tmp_path / "cells.tif"
    tifffile.imwrite(raw, np.clip(frames, 0, 65535).astype(np.uint16))
    optics = ["--na", "1.4", "--wavelength-nm", "525", "--pixel-size-nm", "80"]
    learning = ["--start", "nothing", "--learning-steps", "2"]
    main(["sim-train", str(raw), "-o", str(tmp_path / "cells"), *learning, *optics])
    model = load(tmp_path / "cells.safetensors")
    assert model.record["tool"] == "sim-train"
    assert model.summary.startswith("Learned from 1 stack")
    assert Recipe.load(tmp_path / "cells.recipe.yaml").settings["learning_steps"] == 2


def test_sim_train_learns_from_all_that_sim_reconstructs(tmp_path: Path) -> None:
    frames = sample.recorded(sample.expected(80)).reshape(9, sample.SIZE, sample.SIZE)
    frames = np.clip(frames, 0, 65535).astype(np.uint16)
    plain = np.concatenate([frames.mean(0, keepdims=True).astype(np.uint16), frames])
    np.save(tmp_path / "movie.npy", np.stack([plain, plain]))
    np.save(tmp_path / "cell.npy", plain)
    raw = [str(tmp_path / "movie.npy"), str(tmp_path / "cell.npy")]
    optics = ["--na", "1.4", "--wavelength-nm", "525", "--pixel-size-nm", "80"]
    learning = ["--start", "nothing", "--learning-steps", "2", "--order", "widefield-angle-phase"]
    main(["sim-train", *raw, "-o", str(tmp_path / "cells"), *learning, *optics])
    assert load(tmp_path / "cells.safetensors").summary.startswith("Learned from 3 stacks")
    order = Recipe.load(tmp_path / "cells.recipe.yaml").settings["order"]
    assert order == "widefield-angle-phase", "the files are as they were"
