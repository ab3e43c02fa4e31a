"""What a run does beforehand and side by side changes nothing but the time: pictures coded by other processes
while networks run, what was sent measured while the next batch is sent.
"""

from __future__ import annotations

import math
import os
import threading
import time
from concurrent.futures import Future
from pickle import PicklingError

import numpy as np
import pytest
import torch
import yaml

import linksim
from channels.kinds import unregister
from linksim.cli.commands import main
from linksim.images.sets import SkimageImages, image_digest
from linksim.kinds.context import Shared
from linksim.results.store import ResultStore
from linksim.run.computing import begin, send
from linksim.run.executors import batches
from linksim.run.machine import Machine
from linksim.run.measuring import measure_of
from linksim.run.plan import Plan, make_plan
from linksim.scenario.files import load_scenario
from linksim.schemes.uncoded import UncodedScheme
from linksim.source.codec import make_source_codec
from linksim.source.coders import Coders, coders
from linksim.source.pillow_codec import PillowCodec
from linksim.source.quality_search import QualitySearch, Wish
from linksim.source.stream_cache import StreamCache
from tests.crash.faults import workers_of
from tests.linksim.tiny import TINY, write

CPU = torch.device("cpu")
NAMES = ("astronaut", "coffee", "chelsea", "rocket")
BPG = {"codec": "bpg", "chroma": "420"}
FIXED = {"kind": "separation", "name": "fixed", "source": BPG, "mcs": 6}
ADAPTIVE = {"kind": "separation", "name": "adaptive", "source": BPG, "mcs": "adaptive"}
TOLD_THE_FADE = ADAPTIVE | {"name": "told"}
BOUND = {"kind": "capacity_bound", "name": "bound", "source": BPG}
RAYLEIGH = {"kind": "rayleigh"}


def plan_of(**changes) -> Plan:
    images = {"kind": "skimage", "names": list(NAMES), "crop": 64}
    whole = yaml.safe_load(TINY) | {"images": images, "metrics": ["psnr"]}
    return make_plan(load_scenario(whole | changes))


def wishes(side: int, *budgets: int) -> list[Wish]:
    images = SkimageImages(list(NAMES))
    crops = [images[n][:, 60 : 60 + side, 120 : 120 + side].contiguous() for n in NAMES]
    rgb = [(c.permute(1, 2, 0).contiguous().numpy(), image_digest(c)) for c in crops]
    return [Wish(*picture, budget) for budget in budgets for picture in rgb]


class Here(Coders):
    """Codes in this process what others are asked for, and counts."""

    def __init__(self, num: int) -> None:
        super().__init__(num)
        self.asked: list[Wish] = []

    def submit(self, function, *arguments) -> Future:
        self.asked += arguments[-1]
        future: Future = Future()
        future.set_result(function(*arguments))
        return future


@pytest.mark.parametrize(
    ("scheme", "channel", "foreseen"),
    [
        (FIXED, RAYLEIGH, True),
        (ADAPTIVE, {"kind": "awgn"}, True),
        (ADAPTIVE, RAYLEIGH, True),
        (ADAPTIVE, {"kind": "awgn", "told": {"transmitter": {"error_db": 3.0}}}, True),
        (BOUND, {"kind": "awgn"}, True),
        (BOUND, RAYLEIGH, False),
        (TOLD_THE_FADE, RAYLEIGH, False),
    ],
    ids=lambda value: value.get("name", value["kind"]) if isinstance(value, dict) else str(value),
)
def test_what_is_coded_beforehand_is_what_will_be_asked_for(scheme, channel, foreseen, monkeypatch, tmp_path):
    """Every stream of the run is begun before anything is sent, unless a fade decides on it."""
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path))
    plan = plan_of(
        schemes=[scheme],
        channels=[channel],
        batch_size=1 if "told" in channel or scheme is TOLD_THE_FADE else 4,
    )
    machine = Machine(plan, plan.variants[0], CPU, 2, Shared(tmp_path))
    if scheme is TOLD_THE_FADE:  # the table that ships has none over this channel
        next(iter(machine.schemes.values())).csit = "instantaneous_snr"
    here = Here(2)
    monkeypatch.setattr("linksim.source.quality_search.coders", lambda num: here)
    for batch in machine.batches(plan):
        begin(plan, machine, batch, CPU)
    begun = len(here.asked)
    assert bool(begun) == foreseen
    alone = []  # searches of this process, which waits meanwhile
    best = QualitySearch.best
    monkeypatch.setattr(QualitySearch, "best", lambda self, *wish: alone.append(wish) or best(self, *wish))
    for batch in machine.batches(plan):
        send(plan, machine, batch, CPU)
    if foreseen:
        assert len(here.asked) == begun
        assert len({wish[1:] for wish in here.asked}) == begun, "none twice"
        known = {wish[1:] for wish in here.asked}
        assert {wish[1:] for wish in alone} <= known, "what is asked for again is remembered"


