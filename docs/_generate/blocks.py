"""Blocks of kinds that no scenario of the library uses; they are validated when the site is built."""

from __future__ import annotations

__all__ = ["BLOCKS"]

BLOCKS = {
    ("images", "none"): {},
    ("impairment", "timing"): {"offset_s": 1e-6},
    ("impairment", "iq_imbalance"): {"gain_db": 0.5, "phase_deg": 2.0, "at": "transmitter"},
    ("source_codec", "bpg_external"): {},
    ("source_codec", "heic"): {},
    ("source_codec", "jpegxl"): {},
    ("network", "swin_yang2024"): {"latent_channels": 16},
    ("network", "swinjscc"): {"adaptive": "snr", "rates": [96]},
}
