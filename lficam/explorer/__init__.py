"""See what trained models look at: widgets, in JupyterLab and through Voilà. In reading order:

- `state`: everything that a picture depends on, as plain values
- `own_pictures`: pictures of one's own
- `answers`: what a trained run sees of a picture and says about it, computed once
- `gallery`: the trained runs and their test images
- `canvas`: what the views put on a page beside pictures and maps
- `scene`: the objects behind a state's ids, found once
- `sentences`: what a scene shows, in words and numbers
- `views`: the four views
- `render`: a state becomes a PNG
- `explorer`: the explorer itself
- `controls`: its controls
- `thumbnails`: test images to choose from
- `first_runs`: the button that trains a few small models
- `widgets`: widgets as they are used here
- `screen`: where the picture is shown (screen.js)
- `upload`: a button that hands over a file (upload.js)
- `server`: all of it as a page, served by Voilà (share/)
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lficam.explorer.explorer import Explorer

__all__ = ["Explorer"]


def __getattr__(name: str) -> object:
    """`Explorer`, imported when it is first asked for: pictures are drawn without Jupyter's widgets."""
    if name != "Explorer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lficam.explorer.explorer import Explorer

    return Explorer
