"""The explorer as a person uses it, in Voilà and in JupyterLab: by mouse, by keyboard, at a desk and on a phone.

What each control does to the picture is tested without a browser, in tests/explorer/test_explorer.py and test_views.py.
"""

import re
import time

import numpy as np
import pytest
from browser.servers import voila
from helpers import write_image
from PIL import Image

DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
CONTROLS = ["dataset", "variant", "thumbnail", "next", "upload", "class", "order", "wrong", "view", "threshold", "published"]
CONTROLS += ["opacity", "maps", "colormap", "contour", "save"]  # in the order in which they are read
IMAGE = "img.lficam-picture, .lficam-picture img"
PREDICTION = r"LFI-CAM: \S+ \(\d\.\d\d\)"

# What the picture shows, pixel by pixel; its address changes whenever it is sent, changed or not.
PIXELS = """image => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL();
}"""

# Texts that do not fit: of labels, buttons and sliders' values; and of the choices of a drop-down list, which its arrow narrows.
CUT_OFF = """() => {
    const texts = [...document.querySelectorAll(".widget-label, .widget-readout, .jupyter-button, .widget-html-content")]
        .filter(e => e.offsetParent && e.textContent.trim() && e.scrollWidth > e.clientWidth + 1).map(e => e.textContent.trim());
    const brush = document.createElement("canvas").getContext("2d");
    const choices = [...document.querySelectorAll(".jupyter-widgets select:not([multiple])")].filter(e => e.offsetParent)
        .flatMap(e => {
            const style = getComputedStyle(e);
            brush.font = style.font;
            const room = e.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
            return [...e.options].map(o => o.text).filter(text => brush.measureText(text).width > room);
        });
    return [...texts, ...choices];
}"""

# What must be scrolled sideways to see all of the picture or of a control.
SIDEWAYS = """() => {
    const scrolls = e => e.scrollWidth > e.clientWidth + 1;
    const found = scrolls(document.documentElement) ? ["the page"] : [];
    for (let e = document.querySelector(".lficam-picture").parentElement; e; e = e.parentElement)
        if (/auto|scroll/.test(getComputedStyle(e).overflowX) && scrolls(e)) found.push(e.className);
    const outside = [...document.querySelectorAll("[class*=lficam-]:not(.lficam-thumbnail)")].filter(e => {
        const {left, right} = e.getBoundingClientRect();
        return e.offsetParent && (left < 0 || right > innerWidth);
    });
    return [...found, ...outside.map(e => e.className)];
}"""

# Controls that take far more height than what is in them.
EMPTY_SPACE = """() => [...document.querySelectorAll("[class*=lficam-]")]
    .filter(e => e.offsetParent && e.matches(".widget-dropdown, .widget-slider, .widget-checkbox, .widget-button, .widget-upload"))
    .filter(e => e.offsetHeight > (e.matches(".lficam-thumbnail") ? 140 : 60)).map(e => e.className)"""

# From the explorer's upper edge to the picture's lower one.
DOWN_TO_PICTURE = """() => {
    const [all, picture] = [".lficam-explorer", ".lficam-picture"].map(e => document.querySelector(e).getBoundingClientRect());
    return picture.bottom - all.top;
}"""

# The marks of what has the focus and of all around it.
FOCUSED = """() => {
    const names = [];
    for (let e = document.activeElement; e; e = e.parentElement)
        names.push(...[...e.classList].filter(name => name.startsWith("lficam-")).map(name => name.slice(7)));
    return names;
}"""


def picture(page):
    return page.locator(IMAGE).first.evaluate(PIXELS)


def caption(page):
    return page.locator(".lficam-caption").inner_text()


def ious(page):
    return re.findall(r"IoU \d\.\d+", caption(page))