def test_processes_that_are_killed_meanwhile_change_nothing(tmp_path, caplog):
    asked = wishes(64, 150, 400, 1500)
    expected = QualitySearch(make_source_codec("bpg"), StreamCache(tmp_path / "one"), (1, 2, 4)).best_of(
        asked
    )
    own = QualitySearch(make_source_codec("bpg"), StreamCache(tmp_path / "two"), (1, 2, 4), workers=2)
    own.begin(asked)
    for worker in workers_of(os.getpid(), "loky.backend.popen"):
        worker.kill()
    try:
        assert own.best_of(asked) == expected
        assert "was killed; its work is done again" in caplog.text
        more = QualitySearch(make_source_codec("bpg"), StreamCache(tmp_path / "three"), (1, 2, 4), workers=2)
        assert more.best_of(asked) == expected, "by new ones"
    finally:
        coders(2).stop()


class Exhaustive(QualitySearch):
    """Codes every size, however little it can show."""

    def _uncoded_error(self, *arguments) -> float:
        return -math.inf


def test_sizes_that_are_left_out_would_not_have_been_chosen(tmp_path, monkeypatch):
    """Four photographs at five budgets, of which half and quarter size are the best for some."""
    asked = wishes(128, *(int(b) for b in np.geomspace(90, 3000, 5)))
    codec, found, coded = make_source_codec("bpg"), {}, []
    encode = type(codec).encode
    monkeypatch.setattr(
        type(codec), "encode", lambda self, rgb, quality: coded.append(1) or encode(self, rgb, quality)
    )
    for kind in (Exhaustive, QualitySearch):
        coded.clear()
        found[kind] = kind(codec, StreamCache(tmp_path / kind.__name__), (1, 2, 4)).best_of(asked)
        found[kind.__name__] = len(coded)
    assert found[QualitySearch] == found[Exhaustive]
    assert {fit.resolution for fit in found[Exhaustive] if fit} == {1, 2, 4}
    assert found["QualitySearch"] < 0.9 * found["Exhaustive"]


def test_values_do_not_depend_on_the_number_of_threads():
    """HaarPSI adds up in another order with two threads than with one."""
    plan = plan_of(
        metrics=["psnr", "haarpsi"],
        images={"kind": "skimage", "names": list(NAMES[:2]), "crop": 256},
    )
    names, originals = list(plan.images), torch.stack(list(plan.images.values()))
    noise = torch.randint(-20, 21, originals.shape, generator=torch.Generator().manual_seed(1))
    shown = (originals + noise).clamp(0, 255).to(torch.uint8)
    digests, before = [image_digest(one) for one in shown], torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(measure_of(plan).all_values(names, shown, originals, digests))
            assert torch.get_num_threads() == threads
            alone = measure_of(plan)
            found.append([alone.values(*one) for one in zip(names, shown, originals, strict=True)])
    finally:
        torch.set_num_threads(before)
    assert all(one == found[0] for one in found[1:])


def test_metrics_of_other_people_are_not_asked_by_two_threads(monkeypatch):
    busy, most = [], []

    @linksim.kind("metric", "slow_mean")
    class SlowMean(linksim.ImageMetric):
        """A mean, slowly."""

        info = linksim.MetricInfo("slow_mean", "1", higher_is_better=True, reference="here")

        def __call__(self, x_hat, x):
            busy.append(threading.get_ident())
            most.append(len(busy))
            time.sleep(0.02)
            busy.pop()
            return x_hat.double().mean((1, 2, 3))

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        plan = plan_of(metrics=["psnr", "slow_mean"])
        shown = torch.stack(list(plan.images.values()))
        digests = [image_digest(one) for one in shown]
        values = measure_of(plan).all_values(list(plan.images), shown, shown, digests)
    finally:
        unregister("metric", "slow_mean")
        torch.set_num_threads(before)
    assert len(most) == 4
    assert set(most) == {1}
    expected = [float(one.double().mean() / 255) for one in shown]
    assert [one["slow_mean"] for one in values] == pytest.approx(expected)


class InPlace(linksim.ImageMetric):
    """Scales what it is given."""

    info = linksim.MetricInfo("in_place", "1", higher_is_better=True, reference="here")

    def __call__(self, x_hat, x):
        return x.mul_(255).sub_(x_hat.mul_(255)).double().abs().mean((1, 2, 3))


