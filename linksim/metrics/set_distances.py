"""Distances between two collections of features that come in groups, one group per picture, made for
resampling pictures. NumPy only: results are computed from stored features, without any network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["DISTANCES", "FrechetDistance", "GaussianMmd", "PolynomialMmd", "SetDistance"]

Groups = Sequence[NDArray[np.floating]]
Sums = Mapping[str, NDArray[np.float64]]
Matrix = NDArray[np.float64]
Kernel = Callable[[Matrix], Callable[[Matrix], Matrix]]  # of [m, d], then of [n, d]: [n, m]


class SetDistance(Protocol):
    """A distance between two collections of features, as a function of how often each picture counts.

    The costly part is done once per collection (``within``) and per pair of collections (``between``) and can
    be kept in a file; ``values`` is cheap, for thousands of resamples.

    Attributes:
        least: no true distance lies below; estimates and resamples may.
    """

    least: float

    def within(self, groups: Groups) -> dict[str, NDArray[np.float64]]:
        """Arrays that belong to one collection, [n_i, d] features of each picture."""
        ...

    def between(self, groups: Groups, others: Groups) -> dict[str, NDArray[np.float64]]:
        """Arrays that belong to two collections of the same pictures."""
        ...

    def values(
        self, first: Sums, second: Sums, both: Sums, weights: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """Distances [R] for weights [R, pictures]: how often each picture counts, in both collections; nan
        where too few features are left.
        """
        ...


class KernelMmd:
    """Squared maximum mean discrepancy: the mean of a kernel over pairs of features of one collection, plus
    that of the other, less twice that over pairs across.

    In a resample copies of a picture are not compared with each other. Otherwise every copy would add pairs
    of equal features, and resamples would lie above the estimate.

    Args:
        kernel: of every feature of a picture with all features.
        across: compare features of different pictures only.
        with_itself: a feature is compared with itself, too: the biased estimate.
        scale: of the values.

    Source: Gretton et al., "A kernel two-sample test", 2012.
    """

    least = -np.inf  # the expectation over all pairs is below 0 where each has its own original

    def __init__(
        self, kernel: Kernel, *, across: bool, with_itself: bool = False, scale: float = 1.0
    ) -> None:
        self.across = across
        self._kernel, self._with_itself, self._scale = kernel, with_itself, scale

    def within(self, groups: Groups) -> dict[str, NDArray[np.float64]]:
        """Block sums of the kernel, [pictures, pictures], the diagonal blocks with or without pairs of a
        feature with itself; numbers of features.
        """
        sums = _block_sums(self._kernel, groups, groups)
        if not self._with_itself:
            for i, group in enumerate(groups):
                own = group.astype(np.float64)
                sums[i, i] -= sum(float(self._kernel(row)(row)[0, 0]) for row in own[:, None])
        return {"sums": sums, "counts": np.array([len(g) for g in groups], np.float64)}

    def between(self, groups: Groups, others: Groups) -> dict[str, NDArray[np.float64]]:
        """Block sums of the kernel, [pictures, pictures]."""
        return {"sums": _block_sums(self._kernel, groups, others)}

    def values(
        self, first: Sums, second: Sums, both: Sums, weights: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """See :class:`SetDistance`."""
        a, b = first["counts"], second["counts"]
        alone = 0.0 if self._with_itself else 1.0
        parts = (
            (first["sums"], np.outer(a, a) - alone * np.diag(a)),
            (second["sums"], np.outer(b, b) - alone * np.diag(b)),
            (both["sums"], np.outer(a, b)),
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            means = [self._weighted(sums, weights) / self._weighted(count, weights) for sums, count in parts]
        return self._scale * (means[0] + means[1] - 2 * means[2])

    def _weighted(self, blocks: NDArray[np.float64], weights: NDArray[np.integer]) -> NDArray[np.float64]:
        """Σ over i ≠ j of w_i·w_j·blocks_ij, and Σ of w_i·blocks_ii if features of one picture are compared,
        for rows w of ``weights``.
        """
        w, own = weights.astype(np.float64), np.diag(blocks)
        different = np.einsum("ri,ij,rj->r", w, blocks - np.diag(own), w, optimize=True)
        return different if self.across else different + w @ own


def _block_sums(kernel: Kernel, groups: Groups, others: Groups) -> NDArray[np.float64]:
    """Sums of a kernel over the pairs of every two groups."""
    starts = np.cumsum([0, *(len(g) for g in others[:-1])])
    of = kernel(np.concatenate([g.astype(np.float64) for g in others]))
    return np.array([np.add.reduceat(of(group.astype(np.float64)).sum(0), starts) for group in groups])


def _cubic(others: Matrix) -> Callable[[Matrix], Matrix]:
    """(x·y/d + 1)³."""
    columns = others.T / others.shape[1]

    def of(group: Matrix) -> Matrix:
        kernel: Matrix = group @ columns
        kernel += 1
        kernel *= kernel * kernel
        return kernel

    return of


def _gaussian(deviation: float) -> Kernel:
    """exp(-|x - y|²/(2·deviation²))."""

    def to(others: Matrix) -> Callable[[Matrix], Matrix]:
        squares = np.square(others).sum(1)

        def of(group: Matrix) -> Matrix:
            apart = np.square(group).sum(1)[:, None] + squares - 2 * group @ others.T
            return np.exp(-apart / (2 * deviation**2))

        return of

    return to


class PolynomialMmd(KernelMmd):
    """Unbiased squared maximum mean discrepancy with the kernel (x·y/d + 1)³, that of KID.

    It is unbiased, so it may be below 0.

    Args:
        across: compare features of different pictures only. Then it is a U-statistic over pictures, unbiased
            whatever the features of a picture have to do with each other and with those of its
            reconstruction, and exactly 0 for a lossless code. False takes all pairs of different features
            and all pairs across, as KID is defined for two independent collections: between reconstructions
            and their own originals that is too small by twice the mean excess of the kernel of a feature and
            its own reconstruction over the number of features, so that a code gains by fidelity alone.

    Sources: Gretton et al., "A kernel two-sample test", 2012 (their unbiased estimator leaves pairs of the
    same index out across, too); Bińkowski et al., "Demystifying MMD GANs", 2018.
    """

    def __init__(self, *, across: bool) -> None:
        super().__init__(_cubic, across=across)


class GaussianMmd(KernelMmd):
    """Squared maximum mean discrepancy as CMMD has it: Gaussian kernel of deviation 10, all pairs, also of a
    feature with itself, times 1,000. Never below 0, and 0 for a lossless code.

    Source: Jayasumana et al., "Rethinking FID: towards a better evaluation metric for image generation",
    2024.
    """

    def __init__(self) -> None:
        super().__init__(_gaussian(10.0), across=False, with_itself=True, scale=1000.0)


class FrechetDistance:
    """Fréchet distance of the Gaussians with mean and covariance of two collections, that of FID.

    Its expectation falls with the number of features: compare sets of one size only. A resample holds fewer
    different pictures, and would lie above the estimate; resamples are therefore of the distance made linear
    in how often a picture counts. Its derivatives are exact (:meth:`between`).

    Sources: Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash
    equilibrium", 2017; Dowson & Landau, "The Fréchet distance between multivariate normal
    distributions", 1982.
    """

    least = 0.0

    def within(self, groups: Groups) -> dict[str, NDArray[np.float64]]:
        """Numbers of features."""
        return {"counts": np.array([len(g) for g in groups], np.float64)}

    def between(self, groups: Groups, others: Groups) -> dict[str, NDArray[np.float64]]:
        """The distance, [1], and its derivatives by how often each picture counts in both, [pictures].

        With X of rows (x_k - m)/√(n - 1) the covariance is XᵀX, and the trace of the root of the product of
        two of them the sum of the singular values S of X·Yᵀ = U·S·Vᵀ. Feature k adds dC = (x_k - m)(x_k - m)ᵀ
        to n - 1 times the covariance, and (n - 1)·Σ S_j·U_kj² to n - 1 times that trace.
        """
        sets = [np.concatenate([g.astype(np.float64) for g in side]) for side in (groups, others)]
        means = [x.mean(0) for x in sets]
        rows = [(x - mean) / np.sqrt(len(x) - 1) for x, mean in zip(sets, means, strict=True)]
        (own, first), (own_other, second) = (_orthonormal(x) for x in rows)
        left, root, right = np.linalg.svd(first @ second.T, full_matrices=False)
        difference = means[0] - means[1]
        squares = [np.square(x).sum(1) for x in rows]  # of one feature, divided by n - 1
        value = difference @ difference + squares[0].sum() + squares[1].sum() - 2 * root.sum()
        influence = np.zeros(len(groups))
        for sign, x, of, square, side in (
            (1, rows[0], own @ left, squares[0], groups),
            (-1, rows[1], own_other @ right.T, squares[1], others),
        ):
            n = len(x)
            each = sign * 2 * np.sqrt(n - 1) / n * (x @ difference)
            each += square - square.sum() / n - (np.square(of) @ root - root.sum() / n)
            influence += np.add.reduceat(each, np.cumsum([0, *(len(g) for g in side[:-1])]))
        return {"value": np.array([value]), "influence": influence}

    def values(
        self, first: Sums, second: Sums, both: Sums, weights: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """See :class:`SetDistance`; linear in the weights."""
        linear: NDArray[np.float64] = both["value"] + (weights.astype(np.float64) - 1) @ both["influence"]
        return linear


def _orthonormal(x: Matrix) -> tuple[Matrix, Matrix]:
    """Q [n, r] with orthonormal columns and A [r, d] of which x [n, d] is the product, without directions of
    no variance.
    """
    tall = len(x) > x.shape[1]
    power, basis = np.linalg.eigh(x.T @ x if tall else x @ x.T)
    kept = power > power[-1] * len(power) * np.finfo(np.float64).eps
    power, basis = power[kept], basis[:, kept]
    if not tall:
        return basis, basis.T @ x
    return x @ basis / np.sqrt(power), np.sqrt(power)[:, None] * basis.T


DISTANCES: dict[str, SetDistance] = {
    "polynomial_mmd": PolynomialMmd(across=False),
    "polynomial_mmd_across": PolynomialMmd(across=True),
    "gaussian_mmd": GaussianMmd(),
    "frechet": FrechetDistance(),
}
