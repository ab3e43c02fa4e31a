"""Quality search under a byte budget, the stream cache, the payload, and the link-adaptation table."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm

from channels.antennas.transmission import Transmission
from channels.flat.awgn import AwgnChannel
from channels.flat.fading import FlatFadingChannel
from channels.models.tdl import TdlModel
from channels.ofdm.grid import Pilots
from channels.ofdm.link import OfdmChannel
from linksim.coding.calibration import Calibration, CalibrationError, ChannelCalibration, McsCurve
from linksim.coding.link_adaptation import AdaptiveMcs
from linksim.coding.mcs import ALL_MCS, MCS_TABLE_1, MCS_TABLES, in_table
from linksim.coding.qam import Qam
from linksim.coding.qam_rate import rate_and_dispersion
from linksim.coding.transport import TransportBlock
from linksim.images.sets import SkimageImages, image_digest
from linksim.run.calibrate import measure_quality, merge
from linksim.run.calibrate_channel import Frames, measure_channel, thresholds_of
from linksim.schemes.payload import pack, stream_budget, unpack
from linksim.source.codec import make_source_codec
from linksim.source.hevc import CodecError
from linksim.source.pillow_codec import PillowCodec
from linksim.source.quality_search import QualitySearch
from linksim.source.stream_cache import StreamCache

from sionna.phy.nr.utils import decode_mcs_index

CODECS = ["bpg", *(c for c in ("jpeg", "jpeg2000", "webp", "avif") if PillowCodec.available(c))]


@pytest.fixture(scope="module")
def picture() -> tuple[np.ndarray, str]:
    image = SkimageImages(["chelsea"])["chelsea"][:, 50:146, 100:228]
    return image.permute(1, 2, 0).contiguous().numpy(), image_digest(image)


class Counting:
    """A codec that counts what it encodes."""

    def __init__(self, codec) -> None:
        self._codec, self.encoded = codec, []

    def __getattr__(self, name):
        return getattr(self._codec, name)

    def encode(self, rgb, quality):
        self.encoded.append(quality)
        return self._codec.encode(rgb, quality)


@pytest.mark.parametrize("codec", CODECS)
def test_best_quality_fits_and_is_the_best_of_its_neighbourhood(codec, picture, tmp_path):
    rgb, digest = picture
    chroma = "444" if codec == "jpeg2000" else "420"
    search = QualitySearch(make_source_codec(codec, chroma), StreamCache(tmp_path))
    for budget in (700, 1500, 4000):
        best = search.best(rgb, digest, budget)
        if best is None:
            worst = search.codec.qualities[-1]
            assert len(search.stream(rgb, digest, worst)) > budget
            continue
        stream, quality, _ = best
        assert len(stream) <= budget
        at = search.codec.qualities.index(quality)
        for better in search.codec.qualities[max(at - 2, 0) : at]:
            assert len(search.stream(rgb, digest, better)) > budget
        assert search.decode(stream, rgb.shape[:2]).shape == rgb.shape


def test_reduced_size_shows_more_where_little_fits(picture, tmp_path):
    """Full size does not fit 150 bytes at all; half size does; at 4,000 bytes full size is better."""
    rgb, digest = picture
    cache = StreamCache(tmp_path)
    full = QualitySearch(make_source_codec("bpg", "420"), cache)
    free = QualitySearch(make_source_codec("bpg", "420"), cache, (1, 2, 4))
    assert free.name == "bpg-420-1/2/4"
    used = set()
    for budget in (60, 150, 250, 400, 700, 4000):
        one, best = full.best(rgb, digest, budget), free.best(rgb, digest, budget)
        if best is None:
            assert one is None
            continue
        used.add(best.resolution)
        assert len(best.stream) <= budget
        shown = free.decode(best.stream, rgb.shape[:2])
        assert shown.shape == rgb.shape
        if one is not None:
            before = np.square(full.decode(one.stream, rgb.shape[:2]).astype(float) - rgb).sum()
            assert np.square(shown.astype(float) - rgb).sum() <= before
    assert {1, 2} <= used
    with pytest.raises(CodecError):
        full.decode(free.best(rgb, digest, 150).stream, rgb.shape[:2])


@pytest.mark.parametrize("codec", ["bpg", "jpeg"])
def test_size_of_a_picture_is_in_its_stream(codec, tmp_path):
    """90 x 127 pixels in full, half and quarter size: the stream is of this size and of no other, such as 91 x 128 or
    89 x 126, which have the same half or quarter, or twice the size; that costs one byte. With full size only the
    codec's own header says it."""
    rgb = np.ascontiguousarray(
        SkimageImages(["chelsea"])["chelsea"].permute(1, 2, 0).numpy()[50:140, 100:227]
    )
    others = [(91, 128), (90, 128), (89, 126), (92, 127), (45, 64), (180, 254), (127, 90)]
    for resolutions in ((1,), (2,), (4,), (1, 2, 4)):
        search = QualitySearch(make_source_codec(codec, "420"), StreamCache(tmp_path), resolutions)
        for budget in (700, 1500):
            fit = search.best(rgb, "size", budget)
            if fit is None:
                continue
            assert len(fit.stream) <= budget
            assert search.decode(fit.stream, (90, 127)).shape == (90, 127, 3)
            for other in others:
                with pytest.raises(CodecError):
                    search.decode(fit.stream, other)
    plain = QualitySearch(make_source_codec(codec, "420"), StreamCache(tmp_path), (1,))
    choice = QualitySearch(make_source_codec(codec, "420"), StreamCache(tmp_path), (1, 2, 4))
    best = plain.best(rgb, "size", 20_000), choice.best(rgb, "size", 20_001)
    assert best[1].stream[1:] == best[0].stream


