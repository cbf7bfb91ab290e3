"""All figures by one call, and what is written about them. In reading order:

- `notebooks`: trains what is missing, executes the notebooks
- `findings`: what became of every claim, as data
- `html`: the same as one HTML file (report.html.jinja, report.css)
- `report`: REPORT.md and report.html
- `reference`: for maintainers: remakes what is committed
- `bundle`: for maintainers: the trained models that come with the package (bundled_card.jinja)
- `photographs`: for maintainers: the trainings on photographs
- `results`: what they leave in the repository, written and read
- `judgement`: what they say
- `check`: the committed numbers made again from what is committed beside them
"""
