"""All figures by one call, and what is written about them. In reading order:

- `notebooks`: trains what is missing, executes the notebooks
- `report`: what became of every claim
- `html`: the report as one HTML file
- `reference`: for maintainers: remakes what is committed
"""
