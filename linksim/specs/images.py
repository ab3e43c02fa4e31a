"""What a scenario may say of pictures. Imports only pydantic and linksim.specs.fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, Strict

from linksim.specs.fields import PathName, PositiveInt, Ratio, Spec

__all__ = [
    "BandwidthSpec",
    "FolderImagesSpec",
    "ImagesBase",
    "ImagesSpec",
    "SkimageImagesSpec",
    "TarImagesSpec",
]


_CONVERT = "none: 8-bit RGB only; rgb: also grey, palette, CMYK, alpha (dropped) and 16 bits (rounded to 8)"


def _crop(value: object) -> object:
    return [value, value] if isinstance(value, int) and not isinstance(value, bool) else value


class ImagesBase(Spec):
    """What all sets of pictures have in common: cutting to size."""

    crop: Annotated[tuple[PositiveInt, PositiveInt] | None, BeforeValidator(_crop)] = Field(
        None, description="centre crop to [height, width] pixels, or one number for a square"
    )
    multiple_of: PositiveInt = Field(16, description="cut the sides down to multiples of this many pixels")


class FolderImagesSpec(ImagesBase):
    """All pictures of a folder and its sub-folders, sorted by path."""

    kind: Literal["folder"]
    path: PathName
    limit: PositiveInt | None = Field(None, description="use the first so many pictures only")
    convert: Literal["none", "rgb"] = Field("none", description=_CONVERT)


class TarImagesSpec(ImagesBase):
    """All pictures in tar files, sorted by file and name."""

    kind: Literal["tar"]
    paths: Annotated[tuple[PathName, ...], Field(min_length=1)]
    limit: PositiveInt | None = None
    convert: Literal["none", "rgb"] = Field("none", description=_CONVERT)


class SkimageImagesSpec(ImagesBase):
    """Pictures that ship with scikit-image; camera is grey; hubble, retina and ihc are no photographs."""

    kind: Literal["skimage"]
    names: Annotated[tuple[Annotated[str, Strict()], ...], Field(min_length=1)] = (
        "astronaut",
        "coffee",
        "chelsea",
        "rocket",
        "motorcycle",
    )


ImagesSpec = Annotated[FolderImagesSpec | TarImagesSpec | SkimageImagesSpec, Field(discriminator="kind")]


class BandwidthSpec(Spec):
    """How many complex data uses an image gets."""

    data_ratio: Ratio = Field(description="complex data uses / (3·H·W), an exact fraction such as 1/48")
