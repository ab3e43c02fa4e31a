"""Codecs of other people's, and tasks, in other processes and in workers of Ray: the same as in one process."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

import linksim
from linksim.results.store import ResultStore
from tests.linksim.test_command_codec import PROGRAM
from tests.linksim.test_executors import assert_same

CODES: dict[str, Any] = {
    "schema_version": 1,
    "name": "elsewhere",
    "images": {"kind": "qr_codes", "count": 2, "size": [224, 224], "characters": 12},
    "bandwidth": {"data_ratio": "1/4"},
    "channel": {"kind": "awgn"},
    "sweep": {"snr_db": [20]},
    "metrics": ["qr_decoded", "psnr"],
    "batch_size": 1,
}
SIGNS = {
    **CODES,
    "images": {"kind": "text_panels", "count": 2, "size": [64, 224], "lines": 1},
    "metrics": ["ocr_cer", "ocr_confidently_wrong", "top1_agreement", "posterior_kl"],
}
JPEG = {"codec": "jpeg"}


def with_source(scenario: dict[str, Any], source: dict[str, Any]) -> dict[str, Any]:
    scheme = {"kind": "separation", "name": "digital", "mcs": 9, "source": {**source, "resolutions": "full"}}
    return {**scenario, "schemes": [scheme]}


@pytest.fixture
def command(tmp_path, monkeypatch) -> dict[str, Any]:
    """A codec of two commands, in a folder whose name has a space and a letter that is not ASCII."""
    program = tmp_path / "my prögrams" / "toy codec"
    program.parent.mkdir()
    program.write_text(PROGRAM)
    program.chmod(0o755)
    monkeypatch.setenv("LINKSIM_ALLOW_COMMANDS", str(program))
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path / "cache"))
    return {
        "codec": "command",
        "encode": [str(program), "enc", "none", "{input}", "{output}", "{quality}"],
        "decode": [str(program), "dec", "none", "{input}", "{output}"],
        "qualities": [80, 10],
    }


def learned(folder: Path) -> dict[str, Any]:
    """CompressAI's smallest network, with random weights."""
    image = pytest.importorskip("compressai.zoo.image", reason="needs CompressAI")
    torch.manual_seed(0)
    network = image.model_architectures["bmshj2018-factorized"](8, 8)
    torch.save(network.state_dict(), folder / "own.pth")
    return {
        "codec": "compressai",
        "architecture": "bmshj2018-factorized",
        "weights": [str(folder / "own.pth")],
    }


def simulate(scenario: dict[str, Any], out: Path, **options: Any) -> Path:
    return linksim.simulate(scenario, out=out, progress=False, **options).folder


@pytest.mark.slow
def test_commands_are_started_by_two_processes_as_by_one(command, tmp_path, monkeypatch):
    """With a cache for each way: all streams are coded anew."""
    scenario = with_source(CODES, command)
    one = simulate(scenario, tmp_path / "one", workers=1)
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path / "another cache"))
    two = simulate(scenario, tmp_path / "two", workers=2)
    assert_same(one, two)
    assert [r.values["qr_decoded"] for r in ResultStore(two).records()] == [1.0, 1.0]


@pytest.mark.slow
def test_networks_and_readers_in_two_processes(tmp_path):
    for name, scenario in (
        ("signs", with_source(SIGNS, JPEG)),
        *(
            [("learned", with_source(CODES, learned(tmp_path)))]
            if importlib.util.find_spec("compressai")
            else []
        ),
    ):
        ways = [simulate(scenario, tmp_path / f"{name} {n}", workers=n) for n in (1, 2)]
        assert_same(*ways)
        for way in ways:
            assert ResultStore(way).header()["unavailable"] == {}


@pytest.mark.slow
@pytest.mark.parametrize("case", ["command", "learned", "signs"])
def test_workers_of_ray_give_what_one_process_gives(case, request, tmp_path):
    pytest.importorskip("ray", reason="needs linksim-wireless[ray]")
    if case == "command":
        scenario = with_source(CODES, request.getfixturevalue("command"))
    else:
        scenario = with_source(SIGNS, JPEG) if case == "signs" else with_source(CODES, learned(tmp_path))
    one = simulate(scenario, tmp_path / "one", workers=1)
    assert ResultStore(one).header()["unavailable"] == {}
    assert_same(one, simulate(scenario, tmp_path / "two", ray="local", workers=2))


@pytest.mark.slow
def test_a_node_of_ray_allows_commands_itself(command, tmp_path, monkeypatch):
    """What the driver allows, a cluster that was begun without it does not: a scenario may come from anybody."""
    pytest.importorskip("ray", reason="needs linksim-wireless[ray]")
    from ray.cluster_utils import Cluster

    allowed = command["encode"][0]
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.delenv("LINKSIM_ALLOW_COMMANDS")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 1 << 28})
    try:
        monkeypatch.setenv("LINKSIM_ALLOW_COMMANDS", allowed)
        with pytest.raises(linksim.RunError, match="program that is not allowed"):
            simulate(with_source(CODES, command), tmp_path / "run", ray=made.address)
    finally:
        made.shutdown()
