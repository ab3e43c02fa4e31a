"""The contract, over every scheme."""

from __future__ import annotations

import dataclasses
import math
import multiprocessing
import pickle

import pytest
import torch

from channels.flat.awgn import AwgnChannel
from channels.flat.fading import FlatFadingChannel
from channels.types import Csit
from linksim.images.sets import SkimageImages
from linksim.link import run_link
from linksim.metrics.distortion import psnr
from linksim.schemes.base import Frame, Reconstruction
from linksim.schemes.bound import SourceBound
from linksim.schemes.jscc import IMAGE_SIZE_BITS, TellingCodec
from linksim.source.codec import make_source_codec
from linksim.source.quality_search import QualitySearch
from tests.contracts import schemes
from tests.contracts.schemes import ANALOG, BUDGET, DIGITAL, SCHEMES, SIDE, Kept, receive_elsewhere

SEEDS = [5, 6, 7]


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    images = SkimageImages(["astronaut", "coffee", "chelsea"])
    crops = [images[name][:, 60 : 60 + SIDE, 200 : 200 + SIDE] for name in images.names]
    return torch.stack(crops).float() / 255


def link(name, pictures, snr_db, channel=None, seeds=SEEDS):
    with torch.no_grad():
        snr = torch.full((len(pictures),), float(snr_db))
        return run_link(SCHEMES[name](), channel or AwgnChannel(), pictures, snr, seeds, BUDGET)


@pytest.mark.parametrize("name", SCHEMES)
def test_frame_has_n_symbols_of_unit_power(name, pictures):
    scheme = SCHEMES[name]()
    snr_db = torch.full((3,), 10.0)
    h = torch.ones(3, BUDGET, dtype=torch.complex64)
    with torch.no_grad():
        frame = scheme.transmit(pictures, BUDGET, Csit(snr_db, h))
    assert frame.symbols.shape == (3, BUDGET)
    power = frame.symbols.abs().square().mean(1)
    limit = 1e-5 if name in ANALOG else 4 * 0.62 / math.sqrt(BUDGET)
    assert bool(((power - 1).abs() < limit).all()), power


@pytest.mark.parametrize("name", SCHEMES)
def test_picture_comes_back_in_its_size(name, pictures):
    out = link(name, pictures, 12.0)
    assert out.reconstruction.image.shape == pictures.shape
    assert len(out.reconstruction.states) == 3
    assert bool(torch.isfinite(out.reconstruction.image).all())
    assert out.uses.data == BUDGET


@pytest.mark.parametrize("name", SCHEMES)
def test_result_of_an_image_does_not_depend_on_its_batch(name, pictures):
    whole = link(name, pictures, 8.0)
    alone = link(name, pictures[1:2], 8.0, seeds=SEEDS[1:2])
    assert torch.allclose(whole.reconstruction.image[1:2], alone.reconstruction.image, atol=1e-5)
    assert whole.reconstruction.states[1] == alone.reconstruction.states[0]
    if whole.reconstruction.bits_hat is not None:
        assert torch.equal(whole.reconstruction.bits_hat[1], alone.reconstruction.bits_hat[0])


@pytest.fixture(scope="module")
def other_process():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        yield pool


@pytest.mark.parametrize("name", SCHEMES)
def test_receiver_needs_nothing_but_received_layout_and_seeds(name, pictures, other_process):
    """The receiver half runs in a process that has only these three, and gives the same picture."""
    scheme = SCHEMES[name]()
    channel = FlatFadingChannel() if scheme.csit == "perfect" else AwgnChannel()
    snr_db = torch.full((3,), 14.0)
    draw = channel.draw(BUDGET, SEEDS)
    with torch.no_grad():
        frame = scheme.transmit(pictures, BUDGET, Csit(snr_db, channel.gain(draw, torch.ones(len(SEEDS), 1))))
        received = channel(frame.symbols, snr_db, SEEDS, draw)
        here = scheme.receive(received, frame.layout, SEEDS)
    image, states = other_process.apply(receive_elsewhere, (name, received, frame.layout, SEEDS))
    assert states == here.states
    assert torch.allclose(image, here.image, atol=1e-5)


def _tensors(value) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if dataclasses.is_dataclass(value):
        return [t for f in dataclasses.fields(value) for t in _tensors(getattr(value, f.name))]
    return [t for v in value for t in _tensors(v)] if isinstance(value, list | tuple) else []


