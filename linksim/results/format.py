"""What the files of a run folder may say: types and limits, so that readers meet no surprises.

Readers rely on these fields alone.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

__all__ = ["FORMAT", "StoredHeader", "StoredRecord", "first_problem"]

FORMAT = "linksim-run-1"
SPENT = ("bytes", "payload_bits", "header_bits", "padding_bits", "crc_bits", "header_uses")  # of a record


class _Block(BaseModel):
    """A block of a file, strict about types; what later versions add is left alone."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


_Count = Annotated[int, Field(ge=0, lt=1 << 53)]
_Number = Annotated[float, Field(ge=-1e30, le=1e30)]
_Decibel = Annotated[float, Field(ge=-1000, le=1000)]
_Value = bool | float | int | str
_Metric = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,60}$")]  # part of the names of figures
_FieldPath = Annotated[str, Field(pattern=r"^[A-Za-z0-9 ._+-]{1,200}$")]  # likewise


class _StoredKey(_Block):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    channel: str
    scheme: str
    point: tuple[tuple[str, _Value], ...]
    snr_db: _Decibel
    image: str
    trial: _Count


class StoredRecord(_Block):
    """A line of records.jsonl."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    key: _StoredKey
    seed: Annotated[int, Field(ge=0, lt=1 << 64)]
    state: str
    values: dict[_Metric, _Number]
    counts: dict[_Metric, tuple[_Count, Annotated[int, Field(ge=1, lt=1 << 53)]]]
    data_uses: _Count
    pilot_uses: _Count
    guard_uses: _Count
    side_info_bits: _Count
    source_values: _Count
    seconds: Annotated[float, Field(ge=0, le=1e12)]
    independent_bits: bool = False
    transmissions: Annotated[int, Field(ge=1, lt=1 << 31)] = 1
    info: dict[str, _Value] = {}
    shown: Annotated[str, Field(pattern=r"^([0-9a-f]{16})?$")] = ""

    @field_validator("info")
    @classmethod
    def _spent_can_be_added(cls, info: dict[str, _Value]) -> dict[str, _Value]:
        """What the ledger adds up are numbers, and shares of more than nothing."""
        spent = {name: info[name] for name in SPENT if name in info}
        wrong = [name for name, v in spent.items() if isinstance(v, bool | str) or not 0 <= v < 1 << 53]
        if wrong:
            raise ValueError(f"{wrong[0]} must be a number of at least 0")
        if "crc_bits" in info:
            if not {"bytes", "payload_bits"} & info.keys():
                raise ValueError("crc_bits without bytes or payload_bits")
            if not any(spent.values()):
                raise ValueError("crc_bits of a block without bits")
        return info

    @model_validator(mode="after")
    def _no_more_errors_than_trials(self) -> StoredRecord:
        wrong = [name for name, (errors, trials) in self.counts.items() if errors > trials]
        if wrong:
            raise ValueError(f"{wrong[0]} with more errors than trials")
        return self


class _Named(_Block):
    name: str
    kind: str


class _MaybeNamed(_Block):
    name: str | None = None
    kind: str


class _Statistics(_Block):
    confidence: Annotated[float, Field(gt=0, lt=1)]
    resamples: Annotated[int, Field(ge=1, le=1_000_000)]
    against: str | dict[str, str] | None = None


class _Panel(_Block):
    images: Annotated[int, Field(ge=1)]
    snr_db: tuple[_Decibel, ...] | None = None


class _Sweep(_Block):
    snr_db: tuple[_Decibel, ...] | None
    fields: dict[_FieldPath, Annotated[tuple[_Value, ...], Field(min_length=1)]]
    trials: _Count = 1


class _Stop(_Block):
    max_trials: Annotated[int, Field(ge=1, lt=1 << 31)]
    metric: str
    block_errors: _Count | None = None
    relative_ci: _Number | None = None
    absolute_ci: _Number | None = None
    seconds: _Number | None = None
    end_below: _Number | None = None


class _StoredScenario(_Block):
    name: str
    question: str = ""
    schemes: Annotated[tuple[_Named, ...], Field(min_length=1)]
    channels: Annotated[tuple[_MaybeNamed, ...], Field(min_length=1)]
    statistics: _Statistics
    panel: _Panel
    sweep: _Sweep
    stop: _Stop | None = None

    @model_validator(mode="after")
    def _chunks(self) -> _StoredScenario:
        if self.stop is not None and not 1 <= self.sweep.trials < self.stop.max_trials:
            raise ValueError("sweep.trials of no stopping rule")
        return self


class _MetricFacts(_Block):
    unit: str
    higher_is_better: bool | None
    reference: str
    min_side: _Count = 1
    label: str = ""
    losses: tuple[str, ...] = ()
    features: Annotated[str, Field(pattern=r"^[a-z0-9_]{0,60}$")] = ""
    distance: str = ""
    is_rate: bool = False
    network: str = ""
    is_share: bool = False


class StoredHeader(_Block):
    """What readers of run.json rely on."""

    format: Literal["linksim-run-1"]
    name: str
    scenario_hash: str
    scenario: _StoredScenario
    images: Annotated[dict[str, tuple[int, int, str]], Field(min_length=1)]
    metrics: dict[_Metric, _MetricFacts]
    unavailable: dict[str, str]
    files: dict[str, str]
    tools: dict[str, str]
    num_units: _Count
    machine: str
    commit: str | None
    versions: dict[str, str]
    trained_on: dict[str, tuple[str, ...] | None] = {}


def first_problem(problem: Exception) -> str:
    """The first of what pydantic found, with its place."""
    if not isinstance(problem, ValidationError):
        return str(problem)
    error = problem.errors(include_url=False)[0]
    place = ".".join(str(part) for part in error["loc"])
    return f"{place}: {error['msg']}" if place else str(error["msg"])