def test_nothing_fits_an_impossible_budget(picture, tmp_path):
    search = QualitySearch(make_source_codec("bpg", "420"), StreamCache(tmp_path))
    assert search.best(*picture, 20) is None


def test_second_search_reads_the_disk_and_a_damaged_entry_is_coded_again(picture, tmp_path):
    first = QualitySearch(make_source_codec("bpg", "420"), StreamCache(tmp_path))
    expected = first.best(*picture, 1500)
    counting = Counting(make_source_codec("bpg", "420"))
    assert QualitySearch(counting, StreamCache(tmp_path)).best(*picture, 1500) == expected
    assert counting.encoded == []
    for path in tmp_path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            path.write_bytes(data[: len(data) // 2])
    assert QualitySearch(counting, StreamCache(tmp_path)).best(*picture, 1500) == expected
    assert counting.encoded


def test_cache_that_cannot_be_written_is_done_without(picture):
    search = QualitySearch(
        make_source_codec("jpeg", "420"), StreamCache(__import__("pathlib").Path("/proc/nowhere"))
    )
    assert search.best(*picture, 4000) is not None


def test_webp_444_is_refused():
    with pytest.raises(ValueError, match="WebP has none but 4:2:0"):
        make_source_codec("webp", "444")
    with pytest.raises(ValueError, match="JPEG 2000 has none but 4:4:4"):
        make_source_codec("jpeg2000", "420")


@pytest.mark.parametrize("length", [0, 1, 127, 128, 5000, 16383, 16384, 60000])
def test_payload_round_trip(length):
    stream = bytes(range(256)) * 300
    for size in (length + 3, length + 50):
        bits = pack(stream[:length], size).bits
        assert bits.shape == (8 * size,)
        assert bits.any(), "zeros are what a decoder returns that knows nothing"
        assert unpack(bits) == stream[:length]


def test_stream_budget_leaves_room_for_the_length_field():
    for size in (1, 2, 128, 129, 130, 16385, 16387, 40000):
        budget = stream_budget(size)
        pack(b"x" * budget, max(size, 2))
        with pytest.raises(ValueError, match="stream too long"):
            pack(b"x" * (budget + 1), size)


def test_impossible_length_is_a_codec_error():
    for data in (b"\xff\xff\xff", b"\x7f" + bytes(20), b""):
        with pytest.raises(CodecError, match="length field"):
            unpack(np.unpackbits(np.frombuffer(data, np.uint8)))


# -------------------------------------------------------------------------------- link adaptation


def test_bler_is_interpolated_between_points_and_certain_below():
    curve = McsCurve.counted(MCS_TABLE_1[3], (0.0, 1.0, 2.0), (100, 50, 0), 100)
    assert curve.bler(-5) == 1
    assert curve.bler(1.0) == pytest.approx(0.5, abs=0.01)
    assert curve.bler(0.5) > curve.bler(1.0) > curve.bler(1.5) > curve.bler(2.0)
    assert curve.bler(30) == pytest.approx(0.5 / 101)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Calibration:
    """A real calibration, small: four MCS, 24 frames of 600 uses, two pictures."""
    images = SkimageImages(["coffee", "rocket"])
    pictures = [images[n][:, :96, :128] for n in images.names]
    search = QualitySearch(make_source_codec("bpg", "420"), StreamCache(tmp_path_factory.mktemp("streams")))
    subset = [MCS_TABLE_1[i] for i in (2, 6, 12, 20)]
    channel = measure_channel(AwgnChannel(), {"kind": "awgn"}, 600, num_frames=24, table=subset)
    return merge(None, [channel], [measure_quality(search, pictures, "two photographs")])


def test_measured_thresholds_rise_with_the_mcs_and_lie_above_capacity(table):
    midpoints = []
    for curve in table.channels[0].curves:
        share = np.array(curve.errors) / curve.num_blocks
        assert np.all(np.diff(share) <= 0), "block error rate must fall with the SNR"
        midpoint = float(np.interp(0.5, share[::-1], curve.snr_db[::-1]))
        capacity_db = 10 * np.log10(2**curve.scheme.efficiency - 1)
        assert capacity_db < midpoint < capacity_db + 4
        midpoints.append(midpoint)
    assert midpoints == sorted(midpoints)


def test_choice_follows_the_snr_and_is_robust_at_the_threshold(table):
    channel, quality = table.channels[0], table.quality[0]
    assert quality.values == tuple(sorted(quality.values))
    adaptive = AdaptiveMcs((channel,), quality)
    chosen = [adaptive.choose(float(s), 600, lambda m: 0.3 * m.efficiency).index for s in range(-6, 20)]
    assert chosen == sorted(chosen)
    assert set(chosen) == {2, 6, 12, 20}
    for snr_db, index in zip(range(-6, 20), chosen, strict=True):
        curve = next(c for c in channel.curves if c.mcs == index)
        if snr_db > 0:
            assert curve.bler(float(snr_db)) < 0.2, "a grey picture costs more than a lower rate"


def test_target_bler_takes_the_fastest_mcs_within_it(table):
    adaptive = AdaptiveMcs((table.channels[0],), None, policy="target_bler", target_bler=0.05)
    for snr_db in range(-8, 20):
        rates = adaptive.block_error_rates(float(snr_db), 600)
        chosen = adaptive.choose(float(snr_db), 600, lambda mcs: 0.0)
        good = [mcs for mcs, p in rates.items() if p <= 0.05]
        expected = max(good, key=lambda m: m.efficiency) if good else min(rates, key=lambda m: m.efficiency)
        assert chosen == expected
    assert adaptive.choose(30.0, 600, lambda mcs: 0.0).index == 20


def test_a_length_that_was_not_measured_gets_the_worst_around_it():
    """Thresholds move with the length: 2 dB at one, 3 dB at another; between the two nothing is promised. Below
    both, the shortest is worse by what the normal approximation says.
    """
    mcs = MCS_TABLE_1[5]

    def length(num_uses: int, threshold: float) -> ChannelCalibration:
        snr_db = (threshold - 0.25, threshold, threshold + 0.25)
        curve = McsCurve.counted(mcs, snr_db, (200, 0, 0), 200)
        return ChannelCalibration(
            channel={"kind": "awgn"}, num_uses=num_uses, seed=1, command="", decoder="", curves=(curve,)
        )

    adaptive = AdaptiveMcs((length(1000, 2.0), length(4000, 3.0)), None)
    assert adaptive.block_error_rates(2.5, 1005)[mcs] < 0.01
    assert adaptive.block_error_rates(2.5, 4000)[mcs] > 0.99
    assert adaptive.block_error_rates(2.5, 2000)[mcs] > 0.99
    assert adaptive.block_error_rates(3.5, 2000)[mcs] < 0.01
    assert adaptive.block_error_rates(2.5, 1_000_000)[mcs] > 0.99, "the longest, not the worst of all"
    loss = brentq(lambda loss: adaptive.block_error_rates(2.0 + loss, 250)[mcs] - 0.5, -1, 3)
    error = norm.isf(0.1)

    def bits(snr_db: float, n: int) -> float:
        rate, dispersion = rate_and_dispersion(snr_db, 2)
        return n * rate - error * np.sqrt(n * dispersion) + 0.5 * np.log2(n)

    sent = {n: TransportBlock(n, 2, mcs.rate) for n in (250, 1000)}
    assert {n: b.size + 16 for n, b in sent.items()} == {250: 200, 1000: 752}, "0.400 against 0.376"
    needed = [brentq(lambda s, n=n: bits(s, n) - sent[n].size - 16, -20, 20) for n in sent]
    assert loss + 0.125 == pytest.approx(needed[0] - needed[1], abs=0.01)  # the curve crosses 1/2 at 1.875 dB
    assert needed[0] - needed[1] > 0.25


def test_table_round_trip_merge_and_unknown_channel(table, tmp_path):
    path = tmp_path / "table.json"
    table.save(path)
    assert Calibration.load(path) == table
    again = merge(table, table.channels, table.quality)
    assert len(again.channels) == len(again.quality) == 1
    begun = table.channels[0].model_copy(update={"curves": table.channels[0].curves[:1], "seed": 5})
    during = merge(table, [], [], [begun])
    assert during.channels == table.channels, "an interrupted measurement replaces nothing"
    key = (begun.channel, begun.num_uses, 24)
    assert [c.scheme for c in during.measured(*key, seed=5)] == [begun.curves[0].scheme]
    assert not during.measured(*key, seed=6)
    assert merge(during, [begun], []).unfinished == ()
    with pytest.raises(CalibrationError, match="linksim calibrate"):
        table.lengths({"kind": "rayleigh"})
    with pytest.raises(CalibrationError, match="no quality curve"):
        table.quality_of("jpeg-420")


def test_frames_that_decode_at_an_snr_decode_above_it():
    """Fade and noise of a frame are the same at every SNR; 48 frames of 600 uses, every 0.5 dB."""
    frames = Frames(FlatFadingChannel(coherence_symbols=100), 600, 48, 3)
    sent = frames.sent(TransportBlock(600, 2, MCS_TABLE_1[4].rate), Qam(2))
    good = np.stack([sent.succeed(np.full(48, s)) for s in np.arange(-4.0, 12.0, 0.5)])
    rises = np.diff(good.astype(int), axis=0)
    assert (rises > 0).sum() > 30
    assert (rises < 0).sum() <= 2, "only where a decoder happens to converge"


@pytest.mark.parametrize("antennas", [1, 2])
def test_thresholds_are_those_of_the_snr_that_the_transmitter_is_told(antennas):
    """Flat fading, the same over the whole frame: told the SNR of the frame, one stream is AWGN. 24 frames decode
    within 1 dB of each other, those told the average do not. Two streams still differ by their antennas."""
    spreads = {}
    for told in ("instantaneous_snr", "average_snr"):
        model = TdlModel(
            "A",
            delay_spread_s=0.0,
            carrier_hz=3.5e9,
            num_rx_antennas=antennas,
            num_tx_antennas=antennas,
        )
        kind = "multiplexing" if antennas == 2 else "single"
        channel = OfdmChannel(
            model,
            csi="perfect",
            transmission=Transmission(kind),
            pilots=Pilots((2, 11), antennas),
        )
        curve = measure_channel(channel, {}, 600, num_frames=24, csit=told, table=[MCS_TABLE_1[6]]).curves[0]
        some = [s for s, errors in zip(curve.snr_db, curve.errors, strict=True) if 0 < errors < 24]
        spreads[told] = max(some) - min(some) if some else 0.0
    if antennas == 1:
        assert spreads["instantaneous_snr"] <= 1.0
        assert spreads["average_snr"] > 10.0
    assert spreads["instantaneous_snr"] < spreads["average_snr"]


def test_thresholds_do_not_depend_on_the_mcs_before():
    """On fast fading 16-QAM starts below where QPSK of nearly the same rate ended: 16 frames."""
    channel, pair = FlatFadingChannel(coherence_symbols=1), [MCS_TABLE_1[9], MCS_TABLE_1[10]]
    after, alone = (
        measure_channel(channel, {"kind": "rayleigh"}, 1024, num_frames=16, table=table)
        for table in (pair, pair[1:])
    )
    assert after.curves[1] == alone.curves[0]
    assert min(after.curves[0].snr_db) > min(alone.curves[0].snr_db), "the case that it is about"


def test_search_of_thresholds_finds_them_from_any_guess():
    grid, true = np.arange(60.0), np.array([0, 3, 7, 59, 60])
    tried = []

    def succeed(snr):
        tried.append(int(np.isfinite(snr).sum()))
        return grid.searchsorted(snr) >= true

    for guess in (0, 5, 19, 59, 75):
        found = thresholds_of(succeed, np.full(5, guess), grid)
        assert found.tolist() == true.tolist()
    tried.clear()
    assert thresholds_of(succeed, true, grid).tolist() == true.tolist()
    assert sum(tried) <= 5 + 4, "a right guess is checked at itself and below, and nowhere else"


def test_tables_are_those_of_sionna():
    """TS 38.214 tables 5.1.3.1-1 to -3 against Sionna's."""
    for number, rows in MCS_TABLES.items():
        index = torch.arange(len(rows))
        order, rate = decode_mcs_index(index, table_index=number, is_pusch=False)
        assert order.tolist() == [m.bits_per_symbol for m in rows]
        assert rate.tolist() == pytest.approx([m.rate for m in rows], rel=1e-6)


def test_all_mcs_are_the_three_tables_once_each():
    pairs = {(m.bits_per_symbol, m.rate) for rows in MCS_TABLES.values() for m in rows}
    assert pairs == {(m.bits_per_symbol, m.rate) for m in ALL_MCS}
    assert len(pairs) == len(ALL_MCS)
    assert min(m.rate for m in ALL_MCS) == 30 / 1024


def test_choice_stays_in_the_table_that_is_asked_for(table):
    channel, quality = table.channels[0], table.quality[0]
    adaptive = AdaptiveMcs((channel,), quality, table=3)
    for snr_db in range(-8, 24):
        chosen = adaptive.choose(float(snr_db), 600, lambda m: 0.3 * m.efficiency)
        assert in_table(chosen, 3)


@pytest.mark.parametrize("mcs", [ALL_MCS[0], ALL_MCS[-1]], ids=["30/1024", "256QAM 948/1024"])
def test_extreme_rates_go_through_the_chain(mcs):
    """The lowest rate repeats the circular buffer; 8 frames of 4,000 uses, 5 dB above capacity."""
    snr_db = 10 * math.log10(2**mcs.efficiency - 1) + 5.0
    block, qam = TransportBlock(4000, mcs.bits_per_symbol, mcs.rate), Qam(mcs.bits_per_symbol)
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2, (8, block.size), dtype=np.uint8)
    channel = AwgnChannel()
    received = channel(qam.modulate(block.encode(bits)), torch.full((8,), snr_db), range(8))
    decoded = block.decode(qam.demodulate(received.y, received.csi.no.expand(8, 4000)))
    assert decoded.ok.all()
    assert (decoded.bits == bits).all()
