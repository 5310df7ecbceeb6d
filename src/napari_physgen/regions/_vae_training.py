"""Training of the physics VAE on one scan: the loss, the live figures and the guard."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from math import log
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from napari_physgen.backend import Command, Progress, Stop, Tune, generator
from napari_physgen.backend.fit import FitResult, HeldOut, fit
from napari_physgen.networks.dense_vae import Code, DenseVAE, spread_out
from napari_physgen.outputs import Output
from napari_physgen.physics.perimeter import PERIMETERS, wall_length
from napari_physgen.regions._vae_judge import smallest_shares
from napari_physgen.regions._vae_misfit import estimate_noise, misfit
from napari_physgen.regions._vae_trend import independence

if TYPE_CHECKING:
    from napari_physgen.regions._vae_judge import Judge
    from napari_physgen.regions._vae_scan import Scan
    from napari_physgen.regions.features import Features
    from napari_physgen.regions.settings import RegionSettings

_WHOLE = 160
"""Largest side, nodes, of a scan that is trained on as a whole; others in neighbouring crops."""

_CROP = 128
_VANISHING = 20.0
"""Price of a region that has vanished, nats per node: more than any evidence lost."""

_RATE, _DECODER_RATE = 4e-3, 1e-2
_EVERY, _PATIENCE, _ENOUGH = 10, 6, 1e-4
"""Steps between two looks; looks after the learning without an improvement of _ENOUGH nats per
node before it ends."""

_WARM, _COLD = 0.05, 0.01
"""Weight of KL(q || 1 / K) at the start and at the end. At 1 the regions of weak data melt: mean
field counts the ln K nats of every node, but not that neighbours go together."""

_LEARNING = 3
"""In this part of the steps the encoder learns to tell the regions: walls cost less than they
will, for its quickest way to shorten ragged ones is to drop a region, and nothing changes slowly
unless there is a trend at the start, for large regions with ragged walls look like that."""

_AFTER_TUNE = 80
"""Fewest steps after the wall cost was changed."""

_JUMP = 2.2
"""Distance of two regions in the latent space, in units of the change that counts as a wall."""


class Training:
    """The loss, the live figures and the judge of one scan."""

    def __init__(
        self,
        features: Features,
        scan: Scan,
        model: DenseVAE,
        settings: RegionSettings,
        wall_cost: float,
        judge: Judge,
        drifts: bool,
    ) -> None:
        self.scan = scan
        self.model = model
        self.wall_cost = wall_cost
        self.history: dict[str, list[tuple[int, float]]] = {}
        self._features = features
        self._settings = settings
        self._draw = generator(settings.seed, "cpu", "dense vae", "draws")
        self._noise = generator(settings.seed, scan.valid.device, "dense vae", "noise")
        self._nodes = int(scan.valid.sum())
        self._judge = judge
        self._share = independence(features)
        self._held = 0 if drifts else settings.steps // _LEARNING
        self._floor = smallest_shares(scan.start.argmax(0), scan).float()
        self._terms: dict[str, Tensor] = {}

    def run(self) -> Generator[Progress, Command | None, bool]:
        """Fit the weights; a new wall cost starts from the weights that were best before."""
        done, total, command = 0, self._settings.steps, None
        while True:
            job = self._fit(total - done)
            tuned: Tune | None = None
            try:
                progress = next(job)
                while True:
                    command = yield self._counted(progress, done, total)
                    if isinstance(command, Tune):
                        tuned = command if self._differs(command.changes) else None
                        command = Stop() if tuned else None
                    progress = job.send(command)
            except StopIteration as end:
                result: FitResult = end.value
            self._note(result, done)
            done += result.steps
            if tuned is None:
                return result.stopped
            self.wall_cost = float(tuned.changes["wall_cost"])
            total = max(total, done + _AFTER_TUNE)

    def loss(self, model: nn.Module, step: int) -> Tensor:
        """Return the loss per node of the scan, or of a crop of it."""
        if step % _EVERY == 0:
            self.estimate_noise()
        scan = self._crop()
        code: Code = model(scan.inputs, scan.start, scan.valid)
        noise = torch.randn(code.mu.shape, generator=self._noise, device=code.mu.device)
        u = code.mu + noise * (0.5 * code.logvar).exp()
        if step < self._held:
            u = torch.zeros_like(u)
        q, nodes = code.q, scan.valid.sum().clamp_min(1)
        nll = (q * misfit(self.model.decoder, scan, u)).sum(0)
        known = (q * q.clamp_min(1e-12).log()).sum(0) + log(len(q))
        length = self.length(q, u, scan)
        share = (q * scan.valid).sum((1, 2)) / nodes
        lost = ((self._floor - share).clamp_min(0) / self._floor.clamp_min(1e-6)).square().sum()
        data = self._features.evidence * (nll * scan.valid).sum()
        self._terms = {"misfit": data.detach() / nodes, "length": length.detach()}
        prior = self._temperature(step) * (known * scan.valid).sum() + code.kl() / self._share
        total: Tensor = (
            data + prior + self._ramp(step) * self.wall_cost * length
        ) / nodes + _VANISHING * lost
        return total

    def length(self, q: Tensor, u: Tensor, scan: Scan) -> Tensor:
        """Return the length of the walls in grid steps."""
        perimeter = self._settings.perimeter
        mu = self.places(q, u, scan) if PERIMETERS[perimeter].latent else q
        return wall_length(perimeter, q, mu, self._features.spacing, scan.valid)

    def places(self, q: Tensor, u: Tensor, scan: Scan) -> Tensor:
        """Return latent maps in units of the change between regions that counts as a wall."""
        decoder = self.model.decoder
        # Held: regions whose centres moved together would have no walls.
        centres = decoder.centres.detach()
        apart = torch.pdist(centres).min() if len(centres) > 1 else centres.new_ones(())
        slow = decoder.log_scale.exp().detach()[..., None, None] * spread_out(
            u, scan.slow, scan.shape
        )
        maps = (q[:, None] * (centres[..., None, None] + slow)).sum(0)
        return maps * (_JUMP / apart.clamp_min(0.2))

    def estimate_noise(self) -> None:
        """Bring the noise of Gaussian descriptors in line with the map as it is now."""
        if self.scan.family == "gaussian":
            with torch.no_grad():
                code = self.encode()
                decoder, evidence = self.model.decoder, self._features.evidence
                estimate_noise(decoder, self.scan, code.q, code.mu, evidence)

    def _fit(self, steps: int) -> Generator[Progress, Command | None, FitResult]:
        optimizer = torch.optim.Adam(
            [
                {"params": self.model.encoder.parameters(), "lr": _RATE},
                {"params": self.model.decoder.parameters(), "lr": _DECODER_RATE},
            ]
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min(1.0, (step + 1) / 10) * max(0.05, 1 - step / steps)
        )
        patience = self._settings.steps // _LEARNING // _EVERY + _PATIENCE
        return fit(
            self.model,
            self.loss,
            optimizer=optimizer,
            schedule=schedule,
            steps=steps,
            device=self.scan.valid.device,
            message="physics VAE",
            held_out=HeldOut(self._score, _EVERY, patience, _ENOUGH),
            clip=1.0,
            metrics=lambda: {name: float(value) for name, value in self._terms.items()},
            preview=self.preview,
        )

    def _score(self, model: nn.Module) -> float:
        del model
        code = self.encode()
        verdict = self._judge(self.model.decoder, code.logits.argmax(0), code, self.wall_cost)
        return -verdict.gain / max(self._nodes, 1)

    def encode(self) -> Code:
        """Return what the encoder says about the whole scan."""
        code: Code = self.model(self.scan.inputs, self.scan.start, self.scan.valid)
        return code

    def _ramp(self, step: int) -> float:
        """Return which part of the wall cost is due."""
        return min(1.0, (step + 1) / max(self._settings.steps // _LEARNING, 1))

    def _temperature(self, step: int) -> float:
        """Return the weight of the entropy, which falls geometrically."""
        return float(_WARM * (_COLD / _WARM) ** min(step / max(self._settings.steps, 1), 1.0))

    def _crop(self) -> Scan:
        """Return the scan, or a random part of it that begins on a coarse node."""
        if max(self.scan.shape) <= _WHOLE:
            return self.scan
        cuts = []
        for size in self.scan.shape:
            last = max(size - _CROP, 0) // self.scan.slow
            first = int(torch.randint(last + 1, (), generator=self._draw)) * self.scan.slow
            cuts.append(slice(first, first + _CROP))
        return self.scan.part(*cuts)

    def preview(self) -> list[Output]:
        """Return the map as it is now."""
        with torch.no_grad():
            labels = (self.encode().logits.argmax(0) + 1) * self.scan.valid
        step = self._features.step
        return [
            Output(
                "regions",
                labels.to(torch.uint8).cpu().numpy(),
                kind="labels",
                zoom=1 / step[1],
                offset=self._features.start,
                export=False,
            )
        ]

    def _differs(self, changes: Mapping[str, Any]) -> bool:
        cost = changes.get("wall_cost")
        return cost is not None and float(cost) != self.wall_cost

    def _counted(self, progress: Progress, done: int, total: int) -> Progress:
        return Progress(
            min(done + progress.step, total),
            total,
            progress.message,
            progress.metrics,
            progress.preview,
        )

    def _note(self, result: FitResult, done: int) -> None:
        for name, points in result.history.items():
            later = [(done + step, value) for step, value in points]
            self.history.setdefault(name, []).extend(later)
