"""Train a VAE of pyroVED on windows; run by a Python that has pyroVED.

PYTHON benchmarks/_region_pyroved.py WINDOWS.npy OUT.npz --model MODEL [--seed 0]

`shvae-wide` is shVAE with a shift prior of half a window (default 0.1). `phyvae` is shVAE with the
loss that was released with phyVAE (doi 10.1088/2632-2153/acf6a9): the ELBO times (0.5 + edge length
of the maps of the third and fourth latent variable), computed without gradient on batches that have
the size of a square; its undefined w2 is taken as 0.
"""

import argparse
import sys
import time
import types

import numpy as np
import torch

# pyroVED takes only make_grid from torchvision, and only for pictures.
_vision, _utils = types.ModuleType("torchvision"), types.ModuleType("torchvision.utils")
_utils.make_grid = None
_vision.utils = _utils
sys.modules.update({"torchvision": _vision, "torchvision.utils": _utils})

import pyro  # noqa: E402
import pyroved  # noqa: E402

INVARIANCES = {
    "vae": None,
    "rvae": ["r"],
    "shvae": ["t"],
    "shvae-wide": ["t"],
    "phyvae": ["t"],
}
PRIORS = {"shvae-wide": {"dx_prior": 0.5, "dy_prior": 0.5}}


def edge_length(latent):
    """Return the released edge term of a batch (n, latent): bilateral filter, Scharr, sum."""
    from skimage.filters import scharr
    from skimage.restoration import denoise_bilateral

    side = int(len(latent) ** 0.5)
    if side * side != len(latent):
        return 0.0
    total = 0.0
    for variable in (2, 3):
        image = latent[:, variable].reshape(side, side)
        image = (image - image.min()) / (np.ptp(image) + 1e-12)
        total += scharr(denoise_bilateral(image, sigma_spatial=5)).sum()
    return total / 2


class EdgeElbo(pyro.infer.Trace_ELBO):
    """ELBO times (0.5 + edge length of the latent maps of the batch)."""

    def __init__(self, model):
        super().__init__()
        self.net = model

    def loss_and_grads(self, model, guide, x, **kwargs):
        with torch.no_grad():
            factor = 0.5 + edge_length(self.net.encoder_z(x)[0].numpy())
        with pyro.poutine.scale(scale=factor):
            return super().loss_and_grads(model, guide, x, **kwargs)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("windows")
    parser.add_argument("out")
    parser.add_argument("--model", choices=INVARIANCES, required=True)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    data = torch.from_numpy(np.load(chosen.windows))
    began = time.process_time()
    model = pyroved.models.iVAE(
        tuple(data.shape[1:]),
        latent_dim=2,
        invariances=INVARIANCES[chosen.model],
        seed=chosen.seed,
        device="cpu",
        **PRIORS.get(chosen.model, {}),
    )
    loss = EdgeElbo(model) if chosen.model == "phyvae" else None
    trainer = pyroved.trainers.SVItrainer(model, loss=loss, seed=chosen.seed, device="cpu")
    batch = 1024 if chosen.model == "phyvae" else 100
    loader = pyroved.utils.init_dataloader(data, batch_size=batch)
    for _ in range(chosen.epochs):
        trainer.step(loader)
    latent, _ = model.encode(data)
    seconds = time.process_time() - began
    np.savez(chosen.out, latent=latent[:, -2:].numpy(), seconds=seconds)


if __name__ == "__main__":
    main()
