"""Labels on real micrographs without one label: what each step of the workflow buys.

    python benchmarks/labour_free.py [SET ...] [--rows ROW ...] [--likeness NAME ...] [--seed N]
        [--write]

Masks of ../shared/data/sem are only read to score. Each run keeps its settings, curves and scores
in benchmarks/labour_free/SET_ROW_seedN.json; --write makes the tables of docs/benchmarks.md from
what is there.

- nasa_super: spots 3-7 are the unlabelled images; scored on them and on the unseen spot 1.
- amptere: both images are unlabelled and scored.
- uhcs: three images are unlabelled; scored on them and on the two unseen ones.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from _page import write

from napari_physgen import generative
from napari_physgen.backend import run
from napari_physgen.generative import GenerateSettings, GenerativeSettings
from napari_physgen.generative.look_alikes import draw_look_alikes, train_look_alikes
from napari_physgen.io import read_mask, read_picture
from napari_physgen.segmentation import LabourFreeSettings, evaluate, predict
from napari_physgen.segmentation.adapt import adapt
from napari_physgen.segmentation.labour_free import Store, look_step, training_set
from napari_physgen.segmentation.look_alike import rough_labels
from napari_physgen.segmentation.prepare import normalised, prepare
from napari_physgen.segmentation.settings import CLASS_NAMES, SegmentationSettings
from napari_physgen.segmentation.train import train
from napari_physgen.synthesis import TranslationSettings, fidelity, train_translation
from napari_physgen.synthesis._match_images import find_phases
from napari_physgen.synthesis.calibration_settings import CalibrationSettings

DATA = Path(__file__).parents[2] / "shared" / "data" / "sem"
LOGS = Path(__file__).parent / "labour_free"
CACHE = Path("/tmp/physgen_labour_free")

SETS = {
    "nasa_super": ("nasa_super", lambda name: not name.startswith("spot1"), "large and fine"),
    "amptere": ("amptere_gamma_prime", lambda name: True, "particles"),
    "uhcs": ("uhcs_spheroidite", lambda name: "24H" in name, "particles"),
}
ROWS = {
    "otsu": "Otsu's threshold",
    "edges": "phases by their edges (no training)",
    "simulation": "U-Net on simulations alone",
    "renderer": "+ renderer",
    "quick": "+ renderer + self-training (quick preset)",
    "cyclegan": "+ renderer + CycleGAN",
    "consistency": "+ renderer + CycleGAN + mask consistency",
    "diffusion": "+ renderer + diffusion",
    "long": "+ renderer, 1500 steps",
    "long-self-training": "+ renderer, 1500 steps, + self-training (standard preset)",
    "self-training": "+ renderer + CycleGAN + mask consistency + self-training",
}
SHOWN = {
    "nasa_super": {
        "large_iou": "large IoU",
        "large_bf1": "large BF1",
        "large_bf1_2px": "large BF1 2 px",
        "micro_iou": "micro IoU, 3 classes",
    },
    "other": {"iou": "IoU", "bf1": "BF1", "bf1_2px": "BF1 2 px"},
}
AMPTERE = "classifier of the authors .748 to .786, image-editing model .873 to .903"
ASKED = [
    ("nasa_super", "seen", "large_iou", "secondary IoU", 0.93, "Otsu .654"),
    ("nasa_super", "seen", "large_bf1", "BF1", 0.94, "Otsu .556"),
    ("nasa_super", "seen", "large_bf1_2px", "BF1 2 px", 0.90, "Otsu .382"),
    ("nasa_super", "seen", "micro_iou", "micro IoU, 3 classes", 0.91, "with labels .942"),
    ("nasa_super", "unseen", "large_iou", "secondary IoU", 0.93, ""),
    ("nasa_super", "unseen", "large_bf1", "BF1", 0.94, ""),
    ("nasa_super", "unseen", "large_bf1_2px", "BF1 2 px", 0.90, ""),
    ("nasa_super", "unseen", "micro_iou", "micro IoU, 3 classes", 0.91, "with labels .942"),
    ("amptere", "seen", "iou", "IoU", 0.91, AMPTERE),
    ("amptere", "seen", "bf1", "BF1", 0.97, "image-editing model .969 to .988"),
    ("amptere", "seen", "bf1_2px", "BF1 2 px", 0.85, ""),
    ("uhcs", "seen", "iou", "IoU", 0.75, "Otsu .505"),
    ("uhcs", "unseen", "iou", "IoU", 0.75, "Otsu .678"),
]
TRANSLATED = ("cyclegan", "consistency")
# From which row.
SELF_TRAINED = {"quick": "renderer", "self-training": "consistency", "long-self-training": "long"}
LIKENESSES = ("simulation", "renderer", "gan", "diffusion")
STEPS, LONGER = 500, 3
# The prior learns the real images with their rough phases, and is shown the masks of look-alikes.
PRIOR = GenerativeSettings(conditional="masks", steps=1200, batch=8)
SAMPLING = GenerateSettings()
SIDE = 256  # px of a diffused picture


def files(name: str) -> tuple[list[Path], list[Path]]:
    """Return the images to learn from and the unseen ones."""
    folder, seen, _ = SETS[name]
    paths = sorted((DATA / folder / "images").glob("*.png"))
    return [p for p in paths if seen(p.stem)], [p for p in paths if not seen(p.stem)]


def settings_of(name: str, seed: int) -> LabourFreeSettings:
    return LabourFreeSettings(classes=SETS[name][2], seed=seed, training_steps=STEPS)


class Bench:
    """One set and seed, with the steps that its rows share."""

    def __init__(self, name: str, seed: int) -> None:
        self.name, self.seed = name, seed
        self.settings = settings_of(name, seed)
        self.seen, self.unseen = files(name)
        self.prepared = prepare([read_picture(path)[0] for path in self.seen])
        self.seconds: dict[str, float] = {}
        self._translations: dict[float, object] = {}
        self._models: dict[str, object] = {}
        self._diffused: tuple[list[np.ndarray], list[np.ndarray]] | None = None
        began = time.perf_counter()
        store = Store(CACHE / f"{name}_{seed}")
        self.look = run(look_step(self.prepared, self.settings, store))
        self.seconds["look"] = round(time.perf_counter() - began, 1)

    def row(self, row: str) -> dict[str, object]:
        """Run a row and return its scores and log."""
        began = time.perf_counter()
        label, log = self.labeller(row)
        scores = {
            part: {path.stem: self.score(path, label(path)) for path in paths}
            for part, paths in (("seen", self.seen), ("unseen", self.unseen))
        }
        return {
            "set": self.name,
            "row": row,
            "seed": self.seed,
            "settings": self.settings.model_dump(mode="json"),
            "threads": torch.get_num_threads(),
            "seconds": {**self.seconds, "row": round(time.perf_counter() - began, 1)},
            "log": log,
            "scores": scores,
        }

    def labeller(self, row: str):
        """Return a function from a path to labels, and the log of the training."""
        classes = self.settings.classes
        if row == "otsu":
            return (lambda path: rough_labels(*otsu(path), classes)), {}
        if row == "edges":
            return (lambda path: by_edges(path, classes)), {}
        model = self.trained(row)
        model.save(CACHE / f"{self.name}_{self.seed}" / f"{row}.safetensors")
        log = {"summary": model.summary, "history": thinned(model.history)}
        return (lambda path: run(predict(model, read_picture(path)[0])).labels), log

    def trained(self, row: str):
        """Return the model of a row; self-training goes on from the row before it."""
        if row not in self._models:
            self._models[row] = self._adapted(row) if row in SELF_TRAINED else self._fitted(row)
        return self._models[row]

    def _fitted(self, row: str):
        pictures, masks = self.pairs(row)
        names = CLASS_NAMES[self.settings.classes]
        how = self.training()
        steps = how.steps * (LONGER if row == "long" else 1)
        how = how.model_copy(update={"self_training": 0, "steps": steps})
        return run(train(pictures, masks, how, real=self.prepared.images, classes=names), told(row))

    def _adapted(self, row: str):
        before = SELF_TRAINED[row]
        model = self.trained(before)
        pictures, masks = self.pairs(before)
        return run(adapt(model, pictures, masks, self.prepared.images, self.training()), told(row))

    def training(self) -> SegmentationSettings:
        return SegmentationSettings(
            steps=self.settings.training_steps,
            self_training=self.settings.self_training,
            seed=self.seed,
        )

    def pairs(self, row: str):
        if row == "simulation":
            return flat(self.look), [np.asarray(m, np.int64) for m in self.look.masks]
        if row == "diffusion":
            rendered = run(training_set(self.look, None, self.seed))
            pictures, masks = self.diffused()
            return rendered[0] + pictures, rendered[1] + masks
        translation = None
        if row in TRANSLATED:
            translation = self.translation(0.0 if row == "cyclegan" else 1.0)
        return run(training_set(self.look, translation, self.seed))

    def diffused(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return pictures that a prior of the real images makes of the look-alikes' masks."""
        if self._diffused is None:
            prior = self.prior()
            began = time.perf_counter()
            masks = [middle(np.asarray(mask, np.int64)) for mask in self.look.masks]
            how = SAMPLING.model_copy(update={"seed": self.seed})
            classes = prior.classes // len(self.seen)
            made = run(draw_look_alikes(prior, masks, classes, how), told("sampling"))
            np.savez(CACHE / f"{self.name}_{self.seed}" / "diffused.npz", made.images, masks)
            self._diffused = list(made.images), masks
            self.seconds["sampling"] = round(time.perf_counter() - began, 1)
        return self._diffused

    def prior(self):
        """Return the prior of the real images with their rough phases, from the cache if there."""
        path = CACHE / f"{self.name}_{self.seed}" / "prior.safetensors"
        kept = path.with_suffix(".json")
        if not kept.exists():
            began = time.perf_counter()
            how = PRIOR.model_copy(update={"seed": self.seed})
            job = train_look_alikes(self.prepared.images, self.look.phases, how)
            run(job, told("prior")).save(path)
            kept.write_text(json.dumps(round(time.perf_counter() - began, 1)))
        self.seconds["prior"] = json.loads(kept.read_text())
        return generative.load(path)

    def translation(self, consistency: float):
        if consistency not in self._translations:
            began = time.perf_counter()
            how = TranslationSettings(
                steps=self.settings.translation_steps, seed=self.seed, consistency=consistency
            )
            real = list(self.prepared.images)
            job = train_translation(self.look.pictures, real, how, masks=self.look.masks)
            model = run(job, told("translation"))
            model.save(CACHE / f"{self.name}_{self.seed}" / f"translation{consistency}.safetensors")
            self.seconds[f"translation {consistency}"] = round(time.perf_counter() - began, 1)
            self._translations[consistency] = model
        return self._translations[consistency]

    def score(self, path: Path, labels: np.ndarray) -> dict[str, float]:
        truth = read_mask(DATA / SETS[self.name][0] / "masks" / path.name)
        whole = evaluate(labels, truth)
        large = evaluate(labels == 1, truth == 1)
        return {
            "iou": whole.iou,
            "bf1": whole.boundary_f1,
            "bf1_2px": whole.boundary_f1_2px,
            "hausdorff95": whole.hausdorff95,
            "fraction_error": whole.fraction_error,
            "micro_iou": whole.micro_iou,
            "large_iou": large.iou,
            "large_bf1": large.boundary_f1,
            "large_bf1_2px": large.boundary_f1_2px,
        }

    def likeness(self, name: str) -> dict[str, float]:
        """Compare simulated, rendered, translated or diffused pictures with the real images."""
        made = {
            "simulation": lambda: flat(self.look),
            "renderer": lambda: self.look.pictures,
            "gan": lambda: self.translation(1.0).translate(self.look.pictures, self.look.masks),
            "diffusion": lambda: self.diffused()[0],
        }[name]()
        report = run(fidelity(list(self.prepared.images), list(made)))
        report.save_page(CACHE / f"{self.name}_{name}_fidelity.html")
        return {k: float(v) for k, v in report.metrics.items()}


