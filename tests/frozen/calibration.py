"""Keys of the link-adaptation table: those of the shipped one, and those that scenarios ask it for."""

from __future__ import annotations

import json
from pathlib import Path

from tests.frozen.door import (
    Calibration,
    Scenario,
    calibration_key,
    load_any,
    load_calibration,
    scenario_dir,
    zoo,
)

MATRIX = """
schema_version: 1
name: keys
images: {kind: skimage, names: [coffee], crop: 64}
bandwidth: {data_ratio: 1/12}
channels:
  - {kind: awgn, name: plain}
  - {kind: awgn, name: noisy oscillator, symbol_rate_hz: 2.0e+6, impairments: [{kind: phase_noise, linewidth_hz: 20, at: transmitter}]}
  - {kind: rayleigh, name: one fade}
  - {kind: rayleigh, name: blocks, coherence_symbols: 128, csi: {kind: lmmse, pilots_per_block: 2}}
  - {kind: rician, name: rician, k_factor_db: 6, coherence_symbols: 32}
  - {kind: ofdm, name: tdl, model: {kind: tdl, profile: C, delay_spread_s: 300.0e-9, speed_mps: 1}}
  - {kind: ofdm, name: tdl usual kind, model: {profile: A30}, csi: {kind: ls, pilot_symbols: [2, 11]}}
  - {kind: ofdm, name: told, model: {kind: tdl, profile: A, delay_spread_s: 0.0}, told: {transmitter: {delay_slots: 3, error_db: 1}, receiver: {fixed_db: 4}}}
  - {kind: ofdm, name: dmrs, model: {kind: tdl, profile: A, delay_spread_s: 0.0, tx_antennas: 2, rx_antennas: 2}, csi: {kind: lmmse, pilot_symbols: null, dmrs: {additional_positions: 1}, assumed: {delay_spread_s: 1.0e-7}}, transmission: {kind: svd, streams: 2, precoding: {csit: quantised, bits: 3}}}
  - {kind: ofdm, name: robust in time, waveform: time, cyclic_prefix_length: 9, guard_subcarriers: [2, 1], dc_null: true, model: {kind: tdl, profile: E, delay_spread_s: 1.0e-7}, csi: {kind: lmmse, assumed: robust, noise: estimated}, impairments: [{kind: clipping, papr_db: 3}, {kind: quantization, bits: 6}]}
  - {kind: ofdm, name: cdl, model: {kind: cdl, profile: C, delay_spread_s: 1.0e-7, transmitter: {columns: 2, polarization: dual}}}
  - {kind: ofdm, name: cell, model: {kind: uma, shadowing: true, line_of_sight: always}}
  - {kind: ofdm, name: recorded, model: {kind: recorded, path: street-canyon, phases: paths}}
  - {kind: ofdm, name: rays, model: {kind: raytraced, scene: munich, transmitter: [1, 2, 3], receivers: [[4, 5, 6]]}}
sweep: {snr_db: [5]}
schemes:
  - {kind: separation, name: average}
  - {kind: separation, name: of each frame, csit: instantaneous_snr}
  - {kind: separation, name: interleaved, interleave: true}
  - {kind: separation, name: in order, interleave: false, harq: {max_transmissions: 2}}
  - {kind: separation, name: fixed, mcs: 6, csit: instantaneous_snr}
  - {kind: uncoded, name: uncoded, bits_per_symbol: 2}
  - {kind: linear_analog, name: linear, csit: instantaneous_snr}
"""


def written(key: object) -> str:
    """A key as a text."""
    return json.dumps(key, sort_keys=True)


def shipped_keys() -> list[str]:
    """Every entry of the shipped table: block length, and key as the file has it."""
    table = Calibration.load(zoo.asset("mcs-calibration.json"))
    return sorted(f"{entry.num_uses} uses: {written(entry.channel)}" for entry in table.channels)


def read_keys() -> list[str]:
    """The same as a scheme finds them, renamed if the file is older than the program."""
    table = load_calibration(zoo.asset("mcs-calibration.json"))
    return sorted(f"{entry.num_uses} uses: {written(entry.channel)}" for entry in table.channels)


def quality_names() -> list[str]:
    """Source codecs of the shipped table."""
    return sorted(curve.codec for curve in Calibration.load(zoo.asset("mcs-calibration.json")).quality)


def computed_keys(folder: Path) -> dict[str, str]:
    """Keys of many channels and schemes, and of all that the library has, by what they are of."""
    path = folder / "keys.yaml"
    path.write_text(MATRIX)
    found = _keys("matrix", str(path))
    for file in sorted(scenario_dir().rglob("*.yaml")):
        if file.parent.name not in ("base", "train"):
            found |= _keys(file.relative_to(scenario_dir()).with_suffix("").as_posix(), str(file))
    return found


def _keys(name: str, path: str) -> dict[str, str]:
    scenario = load_any(path)
    assert isinstance(scenario, Scenario)
    return {
        f"{name} | {channel.name or number} | {scheme.name}": written(calibration_key(channel, scheme))
        for number, channel in enumerate(scenario.channels)
        for scheme in scenario.schemes
        if scheme.kind in ("separation", "uncoded", "linear_analog")
    }
