"""True BPG files: container, reduced parameter set, and the colour pipeline of the reference, bit for bit.

Specification: F. Bellard, "BPG Specification", version 0.9.8; HEVC syntax from ITU-T H.265 sec. 7.3.2.
"""

from linksim.source.bpg.codec import decode_bpg, encode_bpg
from linksim.source.bpg.container import MAGIC, MAX_PIXELS, BpgHeader, read_header

__all__ = ["MAGIC", "MAX_PIXELS", "BpgHeader", "decode_bpg", "encode_bpg", "read_header"]
