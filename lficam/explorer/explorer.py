"""The explorer: widgets over `render.render`, in JupyterLab and, through Voilà, in a browser alone.

Nothing is computed here. A picture follows from `Explorer.state`, which reads the controls; whatever goes wrong on the way is one
red line above them.
"""

import atexit
import gc
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial, wraps
from html import escape
from threading import RLock
from typing import Any

from traitlets import Bunch

from lficam.data.decoding import too_large
from lficam.data.digits import RECIPES as STAND_INS
from lficam.errors import InputError
from lficam.explorer.controls import Controls
from lficam.explorer.gallery import BUNDLED_DATA, ORDERS, UNTRAINED, Entry, browse, comparable, entries, network_of
from lficam.explorer.own_pictures import UPLOAD, add_upload
from lficam.explorer.render import caption, panel_at, render, save_view
from lficam.explorer.state import WITH_MAPS, State, page_width
from lficam.explorer.widgets import choose_from, show, small
from lficam.metrics.map_names import GRAD_CAM, LFI_CAM_UNTRAINED
from lficam.model.methods import METHODS
from lficam.paths import figures_dir

_NOTHING_CHOSEN = {
    **dict.fromkeys(WITH_MAPS, "no network is chosen: tick at least one below the picture"),
    "settings": "no method has two trained models on this data set: choose another one under Data",
    "fin": "LFI-CAM has not been trained with this setting: choose another one under Setting",
}

# Models are shared; a training ends in a thread of its own, and a kernel may hear from its controls in several.
_ONE_AT_A_TIME = RLock()


def _observer(method: Callable[..., None]) -> Callable[..., None]:
    """What a control calls; why it fails is the red line."""

    @wraps(method)
    def guarded(self: "Explorer", *event: object) -> None:
        with _ONE_AT_A_TIME:
            if not self._quiet:
                with self.error.watch("control"):
                    method(self, *event)

    return guarded


@lru_cache(maxsize=1)
def _keep_collector_away() -> None:
    """Going through torch's many objects again and again would take 0.3 s in the middle of an interaction."""
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)  # what is frozen would not be taken down in order at the end


