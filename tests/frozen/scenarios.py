"""Reduced scenarios: those of the library, and some of what no file of it has. Traced rays are left out: not every
machine can trace; their keys and hashes are stored.
"""

from __future__ import annotations

from dataclasses import dataclass

METRICS = "[psnr, ssim, ber, bler, outage, evm, papr_db]"
_COMMON = (
    "images={kind: folder, path: pictures}", "panel={images: 1}", "statistics.resamples=200",
    f"metrics={METRICS}",
)  # fmt: skip
UNTRAINED = "data/untrained"  # DiffJSCC, a tiny one, with random weights


@dataclass(frozen=True)
class Case:
    """A run.

    Args:
        name: of its results.
        scenario: name of a library file, or YAML.
        changes: of ``--set``.
        slow: not part of the default tests.
    """

    name: str
    scenario: str
    changes: tuple[str, ...] = ()
    slow: bool = False


def library(name: str, sweep: str, *changes: str, slow: bool = False) -> Case:
    """A file of the library with two tiny pictures, one trial, cheap metrics and another sweep."""
    return Case(name, name, (*_COMMON, f"sweep={{{sweep}}}", *changes), slow)


def own(
    name: str, channels: str, schemes: str, sweep: str, ratio: str = "1/24", metrics: str = METRICS
) -> Case:
    """Something that no file of the library has."""
    text = f"""
schema_version: 1
name: {name}
seed: 5
images: {{kind: folder, path: pictures}}
bandwidth: {{data_ratio: {ratio}}}
channels:
{channels.rstrip()}
sweep: {{{sweep}}}
schemes:
{schemes.rstrip()}
metrics: {metrics}
statistics: {{resamples: 200}}
panel: {{images: 1}}
"""
    return Case(f"own/{name}", text)


_LIBRARY = [
    library("theory/awgn-ber-check", "snr_db: [6, 12]"),
    library("theory/diversity", "snr_db: [6]"),
    library("theory/prefix", "snr_db: [30], channel.cyclic_prefix_length: [4, 20]"),
    library("awgn/awgn-1-96", "snr_db: [0, 12]"),
    library("fading/block-rayleigh", "snr_db: [10]"),
    library("fading/rician", "snr_db: [10], channel.k_factor_db: [6.0]"),
    library("ofdm/ofdm-tdla-ls", "snr_db: [10]"),
    library("ofdm/interleaving", "snr_db: [10]"),
    library("mobility/speed", "snr_db: [15], channel.model.speed_mps: [80]"),
    library("mobility/more-pilots", "snr_db: [15]", "schemes.2.mcs=2", slow=True),
    library("mimo/alamouti", "snr_db: [10]"),
    library("mimo/multiplexing-2x2", "snr_db: [10]"),
    library("mimo/receive-antennas", "snr_db: [0]", "channel.model.rx_antennas=2", slow=True),
    library("mimo/svd-csit", "snr_db: [0]"),
    library("csi/csi-quality", "snr_db: [5], channel.csi.kind: [perfect, lmmse, ls]", slow=True),
    library("csi/estimated-noise", "snr_db: [5], channel.csi.noise: [known, estimated]"),
    library("csi/mismatched-lmmse", "snr_db: [5]", slow=True),
    library("csi/pilot-boost", "snr_db: [0], channel.csi.boost_db: [0.0, 3.0]", slow=True),
    library("impairments/amplifier-back-off", "snr_db: [20]"),
    library("impairments/clipping", "snr_db: [20]", slow=True),
    library("impairments/converter-bits", "snr_db: [20], channel.impairments.0.bits: [4]"),
    library("impairments/interferer", "snr_db: [15]"),
    library("impairments/oscillator", "snr_db: [20], channel.impairments.0.linewidth_hz: [100.0]"),
    library("38901/cdl-profiles", "snr_db: [5], channel.model.profile: [C]"),
    library("38901/cells", "snr_db: [10]", slow=True),
    library("38901/umi", "snr_db: [10]", slow=True),
    library("38901/umi-2x2", "snr_db: [10]"),
    library("38901/umi-power", "channel.link_budget.transmit_power_dbm: [0, 30]", slow=True),
    library("recorded/street-canyon", "snr_db: [10]"),
    library("paper/wu2024-mimo-svd", "snr_db: [5]"),
    library("paper/yang2022-ofdm-clipping", "snr_db: [10]"),
    library("separation/codecs", "snr_db: [9]", slow=True),
    library("separation/fading-bounds", "snr_db: [5]"),
    library("separation/harq", "snr_db: [0, 5]"),
    library("separation/staircase", "snr_db: [5]"),
    library("separation/versus-cbr", "snr_db: [10], bandwidth.data_ratio: [1/96, 1/24]", slow=True),
    library("separation/kodak-1-24", "snr_db: [4, 10]", slow=True),
    library("separation/kodak-1-96", "snr_db: [4, 10]", slow=True),
    library("kodak-1-24", "snr_db: [4, 10]", slow=True),
    library("kodak-1-96", "snr_db: [4, 10]", slow=True),
    library("learned/kodak-rates", "snr_db: [4], bandwidth.data_ratio: [1/24]", slow=True),
    library("learned/kodak-diffusion", "snr_db: [4], bandwidth.data_ratio: [1/96]"),
    library("learned/kodak-told-snr", "snr_db: [4]"),
    library("learned/kodak-fading", "snr_db: [10]", slow=True),
    library("ofdm/trained-through", "snr_db: [5, 15]", slow=True),
    library("quickstart", "snr_db: [5]", slow=True),
    library("diffjscc/three-channels", "snr_db: [7]", f"schemes.0.checkpoint={UNTRAINED}", "schemes.0.steps=2",
            "images={kind: skimage, names: [coffee], crop: 192}", slow=True),
]  # fmt: skip

