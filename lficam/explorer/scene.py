"""What a state names, found once: the networks that are shown and the picture that they see."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lficam.data.photograph import Photograph
from lficam.errors import InputError
from lficam.explorer.answers import Box, Network, box_of
from lficam.explorer.gallery import network_of
from lficam.explorer.state import State
from lficam.figures.page import Look
from lficam.model.methods import METHODS


@dataclass(frozen=True, eq=False)
class Scene:
    """A state with the objects behind its ids, which fit together.

    networks: of the state's runs, in order. explained: whose Grad-CAM is shown as well; None if no one's is.
    pixels: what all of them see, (3, s, s) in [0, 1]. whole: the picture uncropped. true_class: None where nobody knows it.
    """

    state: State
    networks: tuple[Network, ...]
    explained: Network | None
    pixels: Tensor
    whole: Photograph
    true_class: str | None

    @property
    def first(self) -> Network:
        """The network that stands for all in what they have in common: the data set, its classes, the size of the picture."""
        return self.networks[0]

    @property
    def side(self) -> int:
        """Of the picture, in pixels."""
        return self.pixels.shape[-1]

    @property
    def box(self) -> Box | None:
        """The pixels that the square hides."""
        return box_of(self.state.square, self.side)

    def shown(self, box: Box | None = None) -> Photograph:
        """The picture uncropped, inside a box of what is seen of it the data set's mean colour, as in `Network.hidden`."""
        if box is None:
            return self.whole
        pixels = self.whole.pixels.clone()
        down, right, height, width = self.whole.crop
        h, w = pixels.shape[1:]
        top, left, bottom, right = (
            round((start + edge / self.side * extent) * count)
            for edge, start, extent, count in zip(box, (down, right) * 2, (height, width) * 2, (h, w) * 2, strict=True)
        )
        pixels[:, top:bottom, left:right] = torch.tensor(self.first.run.mean, dtype=pixels.dtype).view(3, 1, 1)
        return self.whole._replace(pixels=pixels)

    @property
    def look(self) -> Look:
        """How maps are drawn."""
        return Look(self.state.threshold, self.state.opacity, self.state.color_map, self.state.contour)


def scene_of(state: State) -> Scene:
    """Find what a state names. Raises InputError for what there is not, and for what does not fit together."""
    networks = tuple(map(network_of, state.runs))
    explained = network_of(state.grad_cam) if state.shows_grad_cam else None
    every = networks if explained is None else (*networks, explained)
    if len({(network.run.config.dataset, network.run.config.image_size, network.run.classes) for network in every}) > 1:
        raise InputError("the chosen runs were trained on different data: choose runs of one data set")
    if state.view == "settings" and len({network.method.name for network in networks}) > 1:
        raise InputError("settings are compared within one method: choose runs of one method")
    if state.view == "fin" and networks[0].channels is None:
        method, other = networks[0].method.title, METHODS["lfi-cam"].title
        raise InputError(f"{method} has no Feature Importance Network to look into: choose a run of {other}")
    if explained is not None and explained.method.splits_trunk:
        raise InputError("Grad-CAM is made of an LFI-CAM: choose a run of LFI-CAM or LFI-CAM without FIN for it")
    pixels, *others = (network.picture(state.image) for network in every)
    if not all(torch.equal(pixels, other) for other in others):
        raise InputError("the chosen runs do not see the same picture: choose runs trained on the same data in the same way")
    whole, true_class = networks[0].photograph(state.image), networks[0].true_class(state.image)
    return Scene(state, networks, explained, pixels, whole, true_class)
