"""See what trained models look at: widgets in JupyterLab, a web page through Voilà. In reading order:

- `state`: everything that a picture depends on, as plain values
- `own_pictures`: pictures of one's own
- `gallery`: runs and their test images
- `answers`: what runs say about one picture, computed once
- `sentences`: the same in words and numbers
- `canvas`: a page in inches, and what can be drawn on it
- `views`: the four views
- `render`: a state becomes a PNG
- `explorer`: the explorer itself
- `controls`: its controls
- `thumbnails`: test images to choose from
- `first_runs`: the button that trains a few small models
- `widgets`: widgets as they are used here
- `screen`: where the picture is shown (screen.js)
- `upload`: a button that hands over a file (upload.js)
"""

from lficam.explorer.explorer import Explorer

__all__ = ["Explorer"]
