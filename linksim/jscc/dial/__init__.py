"""The network with three dials: rate, SNR, realism."""

from linksim.jscc.dial.codec import DialCodec, Dialled
from linksim.jscc.dial.networks import DialConfig, ReceivedMap

__all__ = ["DialCodec", "DialConfig", "Dialled", "ReceivedMap"]
