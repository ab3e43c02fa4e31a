"""Metrics that were not measured before: of what a folder keeps, or of units that are run again and have to
come out as they were.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from channels.checks import complaint
from linksim.link import RunError
from linksim.results.records import Record, UnitKey
from linksim.results.store import ResultStore
from linksim.run.computing import keep_features
from linksim.run.measuring import HasFeatures, Measure, check_finite, column_of
from linksim.run.panel_pictures import kept_picture

__all__ = ["Again", "OnKept", "Unlike"]


class Unlike(RunError):
    """A unit that was run again for further metrics and came out unlike before."""

    resumes = False


@dataclass(frozen=True)
class Again:
    """Records of units that are run again for metrics that they lack.

    Args:
        aside: of units without values of metrics; what is run again takes their place.
        lost: of units without features; what is run again is measured, and the record stays.
    """

    aside: dict[UnitKey, Record]
    lost: dict[UnitKey, Record]

    def __len__(self) -> int:
        return len(self.aside) + len(self.lost)

    def timed(self, record: Record) -> Record:
        """A record with the time that its unit took before: a stopping rule may go by it."""
        before = self.aside.get(record.key)
        return record if before is None else replace(record, seconds=before.seconds)

    def check(self, records: Sequence[Record]) -> None:
        """Compare what came out with what was there: the digest of the picture that was shown, counts, facts
        and metrics. Another digest is let pass where values of the picture are the same to six digits:
        networks sum in another order beside other pictures. Features belong to a digest.

        Raises:
            Unlike: names the unit, and what differs.
        """
        for record in records:
            before = self.aside.get(record.key, self.lost.get(record.key))
            if before is None:
                continue
            found = before.differences(record.restricted({*before.values, *before.counts}))
            other = before.shown not in ("", record.shown)
            if other and (record.key in self.lost or not before.values):
                found.append(f"shown {before.shown!r}, now {record.shown!r}")
            if found:
                raise Unlike(_unlike(record.key, found))


def _unlike(key: UnitKey, found: Sequence[str]) -> str:
    point = "".join(f", {name} {value}" for name, value in key.point)
    unit = f"{key.channel}, {key.scheme}{point}, {key.snr_db:g} dB, image {key.image}, trial {key.trial}"
    cure = "The folder is left as it was; with another --out all units are run anew."
    return complaint(f"unit ({unit})", "comes out unlike before", "; ".join(found), "the same", cure)


class OnKept:
    """Metrics of units that a run folder has, from what it keeps of them; nothing is sent again.

    Args:
        measure: of the run.
        originals: [3, H, W] uint8 by name.
        store: its folder.
    """

    def __init__(self, measure: Measure, originals: Mapping[str, Tensor], store: ResultStore) -> None:
        self.metrics, self._truths = measure.metrics, measure.truths
        self._originals, self._store = originals, store
        self._measures: dict[frozenset[str], Measure] = {}

    def complete(self, record: Record, lacking: frozenset[str]) -> Record | None:
        """A record with the values of metrics that it lacks; None where they are of the transmission, or of
        a picture that is not kept.

        Raises:
            ValueError: what a metric gives is not one finite value.
        """
        if lacking not in self._measures:
            image = tuple(m for m in self.metrics.image if m.info.name in lacking)
            task = tuple(m for m in self.metrics.task if m.info.name in lacking)
            state = tuple(m for m in self.metrics.state if m.info.name in lacking)
            asked = replace(self.metrics, image=image, task=task, state=state)
            self._measures[lacking] = Measure(asked, self._truths)
        measure, values, counts = self._measures[lacking], dict(record.values), dict(record.counts)
        asked = measure.metrics
        if len(asked.image) + len(asked.task) + len(asked.state) < len(lacking):
            return None
        if asked.image or asked.task:
            shown, name = kept_picture(self._store, record), record.key.image
            if shown is None:
                return None
            values |= measure.values(name, shown, self._originals[name])
        for fate in asked.state:
            errors, trials = column_of(fate, fate([record.state]), 1)[0]
            counts[fate.info.name] = (errors, trials)
        check_finite(record.key, values)
        names = [info.name for info in self.metrics.infos()]  # in the order of a record that was made at once
        return replace(
            record,
            values={n: values[n] for n in names if n in values},
            counts={n: counts[n] for n in names if n in counts},
        )

    def keep_features(self, measure: Measure, has: HasFeatures) -> tuple[int, dict[UnitKey, Record]]:
        """Write features that the folder lacks of pictures that it keeps; how many units these are of, and
        the records of those that have to be run again for them.
        """
        count, lost = 0, {}
        lacking = [r for r in self._store.records() if measure.lacks_features(r.shown, has)]
        for record in lacking:  # of some the pictures are the same
            shown = kept_picture(self._store, record)
            if shown is None:
                lost[record.key] = record
            else:
                keep_features(measure.features(shown, has), self._store)
                count += 1
        return count, lost