def until(value, accept, what, seconds=15):
    """The first value accepted; what is shown follows an action after a moment."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if accept(found := value()):
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} within {seconds} s: {str(found)[:300]}")


def changed_picture(page, before):
    return until(lambda: picture(page), lambda now: now != before, "the picture did not change")


def choose_view(page, title):
    page.locator(".lficam-view").get_by_text(title, exact=True).click()


def upload(page, file):
    with page.expect_file_chooser() as chooser:
        page.locator(".lficam-upload").click()
    chooser.value.set_files(file)


def own_picture(file, side=2400):
    """A picture of no data set: a bright square on a dark slope, in a file of 15 MB, more than a server takes in one message."""
    pixels = np.random.default_rng(0).integers(0, 60, (side, side, 3), np.uint8)
    pixels[..., 2] += np.linspace(0, 120, side).astype(np.uint8)
    pixels[side // 4 : side // 2, side // 4 : side // 2] = (250, 230, 20)
    return write_image(file, Image.fromarray(pixels))


def check_red(page, words):
    """That the red line says these words, in red."""
    line = page.locator(".lficam-error").get_by_text(words).last  # the innermost element
    line.wait_for()
    red, green, blue = map(int, re.findall(r"\d+", line.evaluate("e => getComputedStyle(e).color"))[:3])
    assert red > 1.5 * max(green, blue)
    box = line.bounding_box()
    assert 0 <= box["y"] <= page.viewport_size["height"] - box["height"], "one has to look for it"


def test_it_opens_without_code_and_shows_another_image(page, site):
    assert page.locator(IMAGE).first.evaluate("image => image.naturalWidth") > 300
    assert re.search(PREDICTION, caption(page))
    assert not page.locator(".lficam-error").is_visible()
    if site.name == "voila":
        assert "explorer" in page.title().lower()
        assert page.locator(".jp-CodeCell .jp-InputArea:visible, .cm-editor").count() == 0
        assert "import " not in page.locator("body").inner_text()

    before, words = picture(page), caption(page)
    page.locator(".lficam-thumbnail").nth(1).click()
    changed_picture(page, before)
    until(lambda: caption(page), lambda now: now != words, "the caption did not change")


def test_the_threshold_moves_contours_and_iou_by_keyboard(page):
    first = picture(page)
    choose_view(page, "Compare settings")
    before = changed_picture(page, first)
    numbers = until(lambda: ious(page), bool, "no IoU in the caption")
    page.locator(".lficam-threshold .noUi-handle").focus()
    for _ in range(40):  # from 0.39 on: so far that no IoU is the same to two digits
        page.keyboard.press("ArrowRight")
    changed_picture(page, before)
    until(lambda: ious(page), lambda now: now != numbers, "the IoU did not change")


def test_a_picture_of_ones_own_is_predicted_and_a_bad_file_is_a_red_line(page, tmp_path):
    before, words = picture(page), caption(page)
    upload(page, own_picture(tmp_path / "square.png"))
    own = changed_picture(page, before)
    assert re.search(PREDICTION, until(lambda: caption(page), lambda now: now != words, "the caption did not change"))
    assert not page.locator(".lficam-error").is_visible()

    text, large = tmp_path / "letter.png", tmp_path / "large.png"
    text.write_text("Dear Sir or Madam, this is no picture.")
    large.write_bytes(bytes(60_000_000))  # far more than a server takes in one message
    for file, said in ((text, "letter.png"), (large, "larger than 20 MB")):
        upload(page, file)
        check_red(page, said)
        page.wait_for_timeout(500)  # for what must not follow
        check_red(page, said)
        assert picture(page) == own

    page.locator(".lficam-thumbnail").nth(1).click()
    changed_picture(page, own)
    page.locator(".lficam-error").wait_for(state="hidden")


def test_the_square_follows_the_mouse(page, site):
    first = picture(page)
    choose_view(page, "Occlude")
    before = changed_picture(page, first)
    across = page.locator(".lficam-x .widget-readout")
    assert across.inner_text() == "0.50"
    page.locator(IMAGE).first.scroll_into_view_if_needed()
    box = page.locator(IMAGE).first.bounding_box()
    # A quarter of the first panel: of seven in a row, or of four on JupyterLab's narrower page.
    quarter = {"voila": (0.1 + 0.25 * 0.857) / 6.9, "jupyterlab": (0.1 + 0.25 * 1.15) / 5.2}[site.name]
    shares = [quarter - 0.004 * (7 - step) for step in range(8)]
    places = [(box["x"] + box["width"] * share, box["y"] + box["width"] * 0.24) for share in shares]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
    page.mouse.up()
    changed_picture(page, before)
    # The last place counts, however many were passed over.
    until(lambda: float(across.inner_text()), lambda now: 0.22 <= now <= 0.28, "the slider did not follow")


def test_the_keyboard_reaches_every_control(page):
    page.locator(".lficam-dataset").locator("select, input, button").first.focus()
    reached = {}
    for _ in range(120):
        reached |= dict.fromkeys(page.evaluate(FOCUSED))
        if set(CONTROLS) <= set(reached):
            break
        page.keyboard.press("Tab")
    assert [name for name in reached if name in CONTROLS] == CONTROLS


@pytest.mark.parametrize("window", [DESK, PHONE], ids=["desk", "phone"])
def test_nothing_is_cut_off_in_any_view(open_page, site, window, keep):
    if (site.name, window) == ("jupyterlab", PHONE):
        pytest.skip("JupyterLab itself is not made for a phone")
    page = open_page(site, window)
    if (site.name, window) == ("voila", DESK):
        assert page.evaluate(DOWN_TO_PICTURE) < window["height"]
    for view in ("Maps", "Compare settings", "Inside the FIN", "Occlude"):
        if view != "Maps":
            before = picture(page)
            choose_view(page, view)
            changed_picture(page, before)
        keep(page, view)
        if view == "Maps":  # on a phone they stand below each other, so that their words can be read
            upright = page.locator(IMAGE).first.evaluate("image => image.naturalHeight > image.naturalWidth")
            assert upright is (window == PHONE)
        assert page.evaluate(CUT_OFF) == [], view
        assert page.evaluate(SIDEWAYS) == [], view
        assert page.evaluate(EMPTY_SPACE) == [], view


def test_on_a_phone_a_bad_file_is_a_red_line_next_to_what_was_touched(open_page, site, tmp_path):
    if site.name == "jupyterlab":
        pytest.skip("JupyterLab itself is not made for a phone")
    page = open_page(site, PHONE)
    (tmp_path / "letter.png").write_text("Dear Sir or Madam, this is no picture.")
    page.locator(".lficam-save").scroll_into_view_if_needed()
    page.locator(".lficam-upload").scroll_into_view_if_needed()
    upload(page, tmp_path / "letter.png")
    check_red(page, "letter.png")


def test_on_a_phone_a_tap_moves_the_square(open_page, site):
    if site.name == "jupyterlab":
        pytest.skip("JupyterLab itself is not made for a phone")
    page = open_page(site, PHONE)
    first = picture(page)
    choose_view(page, "Occlude")
    before = changed_picture(page, first)
    width = page.locator(IMAGE).first.bounding_box()["width"]
    page.locator(IMAGE).first.tap(position={"x": 0.15 * width, "y": 0.54 * width})  # in the first panel, whatever is below it
    changed_picture(page, before)
    assert float(page.locator(".lficam-x .widget-readout").inner_text()) < 0.4


@pytest.fixture
def site_without_runs(trained_models, tmp_path):
    with voila(tmp_path, overrides={"epochs": 1}, LFICAM_RUNS=str(tmp_path / "runs")) as site:
        yield site


def test_without_trained_runs_there_are_photographs_and_a_button_trains_digits(site_without_runs, open_page):
    page = open_page(site_without_runs)
    until(lambda: caption(page), lambda words: re.search(PREDICTION, words), "no prediction is shown")
    chosen = page.locator(".lficam-dataset option")
    assert chosen.all_inner_texts() == ["Photographs"]
    page.locator(".lficam-train").click()
    page.locator(".lficam-progress").wait_for()
    page.locator(".lficam-train").wait_for(state="hidden", timeout=120_000)
    until(chosen.all_inner_texts, lambda names: len(names) > 1, "no other data set can be chosen")
    until(lambda: caption(page), lambda words: re.search(PREDICTION, words), "no prediction is shown")
    assert not page.locator(".lficam-error").is_visible()
