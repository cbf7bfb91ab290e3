"""A grid of fixed pictures and maps with every feature of a figure; its pixels must never change unnoticed.

python tests/figures/synthetic.py     draws synthetic.png beside it anew, where a change is meant
"""

from pathlib import Path

import torch
from torch import Tensor

from lficam.figures.grid import Grid, Panel, draw_grid, rounded
from lficam.figures.page import DPI

PICTURE = Path(__file__).with_suffix(".png")


def synthetic() -> tuple[Grid, dict[str, Tensor], dict[str, Tensor]]:
    ramp = torch.linspace(0, 1, 24)
    pictures = {
        "ramp": torch.stack([ramp.expand(24, 24), ramp.expand(24, 24).T, torch.zeros(24, 24)]),
        "checks": ((torch.arange(24) // 4)[:, None] + (torch.arange(24) // 4) % 2).remainder(2).float().expand(3, 24, 24),
    }
    mask = torch.zeros(1, 24, 24, dtype=torch.bool)
    mask[:, 4:20, 8:16] = True
    panels = []
    for row, id in enumerate(pictures):
        panels.append(Panel(id, 2 * row, 0, f"true: {id}"))
        for method in range(2):
            for column in range(3):
                cam = torch.zeros(1, 6, 6)
                cam[0, 2 * method : 2 * method + 2, 2 * column : 2 * column + 2] = 1
                pale = (method, column) == (1, 2)
                panels.append(Panel(id, 2 * row + method, column + 1, f"{id} {column / 2:.2f}", rounded(cam), pale=pale))
            difference = rounded(torch.linspace(-0.2, 0.2, 36).view(1, 6, 6))
            panels.append(Panel(id, 2 * row + method, 4, "by up to 0.20", difference=difference))
    grid = Grid(
        "Synthetic maps",
        "fixed values, no data set",
        ["input", *(f"setting {k}" for k in (1, 2, 3)), "difference,\nof nothing"],
        ["ABN", "LFI-CAM"] * 2,
        panels,
        [f"IoU 0.{k}0\n(0.11)" for k in range(4)],
        span=2,
        settings={"learning rate": ["0.1", "0.2", "0.3", ""], "accuracy": ["80 %", "(70 %)", "81 %", ""]},
        footnote="A footnote that is too long for one line. " * 5,
        limit=0.2,
        difference="of nothing",
    )
    return grid, pictures, {"ramp": mask}


if __name__ == "__main__":
    draw_grid(*synthetic()).savefig(PICTURE, dpi=DPI)
