"""Specification of a channel to its operator.

May import: linksim.{scenario, scenario_io, effects, zoo}, linksim.digital.link_adaptation, channels.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, assert_never

import torch
from pydantic import TypeAdapter, ValidationError

from channels.awgn import AwgnChannel
from channels.base import ChannelOperator, Precision
from channels.checks import complaint
from channels.flat_fading import FlatFadingChannel
from channels.impairments import (
    CarrierFrequencyOffset,
    Clipping,
    Impairment,
    IqImbalance,
    NarrowbandInterferer,
    PhaseNoise,
    Quantization,
    RappAmplifier,
    TimingOffset,
)
from channels.interleaving import InterleavedChannel
from channels.link_budget import LinkBudget
from channels.transmission import Precoding, Transmission
from channels.units import linear_to_db
from linksim import scenario as spec
from linksim.digital.link_adaptation import Calibration, CalibrationError
from linksim.effects import check_channel_effects
from linksim.places import place
from linksim.scenario_io import ScenarioError, Training, scenario_dir

if TYPE_CHECKING:  # Sionna, which these import, takes seconds that flat channels need not wait
    from channels.delay_models import Covariance, DelayModel
    from channels.grid import Pilots
    from channels.ofdm import OfdmChannel
    from channels.ray_scene import RayTracing
    from channels.recorded import RecordedModel

__all__ = [
    "build_channel",
    "build_impairment",
    "build_model",
    "calibration_key",
    "channel_files",
    "interleaves",
    "load_calibration",
    "refused_as_input",
    "resulting_snr_db",
    "sent_over",
    "training_channels",
    "try_channel",
    "untraced",
]

_DMRS_COMB, _DMRS_BOOST_DB = 2, 3.0


@contextmanager
def refused_as_input(where: str) -> Iterator[None]:
    """What a channel's own checks refuse is bad input of the scenario.

    Args:
        where: field that the message is to name.

    Raises:
        ScenarioError: in place of a ValueError.
    """
    try:
        yield
    except ValueError as problem:
        raise ScenarioError(f"{where}: {problem}") from None


def try_channel(operator: ChannelOperator, num_uses: int) -> None:
    """Send one frame: what depends on its length is refused here, such as a recording that is shorter.

    Raises:
        ValueError: what the channel refuses.
    """
    x = torch.ones(1, num_uses, dtype=operator.cdtype, device=operator.device)
    operator(x, torch.zeros(1), [0])


def build_channel(
    channel: spec.ChannelBase, device: torch.device, precision: Precision = "single"
) -> ChannelOperator:
    """The channel operator of a specification.

    Raises:
        ValueError: antennas, pilots and streams that do not go together.
    """
    if isinstance(channel, spec.OfdmSpec):
        return _build_ofdm(channel, device, precision)
    assert isinstance(channel, spec.AwgnSpec | spec.RayleighSpec | spec.RicianSpec)
    inner = _build_flat(channel, device, precision)
    if not channel.impairments:
        return inner
    hardware = [build_impairment(i) for i in channel.impairments]
    from channels.front_end import SingleCarrierChannel

    return SingleCarrierChannel(inner, hardware, symbol_rate_hz=channel.symbol_rate_hz)


def _build_flat(
    channel: spec.AwgnSpec | spec.RayleighSpec | spec.RicianSpec, device: torch.device, precision: Precision
) -> AwgnChannel | FlatFadingChannel:
    if isinstance(channel, spec.AwgnSpec):
        return AwgnChannel(device=device, precision=precision)
    return FlatFadingChannel(
        coherence_symbols=channel.coherence_symbols,
        k_factor_db=channel.k_factor_db if isinstance(channel, spec.RicianSpec) else None,
        csi=channel.csi.kind,
        pilots_per_block=channel.csi.pilots_per_block,
        device=device,
        precision=precision,
    )


def _build_ofdm(channel: spec.OfdmSpec, device: torch.device, precision: Precision) -> OfdmChannel:
    from channels.delay_models import ExponentialCovariance
    from channels.ofdm import OfdmChannel
    from channels.time_ofdm import TimeDomainOfdmChannel

    csi = channel.csi
    bandwidth_hz = channel.num_subcarriers * channel.subcarrier_spacing_hz
    model = build_model(channel.model, channel.carrier_hz, bandwidth_hz, precision)
    transmission = _transmission(channel.transmission)
    streams = transmission.streams(model.num_tx_antennas, model.num_rx_antennas)
    assumed: Covariance | Literal["robust"] | None = None
    if csi.assumed == "robust":
        assumed = "robust"
    elif csi.assumed is not None:
        assumed = ExponentialCovariance(
            delay_spread_s=csi.assumed.delay_spread_s,
            carrier_hz=channel.carrier_hz,
            speed_mps=csi.assumed.speed_mps,
        )
    kind = {"frequency": OfdmChannel, "time": TimeDomainOfdmChannel}[channel.waveform]
    return kind(
        model,
        num_subcarriers=channel.num_subcarriers,
        subcarrier_spacing_hz=channel.subcarrier_spacing_hz,
        num_ofdm_symbols=channel.num_ofdm_symbols,
        pilots=_pilots(csi, streams),
        csi=csi.kind,
        interpolation=csi.interpolation,
        assumed=assumed,
        noise=csi.noise,
        gain_control=channel.has_unequal_draws,
        report_delay_slots=channel.told.transmitter.delay_slots,
        transmission=transmission,
        impairments=[build_impairment(i) for i in channel.impairments],
        cyclic_prefix_length=channel.cyclic_prefix_length,
        guard_subcarriers=channel.guard_subcarriers,
        dc_null=channel.dc_null,
        device=device,
        precision=precision,
    )


def resulting_snr_db(channel: spec.ChannelBase, operator: ChannelOperator) -> float | None:
    """Es/N0 per data use [dB] that a link budget gives, averaged over all draws, to a hundredth of a decibel;
    None without a link budget.

    Raises:
        ValueError: an SNR that no scenario may ask for.
    """
    if not isinstance(channel, spec.OfdmSpec) or channel.link_budget is None:
        return None
    from channels.ofdm import OfdmChannel

    assert isinstance(operator, OfdmChannel)
    given = channel.link_budget
    if given.path_loss_db is not None:
        gain_db = -given.path_loss_db
    else:
        gain_db = linear_to_db(operator.model.mean_power)  # type: ignore[attr-defined]
    budget = LinkBudget(given.transmit_power_dbm, given.noise_figure_db, given.temperature_k)
    snr_db = round(budget.snr_db(gain_db, operator.bandwidth_hz), 2)
    low, high = spec.SNR_DB_RANGE
    if not low <= snr_db <= high:
        got = f"{snr_db:g} dB with a mean gain of {gain_db:.1f} dB"
        cure = "Change transmit_power_dbm or the path loss."
        expected = f"{low:g} to {high:g} dB"
        raise ValueError(complaint("link_budget: resulting SNR", "out of range", got, expected, cure))
    return snr_db


def _pilots(csi: spec.OfdmCsiSpec, streams: int) -> Pilots:
    from channels.grid import Pilots

    if csi.dmrs is not None:
        boost_db = csi.boost_db
        if boost_db is None:  # what a comb leaves empty pays for it; two streams leave nothing
            boost_db = _DMRS_BOOST_DB if streams == 1 else linear_to_db(2 / streams)
        return Pilots(csi.pilot_places, _DMRS_COMB, boost_db, csi.dmrs.ports)
    return Pilots(csi.pilot_places, csi.comb or streams, csi.boost_db or 0.0)


def _transmission(sent: spec.TransmissionSpec) -> Transmission:
    precoding = Precoding(**sent.precoding.model_dump()) if sent.kind == "svd" else Precoding()
    return Transmission(sent.kind, sent.streams, precoding)


def build_model(
    model: spec.ModelSpec, carrier_hz: float, bandwidth_hz: float, precision: Precision
) -> DelayModel:
    """The delay model of a specification.

    Args:
        model: specification.
        carrier_hz: carrier frequency [Hz].
        bandwidth_hz: of the whole grid [Hz]: recordings are normalised over it.
        precision: of the gains.

    Raises:
        ValueError: a recording that cannot be read.
        RuntimeError: ray tracing that lacks LLVM.
    """
    from channels.delay_models import TdlModel

    if isinstance(model, spec.TdlSpec):
        return TdlModel(
            model.profile,
            delay_spread_s=model.delay_spread_s,
            carrier_hz=carrier_hz,
            speed_mps=model.speed_mps,
            num_rx_antennas=model.rx_antennas,
            num_tx_antennas=model.tx_antennas,
            rx_correlation=model.rx_correlation,
            tx_correlation=model.tx_correlation,
            precision=precision,
        )
    if isinstance(model, spec.RecordedSpec):
        recorded = _recorded(model, bandwidth_hz, precision)
        if recorded.carrier_hz not in (None, carrier_hz):
            warnings.warn(
                f"recording {model.path}: made at {recorded.carrier_hz:g} Hz, "
                f"got carrier_hz {carrier_hz:g} Hz. Gains and Doppler shifts stay those of the recording.",
                stacklevel=2,
            )
        return recorded
    if isinstance(model, spec.RayTracedSpec):
        return _ray_traced(model, carrier_hz, bandwidth_hz, precision)
    assert isinstance(model, spec.CdlSpec | spec.CellSpec)
    return _geometric(model, carrier_hz, precision)


def _geometric(model: spec.CdlSpec | spec.CellSpec, carrier_hz: float, precision: Precision) -> DelayModel:
    from channels.geometric_models import CdlModel, CellModel, Panel

    transmitter = Panel(**model.transmitter.model_dump())
    receiver = Panel(**model.receiver.model_dump())
    if isinstance(model, spec.CdlSpec):
        return CdlModel(
            model.profile,
            delay_spread_s=model.delay_spread_s,
            carrier_hz=carrier_hz,
            speed_mps=model.speed_mps,
            transmitter=transmitter,
            receiver=receiver,
            precision=precision,
        )
    return CellModel(
        model.kind,
        carrier_hz=carrier_hz,
        speed_mps=model.speed_mps,
        indoor_share=model.indoor_share,
        line_of_sight=model.line_of_sight,
        shadowing=model.shadowing,
        path_loss=model.path_loss,
        transmitter=transmitter,
        receiver=receiver,
        precision=precision,
    )


def _recorded(model: spec.RecordedSpec, bandwidth_hz: float, precision: Precision) -> RecordedModel:
    from channels.recorded import RecordedModel

    return RecordedModel(
        recording_path(model.path),
        normalize=model.normalize,
        phases=model.phases,
        timing=model.timing,
        speed_mps=model.speed_mps,
        bandwidth_hz=bandwidth_hz,
        precision=precision,
    )


def recording_path(path: str) -> Path:
    """A recording by its path, or by the name of one that comes with linksim."""
    bundled = scenario_dir() / "data" / f"{path}.npz"
    return bundled if bundled.is_file() and not Path(path).suffix else place(path)


def channel_files(channel: spec.ChannelBase) -> dict[str, str]:
    """Digest of every file that decides what a channel does: recordings, by name."""
    if isinstance(channel, spec.OfdmSpec) and isinstance(channel.model, spec.RecordedSpec):
        with recording_path(channel.model.path).open("rb") as file:
            return {channel.model.path: hashlib.file_digest(file, "sha256").hexdigest()}
    return {}


def recordings(scenario: Training) -> dict[str, str]:
    """Digest of every recording that a training goes through, by field."""
    found = {}
    for index, part in enumerate(scenario.recipe.channels):
        try:
            digests = list(channel_files(part.channel).values())
        except OSError:  # said when the channel is built
            digests = []
        if digests:
            found[f"{scenario.block}.channels.{index}.channel.model.path"] = digests[0]
    return found


def _ray_traced(
    model: spec.RayTracedSpec, carrier_hz: float, bandwidth_hz: float, precision: Precision
) -> DelayModel:
    from channels.ray_traced import RayTracedModel

    try:
        return RayTracedModel(
            _tracing(model, carrier_hz),
            speed_mps=model.speed_mps,
            normalize=model.normalize,
            phases=model.phases,
            bandwidth_hz=bandwidth_hz,
            precision=precision,
        )
    except RuntimeError as problem:  # no LLVM, or tracing failed: the message says what to do
        raise ValueError(f"model: {problem}") from None


def _tracing(model: spec.RayTracedSpec, carrier_hz: float) -> RayTracing:
    from channels.ray_scene import PlanarArray, RayTracing, Route

    receivers = model.receivers
    if isinstance(receivers, spec.RouteSpec):
        route: Any = Route(
            receivers.waypoints, num_points=receivers.num_points, spacing_m=receivers.spacing_m
        )
    else:
        route = receivers
    return RayTracing(
        scene=model.scene,
        transmitter=model.transmitter,
        receivers=route,
        tx_array=PlanarArray(**model.tx_array.model_dump()),
        rx_array=PlanarArray(**model.rx_array.model_dump()),
        carrier_hz=carrier_hz,
        max_depth=model.max_depth,
        reflection=model.reflection,
        refraction=model.refraction,
        diffraction=model.diffraction,
        scattering_coefficient=model.scattering_coefficient,
        num_rays=model.num_rays,
        max_paths=model.max_paths,
    )


def untraced(channel: spec.ChannelBase) -> spec.ChannelBase:
    """A channel to count uses with: rays are not traced for that, only their request is checked.

    Raises:
        ValueError: no such scene, or arguments out of range.
    """
    if not isinstance(channel, spec.OfdmSpec) or not isinstance(channel.model, spec.RayTracedSpec):
        return channel
    tracing = _tracing(channel.model, channel.carrier_hz)
    antennas = {"rx_antennas": tracing.rx_array.num_antennas, "tx_antennas": tracing.tx_array.num_antennas}
    plain = spec.TdlSpec(profile="A", delay_spread_s=0.0, **antennas)
    return channel.model_copy(update={"model": plain, "link_budget": None})


def build_impairment(imperfect: spec.ImpairmentSpec) -> Impairment:
    """The impairment of a specification."""
    match imperfect:
        case spec.ClippingSpec():
            return Clipping(imperfect.papr_db)
        case spec.RappSpec():
            return RappAmplifier(imperfect.backoff_db, imperfect.smoothness)
        case spec.CfoSpec():
            return CarrierFrequencyOffset(imperfect.offset_hz, uniform=imperfect.uniform)
        case spec.TimingSpec():
            return TimingOffset(imperfect.offset_s)
        case spec.PhaseNoiseSpec():
            return PhaseNoise(
                imperfect.linewidth_hz, loop_bandwidth_hz=imperfect.loop_bandwidth_hz, side=imperfect.at
            )
        case spec.IqImbalanceSpec():
            return IqImbalance(imperfect.gain_db, imperfect.phase_deg, side=imperfect.at)
        case spec.QuantizationSpec():
            return Quantization(imperfect.bits, imperfect.clip_db)
        case spec.InterfererSpec():
            return NarrowbandInterferer(imperfect.sir_db, imperfect.frequency_hz)
        case _:
            assert_never(imperfect)


def interleaves(scheme: spec.SchemeBase, channel: spec.ChannelBase) -> bool:
    """Whether the symbols of a scheme are interleaved on a channel: as the scenario says, and where it says
    nothing, on a resource grid, whose neighbours fade together. The same for every scheme that sends symbols:
    a fade hits the code blocks of a picture as evenly as the values of a latent map.
    """
    if not isinstance(scheme, spec.SentSpec):
        return False
    return isinstance(channel, spec.OfdmSpec) if scheme.interleave is None else scheme.interleave


def sent_over(
    scheme: spec.SchemeBase, channel: spec.ChannelBase, operator: ChannelOperator
) -> ChannelOperator:
    """The operator of a channel as a scheme uses it: interleaved or not."""
    return InterleavedChannel(operator) if interleaves(scheme, channel) else operator


def training_channels(
    mixture: Sequence[spec.TrainChannelSpec], device: torch.device, num_uses: int, *, trace: bool = True
) -> list[ChannelOperator]:
    """The operators of a training, tried.

    Args:
        mixture: channels of the recipe.
        device: where they run.
        num_uses: data uses of a frame.
        trace: False only checks a request for rays.

    Raises:
        ScenarioError: a channel that cannot be built, or a field without effect.
    """
    operators = []
    for part in mixture:
        name = spec.channel_name(part.channel)
        check_channel_effects(name, [part.channel])
        with refused_as_input(f"channels.{name}"):
            chosen = part.channel if trace else untraced(part.channel)
            operator = build_channel(chosen, device)
            try_channel(operator, num_uses)
        interleaved = isinstance(part.channel, spec.OfdmSpec)
        operators.append(InterleavedChannel(operator) if interleaved else operator)
    return operators


_UNLIKE = ("interleave", "csit", "report_delay_slots")  # what a key has beside the fields of the channel


def calibration_key(channel: spec.ChannelBase, scheme: spec.SentSpec) -> dict[str, object]:
    """What a link-adaptation table calls a channel: its specification without the name, the link budget and
    defaults, so that fields which come later do not make it another channel; and what a scheme makes of it,
    ``interleave`` where its symbols are sent in a random order, ``csit`` and ``report_delay_slots`` where it
    is told the SNR of the frame. What the ends are told wrongly is no part of it: a table does not know that.
    """
    key = channel.model_dump(mode="json", exclude={"name", "link_budget", "told"}, exclude_defaults=True)
    if interleaves(scheme, channel):
        key["interleave"] = True
    if isinstance(scheme, spec.SeparationSpec) and scheme.csit == "instantaneous_snr":
        key["csit"] = scheme.csit
        if channel.told.transmitter.delay_slots:
            key["report_delay_slots"] = channel.told.transmitter.delay_slots
    return key


def load_calibration(path: Path) -> Calibration:
    """A link-adaptation table whose channels are called as :func:`calibration_key` calls them, whichever
    version of linksim wrote it.

    Raises:
        CalibrationError: missing or broken.
    """
    known: TypeAdapter[spec.ChannelBase] = TypeAdapter(spec.ChannelSpec)

    def name(stored: dict[str, object]) -> dict[str, object]:
        channel = {field: value for field, value in stored.items() if field not in _UNLIKE}
        link: dict[str, Any] = {"interleave": stored.get("interleave") is True}
        if "csit" in stored:
            link["csit"] = stored["csit"]
            transmitter = {"delay_slots": stored.get("report_delay_slots", 0)}
            channel["told"] = {"transmitter": transmitter}
        try:
            scheme = spec.SeparationSpec(kind="separation", name="any", **link)
            return calibration_key(known.validate_python(channel), scheme)
        except ValidationError as problem:
            error = problem.errors(include_url=False)[0]
            got = f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}"
            expected = "a channel of a scenario"
            raise CalibrationError(complaint(f"calibration {path}", "broken", got, expected)) from None

    return Calibration.load(path).renamed(name)
