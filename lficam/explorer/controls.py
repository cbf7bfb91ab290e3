"""The explorer's controls: what each is called, what it means in a line, where it stands. What they do is in `explorer.py`."""

from pathlib import Path

import ipywidgets
from ipywidgets import HTML, Box, Dropdown, VBox, Widget

from lficam.data.decoding import FORMATS, MOST_BYTES
from lficam.explorer.first_runs import Offer
from lficam.explorer.gallery import ORDERS
from lficam.explorer.screen import Screen
from lficam.explorer.state import COLOR_MAPS, WITH_MAPS, State
from lficam.explorer.thumbnails import Thumbnails
from lficam.explorer.upload import Upload
from lficam.explorer.widgets import RedLine, button, group, labelled, line, row, slider, tick
from lficam.metrics.map_names import GRAD_CAM, LFI_CAM_UNTRAINED
from lficam.model.methods import METHODS

VIEW_BUTTONS = {"Maps": "methods", "Compare settings": "settings", "Inside the FIN": "fin", "Occlude": "occlusion"}


class Controls:
    """Every control is an attribute; `widget` is all of them.

    maps: method, `GRAD_CAM` or `LFI_CAM_UNTRAINED` -> its checkbox. parts: the controls that only some views have, each with these
    views.
    """

    def __init__(self) -> None:
        self.error = RedLine()
        self.offer = Offer(self.error)
        self._make_choice()
        self._make_drawing()
        self._make_parts()
        css = Path(__file__).with_name("explorer.css").read_text()
        style = HTML(f"<style>{css}</style>", layout={"display": "none"})
        filters, views = VBox(self._filters()).add_class("lficam-filters"), VBox(self._views()).add_class("lficam-views")
        self.content = Box([VBox(self._choice()), filters, views]).add_class("lficam-content")
        self.widget = VBox([style, self.error, self.offer.widget, self.content]).add_class("lficam-explorer")

    def _make_choice(self) -> None:
        self.dataset = labelled(Dropdown, "Data", "dataset")
        self.variant = labelled(Dropdown, "Setting", "variant")
        self.label = labelled(Dropdown, "Class", "class")
        self.order = labelled(Dropdown, "Order", "order", options=ORDERS)
        self.wrong_only = tick("Wrong predictions only", value=False).add_class("lficam-wrong")
        self.thumbnails = Thumbnails()
        self.upload = Upload(
            description="Upload a picture", tooltip=f"{', '.join(FORMATS)}, up to {MOST_BYTES // 10**6} MB", most=MOST_BYTES
        )
        self.upload.add_class("lficam-upload")

    def _choice(self) -> list[Widget]:
        what = "Data: what the networks were trained on. Setting: with which learning rate (lr), batch size and weight decay."
        return [
            self.dataset,
            self.variant,
            line(what),
            *self.thumbnails.parts,
            self.upload,
            line("A test image with its class, or a picture of your own, which is sent to nobody else. Every view then shows it."),
        ]

    def _filters(self) -> list[Widget]:
        words = "Which test images to browse. Wrong: as LFI-CAM predicts, or else the first network that there is. "
        words += "Least stable: where the networks that <i>Compare settings</i> compares agree least."
        return [row([self.label, self.order, self.wrong_only]), line(words)]

    def _make_drawing(self) -> None:
        self.view = labelled(ipywidgets.ToggleButtons, "View", "view", options=VIEW_BUTTONS)
        self.view.style.button_width = "auto"
        self.picture = Screen().add_class("lficam-screen")
        self.threshold = slider("Threshold", State.threshold, step=1 / 255).add_class("lficam-threshold")  # published: 100 of 255
        self.published = button("Published: 100/255", "published", tooltip="back to the threshold of the paper's code")
        self.opacity = slider("Opacity", State.opacity).add_class("lficam-opacity")
        self.color_map = labelled(Dropdown, "Colours", "colormap", options=COLOR_MAPS)
        self.contour = tick("Contour").add_class("lficam-contour")
        self.save = button("Save this view", "save")
        self.saved = line("").add_class("lficam-saved")

    def _make_parts(self) -> None:
        others = (GRAD_CAM, LFI_CAM_UNTRAINED)
        self.maps = {method: tick(METHODS[method].title) for method in METHODS} | {name: tick(name) for name in others}
        self.compared = labelled(Dropdown, "Compared", "compared")
        self.k = labelled(ipywidgets.IntSlider, "Channels", "k", value=State.k, min=1, max=64)
        self.keep = labelled(Dropdown, "Use", "keep", options={"only these": True, "all but these": False})
        self.x = slider("Square across", State.square[0], step=0.01).add_class("lficam-x")
        self.y = slider("Square down", State.square[1], step=0.01).add_class("lficam-y")
        self.size = slider("Square size", State.square[2], low=0.05).add_class("lficam-size")
        maps = "Whose maps are shown. ABN: Attention Branch Network. Grad-CAM: made of LFI-CAM's gradients, after its prediction. "
        maps += "Untrained: by a network that has learned nothing."
        settings = "How alike are the maps of one method after different trainings? IoU: what two maps mark both, as a share of "
        settings += "what either of them marks; 1: the same."
        fin = "The Feature Importance Network (FIN) weighs channels. Here only the most important ones make the map, or all others."
        square = "A square in the data's mean colour hides part of the picture. Drag it in any panel, tap, or move its centre here."
        self.parts = [
            (group(self.maps.values(), maps).add_class("lficam-maps"), WITH_MAPS),
            (group([self.compared], settings), ("settings",)),
            (group([self.k, self.keep], fin), ("fin",)),
            (group([self.x, self.y, self.size], square), ("occlusion",)),
        ]

    def _views(self) -> list[Widget]:
        how = "Threshold: above it a map counts as on, the contour is its edge. Opacity and colours: of the maps over the picture."
        return [
            self.view,
            line("All maps of a picture; those of one method after several trainings; the FIN's channels; a part of it hidden."),
            row([self.threshold, self.published, self.opacity]),
            *(part for part, _ in self.parts),
            self.picture,
            group([self.color_map, self.contour], how),
            row([self.save, self.saved]),
            line("Save: the picture as PNG, with what it was made from: models, image and every control."),
        ]