def middle(mask: np.ndarray) -> np.ndarray:
    """Return the middle of a mask, as large as a diffused picture."""
    y, x = ((n - min(n, SIDE)) // 2 for n in mask.shape)
    return mask[y : y + SIDE, x : x + SIDE]


def flat(look) -> list[np.ndarray]:
    """Return masks as grey levels: what a simulation alone would be trained on."""
    random = np.random.default_rng(0)
    return [
        0.5 + _sign(look) * 0.5 * np.minimum(mask, 1) + 0.02 * random.standard_normal(mask.shape)
        for mask in look.masks
    ]


def _sign(look) -> float:
    inside = np.mean([p[m == 1].mean() for p, m in zip(look.pictures, look.masks, strict=True)])
    outside = np.mean([p[m == 0].mean() for p, m in zip(look.pictures, look.masks, strict=True)])
    return float(np.sign(inside - outside))


def otsu(path: Path):
    from scipy.ndimage import gaussian_filter
    from skimage.filters import threshold_otsu

    from napari_physgen.synthesis._match_phases import matrix_is_bright

    image = normalised(read_picture(path)[0])
    smooth = gaussian_filter(image, 1.5)
    dark = smooth < threshold_otsu(smooth)
    return image, dark if matrix_is_bright(dark) else ~dark


def by_edges(path: Path, classes) -> np.ndarray:
    image = normalised(read_picture(path)[0])
    phases, _ = run(find_phases([image], None, CalibrationSettings()))
    return rough_labels(image, phases[0] > 0, classes)


def thinned(history) -> dict[str, list[list[float]]]:
    return {
        name: [list(p) for p in points[:: max(len(points) // 50, 1)]]
        for name, points in history.items()
    }


def told(row: str):
    began = time.perf_counter()

    def tell(progress) -> None:
        if progress.total > 20 and progress.step % 100 == 0:
            figures = " ".join(f"{k} {v:.3f}" for k, v in progress.metrics.items())
            seconds = time.perf_counter() - began
            print(
                f"  {row}: {progress.message} {progress.step} {figures} {seconds:.0f} s", flush=True
            )

    return tell


def mean(log: dict, part: str, name: str) -> float:
    return float(np.mean([s[name] for s in log["scores"][part].values()]))


def logs(name: str, kind: str = "*") -> list[dict]:
    """Return the kept runs of a set, in the order of the rows."""
    paths = [p for p in LOGS.glob(f"{name}_{kind}_seed*.json") if "likeness" not in p.name]
    found = [json.loads(path.read_text()) for path in paths]
    order = list(ROWS)
    return sorted(found, key=lambda log: (order.index(log["row"]), log["seed"]))


def ablation() -> str:
    """Return one table for each set."""
    lines: list[str] = []
    for name in SETS:
        kept = logs(name)
        if not kept:
            continue
        parts = ["seen"] + (["unseen"] if kept[0]["scores"]["unseen"] else [])
        shown = SHOWN.get(name, SHOWN["other"])
        heads = [f"{words}, {part}" for part in parts for words in shown.values()]
        lines += [f"**{name}**", "", f"| | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
        for log in kept:
            cells = [f"{mean(log, part, key):.3f}" for part in parts for key in shown]
            lines.append(f"| {ROWS[log['row']]} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def summary() -> str:
    """Return what was asked for beside what the two presets reach."""
    lines = ["| | asked | quick | standard | with CycleGAN | others |", "|---|---|---|---|---|---|"]
    for name, part, key, words, asked, others in ASKED:
        cells = [
            f"{mean(log[0], part, key):.3f}" if (log := logs(name, row)) else "not run"
            for row in ("quick", "long-self-training", "self-training")
        ]
        lines.append(f"| {name}, {part}: {words} | {asked} | {' | '.join(cells)} | {others} |")
    return "\n".join(lines)


def likeness_cells(figures: dict[str, float], keys, prefix: str) -> str:
    cells = []
    for key in keys:
        value, error = figures.get(prefix + key), figures.get(f"{prefix}{key}_error")
        cell = "" if value is None else f"{value:.3g}"
        cells.append(cell if error is None or value is None else f"{cell} ± {error:.2g}")
    return " | ".join(cells)


def likenesses() -> str:
    """Return how real simulations, renderings and translations look."""
    keys = {
        "separability": "told apart",
        "nearest_neighbour": "nearest neighbour",
        "entropy_difference": "entropy difference, bit",
        "kernel_distance": "kernel distance",
        "frechet_distance": "Frechet distance",
    }
    lines = [f"| set | pictures | {' | '.join(keys.values())} |", "|---" * (2 + len(keys)) + "|"]
    for name in SETS:
        path = LOGS / f"{name}_likeness_seed0.json"
        found = json.loads(path.read_text()) if path.exists() else {}
        for made, figures in found.items():
            lines.append(f"| {name} | {made} | {likeness_cells(figures, keys, '')} |")
        if any("real_separability" in figures for figures in found.values()):
            halves = likeness_cells(next(iter(found.values())), keys, "real_")
            lines.append(f"| {name} | real, half against half | {halves} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--rows", nargs="*", default=list(ROWS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--likeness", nargs="*", choices=LIKENESSES, default=[])
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args()
    LOGS.mkdir(exist_ok=True)
    for name in chosen.sets:
        bench = Bench(name, chosen.seed)
        for row in chosen.rows:
            log = bench.row(row)
            (LOGS / f"{name}_{row}_seed{chosen.seed}.json").write_text(json.dumps(log, indent=1))
            figures = {
                p: {
                    s: round(mean(log, p, s), 3) for s in next(iter(log["scores"]["seen"].values()))
                }
                for p in log["scores"]
                if log["scores"][p]
            }
            print(name, row, figures, log["seconds"], flush=True)
        path = LOGS / f"{name}_likeness_seed{chosen.seed}.json"
        for made in chosen.likeness:
            found = json.loads(path.read_text()) if path.exists() else {}
            found[made] = bench.likeness(made)
            path.write_text(json.dumps(found, indent=1))
            print(made, found[made], flush=True)
    print(ablation())
    if chosen.write:
        write("labour-free", "Labour-free segmentation", summary())
        write("labour-free-ablation", "What each step buys", ablation())
        write("fidelity", "Fidelity", likenesses())


if __name__ == "__main__":
    main()
