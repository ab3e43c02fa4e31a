"""Sets of pictures, and how many channel uses a picture gets."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, Strict, model_serializer, model_validator

from channels.checks import complaint
from channels.kinds import kind
from linksim.files.places import looked_at, place
from linksim.kinds.fields import Int, NaturalInt, PathName, PositiveInt, Ratio, Spec
from linksim.kinds.union import KindOf

if TYPE_CHECKING:
    from linksim.images.sets import Crop, ImageSet

__all__ = [
    "BandwidthSpec",
    "Cifar10ImagesSpec",
    "DrawnImagesSpec",
    "FolderImagesSpec",
    "ImagesBase",
    "ImagesSpec",
    "NoImagesSpec",
    "PicturesSpec",
    "QrCodesSpec",
    "SkimageImagesSpec",
    "TarImagesSpec",
    "TextPanelsSpec",
]


Side = Annotated[Int, Field(ge=32, le=4096)]
LetterSize = Annotated[Int, Field(ge=8, le=400)]
_CONVERT = "none: 8-bit RGB only; rgb: also grey, palette, CMYK, alpha (dropped) and 16 bits (rounded to 8)"


def _crop(value: object) -> object:
    return [value, value] if isinstance(value, int) and not isinstance(value, bool) else value


class ImagesBase(Spec):
    """What all sets of pictures have in common: cutting to size. A kind has ``build``."""

    REQUIRED: ClassVar[dict[str, str]] = {"build": "build() -> linksim.images.sets.ImageSet"}
    has_pictures: ClassVar[bool] = True  # False: frames carry random bits

    kind: str
    crop: Annotated[tuple[PositiveInt, PositiveInt] | None, BeforeValidator(_crop)] = Field(
        None, description="centre crop to [height, width] pixels, or one number for a square"
    )
    multiple_of: PositiveInt = Field(16, description="cut the sides down to multiples of this many pixels")

    @property
    def cutting(self) -> Crop:
        """How pictures are cut to size."""
        from linksim.images.sets import Crop

        height, width = self.crop or (None, None)
        return Crop(height, width, self.multiple_of)

    def build(self) -> ImageSet:
        """The set.

        Raises:
            ImageError: pictures that are not there.
        """
        raise NotImplementedError


@kind("images", "folder")
class FolderImagesSpec(ImagesBase):
    """All pictures of a folder and its sub-folders, sorted by path."""

    kind: Literal["folder"]
    path: PathName = Field(description="folder of the pictures, its sub-folders included")
    limit: PositiveInt | None = Field(None, description="use the first so many pictures only")
    convert: Literal["none", "rgb"] = Field("none", description=_CONVERT)

    def build(self) -> ImageSet:
        """See :class:`ImagesBase`."""
        from linksim.images.folders import FolderImages
        from linksim.images.sets import ImageError

        folder = place(self.path)
        if not folder.is_dir():
            cure = "Give another one with --set images.path=/where/they/are."
            got, expected = looked_at(self.path), "a folder of pictures"
            raise ImageError(complaint("images.path", "no such folder", got, expected, cure))
        return FolderImages(folder, self.cutting, self.convert, self.limit)


@kind("images", "tar")
class TarImagesSpec(ImagesBase):
    """All pictures in tar files, sorted by file and name."""

    kind: Literal["tar"]
    paths: Annotated[tuple[PathName, ...], Field(min_length=1)] = Field(description="uncompressed tar files")
    limit: PositiveInt | None = Field(None, description="use the first so many pictures; none: all")
    convert: Literal["none", "rgb"] = Field("none", description=_CONVERT)

    def build(self) -> ImageSet:
        """See :class:`ImagesBase`."""
        from linksim.images.folders import TarImages
        from linksim.images.sets import ImageError

        for path in self.paths:
            if not place(path).is_file():
                got, expected = looked_at(path), "an uncompressed tar file of pictures"
                raise ImageError(complaint("images.paths", "no such file", got, expected))
        return TarImages([place(path) for path in self.paths], self.cutting, self.convert, self.limit)


@kind("images", "skimage")
class SkimageImagesSpec(ImagesBase):
    """Pictures that ship with scikit-image; camera is grey; hubble, retina and ihc are no photographs."""

    kind: Literal["skimage"]
    names: Annotated[tuple[Annotated[str, Strict()], ...], Field(min_length=1)] = Field(
        (
            "astronaut",
            "coffee",
            "chelsea",
            "rocket",
            "motorcycle",
        ),
        description="some of astronaut, coffee, chelsea, rocket, motorcycle, camera, hubble, retina, ihc",
    )

    def build(self) -> ImageSet:
        """See :class:`ImagesBase`."""
        from linksim.images.sets import SkimageImages

        return SkimageImages(self.names, self.cutting)


@kind("images", "cifar10")
class Cifar10ImagesSpec(ImagesBase):
    """CIFAR-10 from torchvision's files; where they lack a message says how to download them once."""

    kind: Literal["cifar10"]
    path: PathName = Field("data/cifar10", description="folder that holds cifar-10-batches-py")
    split: Literal["test", "train"] = Field("test", description="10,000 pictures, or the 50,000 to train on")
    limit: PositiveInt | None = Field(None, description="use the first so many pictures only")

    def build(self) -> ImageSet:
        """See :class:`ImagesBase`."""
        from linksim.images.cifar import Cifar10Images

        return Cifar10Images(place(self.path), self.split, self.cutting, self.limit)


