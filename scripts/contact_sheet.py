"""Make contact-sheet.png, the picture at the top of the README, from grids that trainings left in this repository.

    python scripts/contact_sheet.py

Each part shows the first rows and columns of its grid; nothing is picked. Enlarging is by Lanczos.
"""

from pathlib import Path

from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"
FONT = Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
WIDTH, GAP, LINE = 1316, 4, 40
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def part(file: Path, pixels: int, columns: int, rows: int, tile: int) -> Image.Image:
    """The first `rows` x `columns` images of a grid of `pixels` x `pixels` images, each enlarged to `tile` pixels."""
    grid = Image.open(file).convert("RGB")
    sheet = Image.new("RGB", (columns * (tile + GAP) - GAP, rows * (tile + GAP) - GAP), "white")
    for row in range(rows):
        for column in range(columns):
            left, top = 2 + column * (pixels + 2), 2 + row * (pixels + 2)  # grids have a border of two pixels
            image = grid.crop((left, top, left + pixels, top + pixels))
            sheet.paste(
                image.resize((tile, tile), Image.Resampling.LANCZOS), (column * (tile + GAP), row * (tile + GAP))
            )
    return sheet


def main() -> None:
    font = ImageFont.truetype(str(FONT), 22)
    photos = part(RESULTS / "two-hours-r1.png", 32, 10, 3, 128)
    xrays = part(RESULTS / "ten-minutes-r1/chest-default-0.png", 64, 4, 2, 158)
    clothes = part(RESULTS / "ten-minutes-r1/fashion-default-0.png", 32, 6, 3, 104)
    digits = part(ROOT / "docs/images/digits.png", 32, 10, 2, 128)
    sheet = Image.new("RGB", (WIDTH, photos.height + xrays.height + digits.height + 4 * LINE + 2 * 16), "white")
    draw = ImageDraw.Draw(sheet)

    def caption(text: str, left: int, top: int) -> None:
        draw.text((left, top + LINE // 2), text, fill="black", font=font, anchor="lm")

    right = WIDTH - clothes.width
    caption("Chest X-rays: 10 minutes on one CPU core", 0, 0)
    caption("Fashion-MNIST: 10 minutes on one CPU core", right, 0)
    sheet.paste(xrays, (0, LINE))
    sheet.paste(clothes, (right, LINE))
    top = LINE + xrays.height + 16
    caption("CIFAR-10, one class per column: 106 minutes on one CPU core", 0, top)
    for column, name in enumerate(CIFAR10):
        middle = column * (128 + GAP) + 64
        draw.text((middle, top + LINE + LINE // 2), name, fill="#555555", font=font.font_variant(size=20), anchor="mm")
    sheet.paste(photos, (0, top + 2 * LINE))
    top += 2 * LINE + photos.height + 16
    caption("The built-in handwritten digits: about a minute on two CPU cores", 0, top)
    sheet.paste(digits, (0, top + LINE))
    sheet.save(ROOT / "docs/images/contact-sheet.png", optimize=True)


if __name__ == "__main__":
    main()