_ALL_SCHEMES = """
  - {kind: linear_analog, name: linear, scale: blind, csit: none, design_snr_db: 12}
  - {kind: separation, name: fixed, mcs: 4, mcs_table: 3}
  - {kind: uncoded, name: 16-QAM, bits_per_symbol: 4}
"""
_OWN = [
    own(
        "single-carrier-impairments",
        """
  - {kind: awgn, name: oscillator, symbol_rate_hz: 2.0e+6, impairments: [{kind: phase_noise, linewidth_hz: 20, loop_bandwidth_hz: 500, at: transmitter}, {kind: cfo, offset_hz: 20, uniform: true}]}
  - {kind: rayleigh, name: branches, coherence_symbols: 64, csi: {kind: ls, pilots_per_block: 2}, impairments: [{kind: iq_imbalance, gain_db: 0.5, phase_deg: 3}, {kind: quantization, bits: 5}]}
  - {kind: rician, name: amplifier, k_factor_db: 5, csi: {kind: lmmse, pilots_per_block: 1}, impairments: [{kind: rapp, backoff_db: 3}, {kind: interferer, sir_db: 15, frequency_hz: 1.0e+5}]}
""",
        _ALL_SCHEMES,
        "snr_db: [12]",
    ),
    own(
        "time-domain-impairments",
        """
  - kind: ofdm
    name: all
    waveform: time
    model: {kind: tdl, profile: D, delay_spread_s: 100.0e-9, speed_mps: 10}
    guard_subcarriers: [3, 2]
    dc_null: true
    csi: {kind: lmmse, pilot_symbols: null, dmrs: {additional_positions: 2}, assumed: robust, noise: estimated}
    impairments: [{kind: clipping, papr_db: 6}, {kind: timing, offset_s: -0.2e-6}, {kind: cfo, offset_hz: 50}, {kind: iq_imbalance, gain_db: 0.3}, {kind: quantization, bits: 8}]
""",
        _ALL_SCHEMES,
        "snr_db: [18]",
    ),
    own(
        "time-domain-antennas",
        """
  - kind: ofdm
    name: two by two
    waveform: time
    cyclic_prefix_length: 6
    model: {kind: tdl, profile: B, delay_spread_s: 200.0e-9, rx_antennas: 2, tx_antennas: 2, rx_correlation: 0.5}
    csi: {kind: ls, interpolation: nearest, comb: 2}
    transmission: {kind: multiplexing}
""",
        _ALL_SCHEMES,
        "snr_db: [18]",
    ),
    own(
        "link-budget",
        """
  - {kind: ofdm, model: {kind: tdl, profile: C300, speed_mps: 3}, csi: {kind: lmmse}, link_budget: {transmit_power_dbm: 10, path_loss_db: 110}}
""",
        """
  - {kind: jscc, name: dial, checkpoint: dial, realism: 0.5, csit: instantaneous_snr}
  - {kind: separation, name: harq, mcs: 9, source: {codec: jpeg}, harq: {max_transmissions: 3}}
""",
        "channel.link_budget.transmit_power_dbm: [4, 10]",
        metrics="[psnr, bler, outage, received_snr_db]",
    ),
    own(
        "told",
        """
  - kind: ofdm
    name: late and wrong
    model: {kind: tdl, profile: A, delay_spread_s: 100.0e-9, speed_mps: 5}
    csi: {kind: ls}
    told: {transmitter: {delay_slots: 2, error_db: 1}, receiver: {offset_db: 1}}
""",
        """
  - {kind: linear_analog, name: linear, csit: instantaneous_snr}
  - {kind: jscc, name: dial, checkpoint: dial, csit: none, interleave: false}
  - {kind: uncoded, name: QPSK, bits_per_symbol: 2}
""",
        "snr_db: [10]",
    ),
    own(
        "swin",
        """
  - {kind: awgn}
  - {kind: rayleigh, coherence_symbols: 16}
""",
        """
  - {kind: jscc, name: swin, checkpoint: data/swin_tiny}
""",
        "snr_db: [8]",
        ratio="1/256",
    ),
    own(
        "cnn",
        "  - {kind: awgn}\n  - {kind: rayleigh}",
        "  - {kind: jscc, name: cnn, checkpoint: data/diffjscc_tiny}",
        "snr_db: [8]",
        ratio="1/384",
    ),
    own(
        "codecs",
        "  - {kind: awgn}",
        """
  - {kind: separation, name: WebP, source: {codec: webp, resolutions: full}, mcs: 9}
  - {kind: separation, name: JPEG 2000, source: {codec: jpeg2000, chroma: "444", select: ssim}, mcs: 9}
""",
        "snr_db: [6]",
    ),
    own(
        "measures",
        "  - {kind: awgn}",
        "  - {kind: linear_analog, name: linear}\n  - {kind: finite_blocklength_bound, name: bound}",
        "snr_db: [6]",
        metrics="[psnr, ssim, haarpsi, gmsd, vif, fsim, spectrum_db, swd, swd_1, niqe]",
    ),
]
CASES = [*_LIBRARY, *_OWN]