def test_a_metric_that_works_in_place_changes_no_other():
    """Originals are one tensor for all pictures of a run."""
    linksim.kind("metric", "in_place")(InPlace)
    try:
        with_it, without = (
            plan_of(metrics=metrics) for metrics in (["in_place", "psnr", "ms_ssim"], ["psnr", "ms_ssim"])
        )
    finally:
        unregister("metric", "in_place")
    x = torch.stack([image.repeat(1, 3, 3) for image in with_it.images.values()])
    shown = (x + torch.randint(-20, 21, x.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 255)
    names, measures, found = list(with_it.images), [], []
    linksim.kind("metric", "in_place")(InPlace)
    try:
        measures = [measure_of(plan) for plan in (with_it, without)]
    finally:
        unregister("metric", "in_place")
    for measure in measures:
        for noisy in (shown.to(torch.uint8), shown.roll(1, 3).to(torch.uint8)):
            found.append(measure.all_values(names, noisy, x, [image_digest(one) for one in noisy]))
    for one, other in zip(found[:2], found[2:], strict=True):
        assert [{k: v for k, v in values.items() if k != "in_place"} for values in one] == other


def test_kinds_of_other_people_are_not_called_by_two_threads(tmp_path, monkeypatch):
    """Nothing is measured while they send."""
    inside, together = [], []

    def noted(function):
        def called(*arguments, **keywords):
            inside.append(1)
            together.append(len(inside))
            time.sleep(0.01)
            try:
                return function(*arguments, **keywords)
            finally:
                inside.pop()

        return called

    monkeypatch.setattr("linksim.run.executors.batches.sent", noted(batches.sent))
    monkeypatch.setattr("linksim.run.executors.batches.measured", noted(batches.measured))
    monkeypatch.setattr("linksim.run.runner.cpu_count", lambda: 2)
    few = yaml.safe_load(TINY)
    few |= {"schemes": few["schemes"][:1], "channels": few["channels"][:1]}
    linksim.kind("metric", "in_place")(InPlace)
    try:
        linksim.simulate(few, out=tmp_path / "ours", progress=False)
        ours, together[:] = max(together), []
        linksim.simulate(few | {"metrics": ["psnr", "in_place"]}, out=tmp_path / "own", progress=False)
    finally:
        unregister("metric", "in_place")
    assert (ours, max(together)) == (2, 1)


class Unsendable(PillowCodec):
    """With what no other process can have."""

    def __reduce__(self):
        raise PicklingError("a lock")


def test_a_codec_that_cannot_be_sent_to_other_processes_codes_here(tmp_path):
    asked = wishes(64, 900, 1500)
    expected = QualitySearch(PillowCodec("webp"), StreamCache(tmp_path / "one")).best_of(asked)
    own = QualitySearch(Unsendable("webp"), StreamCache(tmp_path / "two"), workers=2)
    own.begin(asked[:1])
    assert own.best_of(asked[:1]) == expected[:1]
    assert own.best_of(asked) == expected


class NoMemory(Coders):
    """On a machine that begins no more processes."""

    def _begun(self):
        raise OSError("Cannot allocate memory")


def test_processes_that_cannot_begin_are_said_to_who_waits():
    """Nobody waits for ever, and what waits behind is not lost either."""
    none = NoMemory(2)
    futures = [none.submit(len, "abc") for _ in range(6)]
    for future in futures:
        with pytest.raises(OSError, match="allocate"):
            none.wait(future)
    assert not none.busy


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_is_begun_and_not_wanted_is_given_up(tmp_path):
    """Sixty searches at two processes; those that were not begun end at once, the others with the processes."""
    own = QualitySearch(make_source_codec("bpg"), StreamCache(tmp_path / "a"), (1, 2, 4), workers=2)
    own.begin(wishes(128, *range(400, 430, 2)))
    began = time.monotonic()
    assert coders(2).busy
    coders(2).stop()
    assert not coders(2).busy
    assert time.monotonic() - began < 30
    assert own.best_of(wishes(128, 400)) == QualitySearch(
        make_source_codec("bpg"), StreamCache(tmp_path / "b"), (1, 2, 4)
    ).best_of(wishes(128, 400))


@pytest.mark.parametrize(
    "stop", [{}, {"stop": {"block_errors": 5, "max_trials": 6}}], ids=["plan", "stopping rule"]
)
def test_what_was_sent_before_a_unit_failed_is_kept(stop, tmp_path, monkeypatch, capsys):
    """The batches before it are still being measured then."""
    transmit, sent = UncodedScheme.transmit, []

    def fails(self, image, budget, csit):
        if len(sent) == 3:
            raise ValueError("no more paper")
        sent.append(len(image))
        return transmit(self, image, budget, csit)

    scenario = yaml.safe_load(TINY) | stop
    scenario["schemes"] = scenario["schemes"][2:3]
    scenario["metrics"] = ["psnr", "vif", "bler", "ber"]  # takes longer than to send
    path, out = write(tmp_path, yaml.safe_dump(scenario)), tmp_path / "run"
    monkeypatch.setattr(UncodedScheme, "transmit", fails)
    assert main(["simulate", path, "--out", str(out), "--no-report"]) == 1
    assert "no more paper" in capsys.readouterr().err
    assert len(list(ResultStore(out).records())) == sum(sent) > 0
