"""Colour profiles of photos (ICC): Display P3 of phones, Adobe RGB of cameras, CMYK of print, converted to sRGB."""

import io

from PIL import Image, ImageCms

SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}  # of a profile that describes an image of this mode


def to_srgb(image: Image.Image) -> Image.Image:
    """An image in its profile's colours → in sRGB; without a usable profile, or with sRGB's, the image as it is."""
    data = image.info.get("icc_profile")
    if not data:
        return image
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        space = profile.profile.xcolor_space.strip()
        if space == "RGB" and image.mode not in SPACES:
            image = image.convert("RGB")
        if SPACES.get(image.mode) != space or "srgb" in (profile.profile.profile_description or "").lower():
            return image
        return ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # viewers too ignore a profile that is damaged