@pytest.mark.parametrize("name", SCHEMES)
def test_layout_holds_nothing_of_picture_or_channel(name, pictures):
    """Layouts of two pictures and two fades pickle to the same bytes, and hold no gain. Side information of a
    scheme is bytes, no more than it pays for beside the size of the picture, and all in which layouts differ.
    """
    snr_db = torch.full((3,), 14.0)
    layouts, told = [], []
    for image, seeds in ((pictures, SEEDS), (pictures.flip(0).flip(3), [8, 9, 10])):
        channel = FlatFadingChannel()
        csit = Csit(snr_db, channel.gain(channel.draw(BUDGET, seeds), torch.ones(len(SEEDS), 1)))
        with torch.no_grad():
            frame = SCHEMES[name]().transmit(image, BUDGET, csit)
        layout, bits = frame.layout, frame.side_info_bits - IMAGE_SIZE_BITS
        if bits > 0:
            side = layout.symbols.told
            assert side.dtype == torch.uint8
            assert side.shape == (3, -(-bits // 8))
            told.append(side)
            layout = dataclasses.replace(layout, symbols=dataclasses.replace(layout.symbols, told=None))
        layouts.append(layout)
    assert not told or not torch.equal(*told)
    assert pickle.dumps(layouts[0]) == pickle.dumps(layouts[1])
    assert not any(t.is_complex() or t.numel() > 3 for t in _tensors(layouts[0]))


@pytest.mark.parametrize("name", SCHEMES)
def test_size_of_the_picture_is_told_and_paid_for(name, pictures):
    """The rule for all: a receiver is not given the size of the picture. Either it is charged for 32 bits of side
    information, or a frame that decodes is shown in the size that its payload says, and in no other, whatever
    canvas the receiver is handed."""
    scheme = SCHEMES[name]()
    snr_db, h = torch.full((3,), 40.0), torch.ones(3, BUDGET, dtype=torch.complex64)
    with torch.no_grad():
        frame = scheme.transmit(pictures, BUDGET, Csit(snr_db, h))
        if frame.side_info_bits:
            codec = getattr(scheme, "codec", None)
            more = codec.side_info_bits(frame.layout.symbols) if isinstance(codec, TellingCodec) else 0
            assert frame.side_info_bits == IMAGE_SIZE_BITS + more
            return
        received = AwgnChannel()(frame.symbols, snr_db, SEEDS)
        assert set(scheme.receive(received, frame.layout, SEEDS).states) <= {"ok", "source_unfit"}
        for canvas in ((SIDE - 1, SIDE), (SIDE, 2 * SIDE), (SIDE // 2, SIDE // 2), (255, 253)):
            layout = dataclasses.replace(frame.layout, height=canvas[0], width=canvas[1])
            shown = scheme.receive(received, layout, SEEDS)
            assert set(shown.states) <= {"parse_failed", "source_unfit"}
            assert bool((shown.image == 128 / 255).all())


def test_receiver_gets_other_seeds_than_the_channel(pictures):
    """With the channel's own a receiver that samples would begin with the channel's noise."""
    seen: list[int] = []

    class Spy:
        name, csit = "spy", "none"

        def check(self, height, width, budget):
            pass

        def transmit(self, image, budget, csit):
            return Frame(torch.ones(len(image), budget, dtype=torch.complex64), None)

        def receive(self, received, layout, seeds):
            seen.extend(seeds)
            return Reconstruction(pictures, ("ok",) * len(pictures))

    run_link(Spy(), AwgnChannel(), pictures, torch.full((3,), 10.0), SEEDS, BUDGET)
    assert len(set(seen)) == 3
    assert not set(seen) & set(SEEDS)


@pytest.mark.parametrize("name", DIGITAL)
def test_no_block_error_at_60_db(name, pictures):
    out = link(name, pictures, 60.0)
    assert torch.equal(out.reconstruction.bits_hat, out.sent_bits)
    assert bool(out.reconstruction.block_ok.all())
    # The header of a JPEG file alone can exceed the budget of so small a picture; BPG always fits.
    assert set(out.reconstruction.states) <= ({"ok", "source_unfit"} if name.startswith("jpeg") else {"ok"})


@pytest.mark.parametrize("name", DIGITAL)
def test_below_threshold_the_picture_is_grey_and_counted(name, pictures):
    out = link(name, pictures, -12.0)
    assert out.reconstruction.states == ("crc_failed",) * 3
    assert bool((out.reconstruction.image == 128 / 255).all())


@pytest.mark.parametrize("name", ANALOG)
def test_analog_quality_falls_gracefully(name, pictures):
    channel = FlatFadingChannel(coherence_symbols=None) if name == "cnn-snr_h" else None
    values = [
        float(psnr(link(name, pictures, s, channel).reconstruction.image, pictures).mean()) for s in (0, 30)
    ]
    if name.startswith("linear"):
        assert values[1] > values[0] + 5
    else:
        assert math.isfinite(values[0])  # random weights: no quality to speak of


@pytest.fixture(scope="module")
def coded() -> Kept:
    return Kept()


OVER = {"awgn": AwgnChannel(), "rayleigh": FlatFadingChannel()}
LONG = {("awgn", "avif"), ("rayleigh", "avif"), ("rayleigh", "bpg-sionna-decoder")}


@pytest.mark.parametrize(
    ("channel", "name"),
    [
        pytest.param(
            OVER[over],
            n,
            marks=pytest.mark.slow if {(over, n), (over, n[:4])} & LONG else (),
            id=f"{over}-{n}",
        )
        for over in OVER
        for n in DIGITAL
    ],
)
def test_separation_never_beats_the_capacity_bound_of_its_codec(name, channel, coded, monkeypatch):
    monkeypatch.setattr(schemes, "NoCache", lambda: coded)
    codec, side = name.split("-")[0], 160
    images = SkimageImages(["astronaut", "coffee", "chelsea"])
    pictures = (
        torch.stack([images[n][:, 60 : 60 + side, 200 : 200 + side] for n in images.names]).float() / 255
    )
    budget, compared = 3 * side * side // 12, 0
    bound = SourceBound("bound", QualitySearch(make_source_codec(codec, "420"), coded))
    for snr_db in (8.0, 16.0, 26.0):
        snr = torch.full((3,), snr_db)
        with torch.no_grad():
            limit = run_link(bound, channel, pictures, snr, SEEDS, budget).reconstruction
            reached = run_link(SCHEMES[name](), channel, pictures, snr, SEEDS, budget).reconstruction
        for i, state in enumerate(reached.states):
            if state == "ok":
                assert limit.states[i] == "ok"
                best = psnr(limit.image[i : i + 1], pictures[i : i + 1])
                assert psnr(reached.image[i : i + 1], pictures[i : i + 1]) <= best + 0.05  # sizes: no order
                compared += 1
    assert compared >= 3, "nothing decoded, nothing compared"
