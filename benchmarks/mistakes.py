"""How much each mistake of public baselines moves a curve: every one switched on here, outside the package.

Prints one JSON line per mistake: ``mistake``, ``effect`` (what is compared), and its numbers. Photographs
that ship with scikit-image, AWGN or Rayleigh fading, BPG + LDPC or the linear analog code. The page
docs/mistakes.md quotes this output.

    python benchmarks/mistakes.py [--only NAME ...]
"""

from __future__ import annotations

import argparse
import io
import json
import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from skimage.feature import canny

from channels.base import ChannelOperator
from channels.equalization import equalize
from channels.flat.awgn import AwgnChannel
from channels.flat.fading import FlatFadingChannel
from channels.types import Csi, Csit, Received
from linksim.coding.bounds import outage_bits
from linksim.coding.calibration import Calibration
from linksim.coding.link_adaptation import AdaptiveMcs
from linksim.coding.mcs import MCS_TABLE_1, Mcs
from linksim.coding.qam import Qam
from linksim.coding.transport import TransportBlock, transport_block_size
from linksim.images.sets import Crop, SkimageImages, image_digest
from linksim.jscc.block_klt import BlockKlt
from linksim.jscc.linear_analog import LinearAnalogCodec
from linksim.results.records import side_info_uses
from linksim.schemes.payload import stream_budget
from linksim.source.codec import make_source_codec
from linksim.source.hevc import CodecError
from linksim.source.quality_search import QualitySearch, Wish
from linksim.weights import zoo

NAMES = ("astronaut", "coffee", "chelsea", "rocket", "motorcycle")
SIZE = (256, 384)
SNRS_DB = (1.0, 4.0, 7.0, 10.0, 13.0)
GREY = 128.0
NUM_BLOCKS = 200


# ------------------------------------------------------------------------------------------ honest parts


@lru_cache(maxsize=1)
def photographs() -> tuple[tuple[np.ndarray, str], ...]:
    """Five pictures [256, 384, 3] uint8 with the names of their pixels."""
    images = SkimageImages(list(NAMES), Crop(*SIZE, 16))
    return tuple(
        (images[n].permute(1, 2, 0).contiguous().numpy(), image_digest(images[n])) for n in images.names
    )


@lru_cache(maxsize=1)
def search() -> QualitySearch:
    """BPG 4:2:0 at full, half and quarter size."""
    return QualitySearch(make_source_codec("bpg"), resolutions=(1, 2, 4))


RAYLEIGH_KEY: dict[str, object] = {"kind": "rayleigh"}


def adaptive_on(key: dict[str, object], table: int | None = 1) -> AdaptiveMcs:
    """The shipped link-adaptation table on a channel, for the MCS of one table of TS 38.214."""
    stored = Calibration.load(zoo.asset("mcs-calibration.json"))
    return AdaptiveMcs(stored.lengths(key), stored.quality_of(search().name), table)


@lru_cache(maxsize=1)
def adaptive() -> AdaptiveMcs:
    """All of the shipped table on AWGN."""
    return adaptive_on({"kind": "awgn"}, None)


def decoded(mcs: Mcs, n: int, channel: ChannelOperator, snr_db: float, count: int) -> np.ndarray:
    """Whether each of ``count`` frames decodes [count], the same fades and noises for every MCS and SNR."""
    block, qam = TransportBlock(n, mcs.bits_per_symbol, mcs.rate), Qam(mcs.bits_per_symbol)
    payload = np.random.default_rng(2).integers(0, 2, (count, block.size), dtype=np.uint8)
    received = channel(
        qam.modulate(block.encode(payload)), torch.full((count,), snr_db), list(range(100, 100 + count))
    )
    result: np.ndarray = block.decode(qam.demodulate(*equalize(received, "zf"))).ok
    return result


def uses(inverse_ratio: int) -> int:
    """Channel uses of a picture at CBR 1/inverse_ratio."""
    return 3 * SIZE[0] * SIZE[1] // inverse_ratio


def psnr(shown: np.ndarray, rgb: np.ndarray) -> float:
    """PSNR [dB] of 8-bit pictures."""
    return 10 * math.log10(255**2 / np.square(shown.astype(float) - rgb).mean())


def grey(rgb: np.ndarray) -> float:
    """PSNR of what a receiver shows that decoded nothing."""
    return psnr(np.full_like(rgb, GREY), rgb)


