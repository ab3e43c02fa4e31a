"""A metric of which less is better."""

from __future__ import annotations

from linksim.kinds import ImageMetric, MetricInfo, kind


@kind("metric", "mean_error")
class MeanError(ImageMetric):
    """Mean absolute error, in 8-bit steps."""

    info = MetricInfo("mean_error", "steps", False, "labkit 0.1", label="mean absolute error")

    def __call__(self, x_hat, x):
        """[B] float64 of pictures [B, 3, H, W] in [0, 1]."""
        return 255 * (x_hat - x).abs().double().mean((1, 2, 3))