class DrawnImagesSpec(ImagesBase):
    """What sets that draw their pictures have in common: their number, their size and a seed."""

    count: Annotated[Int, Field(ge=1, le=9999)] = Field(8, description="how many pictures")
    size: tuple[Side, Side] = Field((256, 384), description="[height, width] of every picture in pixels")
    picture_seed: NaturalInt = Field(
        0, description="of what is drawn; a larger count leaves the first pictures as they are"
    )

    @model_validator(mode="after")
    def _drawn_to_size(self) -> DrawnImagesSpec:
        if self.crop is not None:
            expected = "none: a crop would cut off what is drawn, size says how large pictures are"
            raise ValueError(f"crop: got {list(self.crop)}, expected {expected}.")
        if any(side % self.multiple_of for side in self.size):
            got = f"{self.size[0]} x {self.size[1]}"
            raise ValueError(f"size: got {got}, expected multiples of {self.multiple_of} (multiple_of).")
        return self


@kind("images", "text_panels")
class TextPanelsSpec(DrawnImagesSpec):
    """Signs with words, prices and codes over photographs of scikit-image; their text is known to metrics."""

    kind: Literal["text_panels"]
    lines: Annotated[Int, Field(ge=1, le=8)] = Field(3, description="signs on every picture, one line each")
    letter_px: tuple[LetterSize, LetterSize] = Field(
        (18, 44), description="smallest and largest size of the font in pixels"
    )

    @model_validator(mode="after")
    def _legible(self) -> TextPanelsSpec:
        low, high = self.letter_px
        if low > high:
            raise ValueError(f"letter_px: got {low} and {high}, expected the smaller one first.")
        room = int(0.7 * (self.size[0] // self.lines))
        if low > room:
            got = f"{low} with {self.lines} lines in {self.size[0]} rows"
            raise ValueError(f"letter_px: got {got}, expected at most {room}.")
        return self

    def build(self) -> ImageSet:
        """See :class:`ImagesBase`."""
        from linksim.images.text_panels import TextPanels

        return TextPanels(self.count, self.size, self.lines, self.letter_px, self.picture_seed)


@kind("images", "qr_codes")
class QrCodesSpec(DrawnImagesSpec):
    """QR codes on labels over photographs of scikit-image; their payload is known to metrics."""

    kind: Literal["qr_codes"]
    size: tuple[Side, Side] = Field((256, 256), description="[height, width] of every picture in pixels")
    characters: Annotated[Int, Field(ge=1, le=1000)] = Field(
        20, description="of a payload, capital letters and digits"
    )
    correction: Literal["L", "M", "Q", "H"] = Field(
        "M", description="error correction of the code itself: 7, 15, 25 or 30% of its codewords"
    )
    module_px: Annotated[Int, Field(ge=1, le=64)] = Field(
        5, description="side of a dot of the code in pixels"
    )

    def build(self) -> ImageSet:
        """See :class:`ImagesBase`."""
        from linksim.images.qr_codes import QrCodes

        how = self.characters, self.correction, self.module_px
        return QrCodes(self.count, self.size, *how, self.picture_seed)


@kind("images", "none")
class NoImagesSpec(ImagesBase):
    """No pictures: every frame carries random bits, to count errors of bits and blocks. ``images: none``."""

    has_pictures: ClassVar[bool] = False

    kind: Literal["none"]

    @model_validator(mode="after")
    def _nothing_to_cut(self) -> NoImagesSpec:
        for name in ("crop", "multiple_of"):
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected none: there are no pictures.")
        return self

    def build(self) -> ImageSet:
        """See :class:`ImagesBase`."""
        from linksim.images.sets import NoImages

        return NoImages()


def _none(value: object) -> object:
    """The word alone: there is nothing to say of no pictures."""
    return {"kind": "none"} if value == "none" else value


ImagesSpec = Annotated[ImagesBase, KindOf("images"), BeforeValidator(_none)]
PicturesSpec = Annotated[ImagesBase, KindOf("images", but=("none",))]  # to train on


class BandwidthSpec(Spec):
    """How many complex data uses a frame gets: a share of the values of its picture, or a number where there
    are no pictures.
    """

    data_ratio: Ratio | None = Field(
        None, description="complex data uses / (3·H·W), an exact fraction such as 1/48"
    )
    data_uses: PositiveInt | None = Field(
        None, description="of images: none, complex data uses of a frame, such as 4096"
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> BandwidthSpec:
        given = [name for name in ("data_ratio", "data_uses") if getattr(self, name) is not None]
        if len(given) != 1:
            got = " and ".join(given) or "neither"
            raise ValueError(f"got {got}, expected data_ratio (or data_uses with images: none).")
        return self

    @model_serializer(mode="wrap")
    def _what_is_given(self, dump: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if value is not None}

    def check(self, *, has_pictures: bool) -> None:
        """Raise ValueError for what fits the other sort of scenario: with pictures, or without."""
        if has_pictures and self.data_uses is not None:
            raise ValueError("bandwidth.data_uses: got it with pictures, expected data_ratio, such as 1/48.")
        if not has_pictures and self.data_ratio is not None:
            expected = "data_uses, such as 4096"
            raise ValueError(f"bandwidth.data_ratio: got a ratio with images: none, expected {expected}.")

    def uses(self, height: int, width: int) -> Fraction:
        """Complex data uses of a picture [3, H, W]; a whole number where the ratio divides."""
        if self.data_uses is not None:
            return Fraction(self.data_uses)
        assert self.data_ratio is not None
        return self.data_ratio * 3 * height * width
