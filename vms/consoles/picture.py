"""From a screenshot to a small PNG."""

import io

from PIL import Image, UnidentifiedImageError

SIZE = (400, 400)
MAX_PIXELS = 7680 * 4320


class BadPicture(ValueError):
    """These bytes are no picture that a screen could show."""


def thumbnail(data: bytes) -> bytes:
    """A PNG that fits into SIZE, of a screenshot in one of the two formats that QEMU writes (PNG, PPM).

    Raises:
        BadPicture: it is neither, or larger than an 8K screen.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "PPM")) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise BadPicture(f"{picture.width} × {picture.height} pixels are too many for a screen")
            small = picture.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise BadPicture(f"no picture: {error}") from None
    small.thumbnail(SIZE, Image.Resampling.BOX, reducing_gap=2.0)
    out = io.BytesIO()
    small.save(out, "PNG")
    return out.getvalue()