@lru_cache(maxsize=4096)
def psnr_at(budget: int, picture: int) -> float:
    """PSNR [dB] of a picture within a budget in bytes; grey if nothing fits."""
    rgb, digest = photographs()[picture]
    fit = search().best(rgb, digest, budget)
    return grey(rgb) if fit is None else psnr(search().decode(fit.stream, SIZE), rgb)


def mean_quality(budget_bytes: float) -> float:
    """Mean PSNR of the best streams within a budget; grey where none fits."""
    wishes = [Wish(rgb, digest, int(budget_bytes)) for rgb, digest in photographs()]
    values = []
    for wish, fit in zip(wishes, search().best_of(wishes), strict=True):
        values.append(psnr(search().decode(fit.stream, SIZE), wish.rgb) if fit else grey(wish.rgb))
    return float(np.mean(values))


def chosen(snr_db: float, num_uses: int) -> Mcs:
    """What the honest link adaptation sends at an SNR."""

    def rate(mcs: Mcs) -> float:
        size = transport_block_size(num_uses, mcs.bits_per_symbol, mcs.rate)
        return 8 * stream_budget(size // 8) / (SIZE[0] * SIZE[1])

    return adaptive().choose(snr_db, num_uses, rate)


def honest_bytes(mcs: Mcs, num_uses: int) -> int:
    """Bytes that are left for the stream."""
    return stream_budget(transport_block_size(num_uses, mcs.bits_per_symbol, mcs.rate) // 8)


def gains(wrong: Callable[[Mcs, int], float], inverse_ratio: int) -> dict[str, float]:
    """Mean PSNR with another byte budget less the honest one, by SNR [dB]."""
    n, result = uses(inverse_ratio), {}
    for snr_db in SNRS_DB:
        mcs = chosen(snr_db, n)
        result[f"{snr_db:g} dB"] = mean_quality(wrong(mcs, n)) - mean_quality(honest_bytes(mcs, n))
    return result


def linear() -> LinearAnalogCodec:
    """The linear analog code, its scale sent and paid for."""
    return LinearAnalogCodec(BlockKlt.load(zoo.asset("block-klt-16.safetensors")))


def tensor() -> torch.Tensor:
    """The photographs [5, 3, H, W] in [0, 1]."""
    return torch.stack([torch.from_numpy(rgb).permute(2, 0, 1) for rgb, _ in photographs()]).float() / 255


def psnrs(shown: torch.Tensor) -> list[float]:
    """PSNR of every picture."""
    rounded = (shown.clamp(0, 1) * 255).round().permute(0, 2, 3, 1).numpy()
    return [psnr(x, rgb) for x, (rgb, _) in zip(rounded, photographs(), strict=True)]


# -------------------------------------------------------------------------------------- uses not counted


def padding_not_counted() -> dict[str, object]:
    """Streams cut into LDPC blocks of 1024 bits, the last one filled up, filler and CRC for free."""

    def wrong(mcs: Mcs, n: int) -> float:
        return n * mcs.efficiency / 8

    k = 1024
    overdraft = []
    for snr_db in SNRS_DB:
        mcs = chosen(snr_db, uses(96))
        bits = uses(96) * mcs.efficiency
        overdraft.append(math.ceil(bits / k) * k / bits - 1)
    return {
        "effect": "PSNR gained [dB]; uses really needed beyond those claimed [%], CBR 1/96",
        "psnr": gains(wrong, 96),
        "uses_percent": 100 * float(np.mean(overdraft)),
    }


def free_header() -> dict[str, object]:
    """22 bytes of every stream known to the receiver beforehand."""
    return {
        "effect": "PSNR gained [dB] at CBR 1/384 and 1/96",
        "1/384": gains(lambda mcs, n: honest_bytes(mcs, n) + 22, 384),
        "1/96": gains(lambda mcs, n: honest_bytes(mcs, n) + 22, 96),
    }


def mosaic() -> dict[str, object]:
    """The whole batch as one picture: one header, one rate shared out by the codec."""
    whole = np.concatenate([rgb for rgb, _ in photographs()], axis=0)
    digest = image_digest(torch.from_numpy(whole).permute(2, 0, 1).contiguous())
    result = {}
    for snr_db in SNRS_DB:
        mcs = chosen(snr_db, uses(96))
        fit = search().best(whole, digest, honest_bytes(mcs, len(NAMES) * uses(96)))
        assert fit is not None
        shown = np.split(search().decode(fit.stream, whole.shape[:2]), len(NAMES), axis=0)
        values = [psnr(x, rgb) for x, (rgb, _) in zip(shown, photographs(), strict=True)]
        single = [mean_quality(honest_bytes(mcs, uses(96)))]
        result[f"{snr_db:g} dB"] = float(np.mean(values)) - float(np.mean(single))
    return {"effect": "mean PSNR gained [dB] by five pictures in one stream, CBR 1/96", "psnr": result}


def free_captions() -> dict[str, object]:
    """Side information that generative receivers get for free, at the rate of TS 38.214's lowest MCS."""
    caption = b"a small rocket on a launch pad under a cloudy evening sky"
    edges = [_edge_map_bytes(rgb) for rgb, _ in photographs()]
    sizes = {
        f"caption of {len(caption)} bytes": 8 * len(caption),
        "edge map (Canny, lossless WebP)": round(8 * float(np.mean(edges))),
        "picture size, 4 bytes": 32,
    }
    shares = {
        name: {f"1/{r}": 100 * side_info_uses(bits) / uses(r) for r in (384, 96, 24)}
        for name, bits in sizes.items()
    }
    effect = "uses that it takes, in percent of the data uses of a 256 x 384 picture"
    return {"effect": effect, **shares, "edge map [bytes]": float(np.mean(edges))}


def _edge_map_bytes(rgb: np.ndarray) -> int:
    edges = canny(rgb.mean(2), sigma=2)
    out = io.BytesIO()
    Image.fromarray((255 * edges).astype(np.uint8)).convert("RGB").save(
        out, "WEBP", lossless=True, quality=100
    )
    return len(out.getvalue())


def resized_input() -> dict[str, object]:
    """The picture is enlarged before it is sent, and the ratio is taken of the enlarged one."""
    return {
        "effect": "true CBR over the claimed one: 256 x 256 pixels sent as 512 x 512",
        "factor": (512 * 512) / (256 * 256),
    }


# ------------------------------------------------------------------------------------------------ the SNR


def ebno_as_snr() -> dict[str, object]:
    """The horizontal axis says SNR and holds Eb/N0."""
    shifts, moved = {}, {}
    for snr_db in SNRS_DB:
        mcs = chosen(snr_db, uses(96))
        shifts[f"{snr_db:g} dB"] = snr_db - 10 * math.log10(mcs.efficiency)
        # a point plotted at snr_db was really made at the Es/N0 of that Eb/N0
        real = snr_db
        for _ in range(20):
            real = snr_db + 10 * math.log10(chosen(real, uses(96)).efficiency)
        better = mean_quality(honest_bytes(chosen(real, uses(96)), uses(96)))
        moved[f"{snr_db:g} dB"] = better - mean_quality(honest_bytes(mcs, uses(96)))
    return {"effect": "Eb/N0 of a point [dB]; PSNR gained [dB] where it is plotted, CBR 1/96",
            "ebno_db": shifts, "psnr": moved}  # fmt: skip


def _threshold(
    channel: ChannelOperator, mcs: Mcs, change: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> float:
    """SNR [dB] at which a tenth of 200 blocks in 2,000 uses is lost, with LLRs made worse by ``change``."""
    block, qam = TransportBlock(2000, mcs.bits_per_symbol, mcs.rate), Qam(mcs.bits_per_symbol)
    payload = np.random.default_rng(1).integers(0, 2, (NUM_BLOCKS, block.size), dtype=np.uint8)
    x, seeds = qam.modulate(block.encode(payload)), list(range(NUM_BLOCKS))
    draw = channel.draw(2000, seeds)

    def lost(snr_db: float) -> float:
        received = channel(x, torch.full((NUM_BLOCKS,), snr_db), seeds, draw)
        x_hat, no_eff = equalize(received, "zf")
        wrong = change(no_eff.numpy(), received.csi.no.expand(no_eff.shape).numpy())
        llr = qam.demodulate(x_hat, torch.from_numpy(np.ascontiguousarray(wrong)))
        return float(1 - block.decode(llr).ok.mean())

    low, high = -10.0, 40.0
    while high - low > 0.02:
        middle = (low + high) / 2
        low, high = (low, middle) if lost(middle) <= 0.1 else (middle, high)
    return high


def half_noise_variance() -> dict[str, object]:
    """LLRs with half the noise variance: twice too confident."""
    result = {}
    for index in (4, 12, 20):
        mcs = MCS_TABLE_1[index]
        right = _threshold(AwgnChannel(), mcs, lambda eff, no: eff)
        result[f"MCS {index}"] = _threshold(AwgnChannel(), mcs, lambda eff, no: eff / 2) - right
    return {"effect": "SNR lost [dB] at a block error rate of 0.1, AWGN, 200 blocks", "snr_db": result}


def flat_noise_variance() -> dict[str, object]:
    """After zero forcing the demapper is given the noise of the channel, not that of the faded symbol."""
    fading, result = FlatFadingChannel(coherence_symbols=1), {}
    for index in (4, 12, 20):
        mcs = MCS_TABLE_1[index]
        right = _threshold(fading, mcs, lambda eff, no: eff)
        result[f"MCS {index}"] = _threshold(fading, mcs, lambda eff, no: no) - right
    return {
        "effect": "SNR lost [dB] at a block error rate of 0.1, fast Rayleigh, 200 blocks",
        "snr_db": result,
    }


# ----------------------------------------------------------------------------------------- wrong constants


def constellation_order_as_bits() -> dict[str, object]:
    """16 points counted as 16 bits per symbol."""
    return {
        "effect": "PSNR gained [dB], CBR 1/96",
        "psnr": gains(lambda mcs, n: honest_bytes(mcs, n) * 2**mcs.bits_per_symbol / mcs.bits_per_symbol, 96),
    }


def capacity_off_by_a_factor() -> dict[str, object]:
    """The bound per pixel instead of per colour value, or with the capacity of real uses counted twice."""
    third, double = {}, {}
    for snr_db in SNRS_DB:
        bits = uses(96) * math.log2(1 + 10 ** (snr_db / 10))  # honest
        right = mean_quality(bits / 8)
        third[f"{snr_db:g} dB"] = mean_quality(bits / 3 / 8) - right
        double[f"{snr_db:g} dB"] = mean_quality(2 * bits / 8) - right
    return {"effect": "PSNR of the bound moved [dB], CBR 1/96", "factor 1/3": third, "factor 2": double}


# ------------------------------------------------------------------------------------------------ failures


def failures_dropped() -> dict[str, object]:
    """MCS 8 on slow Rayleigh fading: a third of the frames is lost."""
    mcs, n = MCS_TABLE_1[8], uses(24)
    block, qam = TransportBlock(n, mcs.bits_per_symbol, mcs.rate), Qam(mcs.bits_per_symbol)
    payload = np.random.default_rng(2).integers(0, 2, (NUM_BLOCKS, block.size), dtype=np.uint8)
    channel = FlatFadingChannel()
    snr_db = torch.full((NUM_BLOCKS,), 7.0)
    received = channel(qam.modulate(block.encode(payload)), snr_db, list(range(NUM_BLOCKS)))
    ok = block.decode(qam.demodulate(*equalize(received, "zf"))).ok.mean()
    good = mean_quality(honest_bytes(mcs, n))
    shown = float(np.mean([grey(rgb) for rgb, _ in photographs()]))
    rng = np.random.default_rng(3)
    noise = float(np.mean([psnr(rng.integers(0, 256, rgb.shape), rgb) for rgb, _ in photographs()]))
    honest = ok * good + (1 - ok) * shown
    return {
        "effect": "mean PSNR [dB] of MCS 8 on slow Rayleigh fading at 7 dB, CBR 1/24, 200 frames",
        "decoded_share": float(ok),
        "grey, counted": honest,
        "dropped": good,
        "PSNR 0": ok * good,
        "random pixels": ok * good + (1 - ok) * noise,
    }


def garbage_scored() -> dict[str, object]:
    """No CRC: whatever the decoder makes of 20 wrong bits in a stream is scored as a picture."""
    rng, values, failed, good = np.random.default_rng(4), [], 0, []
    for rgb, digest in photographs():
        fit = search().best(rgb, digest, honest_bytes(MCS_TABLE_1[8], uses(24)))
        assert fit is not None
        good.append(psnr(search().decode(fit.stream, SIZE), rgb))
        for _ in range(40):
            bits = np.unpackbits(np.frombuffer(fit.stream, np.uint8))
            bits[rng.integers(8 * 64, len(bits), 20)] ^= 1
            try:
                values.append(psnr(search().decode(np.packbits(bits).tobytes(), SIZE), rgb))
            except CodecError:
                failed += 1
    return {
        "effect": "PSNR [dB] of damaged BPG streams that decode anyway (200 streams, 20 wrong bits)",
        "decode_share": len(values) / (len(values) + failed),
        "damaged, mean": float(np.mean(values)),
        "damaged, best": float(np.max(values)),
        "undamaged": float(np.mean(good)),
        "grey": float(np.mean([grey(rgb) for rgb, _ in photographs()])),
    }


def one_mcs_for_all() -> dict[str, object]:
    """MCS 8 at every SNR, against the adaptive choice, AWGN."""
    fixed, n = MCS_TABLE_1[8], uses(24)
    right = {f"{s:g} dB": mean_quality(honest_bytes(chosen(s, n), n)) for s in SNRS_DB}
    shown = float(np.mean([grey(rgb) for rgb, _ in photographs()]))
    flat = {}
    for snr_db in SNRS_DB:
        p = adaptive().block_error_rates(snr_db, n)[fixed]
        flat[f"{snr_db:g} dB"] = (1 - p) * mean_quality(honest_bytes(fixed, n)) + p * shown
    return {
        "effect": "PSNR [dB] of one MCS and of the adaptive choice, CBR 1/24",
        "MCS 8": flat,
        "adaptive": right,
    }


def mcs_chosen_on_the_result() -> dict[str, object]:
    """The best MCS of table 1 at every SNR, picked on the very frames that are shown; against the choice of
    the shipped table on the same frames. One frame per picture, CBR 1/96, ten test runs.
    """
    n, runs = uses(96), 10
    quality = {mcs: [psnr_at(honest_bytes(mcs, n), i) for i in range(len(NAMES))] for mcs in MCS_TABLE_1}
    greys = np.array([grey(rgb) for rgb, _ in photographs()])
    result: dict[str, object] = {"effect": "dB of PSNR that the envelope shows more than the adaptive scheme"}
    for name, key, channel in (
        ("AWGN", {"kind": "awgn"}, AwgnChannel()),
        ("slow Rayleigh", RAYLEIGH_KEY, FlatFadingChannel()),
    ):
        gains: dict[str, float] = {}
        table = adaptive_on(key)
        for snr_db in SNRS_DB:
            means = {}
            for mcs in MCS_TABLE_1:
                ok = decoded(mcs, n, channel, snr_db, runs * len(NAMES)).reshape(runs, -1)
                means[mcs] = np.where(ok, quality[mcs], greys).mean(axis=1)
            own = table.choose(snr_db, n, lambda mcs: 8 * honest_bytes(mcs, n) / (SIZE[0] * SIZE[1]))
            best = np.max([means[mcs] for mcs in MCS_TABLE_1], axis=0)
            gains[f"{snr_db:g} dB"] = float((best - means[own]).mean())
        result[name] = gains
    return result


# ------------------------------------------------------------------------------------------- analog links


def fading_without_phase() -> dict[str, object]:
    """Real |h| on every real element, a new one each, no equaliser; against a complex block fade that is
    estimated from two pilots. Linear analog code, CBR 1/24, four trials.
    """
    codec, image = linear(), tensor()
    n = uses(24)
    layout = codec.layout(*SIZE, n)
    result: dict[str, dict[str, float]] = {"real |h| per element": {}, "complex block fading": {}}
    for snr_db in SNRS_DB:
        told = Csit(torch.full((len(image),), snr_db))
        x = codec.encode(image, layout, told)
        wrong, right = [], []
        for trial in range(4):
            gen = torch.Generator().manual_seed(trial)
            magnitude = torch.randn(2, *x.shape, 2, generator=gen).square().sum(0).div(2).sqrt()
            no = 10 ** (-snr_db / 10)
            w = torch.randn(x.shape, generator=gen, dtype=x.dtype) * no**0.5
            y = torch.view_as_complex(torch.view_as_real(x) * magnitude) + w
            flat = torch.full((len(image), 1), no)
            csi = Csi(torch.ones_like(x), flat, torch.zeros_like(flat))
            wrong += psnrs(
                codec.decode(Received(y, csi, AwgnChannel().uses(n)), layout, told, range(len(image)))
            )
            channel = FlatFadingChannel(csi="lmmse", pilots_per_block=2)
            seeds = [100 * trial + i for i in range(len(image))]
            right += psnrs(codec.decode(channel(x, told.snr_db, seeds), layout, told, range(len(image))))
        result["real |h| per element"][f"{snr_db:g} dB"] = float(np.mean(wrong))
        result["complex block fading"][f"{snr_db:g} dB"] = float(np.mean(right))
    gained = {
        snr: value - result["complex block fading"][snr]
        for snr, value in result["real |h| per element"].items()
    }
    return {
        "effect": "PSNR [dB] of the linear analog code on what is called Rayleigh fading",
        **result,
        "gained": gained,
    }


def power_over_the_batch() -> dict[str, object]:
    """One power for five pictures: each gets the SNR that its latent values happen to have."""
    codec, image = linear(), tensor()
    layout = codec.layout(*SIZE, uses(24))
    told = Csit(torch.full((len(image),), 7.0))
    gains_, _ = codec.gains(layout.channels, told.snr_db)
    z = codec.klt.analyse(image, layout.channels) * gains_.to(image)
    power = z.square().mean((1, 2, 3))
    levels = 10 * torch.log10(power / power.mean())
    return {
        "effect": "SNR of each of five pictures relative to the one that is claimed [dB]",
        **dict(zip(NAMES, levels.tolist(), strict=True)),
        "span": float(levels.max() - levels.min()),
    }


def free_scale() -> dict[str, object]:
    """The receiver divides by the power that the transmitter normalised with, and nobody sent it."""
    n = uses(96)
    layout = linear().layout(*SIZE, n)
    image = tensor()
    result = {}
    for snr_db in SNRS_DB:
        told = Csit(torch.full((len(image),), snr_db))
        values = {}
        for kind in ("sent", "blind"):
            codec = LinearAnalogCodec(linear().klt, scale=kind)  # type: ignore[arg-type]
            own = codec.layout(*SIZE, n)
            received = AwgnChannel()(codec.encode(image, own, told), told.snr_db, list(range(len(image))))
            values[kind] = float(np.mean(psnrs(codec.decode(received, own, told, range(len(image))))))
        result[f"{snr_db:g} dB"] = values
    return {
        "effect": "uses that sending the scale takes [%], CBR 1/96; PSNR [dB] with it sent and estimated",
        "uses_percent": 100 * layout.num_header / n,
        "psnr": result,
    }


def unspoken_transmitter_csi() -> dict[str, object]:
    """Slow Rayleigh fading: the rate that the fade of each frame allows, against one rate for all (chosen
    for the best mean), both at capacity.
    """
    n, result = uses(24), {}
    fading = FlatFadingChannel()
    power = fading.gain(fading.draw(1, range(400)), torch.ones(400, 1)).abs().square()
    shown = float(np.mean([grey(rgb) for rgb, _ in photographs()]))
    levels = np.linspace(0, 1, 41)[1:-1]
    for snr_db in SNRS_DB:
        no = 10 ** (-snr_db / 10)
        bits = n * torch.log2(1 + power[:, 0].double() / no)
        knows = float(np.mean([mean_quality(float(b) / 8) for b in np.quantile(bits.numpy(), levels)]))
        blind = max(
            (1 - e) * mean_quality(outage_bits(power, no, n, e) / 8) + e * shown
            for e in (0.02, 0.05, 0.1, 0.2, 0.3)
        )
        result[f"{snr_db:g} dB"] = knows - blind
    return {
        "effect": "PSNR gained [dB] by a transmitter that knows the fade, BPG + capacity, CBR 1/24",
        "psnr": result,
    }


MISTAKES: dict[str, Callable[[], dict[str, object]]] = {
    f.__name__: f
    for f in (
        padding_not_counted,
        free_header,
        mosaic,
        ebno_as_snr,
        half_noise_variance,
        flat_noise_variance,
        constellation_order_as_bits,
        capacity_off_by_a_factor,
        failures_dropped,
        garbage_scored,
        one_mcs_for_all,
        mcs_chosen_on_the_result,
        fading_without_phase,
        power_over_the_batch,
        free_scale,
        free_captions,
        unspoken_transmitter_csi,
        resized_input,
    )
}


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    return round(value, 3) if isinstance(value, float) else value


def main() -> int:
    """Measure every mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=tuple(MISTAKES), default=tuple(MISTAKES))
    for name in parser.parse_args().only:
        with torch.no_grad():
            print(json.dumps({"mistake": name, **_rounded(MISTAKES[name]())}), flush=True)  # type: ignore[dict-item]
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
