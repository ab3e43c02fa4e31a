"""Distances between two collections of features that come in groups, one group per picture, made for
resampling pictures. NumPy only: results are computed from stored features, without any network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["DISTANCES", "PolynomialMmd", "SetDistance"]

Groups = Sequence[NDArray[np.floating]]
Sums = Mapping[str, NDArray[np.float64]]


class SetDistance(Protocol):
    """A distance between two collections of features, as a function of how often each picture counts.

    The costly part is done once per collection (``within``) and per pair of collections (``between``) and can
    be kept in a file; ``values`` is cheap, for thousands of resamples.
    """

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


class PolynomialMmd:
    """Unbiased squared maximum mean discrepancy with the kernel (x·y/d + 1)³, that of KID.

    The mean of the kernel over pairs of features of one collection, plus that of the other, less twice that
    over pairs across. It is unbiased, so it may be below 0.

    Args:
        across: compare features of different pictures only. Then it is a U-statistic over pictures, unbiased
            whatever the features of a picture have to do with each other and with those of its
            reconstruction, and exactly 0 for a lossless code. False takes all pairs of different features
            and all pairs across, as KID is defined for two independent collections: between reconstructions
            and their own originals that is too small by twice the mean excess of the kernel of a feature and
            its own reconstruction over the number of features, so that a code gains by fidelity alone.

    In a resample copies of a picture are not compared with each other. Otherwise every copy would add pairs
    of equal features, and resamples would lie above the estimate.

    Sources: Gretton et al., "A kernel two-sample test", 2012 (their unbiased estimator leaves pairs of the
    same index out across, too); Bińkowski et al., "Demystifying MMD GANs", 2018.
    """

    def __init__(self, *, across: bool) -> None:
        self.across = across

    def within(self, groups: Groups) -> dict[str, NDArray[np.float64]]:
        """Block sums of the kernel, [pictures, pictures], the diagonal blocks without pairs of a feature
        with itself; numbers of features.
        """
        sums = _block_sums(groups, groups)
        for i, group in enumerate(groups):
            square = np.einsum("nd,nd->n", group, group, dtype=np.float64) / group.shape[1]
            sums[i, i] -= np.sum((square + 1) ** 3)
        return {"sums": sums, "counts": np.array([len(g) for g in groups], np.float64)}

    def between(self, groups: Groups, others: Groups) -> dict[str, NDArray[np.float64]]:
        """Block sums of the kernel, [pictures, pictures]."""
        return {"sums": _block_sums(groups, others)}

    def values(
        self, first: Sums, second: Sums, both: Sums, weights: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """See :class:`SetDistance`."""
        a, b = first["counts"], second["counts"]
        parts = (
            (first["sums"], np.outer(a, a) - np.diag(a)),
            (second["sums"], np.outer(b, b) - np.diag(b)),
            (both["sums"], np.outer(a, b)),
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            means = [self._weighted(sums, weights) / self._weighted(count, weights) for sums, count in parts]
        return means[0] + means[1] - 2 * means[2]

    def _weighted(self, blocks: NDArray[np.float64], weights: NDArray[np.integer]) -> NDArray[np.float64]:
        """Σ over i ≠ j of w_i·w_j·blocks_ij, and Σ of w_i·blocks_ii if features of one picture are compared,
        for rows w of ``weights``.
        """
        w, own = weights.astype(np.float64), np.diag(blocks)
        different = np.einsum("ri,ij,rj->r", w, blocks - np.diag(own), w, optimize=True)
        return different if self.across else different + w @ own


def _block_sums(groups: Groups, others: Groups) -> NDArray[np.float64]:
    """Sums of (x·y/d + 1)³ over the pairs of every two groups."""
    size = groups[0].shape[1]
    starts = np.cumsum([0, *(len(g) for g in others[:-1])])
    columns = np.concatenate([g.astype(np.float64) for g in others]).T / size
    rows = []
    for group in groups:
        kernel = group.astype(np.float64) @ columns
        kernel += 1
        kernel *= kernel * kernel
        rows.append(np.add.reduceat(kernel.sum(0), starts))
    return np.array(rows)


DISTANCES: dict[str, SetDistance] = {
    "polynomial_mmd": PolynomialMmd(across=False),
    "polynomial_mmd_across": PolynomialMmd(across=True),
}
