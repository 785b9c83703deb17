"""Draw the pictures of docs/concepts/criteria.md: one task of each criterion."""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib import pyplot as plt
from PIL import Image
from torch import Tensor

from lgmnet.data.sampler import Sampler
from lgmnet.data.synthetic.criteria import Factor, draw_criterion_tasks
from lgmnet.data.synthetic.criterion_drawings import CriterionDrawings
from lgmnet.data.synthetic.criterion_photos import criterion_photos
from lgmnet.episode import EpisodeShape

CONCEPTS = Path(__file__).parents[1] / "docs" / "concepts"
WAY, SHOT, SEED = 5, 3, 1


def drawing_rows() -> dict[Factor, tuple[list[str], Tensor]]:
    """Draw one task by each criterion of drawings: names of the values, [value, shot] pictures."""
    rows = {}
    factors = CriterionDrawings("lake/test").factors
    for seed, factor in enumerate(factors, SEED):
        source = CriterionDrawings("lake/test", factor.name)
        shape = EpisodeShape(min(WAY, len(factor.values)), SHOT, 1)
        table = source.draw_table(shape, torch.Generator().manual_seed(seed))
        e = Sampler(source, torch.Generator().manual_seed(seed)).sample(shape)
        column = table.values[: shape.way * SHOT, table.column(factor.name)]
        values = column.view(shape.way, SHOT)[:, 0].tolist()
        pictures = e.support_x[0].view(shape.way, SHOT, *e.support_x.shape[2:])
        rows[factor] = ([factor.values[v] for v in values], pictures.clone())
    return rows


def photo_rows() -> dict[Factor, tuple[list[str], Tensor]]:
    """Draw one task by each criterion of photos, all of Caltech-101."""
    pool, rows = criterion_photos("test"), {}
    table = pool.table
    for seed, factor in enumerate(table.factors, SEED):
        way = min(WAY, len(factor.values))
        generator = torch.Generator().manual_seed(seed)
        tasks = draw_criterion_tasks(table, factor.name, way, SHOT, 1, 20, generator)
        first = int((table.groups[tasks.support_rows[:, 0]] == 0).nonzero()[0])
        pictures = pool.samples[tasks.support_rows[first]].view(way, SHOT, *pool.feature_shape)
        rows[factor] = ([factor.values[v] for v in tasks.values[first].tolist()], pictures / 255)
    return rows


def draw(rows: dict[Factor, tuple[list[str], Tensor]], path: Path) -> None:
    """Draw one row for each criterion, with the classes sorted by value."""
    figure, axes = plt.subplots(len(rows), WAY, figsize=(2.1 * WAY + 1, 0.98 * len(rows)))
    for (factor, (names, pictures)), row in zip(rows.items(), axes, strict=True):
        order = sorted(range(len(names)), key=lambda i: factor.values.index(names[i]))
        mark = " *" if factor.is_held_out else ""
        row[0].text(-0.08, 0.5, factor.name + mark, ha="right", va="center", fontsize=10)
        row[0].texts[0].set_transform(row[0].transAxes)
        for axis in row:
            axis.axis("off")
        for axis, i in zip(row, order, strict=False):
            strip = torch.nn.functional.pad(pictures[i], (2, 2, 2, 2), value=1.0)
            strip = strip.permute(2, 0, 3, 1).flatten(1, 2)
            strip = strip.expand(-1, -1, 3) if strip.shape[2] == 1 else strip
            axis.imshow(strip.numpy(), interpolation="nearest")
            name = names[i].split("/")[-2 if "@" in names[i] else -1]
            axis.set_title(name.replace("_", " "), fontsize=7, pad=2)
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=100, bbox_inches="tight")
    plt.close(figure)
    # 256 colours make the file a third as large, and show the same.
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(256).save(path, optimize=True)


def main() -> None:
    """Draw both pictures."""
    draw(drawing_rows(), CONCEPTS / "criteria-drawings.png")
    draw(photo_rows(), CONCEPTS / "criteria-photos.png")


if __name__ == "__main__":
    main()
