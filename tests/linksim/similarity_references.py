"""HaarPSI, GMSD, VIF and FSIMc written down in NumPy from their papers, for tests only.

Pictures are [H, W, 3] with values from 0 to 255 and even sides below 384.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import convolve2d

YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def same(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolution with zeros outside, the middle of an even kernel as in Matlab's conv2(..., 'same')."""
    full = convolve2d(x, kernel)
    top, left = kernel.shape[0] // 2, kernel.shape[1] // 2
    return full[top : top + x.shape[0], left : left + x.shape[1]]


def similar(a: np.ndarray, b: np.ndarray, constant: float) -> np.ndarray:
    return (2 * a * b + constant) / (a**2 + b**2 + constant)


def halved(x: np.ndarray) -> np.ndarray:
    return x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2).mean((1, 3))


def haarpsi(a: np.ndarray, b: np.ndarray) -> float:
    """Reisenhofer et al. 2018, eqs. 7 to 13: C = 30, alpha = 4.2, after averaging 2 x 2 pixels."""
    channels = [[halved(c) for c in np.moveaxis(x @ YIQ.T, 2, 0)] for x in (a, b)]
    similarity, weight = [], []
    for transposed in (False, True):
        levels = []
        for scale in (1, 2, 3):
            size = 2**scale
            kernel = np.ones((size, size)) / size
            kernel[: size // 2] *= -1
            kernel = kernel.T if transposed else kernel
            levels.append([np.abs(same(c[0], kernel)) for c in channels])
        similarity.append((similar(*levels[0], 30) + similar(*levels[1], 30)) / 2)
        weight.append(np.maximum(*levels[2]))
    chroma = [[np.abs(same(c[i], np.ones((2, 2)) / 4)) for c in channels] for i in (1, 2)]
    similarity.append((similar(*chroma[0], 30) + similar(*chroma[1], 30)) / 2)
    weight.append((weight[0] + weight[1]) / 2)
    local = sum((w / (1 + np.exp(-4.2 * s))).sum() for s, w in zip(similarity, weight, strict=True))
    score = local / sum(w.sum() for w in weight)
    return float((np.log(score / (1 - score)) / 4.2) ** 2)


def gmsd(a: np.ndarray, b: np.ndarray) -> float:
    """Xue et al. 2014, eqs. 4 to 6: T = 170, Prewitt gradients after averaging 2 x 2 pixels."""
    kernel = np.array([[1, 0, -1]] * 3) / 3
    gradients = []
    for x in (a, b):
        luma = halved(x @ YIQ[0])
        gradients.append(np.hypot(same(luma, kernel), same(luma, kernel.T)))
    return float(similar(*gradients, 170).std())


def vif(a: np.ndarray, b: np.ndarray) -> float:
    """Sheikh & Bovik 2006 in the pixel domain: four scales, noise variance 2; ``b`` is the original."""
    hat, ref = a @ YIQ[0], b @ YIQ[0]
    seen = there = 0.0
    for scale in range(4):
        n = 2 ** (4 - scale) + 1
        taps = np.exp(-((np.arange(n) - n // 2) ** 2) / (2 * (n / 5) ** 2))
        window = np.outer(taps, taps) / taps.sum() ** 2

        def mean(x, window=window):
            return convolve2d(x, window, mode="valid")

        if scale:
            hat, ref = mean(hat)[::2, ::2], mean(ref)[::2, ::2]
        mu_h, mu_r = mean(hat), mean(ref)
        var_h, var_r = mean(hat**2) - mu_h**2, mean(ref**2) - mu_r**2
        cov = mean(hat * ref) - mu_h * mu_r
        gain = np.clip(cov / (var_r + 1e-10), 0, None)
        noise = np.clip(np.where(gain > 0, var_h - gain * cov, var_h), 1e-10, None)
        seen += np.log10(1 + gain**2 * var_r / (noise + 2)).sum()
        there += np.log10(1 + var_r / 2).sum()
    return float(seen / there)


def phase_congruency(x: np.ndarray) -> np.ndarray:
    """Kovesi's measure as in Zhang et al. 2011: 4 scales, 4 orientations, noise threshold of k = 2."""
    rows, cols = x.shape
    v, u = np.meshgrid(np.fft.fftfreq(rows), np.fft.fftfreq(cols), indexing="ij")
    radius, theta = np.hypot(u, v), np.arctan2(-v, u)
    radius[0, 0] = 1
    low_pass = 1 / (1 + (radius / 0.45) ** 30)
    log_gabor = []
    for scale in range(4):
        gabor = np.exp(-(np.log(radius * 6 * 2**scale) ** 2) / (2 * np.log(0.55) ** 2)) * low_pass
        gabor[0, 0] = 0
        log_gabor.append(gabor)
    spectrum, energy_all, amplitude_all = np.fft.fft2(x), 0.0, 0.0
    for orientation in range(4):
        angle = orientation * np.pi / 4
        apart = np.abs(np.arctan2(np.sin(theta - angle), np.cos(theta - angle)))
        filters = [g * np.exp(-(apart**2) / (2 * (np.pi / 4 / 1.2) ** 2)) for g in log_gabor]
        answers = [np.fft.ifft2(spectrum * f) for f in filters]
        total = sum(answers)
        unit = total / (np.abs(total) + 1e-4)
        energy = sum(
            (e.real * unit.real + e.imag * unit.imag) - np.abs(e.real * unit.imag - e.imag * unit.real)
            for e in answers
        )
        noise = -np.median(np.abs(answers[0]) ** 2) / np.log(0.5) / (filters[0] ** 2).sum()
        shapes = [np.fft.ifft2(f).real * np.sqrt(rows * cols) for f in filters]
        squares = sum((s**2).sum() for s in shapes)
        products = sum((shapes[i] * shapes[j]).sum() for i in range(4) for j in range(i + 1, 4))
        tau = np.sqrt((2 * noise * squares + 4 * noise * products) / 2)
        threshold = (tau * np.sqrt(np.pi / 2) + 2 * np.sqrt((2 - np.pi / 2) * tau**2)) / 1.7
        energy_all = energy_all + np.maximum(energy - threshold, 0)
        amplitude_all = amplitude_all + sum(np.abs(e) for e in answers)
    return energy_all / amplitude_all


def fsim(a: np.ndarray, b: np.ndarray) -> float:
    """Zhang et al. 2011, FSIMc: T1 = .85, T2 = 160, T3 = T4 = 200, lambda = .03; no reduction below 384."""
    kernel = np.array([[3, 0, -3], [10, 0, -10], [3, 0, -3]]) / 16
    (y_a, i_a, q_a), (y_b, i_b, q_b) = (np.moveaxis(x @ YIQ.T, 2, 0) for x in (a, b))
    pc_a, pc_b = phase_congruency(y_a), phase_congruency(y_b)
    gradients = [np.hypot(same(y, kernel), same(y, kernel.T)) for y in (y_a, y_b)]
    chroma = np.abs(similar(i_a, i_b, 200) * similar(q_a, q_b, 200)) ** 0.03
    weight = np.maximum(pc_a, pc_b)
    local = similar(pc_a, pc_b, 0.85) * similar(*gradients, 160) * chroma
    return float((local * weight).sum() / weight.sum())


# ------------------------------------------------------------------------------------------------- FLIP

PPD = 67.0
XYZ = np.array([[10135552 / 24577794, 8788810 / 24577794, 4435075 / 24577794],
                [2613072 / 12288897, 8788810 / 12288897, 887015 / 12288897],
                [1425312 / 73733382, 8788810 / 73733382, 70074185 / 73733382]])  # fmt: skip


def _filtered(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Correlation of [H, W] with the edge repeated outside."""
    r = kernel.shape[0] // 2
    return convolve2d(np.pad(x, r, mode="edge"), kernel[::-1, ::-1], mode="valid")


def _grid(radius: int) -> tuple[np.ndarray, np.ndarray]:
    return np.meshgrid(*(np.arange(-radius, radius + 1.0),) * 2)


def _opponents(x: np.ndarray) -> np.ndarray:
    """YCxCz of sRGB in [0, 1], eq. 1 of the FLIP paper and around it."""
    linear = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    seen = linear @ XYZ.T / XYZ.sum(1)
    return np.stack(
        [116 * seen[..., 1] - 16, 500 * (seen[..., 0] - seen[..., 1]), 200 * (seen[..., 1] - seen[..., 2])],
        2,
    )


def _seen(opponents: np.ndarray) -> np.ndarray:
    """Lab with Hunt's adjustment of what the contrast sensitivity leaves, section 4.1.1 and 4.1.2."""
    radius = int(np.ceil(3 * np.sqrt(0.04 / (2 * np.pi**2)) * PPD))
    x, y = _grid(radius)
    z = (x**2 + y**2) / PPD**2
    blurred = []
    for channel, (a1, b1, a2, b2) in zip(
        np.moveaxis(opponents, 2, 0),
        ((1, 0.0047, 0, 1e-5), (1, 0.0053, 0, 1e-5), (34.1, 0.04, 13.5, 0.025)),
        strict=True,
    ):
        kernel = sum(a * np.sqrt(np.pi / b) * np.exp(-(np.pi**2) * z / b) for a, b in ((a1, b1), (a2, b2)))
        blurred.append(_filtered(channel, kernel / kernel.sum()))
    lightness = (blurred[0] + 16) / 116
    relative = np.stack([lightness + blurred[1] / 500, lightness, lightness - blurred[2] / 200], 2)
    return _hunt((relative * XYZ.sum(1)) @ np.linalg.inv(XYZ).T)


def _hunt(linear: np.ndarray) -> np.ndarray:
    seen = linear.clip(0, 1) @ XYZ.T / XYZ.sum(1)
    root = np.where(seen > (6 / 29) ** 3, np.cbrt(seen), seen / (3 * (6 / 29) ** 2) + 4 / 29)
    light = 116 * root[..., 1] - 16
    chroma = 500 * (root[..., 0] - root[..., 1]), 200 * (root[..., 1] - root[..., 2])
    return np.stack([light, *(0.01 * light * c for c in chroma)], -1)


def _hyab(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.abs(a - b)[..., 0] + np.hypot(*np.moveaxis((a - b)[..., 1:], -1, 0))


def _feature_sizes(luma: np.ndarray, point: bool) -> np.ndarray:
    """How strong edges or points are, section 4.2: of the width of a pixel pattern of .082 degrees."""
    deviation = 0.5 * 0.082 * PPD
    x, y = _grid(int(np.ceil(3 * deviation)))
    bell = np.exp(-(x**2 + y**2) / (2 * deviation**2))
    kernel = (x**2 / deviation**2 - 1) * bell if point else -x * bell
    kernel = np.where(kernel < 0, kernel / -kernel[kernel < 0].sum(), kernel / kernel[kernel > 0].sum())
    return np.hypot(_filtered(luma, kernel), _filtered(luma, kernel.T))


def flip(a: np.ndarray, b: np.ndarray) -> float:
    """Andersson et al. 2020 at 67 pixels per degree; ``b`` is the original."""
    pair = [_opponents(x / 255) for x in (a, b)]
    power = _hyab(*(_seen(x) for x in pair)) ** 0.7
    green, blue = (_hunt(np.array(c, float)) for c in ([0, 1, 0], [0, 0, 1]))
    largest = _hyab(green, blue) ** 0.7
    knee = 0.4 * largest
    colour = np.where(power < knee, 0.95 / knee * power, 0.95 + (power - knee) / (largest - knee) * 0.05)
    lumas = [(x[..., 0] + 16) / 116 for x in pair]
    apart = [np.abs(np.subtract(*(_feature_sizes(y, point) for y in lumas))) for point in (False, True)]
    feature = (np.maximum(*apart) / np.sqrt(2)).clip(0, 1) ** 0.5
    return float((colour ** (1 - feature)).mean())
