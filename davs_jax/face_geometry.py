"""Where things lie in an aligned face: the side of a stored frame, the mouth box. Imports nothing."""


def stored_size(image_size: int) -> int:
    """Side in pixels of a stored frame for a network input of `image_size`: the official 260 per 256."""
    return image_size * 260 // 256


def mouth_box(image_size: int) -> tuple[slice, slice]:
    """Rows and columns of the mouth in an aligned face of side S: 170:234 × 64:192 at 256 px, in proportion."""
    rows, columns = ((round(edge * image_size / 256) for edge in span) for span in ((170, 234), (64, 192)))
    return slice(*rows), slice(*columns)


def lower_middle(images, part: int):
    """The square of `part` pixels in the middle of the lower edge of arrays `[…, S, S, C]`."""
    side = images.shape[-2]
    left = (side - part) // 2
    return images[..., side - part :, left : left + part, :]
