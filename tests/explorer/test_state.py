"""What a state can be: every field at its limits."""

from dataclasses import replace

import pytest

from lficam.errors import InputError
from lficam.explorer.state import COLOR_MAPS, TITLES, WIDTHS, State, page_width

STATE = State("test/0", ("a", "b"))
REFUSED = {
    "view": ({"view": "all"}, "unknown view 'all': expected one of methods, settings, fin, occlusion"),
    "colour map": ({"color_map": "jet"}, "unknown colour map 'jet': expected one of inferno, viridis, cividis, gray"),
    "threshold": ({"threshold": 1.5}, "threshold 1.5: expected 0 to 1"),
    "below 0": ({"threshold": -0.1}, "threshold -0.1: expected 0 to 1"),
    "nan": ({"opacity": float("nan")}, "opacity nan: expected 0 to 1"),
    "square": ({"square": (0.5, 0.5, 2)}, "side of the square 2: expected 0 to 1"),
    "width": ({"width": 5}, "width 5: expected one of 6.9, 5.2, 3.7"),
    "place": ({"square": (float("inf"), 0.5, 0.2)}, "square (inf, 0.5, 0.2): expected finite numbers"),
    "no run": ({"runs": ()}, "the view 'methods' shows 1 to 5 runs, 0 chosen: choose others"),
    "six runs": ({"runs": tuple("abcdef")}, "the view 'methods' shows 1 to 5 runs, 6 chosen: choose others"),
    "a run twice": ({"runs": ("a", "b", "a")}, "runs ('a', 'b', 'a'): expected a tuple of ids, each of them once"),
    "a list": ({"runs": ["a", "b"]}, "runs ['a', 'b']: expected a tuple of ids, each of them once"),
    "a single id": ({"runs": "a"}, "runs a: expected a tuple of ids, each of them once"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_state_cannot_be_is_refused(case):
    change, message = REFUSED[case]
    with pytest.raises(InputError) as refused:
        replace(STATE, **change)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_of_one_run_no_settings_are_compared():
    with pytest.raises(InputError, match="the view 'settings' shows 2 to 5 runs, 1 chosen: choose others"):
        State("test/0", ("a",), "settings")


@pytest.mark.parametrize(
    "change",
    [
        *({"threshold": 0}, {"threshold": 1}, {"opacity": 0}, {"opacity": 1}),
        *({"square": (0.5, 0.5, 0)}, {"square": (0.5, 0.5, 1)}, {"square": (-7.0, 9.0, 0.5)}),
        *({"width": width} for width in WIDTHS),
        *({"color_map": name} for name in COLOR_MAPS),
        *({"view": view} for view in TITLES),
    ],
)
def test_what_a_state_can_be_is_not_refused(change):
    replace(STATE, **change)


def test_grad_cam_is_shown_where_maps_of_methods_are():
    shown = {view: replace(STATE, view=view, grad_cam="a").shows_grad_cam for view in TITLES}
    assert shown == {"methods": True, "settings": False, "fin": False, "occlusion": True}
    assert not STATE.shows_grad_cam


@pytest.mark.parametrize(
    ("pixels", "inches"),
    [(0, 6.9), (10_000, 6.9), (621, 6.9), (620, 5.2), (468, 5.2), (467, 3.7), (333, 3.7), (332, 3.7), (1, 3.7)],
)
def test_a_page_is_as_wide_as_can_be_read_at_90_pixels_an_inch(pixels, inches):
    assert page_width(pixels) == inches
