"""How real do synthetic micrographs look: entropy, a classifier, spectra, a kernel distance, a map.

The validation of Zahran et al. (arXiv:2602.01710, 2026: entropies and t-SNE of real and synthetic
images), with figures where a picture is not enough. The images of every set are cut into patches
(`_fidelity_patches`), measured (`_fidelity_features`) and compared (`_fidelity_distances`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from napari_physgen.backend import Command, Progress, Stop
from napari_physgen.errors import UserError
from napari_physgen.synthesis._fidelity_compare import Group, compared, halves
from napari_physgen.synthesis._fidelity_features import Measured, measure
from napari_physgen.synthesis._fidelity_patches import FEW, FEWEST, Patches, cut_all
from napari_physgen.synthesis.fidelity_results import (
    HALVES,
    REAL,
    SIMULATED,
    SYNTHETIC,
    Comparison,
    Fidelity,
)
from napari_physgen.synthesis.fidelity_settings import FidelitySettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_physgen.backend import Job
    from napari_physgen.networks.unet import UNet
    from napari_physgen.synthesis._fidelity_patches import Images

    Real = NDArray[np.float64]
    Encoder = Callable[[NDArray[np.float32]], NDArray[np.floating]]

_EXAMPLES = 8
_REPORT_EVERY = 8
_PRINCIPAL = 30
_BATCH = 16
_TOO_EARLY = "Stopped before the sets could be compared."


def fidelity(
    real: Images,
    synthetic: Images,
    simulated: Images | None = None,
    settings: FidelitySettings | None = None,
    *,
    encoder: Encoder | None = None,
) -> Job[Fidelity]:
    """Compare synthetic (and simulated) images with real ones.

    Parameters
    ----------
    real, synthetic : sequence of numpy.ndarray
        Images (y, x) of any size and range; each is scaled to its own percentiles 0.5 and 99.5.
    simulated : sequence of numpy.ndarray, optional
        What the synthetic images were made from, for comparison.
    settings : FidelitySettings, optional
    encoder : callable, optional
        Turns patches (n, y, x) float32, 0 to 1, into features (n, d), e.g. `encoder_of` a trained
        U-Net: the distances and the map then use these, and the classifier uses them too.

    Returns
    -------
    generator
        A job. `Stop` keeps the patches measured so far.

    Raises
    ------
    UserError
        If a set is empty or gives fewer than 8 patches, if an image is flat, holds NaN, is no
        (y, x) image or is smaller than a patch, or at `Stop` before 8 patches of each set.
    """
    settings = settings or FidelitySettings()
    sets = {REAL: real, SYNTHETIC: synthetic}
    if simulated is not None:
        sets[SIMULATED] = simulated
    if isinstance((yield Progress(0, 1, "cutting the images into patches")), Stop):
        raise UserError(_TOO_EARLY)
    patches = cut_all(sets, settings)
    measured = yield from _measured(patches)
    count = len(measured[REAL])
    patches = {name: part.first(count) for name, part in patches.items()}
    ready = _scaled(patches, measured, encoder)
    others = [name for name in ready if name != REAL]
    comparisons = []
    for step, name in enumerate(others):
        yield Progress(step, len(others) + 1, "telling the sets apart")
        comparisons.append(compared(name, ready[REAL], ready[name], settings.seed))
    floor = halves(ready[REAL], settings.seed)
    comparisons += [floor] if floor else []
    yield Progress(len(others), len(others) + 1, "mapping the patches")
    notes = _notes(ready, comparisons)
    return Fidelity(
        comparisons=tuple(comparisons),
        entropy={name: part.entropies for name, part in ready.items()},
        spectra={name: part.spectrum for name, part in ready.items()},
        correlations={name: part.profile for name, part in ready.items()},
        embedding=_embedding(np.concatenate([part.learned for part in ready.values()]), settings),
        groups=np.repeat(list(ready), count),
        examples={
            name: np.clip(part.patches.pixels[:_EXAMPLES], 0, 1) for name, part in ready.items()
        },
        notes=notes,
        summary=_summary(ready, comparisons, notes, settings),
        settings=settings,
    )


def encoder_of(net: UNet) -> Encoder:
    """Return an encoder for `fidelity`: what a trained U-Net sees in patches.

    Mean and standard deviation over the patch of each of its coarsest features.

    Parameters
    ----------
    net : UNet
        Of two dimensions, in evaluation mode, on any device; for images from 0 to 1, as a
        segmentation model has it.
    """
    import torch

    device = next(net.parameters()).device

    def encode(patches: NDArray[np.float32]) -> Real:
        found = []
        with torch.inference_mode():
            for start in range(0, len(patches), _BATCH):
                images = torch.from_numpy(patches[start : start + _BATCH, None]).to(device)
                features = net.encode(images)
                found.append(torch.cat([features.mean((2, 3)), features.std((2, 3))], 1).cpu())
        return np.asarray(torch.cat(found).numpy(), np.float64)

    return encode


def _measured(
    patches: Mapping[str, Patches],
) -> Generator[Progress, Command | None, dict[str, list[Measured]]]:
    """Measure all patches, the sets in turns, so that `Stop` leaves equal numbers."""
    total = len(patches[REAL].pixels)
    found: dict[str, list[Measured]] = {name: [] for name in patches}
    for index in range(total):
        if index % _REPORT_EVERY == 0:
            command = yield Progress(index, total, "measuring the patches")
            if isinstance(command, Stop):
                if index < FEWEST:
                    raise UserError(_TOO_EARLY)
                break
        for name, part in patches.items():
            found[name].append(measure(part.pixels[index], part.step[index]))
    return found


def _scaled(
    patches: Mapping[str, Patches],
    measured: Mapping[str, list[Measured]],
    encoder: Encoder | None,
) -> dict[str, Group]:
    """Return every set with its features in standard deviations of the real one."""
    raw = {
        name: np.array([list(item.features.values()) for item in items])
        for name, items in measured.items()
    }
    features = _standard(raw)
    learned = features
    if encoder is not None:
        learned = _standard({name: _encoded(encoder, part) for name, part in patches.items()})
        features = {name: np.hstack([features[name], learned[name]]) for name in features}
    return {
        name: Group(part, measured[name], features[name], learned[name])
        for name, part in patches.items()
    }


def _standard(features: Mapping[str, Real]) -> dict[str, Real]:
    """Scale by mean and spread of the real set; asinh keeps sets that are far off finite."""
    mean, spread = features[REAL].mean(0), features[REAL].std(0)
    spread = np.where(spread > 1e-6, spread, 1.0)
    return {name: np.arcsinh((part - mean) / spread) for name, part in features.items()}


def _encoded(encoder: Encoder, patches: Patches) -> Real:
    features = np.asarray(encoder(patches.pixels), np.float64)
    if features.ndim != 2 or len(features) != len(patches.pixels):
        raise ValueError(f"the encoder must return (patch, feature), not {features.shape}")
    return features


def _embedding(features: Real, settings: FidelitySettings) -> Real:
    """Return t-SNE (van der Maaten and Hinton 2008) of the principal components."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    count = min(_PRINCIPAL, *features.shape)
    reduced = PCA(count, svd_solver="full").fit_transform(features)
    perplexity = min(settings.perplexity, (len(features) - 1) / 3)
    # The first components instead of random places: neighbouring sets stay neighbours.
    mapping = TSNE(2, perplexity=perplexity, init="pca", random_state=settings.seed)
    return np.asarray(mapping.fit_transform(reduced), np.float64)