class Explorer(Controls):
    """See what the trained runs of a profile, and the models of the package, look at: on their test images and on pictures of
    one's own; displays itself.

    `state()` is what the controls say, `picture.value` the PNG drawn from it. Without trained runs there is a button that trains a
    few small ones.
    profile, overrides: as for `experiment`. Raises InputError for those it does not know.
    """

    def __init__(self, profile: str = "embedded", overrides: Mapping[str, Any] | None = None):
        super().__init__()
        self._profile, self._overrides, self._quiet, self._image = profile, dict(overrides or {}), False, ""
        self._found = entries(profile, self._overrides)
        self._connect()
        self._open()
        _keep_collector_away()

    def _repr_mimebundle_(self, **options: object) -> tuple[dict[str, object], dict[str, object]]:
        """The widget, and its picture for viewers without a kernel, with what it shows in words."""
        bundle = self.widget._repr_mimebundle_(**options) | {"text/plain": f"<Explorer of profile {self._profile}>"}
        if self.picture.value:
            bundle["image/png"] = b64encode(self.picture.value).decode()
        return bundle, {"image/png": {"alt": self.picture.words}}

    def state(self, image: str = "") -> State:
        """What the controls say, of the picture that is shown or of another one. Raises InputError if they choose no model."""
        runs, view = self._runs(), self.view.value
        if view == "settings":
            chosen = self.compared.value or ()
        elif view == "fin":
            chosen = [id for method, id in runs.items() if METHODS[method].fin]
        else:
            chosen = [id for method, id in runs.items() if self.maps[method].value]
            if self.maps[LFI_CAM_UNTRAINED].value and (ours := runs.get("lfi-cam")):
                chosen.insert(chosen.index(ours) + 1 if ours in chosen else 0, UNTRAINED + ours)
        explained = [id for method, id in runs.items() if not METHODS[method].splits_trunk]  # with the FIN first
        if not chosen:
            raise InputError(_NOTHING_CHOSEN[view])
        return State(
            image=image or self._image,
            runs=tuple(chosen),
            view=view,
            grad_cam=explained[0] if explained and self.maps[GRAD_CAM].value else "",
            threshold=self.threshold.value,
            opacity=self.opacity.value,
            color_map=self.color_map.value,
            contour=self.contour.value,
            k=self.k.value,
            keep=self.keep.value,
            square=(self.x.value, self.y.value, self.size.value),
            width=page_width(self.picture.width),
        )

    def _connect(self) -> None:
        """What each control does."""
        drawn = [*self.maps.values(), self.k, self.x, self.y, self.size]
        for control in (*drawn, self.threshold, self.opacity, self.color_map, self.contour):
            control.observe(self._on_drawing, "value")
        for control in (self.label, self.order, self.wrong_only):
            control.observe(partial(self._take, self._browse), "value")
        self.variant.observe(partial(self._take, self._fill_variant, self._browse, self._draw), "value")
        self.view.observe(partial(self._take, self._fill_view, self._draw), "value")
        self.keep.observe(partial(self._take, self._fit_channels, self._draw), "value")
        self.compared.observe(self._on_compared, "value")
        self.dataset.observe(self._on_dataset, "value")
        self.picture.observe(partial(self._on_screen, self._on_drawing), "width")
        self.picture.observe(partial(self._on_screen, self._move_square), "point")
        self.upload.receive = self._on_upload
        self.published.on_click(partial(self._take, self._to_published))
        self.save.on_click(self._on_save)
        self.offer.overrides = self._overrides if self._profile == "embedded" else {}
        self.offer.then = self._on_trained
        self.thumbnails.previous.on_click(partial(self._take, partial(self.thumbnails.turn, -1)))
        self.thumbnails.next.on_click(partial(self._take, partial(self.thumbnails.turn, 1)))
        for k, button in enumerate(self.thumbnails.buttons):
            button.on_click(partial(self._on_thumbnail, k))

    @_observer
    def _take(self, *steps_and_event: Any) -> None:
        """Take steps, one after the other, whatever the event was."""
        for step in steps_and_event[:-1]:
            step()

    def _on_drawing(self, _: object) -> None:
        """As an observer; but a picture has a red line of its own, and mends no other."""
        with _ONE_AT_A_TIME:
            if not self._quiet:
                self._draw()

    def _on_screen(self, observer: Callable[[Bunch], None], change: Bunch) -> None:
        try:
            observer(change)
        finally:
            self.picture.answered += 1

    @_observer
    def _move_square(self, _: object) -> None:
        """The square follows the mouse, in any panel."""
        if place := panel_at(self.state(), *self.picture.point):
            with self._quietly():
                self.x.value, self.y.value = (round(share, 2) for share in place)
            self._draw()

    @_observer
    def _on_dataset(self, change: Bunch) -> None:
        try:
            classes = network_of(self._own()[0].run_id).run.classes
        except Exception:
            with self._quietly():
                self.dataset.value = change.old  # what is shown is still of that one
            raise
        self._fill_dataset(classes)

    @_observer
    def _on_compared(self, _: object) -> None:
        if self.order.value != ORDERS[0]:
            self._browse()
        self._draw()

    @_observer
    def _on_thumbnail(self, k: int, _: object) -> None:
        self._draw(self.thumbnails.shown[k])

    @_observer
    def _on_upload(self, name: str, content: bytes | None) -> None:
        if content is None:
            raise too_large(name)
        image = add_upload(name, content)
        if self.dataset.value in STAND_INS and any(entry.dataset == BUNDLED_DATA for entry in self._found):
            self._image = image
            self.dataset.value = BUNDLED_DATA  # networks of digits know nothing of a photograph
        else:
            self._draw(image)

    def _to_published(self) -> None:
        self.threshold.value = State.threshold

    @_observer
    def _on_save(self, _: object) -> None:
        self.saved.value = ""
        file = save_view(self.state(), figures_dir() / "explorer")
        self.saved.value = small(f"saved as {escape(str(file))}")

    def _on_trained(self) -> None:
        self._profile, self._overrides = "embedded", self.offer.overrides
        self._found = entries(self._profile, self._overrides)
        self._open()

    @_observer
    def _open(self) -> None:
        """Show the trained runs, or the offer to train some."""
        trained = any(entry.dataset != BUNDLED_DATA for entry in self._found)
        nothing = f"Nothing of profile {escape(self._profile)} has been trained yet"
        self.offer.words.value = f"{nothing}: this trains a few small models on digits."
        show(self.offer.widget, not trained)
        show(self.content, len(self._found) > 0)
        if not self._found:
            return
        count = Counter((entry.data, entry.dataset) for entry in self._found)
        with self._quietly():
            choose_from(self.dataset, dict(named for named, _ in count.most_common()))  # where there is most to see comes first
        self._fill_dataset(network_of(self._own()[0].run_id).run.classes)

    def _own(self) -> list[Entry]:
        """The trained runs of the data set that is chosen."""
        return [entry for entry in self._found if entry.dataset == self.dataset.value]

    def _fill_dataset(self, classes: Sequence[str]) -> None:
        own = self._own()
        with self._quietly():
            choose_from(self.variant, {entry.variant: entry.variant for entry in own})
            choose_from(self.compared, comparable(own))
            choose_from(self.label, {"all": ""} | {name: name for name in classes})
            self.wrong_only.value, self.order.value = False, ORDERS[0]
        self._fill_variant()
        self._browse()
        self._image = self._image if self._image.startswith(UPLOAD) else self.thumbnails.shown[0]
        self._draw()

    def _fill_variant(self) -> None:
        runs = self._runs()
        for method in METHODS:
            show(self.maps[method], method in runs)
        show(self.maps[GRAD_CAM], not all(METHODS[method].splits_trunk for method in runs))
        show(self.maps[LFI_CAM_UNTRAINED], "lfi-cam" in runs)
        self._fill_view()

    def _fit_channels(self) -> None:
        """So many channels can be kept, one to all of them, or dropped, none to all but one."""
        for method, id in self._runs().items():
            if METHODS[method].fin:
                with self._quietly():
                    count = network_of(id).channels
                    self.k.min, self.k.max = (1, count) if self.keep.value else (0, count - 1)

    def _fill_view(self) -> None:
        for part, views in self.parts:
            show(part, self.view.value in views)
        self._fit_channels()

    def _runs(self) -> dict[str, str]:
        """Method -> run id, of the data set and the setting that are chosen."""
        found = {entry.method: entry.run_id for entry in self._own() if entry.variant == self.variant.value}
        return {method: found[method] for method in METHODS if method in found}

    def _browse(self) -> None:
        """Show the images that the filters leave to the first network; if that fails, those before stay."""
        others = () if self.order.value == ORDERS[0] else self.compared.value or ()
        with self.error.watch("images"):
            network = network_of(next(iter(self._runs().values())))
            with self.thumbnails.searching():
                ids = browse(network, self.label.value or None, self.wrong_only.value, self.order.value, others)
            self.thumbnails.show(network, ids)

    def _draw(self, image: str = "") -> None:
        """Draw what the controls say, of another picture if one is given; if that fails, the last good one stays."""
        if not self._found:  # a browser measures the room for a picture before there is anything to choose
            return
        with self.error.watch("picture"):
            state = self.state(image)
            drawn, words = render(state), caption(state)
            self._image, self.picture.value, self.picture.words = state.image, drawn, words
            self.picture.pointable, self.saved.value = state.view == "occlusion", ""
            self.thumbnails.mark(self._image)

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Change controls without hearing from them."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False
