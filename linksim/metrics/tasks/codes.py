"""QR codes on pictures, decoded by ZXing."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from linksim.images.truth import CodeTruth
from linksim.kinds import kind
from linksim.metrics.base import MetricInfo, TaskMetric

__all__ = ["QrDecoded"]


@kind("metric", "qr_decoded")
class QrDecoded(TaskMetric):
    """Share of QR codes that are decoded to their payload, 1 is best.

    Codes correct errors themselves and check what is left: one that decodes to another payload is as rare as
    a wrong CRC, and counts as not decoded.
    """

    truth: ClassVar[type[CodeTruth]] = CodeTruth
    such_as: ClassVar[str] = "images: {kind: qr_codes}"
    info = MetricInfo(
        *("qr_decoded", "1", True, f"zxing-cpp {importlib.metadata.version('zxing-cpp')}, ISO/IEC 18004"),
        label="QR codes decoded",
        is_share=True,
    )

    def __call__(self, x_hat: Tensor, truths: Sequence[CodeTruth]) -> Tensor:
        """[B] float64, 1 or 0, see :class:`~linksim.metrics.base.TaskMetric`."""
        import zxingcpp

        pictures = (x_hat.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        right = []
        for picture, truth in zip(pictures, truths, strict=True):
            blue_first = np.ascontiguousarray(picture[:, :, ::-1])
            found = zxingcpp.read_barcodes(blue_first, formats=zxingcpp.BarcodeFormat.QRCode)
            right.append(any(code.text == truth.payload for code in found))
        return torch.tensor(right, dtype=torch.float64)