def _notes(groups: Mapping[str, Group], comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """Return what to know when reading the figures."""
    notes = []
    for name, group in groups.items():
        if group.patches.strips:
            notes.append(
                f"There are fewer than {FEW} {name} images: strips of them count as images, so "
                "that sets are told apart more easily than with new images."
            )
    for part in comparisons:
        share, error = part.separability
        if part.name != HALVES and share < 0.5 - 3 * error:
            notes.append(
                f"The {part.name} images are told apart in fewer than half of the cases: they "
                "are probably the real images themselves, or altered copies of them."
            )
    return tuple(notes)


def _summary(
    groups: Mapping[str, Group],
    comparisons: Sequence[Comparison],
    notes: Sequence[str],
    settings: FidelitySettings,
) -> str:
    by_name = {part.name: part for part in comparisons}
    synthetic = by_name[SYNTHETIC]
    besides = [
        f"{words} {100 * by_name[name].separability.value:.0f} %"
        for name, words in ((SIMULATED, "simulated"), (HALVES, "real against real"))
        if name in by_name
    ]
    told, kernel = synthetic.separability, synthetic.kernel_distance
    differs = "; ".join(f"{name} ({size:+.1f} SD)" for name, size in synthetic.differences[:3])
    images = ", ".join(f"{group.patches.images} {name}" for name, group in groups.items())
    count = len(groups[REAL].measured)
    sentences = [
        f"A classifier tells real from synthetic in {100 * told.value:.0f} ± "
        f"{100 * told.error:.0f} % of the patches ({'; '.join(['50 % is perfect', *besides])}).",
        f"Entropy {groups[REAL].entropies.mean():.2f} bit real, {synthetic.entropy:.2f} bit "
        f"synthetic: {synthetic.entropy_difference.value:.2f} bit apart.",
        f"Kernel distance {kernel.value:.2g} ± {kernel.error:.1g}.",
        f"Differs most: {differs}.",
        f"Images: {images}; {count} patches of {settings.patch} px of each.",
    ]
    return " ".join([*sentences, *notes])
