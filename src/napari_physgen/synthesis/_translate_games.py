"""What the networks of an unpaired translation play for: CycleGAN, CUT and FastCUT.

All networks of a method are one module, whose `forward` returns the terms of the loss by name;
each term reaches the weights that it is meant for and no others, so that one backward pass of the
sum serves all. Beyond the published methods:

- The translating network may see the mask and noise beside the image. Where no mask is known (real
  images) its channels are 0; in a third of the steps also for simulated ones, so that the network
  can do without.
- The noise of an image cannot be known from its translation, so where there is noise, images that
  come back are compared after smoothing (over 5 x 5 px).
- A translator that corrects the image satisfies cycle, identity and correspondence perfectly as
  long as it changes nothing, and stays there. So their weights grow from 0 over the warm-up; that
  of the mask, which a change of appearance does not hurt, three times as fast.
- A segmenter learns to read the mask off simulated and translated images; the translating network
  has to keep it readable. So that the two cannot agree on a moved mask unseen, an auditor that only
  ever sees simulated images (with changed contrast and noise) is trained beside them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from napari_physgen.backend import generator
from napari_physgen.networks.translation import Generator, PatchDiscriminator, PatchProjection
from napari_physgen.networks.unet import UNet
from napari_physgen.synthesis._translate_images import CHANNELS, noise, one_hot
from napari_physgen.synthesis._translate_losses import (
    Pool,
    frozen,
    least_squares,
    patch_contrast,
    smoothed,
)
from napari_physgen.synthesis.translation_settings import TranslationSettings

LAYERS = {"16": 1, "34": 2, "70": 3}

_SEGMENTER = (8, 16, 32)
_UNMASKED = 1 / 3
_PLACES = 256
_LEARNING_RATE = 1e-3
"""Of the segmenter and the auditor, which are small and have an easy task."""


class Game(nn.Module):
    """The networks that every method has.

    Parameters
    ----------
    settings : TranslationSettings
    classes : int
        Classes of the masks; 0 if there are none.
    attempt : int
        Another one, other random numbers.
    """

    def __init__(self, settings: TranslationSettings, classes: int, attempt: int = 0) -> None:
        super().__init__()
        self.settings = settings
        self.classes = classes
        self.attempt = attempt
        self._draw = self.random("play")
        self._pool = Pool(settings.pool, self.random("pool"))
        self.shown = classes if settings.use_masks else 0
        self.noisy = CHANNELS if settings.noise > 0 else 0
        self.translator = self._generator("translator", 1 + self.shown + self.noisy)
        self.judge = self._discriminator("judge")
        self.segmenter = self._unet("segmenter") if classes else None
        self.auditor = self._unet("auditor") if classes else None

    def groups(self) -> list[dict[str, object]]:
        """Return the parameter groups of the optimizer."""
        readers = [part for part in (self.segmenter, self.auditor) if part is not None]
        ours = {id(p) for part in readers for p in part.parameters()}
        players = [p for p in self.parameters() if id(p) not in ours]
        groups: list[dict[str, object]] = [
            {"params": players, "lr": self.settings.learning_rate, "betas": (0.5, 0.999)}
        ]
        if readers:
            theirs = [p for part in readers for p in part.parameters()]
            groups.append({"params": theirs, "lr": _LEARNING_RATE})
        return groups

    def inputs(self, image: Tensor, labels: Tensor | None, random: Tensor | None) -> Tensor:
        """Return what the translator sees of images (batch, 1, y, x).

        Parameters
        ----------
        image : torch.Tensor
        labels : torch.Tensor or None
            (batch, y, x), -1 where unknown; None: unknown everywhere.
        random : torch.Tensor or None
            (batch, 2, y, x); None: none.
        """
        parts = [image]
        batch, _, y, x = image.shape
        if self.shown:
            known = one_hot(labels, self.shown) if labels is not None else None
            parts.append(image.new_zeros(batch, self.shown, y, x) if known is None else known)
        if self.noisy:
            empty = image.new_zeros(batch, self.noisy, y, x) if random is None else random
            parts.append(empty)
        stacked = torch.cat(parts, 1)
        return stacked.contiguous(memory_format=torch.channels_last)

    def noise(self, image: Tensor) -> Tensor | None:
        """Return noise for a batch of images."""
        if not self.noisy:
            return None
        size = (len(image), *image.shape[-2:])
        return self.settings.noise * noise(size, self._draw).to(image.device)

    def random(self, *use: str) -> torch.Generator:
        """Return a random generator on the CPU for one use of the seed in this attempt."""
        return generator(self.settings.seed, "cpu", *use, self.attempt)

    def _seen(self, labels: Tensor | None) -> Tensor | None:
        """Return the labels as the translator is shown them: some are not."""
        if labels is None:
            return None
        hidden = torch.rand(len(labels), generator=self._draw) < _UNMASKED
        return labels.masked_fill(hidden.to(labels.device)[:, None, None], -1)

    def _won(self, judge: nn.Module, fake: Tensor) -> Tensor:
        """Return how far the translations are from passing as real."""
        with frozen(judge):
            return least_squares(judge(fake), 1)

    def _judged(self, judge: nn.Module, real: Tensor, fake: Tensor, pool: Pool) -> Tensor:
        """Return how far the judge is from telling real images from translations."""
        scores = judge(torch.cat([real, pool.exchange(fake)]))
        yes, no = scores.chunk(2)
        return 0.5 * (least_squares(yes, 1) + least_squares(no, 0))

    def _read(
        self, image: Tensor, fake: Tensor, labels: Tensor | None, ramp: float
    ) -> dict[str, Tensor]:
        """Return the losses of the segmenter and the auditor, and what keeps the mask readable."""
        if self.segmenter is None or self.auditor is None or labels is None:
            return {}
        both = self.segmenter(torch.cat([image, fake.detach()]))
        terms = {
            "segmenter": F.cross_entropy(both.float(), torch.cat([labels, labels])),
            "auditor": F.cross_entropy(self.auditor(self._changed(image)).float(), labels),
        }
        if self.settings.consistency > 0:
            with frozen(self.segmenter):
                read = F.cross_entropy(self.segmenter(fake).float(), labels)
            terms["mask"] = self.settings.consistency * min(1.0, 3 * ramp) * read
        return terms

    def _changed(self, image: Tensor) -> Tensor:
        """Return images with random gamma, contrast and noise."""
        gamma, contrast, grain = torch.rand(3, len(image), 1, 1, 1, generator=self._draw)
        fine = torch.randn(image.shape, generator=self._draw)
        gamma, contrast, fine = (
            part.to(image.device) for part in (2 ** (2 * gamma - 1), 0.3 + 0.7 * contrast, fine)
        )
        bright = (image.clamp(-1, 1) / 2 + 0.5) ** gamma * 2 - 1
        changed: Tensor = contrast * bright + 0.3 * grain.to(image.device) * fine
        return changed

    def _generator(self, name: str, channels: int) -> Generator:
        s = self.settings
        return Generator(
            channels,
            s.features,
            s.blocks,
            norm=s.norm,
            skip=s.skip,
            generator=self.random("weights", name),
        )

    def _discriminator(self, name: str) -> PatchDiscriminator:
        s = self.settings
        draw = self.random("weights", name)
        return PatchDiscriminator(s.judge_features, LAYERS[s.patch], generator=draw)

    def _unet(self, name: str) -> UNet:
        return UNet(1, self.classes, _SEGMENTER, generator=self.random("weights", name))


class CycleGame(Game):
    """CycleGAN: forth and back again, in both domains."""

    def __init__(self, settings: TranslationSettings, classes: int, attempt: int = 0) -> None:
        super().__init__(settings, classes, attempt)
        self.back = self._generator("back", 1)
        self.back_judge = self._discriminator("back judge")
        self._back_pool = Pool(settings.pool, self.random("back pool"))

    def forward(
        self, image: Tensor, labels: Tensor | None, real: Tensor, ramp: float = 1.0
    ) -> dict[str, Tensor]:
        """Return the terms of the loss for a batch of simulated and of real squares.

        Parameters
        ----------
        image, real : torch.Tensor
            (batch, 1, y, x) in [-1, 1].
        labels : torch.Tensor or None
            (batch, y, x) int64, classes of `image`.
        ramp : float
            Share of the weights of what holds the translation back, see the module's text.
        """
        s = self.settings
        fake, same = self._forth(image, labels, real)
        unreal, still = self._both(self.back, real, image)
        again = self.back(fake)
        real_again = self.translator(self.inputs(unreal, None, self.noise(real)))
        terms = {
            "generator": self._won(self.judge, fake) + self._won(self.back_judge, unreal),
            "cycle": ramp * s.cycle * (self._apart(again, image) + self._apart(real_again, real)),
            "discriminator": self._judged(self.judge, real, fake, self._pool)
            + self._judged(self.back_judge, image, unreal, self._back_pool),
        }
        if same is not None and still is not None:
            terms["identity"] = (
                ramp * s.identity * (_distance(same, real) + _distance(still, image))
            )
        return terms | self._read(image, fake, labels, ramp)

    def _apart(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the distance of two images, without their noise where that is drawn at random."""
        return _distance(smoothed(one), smoothed(other)) if self.noisy else _distance(one, other)

    def _forth(
        self, image: Tensor, labels: Tensor | None, real: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        seen = self.inputs(image, self._seen(labels), self.noise(image))
        if self.settings.identity == 0:
            return self.translator(seen), None
        both = self.translator(torch.cat([seen, self.inputs(real, None, None)]))
        fake, same = both.chunk(2)
        return fake, same

    def _both(
        self, network: nn.Module, first: Tensor, second: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        if self.settings.identity == 0:
            return network(first), None
        one, two = network(torch.cat([first, second])).chunk(2)
        return one, two


class ContrastiveGame(Game):
    """CUT and FastCUT: one direction; each patch must be recognisable among others."""

    def __init__(self, settings: TranslationSettings, classes: int, attempt: int = 0) -> None:
        super().__init__(settings, classes, attempt)
        n = settings.features
        depths = [1 + self.shown + self.noisy, 2 * n, 4 * n, 4 * n, 4 * n]
        depths = depths[: 4 if settings.blocks == 1 else 5]
        self.projection = PatchProjection(depths, generator=self.random("weights", "projection"))

    def forward(
        self, image: Tensor, labels: Tensor | None, real: Tensor, ramp: float = 1.0
    ) -> dict[str, Tensor]:
        """Return the terms of the loss; see `CycleGame.forward`."""
        s = self.settings
        seen = self.inputs(image, self._seen(labels), self.noise(image))
        if s.method == "fastcut":
            mirrored = bool(torch.rand((), generator=self._draw) < 0.5)
            drawn = self.translator(seen.flip(-1) if mirrored else seen)
            kept = self._kept(image, drawn, mirrored)
            fake = drawn.flip(-1) if mirrored else drawn
        else:
            both = self.translator(torch.cat([seen, self.inputs(real, None, None)]))
            fake, same = both.chunk(2)
            kept = 0.5 * (self._kept(image, fake) + self._kept(real, same))
        terms = {
            "generator": self._won(self.judge, fake),
            "correspondence": ramp * s.contrast * kept,
            "discriminator": self._judged(self.judge, real, fake, self._pool),
        }
        return terms | self._read(image, fake, labels, ramp)

    def _kept(self, image: Tensor, fake: Tensor, mirrored: bool = False) -> Tensor:
        """Return the contrast of patches of the (mirrored) translation with those of its origin."""
        with torch.no_grad():
            origin = self.translator.features(self.inputs(image, None, None))
        found = self.translator.features(self.inputs(fake, None, None))
        if mirrored:
            found = [depth.flip(-1) for depth in found]
        places = [
            torch.randperm(depth[0, 0].numel(), generator=self._draw)[:_PLACES].to(depth.device)
            for depth in origin
        ]
        queries = self.projection(found, places)
        with torch.no_grad():
            keys = self.projection(origin, places)
        terms = [patch_contrast(query, key) for query, key in zip(queries, keys, strict=True)]
        return torch.stack(terms).mean()


def new_game(settings: TranslationSettings, classes: int, attempt: int = 0) -> Game:
    """Return the networks of the chosen method with first weights."""
    kind = CycleGame if settings.method == "cyclegan" else ContrastiveGame
    return kind(settings, classes, attempt)


def _distance(one: Tensor, other: Tensor) -> Tensor:
    return (one.float() - other.float()).abs().mean()
