"""The scenario: what a YAML file may say.

Field names carry units. Every union is told apart by ``kind``. Unknown keys are errors. Names of kinds are
found in the registry (:mod:`linksim.kinds`), never by a dotted path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WrapValidator, model_serializer, model_validator

from linksim.kinds.channels.awgn import AwgnSpec
from linksim.kinds.channels.base import (
    ChannelBase,
    SingleCarrierBase,
    ToldEndSpec,
    ToldSpec,
    ToldTransmitterSpec,
    channel_name,
)
from linksim.kinds.channels.csi import AssumedSpec, DmrsSpec, OfdmCsiSpec
from linksim.kinds.channels.flat import FlatCsiSpec, RayleighSpec, RicianSpec
from linksim.kinds.channels.ofdm import LinkBudgetSpec, OfdmSpec, PrecodingSpec, TransmissionSpec
from linksim.kinds.fields import (
    SNR_DB_RANGE,
    Bool,
    Int,
    Name,
    NaturalInt,
    PathName,
    PositiveInt,
    Real,
    SnrDb,
    SnrsDb,
    Spec,
    Text,
    expanded_range,
    kept_folder,
)
from linksim.kinds.images import (
    BandwidthSpec,
    FolderImagesSpec,
    ImagesBase,
    ImagesSpec,
    NoImagesSpec,
    SkimageImagesSpec,
    TarImagesSpec,
)
from linksim.kinds.models.geometric import AntennaPanelSpec, CdlSpec, CellSpec
from linksim.kinds.models.raytraced import ArraySpec, RayTracedSpec, RouteSpec
from linksim.kinds.models.recorded import RecordedSpec
from linksim.kinds.models.tdl import TdlSpec
from linksim.kinds.networks import (
    CnnYang2024Spec,
    CodecSpec,
    DialCodecSpec,
    LatentDenoiserSpec,
    LeanCodecSpec,
    NetworkSpec,
    SwinYang2024Spec,
)
from linksim.kinds.schemes.base import SchemeBase, SentSchemeBase
from linksim.kinds.schemes.bound import BoundBase, CapacityBoundSpec, FiniteBlocklengthBoundSpec
from linksim.kinds.schemes.diffusion import DiffJsccSpec, LatentDiffusionSpec
from linksim.kinds.schemes.jscc import JsccSpec
from linksim.kinds.schemes.linear_analog import LinearAnalogSpec
from linksim.kinds.schemes.separation import HarqSpec, SeparationSpec
from linksim.kinds.schemes.source import make_source as SourceSpec
from linksim.kinds.schemes.uncoded import UncodedSpec
from linksim.kinds.stopping import StopSpec, with_metric
from linksim.kinds.union import KindName, KindOf
from linksim.scenario.comparison import references
from linksim.scenario.training import (
    LossSpec,
    OptimizerSpec,
    PhaseSpec,
    RealismSharesSpec,
    SnrRangeSpec,
    TrainChannelSpec,
    TrainScenario,
    TrainSpec,
)
from linksim.scenario.training_diffusion import (
    ControlStartSpec,
    ControlTrainScenario,
    ControlTrainSpec,
    DenoiserTrainScenario,
    DenoiserTrainSpec,
)

__all__ = [
    "SNR_DB_RANGE",
    "AntennaPanelSpec",
    "ArraySpec",
    "AssumedSpec",
    "AwgnSpec",
    "BandwidthSpec",
    "BoundBase",
    "CapacityBoundSpec",
    "CdlSpec",
    "CellSpec",
    "ChannelBase",
    "ChannelSpec",
    "CnnYang2024Spec",
    "CodecSpec",
    "ControlStartSpec",
    "ControlTrainScenario",
    "ControlTrainSpec",
    "DenoiserTrainScenario",
    "DenoiserTrainSpec",
    "DialCodecSpec",
    "DiffJsccSpec",
    "DmrsSpec",
    "FiniteBlocklengthBoundSpec",
    "FlatCsiSpec",
    "FolderImagesSpec",
    "HarqSpec",
    "ImagesBase",
    "ImagesSpec",
    "JsccSpec",
    "LatentDenoiserSpec",
    "LatentDiffusionSpec",
    "LeanCodecSpec",
    "LinearAnalogSpec",
    "LinkBudgetSpec",
    "LossSpec",
    "MetricName",
    "NetworkSpec",
    "NoImagesSpec",
    "OfdmCsiSpec",
    "OfdmSpec",
    "OptimizerSpec",
    "PanelSpec",
    "PhaseSpec",
    "PrecodingSpec",
    "RayTracedSpec",
    "RayleighSpec",
    "RealismSharesSpec",
    "RecordedSpec",
    "RicianSpec",
    "RouteSpec",
    "Scenario",
    "SchemeBase",
    "SchemeSpec",
    "SentSchemeBase",
    "SeparationSpec",
    "SingleCarrierBase",
    "SkimageImagesSpec",
    "SnrRangeSpec",
    "SourceSpec",
    "StatisticsSpec",
    "StopSpec",
    "SweepSpec",
    "SwinYang2024Spec",
    "TarImagesSpec",
    "TdlSpec",
    "ToldEndSpec",
    "ToldSpec",
    "ToldTransmitterSpec",
    "TrainChannelSpec",
    "TrainScenario",
    "TrainSpec",
    "TransmissionSpec",
    "UncodedSpec",
    "channel_name",
    "channel_names",
]

ChannelSpec = Annotated[ChannelBase, KindOf("channel")]
SchemeSpec = Annotated[SchemeBase, KindOf("scheme")]
MetricName = Annotated[Text, KindName("metric")]
_CLASSIFIER = "of top1_agreement, posterior_kl: torchvision/NAME, or a folder or hub name; none: Lite2"

SweptText = Annotated[str, WrapValidator(kept_folder)]  # a choice, or a path


class SweepSpec(Spec):
    """Swept points. Beside ``snr_db``, any numeric field by its path: ``channel.model.speed_mps: [1,
    10]``. ``-5:2:15`` means the values from -5 to 15 in steps of 2.
    """

    snr_db: Annotated[tuple[SnrDb, ...], Field(min_length=1)] | None = Field(
        None, description="Es/N0 per data use [dB]; none where link budgets give it"
    )
    trials: PositiveInt = Field(1, description="noise and fading realisations per image")
    fields: dict[str, tuple[Real | Int | Bool | SweptText, ...]] = Field(
        {}, description="path: values (written beside snr_db)"
    )

    @model_validator(mode="before")
    @classmethod
    def _paths(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        data = {k: _ranges(k, v) for k, v in data.items()}
        paths = {key: value for key, value in data.items() if isinstance(key, str) and "." in key}
        plain = {key: value for key, value in data.items() if key not in paths}
        if paths:
            plain["fields"] = {**plain.get("fields", {}), **paths}
        return plain

    @model_validator(mode="after")
    def _distinct(self) -> SweepSpec:
        for key, values in {"snr_db": self.snr_db, **self.fields}.items():
            if values is None:
                continue
            if not values or len(set(values)) != len(values):
                raise ValueError(f"{key}: got {list(values)}, expected one or more different values.")
        return self


def _ranges(key: object, value: object) -> object:
    """Ranges written out, of SNRs and of fields by their path."""
    if key == "fields" and isinstance(value, dict):
        return {path: _ranges(path, values) for path, values in value.items()}
    return value if key != "snr_db" and "." not in str(key) else _written_out(key, value)


def _written_out(key: object, value: object) -> object:
    """The values of a range, or the value."""
    try:
        return expanded_range(value)
    except ValueError as problem:
        raise ValueError(f"{key}: {problem}") from None


class PanelSpec(Spec):
    """Which pictures the image panel shows."""

    images: PositiveInt = Field(2, description="the first so many images")
    snr_db: SnrsDb | None = Field(None, description="none: the lowest and the highest swept value")


def _confidence(value: float) -> float:
    if 50 < value < 100:
        raise ValueError(
            f"got {value:g}, expected 0.5 < value < 1. Did you mean {value / 100:g} ({value:g} %)?"
        )
    return value


class StatisticsSpec(Spec):
    """Confidence intervals: bootstrap clustered by image."""

    confidence: Annotated[Real, AfterValidator(_confidence), Field(gt=0.5, lt=1)] = Field(
        0.95, description="level of the intervals"
    )
    resamples: Annotated[Int, Field(ge=100)] = Field(2000, description="bootstrap samples")
    against: Text | dict[Text, Text] | None = Field(
        None,
        description="draw paired differences to a scheme, a channel, or PATH=VALUE of a swept field; or to "
        "the scheme that a block says for each of some schemes",
    )


class Scenario(Spec):
    """One experiment: channels x swept points x schemes x images x trials."""

    schema_version: Literal[1] = Field(1, description="of this file format")
    name: Name = Field(description="of the run folder and of figures")
    question: str = Field("", description="the question that this file answers, for linksim list scenarios")
    seed: NaturalInt = Field(0, description="of all noise and fading")
    images: ImagesSpec = Field(description="pictures that are sent")
    bandwidth: BandwidthSpec = Field(description="channel uses per picture")
    channels: Annotated[tuple[ChannelSpec, ...], Field(min_length=1)] = Field(
        description="one channel, or a list of them under channels"
    )
    sweep: SweepSpec = Field(
        description="points of the curves: SNRs, and values of other fields by path; -5:2:15 is a range"
    )
    schemes: Annotated[tuple[SchemeSpec, ...], Field(min_length=1)] = Field(
        description="what sends the pictures; a curve for each"
    )
    metrics: Annotated[tuple[MetricName, ...], Field(min_length=1)] = Field(
        ("psnr",), description="what is measured"
    )
    classifier: PathName | None = Field(None, description=f"{_CLASSIFIER}; none: efficientnet_lite2")
    statistics: StatisticsSpec = Field(
        StatisticsSpec(), description="confidence intervals, and what schemes are compared with"
    )
    panel: PanelSpec = Field(PanelSpec(), description="which pictures are kept and shown")
    stop: StopSpec | None = Field(None, description="none: every point has sweep.trials trials")
    batch_size: PositiveInt = Field(8, description="images per call; results do not depend on it")

    @model_validator(mode="before")
    @classmethod
    def _one_channel(cls, data: Any) -> Any:
        if isinstance(data, dict) and "channel" in data:
            if "channels" in data:
                raise ValueError("got both channel and channels, expected one of them.")
            data = {**data, "channels": [data["channel"]]}
            del data["channel"]
        return data

    @model_validator(mode="before")
    @classmethod
    def _list_of_mcs(cls, data: Any) -> Any:
        """A separation scheme with a list of MCS becomes one scheme per MCS."""
        if not isinstance(data, dict) or not isinstance(data.get("schemes"), list | tuple):
            return data
        schemes: list[Any] = []
        for scheme in data["schemes"]:
            rows = _written_out("schemes.mcs", scheme.get("mcs")) if isinstance(scheme, dict) else None
            if isinstance(rows, list | tuple) and rows:
                schemes += [{**scheme, "mcs": row, "name": f"{scheme.get('name')} {row}"} for row in rows]
            else:
                schemes.append(scheme)
        return {**data, "schemes": schemes}

    @model_validator(mode="before")
    @classmethod
    def _stop_by_the_first_metric(cls, data: Any) -> Any:
        return with_metric(data)

    @model_serializer(mode="wrap")
    def _without_later(self, dump: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """As scenarios were before there were rules and classifiers: their hash is the same."""
        later = ("stop", "classifier")
        return {name: value for name, value in dump(self).items() if name not in later or value is not None}

    @model_validator(mode="after")
    def _stops(self) -> Scenario:
        if self.stop is not None:
            self.stop.check(self.metrics, self.sweep.trials, has_snr=self.sweep.snr_db is not None)
        return self

    @property
    def most_trials(self) -> int:
        """Trials of a point, at most."""
        return self.sweep.trials if self.stop is None else self.stop.max_trials

    @model_validator(mode="after")
    def _uses_of_what_is_sent(self) -> Scenario:
        self.bandwidth.check(has_pictures=self.images.has_pictures)
        if not self.images.has_pictures and self.panel != PanelSpec():
            raise ValueError("panel: got one with images: none, expected none: there is nothing to show.")
        return self

    @model_validator(mode="after")
    def _one_source_of_snr(self) -> Scenario:
        budgets = [c.has_link_budget for c in self.channels]
        if any(budgets) and not all(budgets):
            without = channel_name(self.channels[budgets.index(False)])
            raise ValueError(
                f"channels: got {without} without a link_budget, expected one in all or in none."
            )
        if any(budgets) and self.sweep.snr_db is not None:
            cure = "Sweep channel.link_budget.transmit_power_dbm instead."
            raise ValueError(f"sweep.snr_db: got values with a link_budget, expected none. {cure}")
        if not any(budgets) and self.sweep.snr_db is None:
            raise ValueError("sweep.snr_db: missing, expected one or more values in dB.")
        return self

    @model_validator(mode="after")
    def _known_reference(self) -> Scenario:
        against, schemes = self.statistics.against, [s.name for s in self.schemes]
        if against is None:
            return self
        channels, fields = channel_names(self), self.sweep.fields
        known = schemes if isinstance(against, dict) else list(references(schemes, channels, fields))
        expected = (
            f"one of {', '.join(known)}" if known else "none: with one scheme there is nothing to compare"
        )
        named = [against] if isinstance(against, str) else [*against, *against.values()]
        for name in named:
            if name not in known:
                raise ValueError(f"statistics.against: got {name[:80]!r}, expected {expected}.")
        return self

    @model_validator(mode="after")
    def _unique_names(self) -> Scenario:
        for field, names in (
            ("schemes", [s.name for s in self.schemes]),
            ("channels", [channel_name(c) for c in self.channels]),
        ):
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                raise ValueError(f"{field}: got the name {twice[0]!r} twice, expected different names.")
        panel, swept = self.panel.snr_db or (), self.sweep.snr_db or ()
        if panel and not swept:
            raise ValueError("panel.snr_db: got values with a link_budget, expected none: all are shown.")
        if not set(panel) <= set(swept):
            got, expected = (", ".join(f"{v:g}" for v in values) for values in (panel, swept))
            raise ValueError(f"panel.snr_db: got {got} dB, expected some of sweep.snr_db: {expected} dB.")
        if len(set(self.metrics)) != len(self.metrics):
            raise ValueError(f"metrics: got {list(self.metrics)}, expected each once.")
        return self


def channel_names(scenario: Scenario) -> list[str]:
    """Labels of the channels in results: those of :func:`channel_name`, without what is swept."""
    names = []
    for index, channel in enumerate(scenario.channels):
        heads = ("channel.", f"channels.{index}.", f"channels.{channel_name(channel)}.")
        swept = {path.removeprefix(h) for path in scenario.sweep.fields for h in heads if path.startswith(h)}
        names.append(channel_name(channel, swept))
    return names if len(set(names)) == len(names) else [channel_name(c) for c in scenario.channels]
