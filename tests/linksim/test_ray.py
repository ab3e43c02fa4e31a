"""Workers of a Ray cluster give what one process gives, whatever happens to them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
import yaml

import linksim
from channels.kinds import unregister
from channels.kinds.loading import load_file
from linksim.cli.commands import main
from linksim.results.feature_files import RememberedFeatures
from linksim.results.store import ResultStore
from linksim.run.executors import RayChoice
from linksim.run.executors.batches import Losses
from linksim.run.executors.ray_workers import shares_of
from linksim.run.executors.tasks import KindSource, task_of
from linksim.run.runner import make_plan
from tests.crash.faults import workers_of
from tests.linksim.test_executors import FILE, assert_same, killing
from tests.linksim.test_safety import console, foreign
from tests.linksim.tiny import TINY, write

WHOLE = yaml.safe_load(TINY)
ROOT = Path(__file__).parents[2]


# --------------------------------------------------------------------------------- without any cluster


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("here", "--ray: no cluster, got 'here', expected auto, local or HOST:PORT of a cluster's head."),
        ("ray://head:10001", "--ray: no cluster, got 'ray://head:10001', expected auto, local or HOST:PORT"),
        ("127.0.0.1:1", "--ray: 127.0.0.1:1 cannot be reached, got"),
        ("127.0.0.1:99999", "--ray: 127.0.0.1:99999 cannot be reached, got"),
    ],
)
def test_what_is_no_cluster_is_refused_and_nothing_is_written(where, said, tmp_path, capsys):
    words = ["--set", "schemes=[{kind: uncoded, name: q, bits_per_symbol: 2}]", "--ray", where]
    assert main(["simulate", write(tmp_path), *words, "--out", str(tmp_path / "run")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_missing_package_is_said(tmp_path, monkeypatch, capsys):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else found(name))
    assert main(["simulate", write(tmp_path), "--ray", "local", "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert (
        "--ray: Ray is not installed, got local, expected ray>=2.60. Install it: pip install 'linksim-wireless[ray]'"
        in said
    )
    assert not (tmp_path / "run").exists()


def test_diffusion_takes_shares_of_gpus_where_there_are_any():
    schemes = [*WHOLE["schemes"][:2], {"kind": "diffjscc", "name": "dj", "checkpoint": "nowhere"}]
    schemes += [{"kind": "latent_diffusion", "name": "ld", "checkpoint": "nowhere", "codec": "nowhere"}]
    plan = make_plan(linksim.load_scenario(WHOLE, {"schemes": schemes}))
    cpu, cuda = torch.device("cpu"), torch.device("cuda:0")
    cores = dict.fromkeys(("linear", "bpg", "dj", "ld"), 0.0)
    assert shares_of(plan, cpu, RayChoice("local"), 4) == cores | {"dj": 0.5, "ld": 0.25}
    assert shares_of(plan, cpu, RayChoice("local"), 0) == cores
    assert shares_of(plan, cpu, RayChoice("local", gpus=False), 4) == cores
    assert shares_of(plan, cuda, RayChoice("local"), 4) == dict.fromkeys(cores, 0.5) | {"ld": 0.25}


def test_batches_that_are_lost_again_and_again_end_the_run():
    losses = Losses()
    losses.note([1, 2], None)
    losses.note([2, 3], None)
    with pytest.raises(linksim.RunError, match="workers: lost, got processes that were killed 3 times"):
        losses.note([2], None)
    losses.note([1], None)


def test_a_worker_makes_features_once_that_the_run_does_not_have():
    has = RememberedFeatures({("kid", "a")})
    assert [has("kid", "a"), has("kid", "b"), has("kid", "b"), has("fid", "a")] == [True, False, True, False]


def test_files_of_kinds_go_with_the_task(tmp_path):
    """A node without the file, and a file beside it, has the same kinds: of the same digest."""
    (tmp_path / "own.py").write_text("import beside_own\n" + FILE.format(name="largest_r", first="pass"))
    (tmp_path / "beside_own.py").write_text("VALUE = 1\n")
    try:
        load_file(tmp_path / "own.py")
        scenario = linksim.load_scenario(WHOLE, {"metrics": ["psnr", "largest_r"]})
        (source,) = task_of(make_plan(scenario), torch.device("cpu"), 1).kind_sources
        before = digest_of("largest_r")
        unregister("metric", "largest_r")
        del sys.modules["beside_own"]
        shutil.rmtree(tmp_path)
        assert isinstance(source, KindSource)
        source.load()
        assert digest_of("largest_r") == before
    finally:
        unregister("metric", "largest_r")
        sys.modules.pop("beside_own", None)


def digest_of(name: str) -> str:
    """Where a metric comes from."""
    from linksim.kinds import foreign

    (text,) = [found.origin.text for found in foreign() if found.name == name]
    return text


# -------------------------------------------------------------------------------------- with a cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Address of a cluster of this machine: a head of two CPUs."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": 1 << 28})
        try:
            yield made.address
        finally:
            made.shutdown()


def simulate(out: Path, changes: dict | None = None, **options):
    return linksim.simulate(WHOLE, changes or {}, out=out, progress=False, **options)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 8])
def test_all_ways_give_the_same(batch, cluster, tmp_path):
    """One process, two, two workers of Ray, three shards; half of each cut off and run again: the same table."""
    ways: dict[str, dict] = {
        "one": {"workers": 1},
        "two": {"workers": 2},
        "ray": {"ray": cluster, "workers": 2},
    }
    for name, options in ways.items():
        simulate(tmp_path / name, {"batch_size": batch}, **options)
    for part in range(3):
        simulate(tmp_path / "parts" / str(part), {"batch_size": batch}, workers=1, shard=(part + 1, 3))
    linksim.merge(sorted((tmp_path / "parts").iterdir()), tmp_path / "shards")
    for name in ("two", "ray", "shards"):
        assert_same(tmp_path / "one", tmp_path / name)
    for name, options in ways.items():
        out = Path(shutil.copytree(tmp_path / name, tmp_path / f"{name} again"))
        lines = (out / "records.jsonl").read_bytes().splitlines(keepends=True)
        (out / "records.jsonl").write_bytes(b"".join(lines[:31]) + lines[31][:40])
        (out / "results.csv").unlink()
        summary = simulate(out, {"batch_size": batch}, **options).summary
        assert (summary.units_kept, summary.units_run) == (31, 33)
        assert (out / "results.csv").read_bytes() == (tmp_path / name / "results.csv").read_bytes()


@pytest.mark.slow
def test_features_need_no_common_folder(cluster, tmp_path):
    """Those of a worker's folder of the same name are not looked at: here it has them all, the driver lacks some."""
    changes = {"metrics": ["psnr", "kid_lite2"], "sweep.trials": 1, "sweep.snr_db": [2]}
    changes["schemes"] = WHOLE["schemes"][:2]
    one, two = simulate(tmp_path / "1", changes, workers=1), simulate(tmp_path / "2", changes, ray=cluster)
    assert_same(one.folder, two.folder)
    assert [p.name for p in sorted((tmp_path / "1" / "features").rglob("*.npy"))] == [
        p.name for p in sorted((tmp_path / "2" / "features").rglob("*.npy"))
    ]
    tables = [run.table().query("metric == 'kid_lite2'") for run in (one, two)]
    assert list(tables[1]["mean"]) == pytest.approx(list(tables[0]["mean"]), rel=1e-6)
    for path in list((tmp_path / "2" / "features").rglob("*.npy"))[::2]:
        path.unlink()
    again = simulate(tmp_path / "2", changes, ray=cluster)
    assert again.summary.units_run == 0
    assert len(list((tmp_path / "2" / "features").rglob("*.npy"))) == len(
        list((tmp_path / "1" / "features").rglob("*.npy"))
    )


@pytest.mark.slow
def test_kinds_of_files_and_what_fails_in_them(cluster, tmp_path, capsys):
    (tmp_path / "own.py").write_text(FILE.format(name="largest_s", first="pass"))
    (tmp_path / "bad.py").write_text(FILE.format(name="largest_t", first='{}["x"]'))
    try:
        for name in ("own", "bad"):
            metric = "largest_s" if name == "own" else "largest_t"
            words = [
                "--with",
                str(tmp_path / f"{name}.py"),
                "--set",
                f"metrics=[psnr, {metric}]",
                "--no-report",
            ]
            words += ["--set", "sweep.trials=1", "--out", str(tmp_path / name), "--ray", cluster]
            assert main(["simulate", write(tmp_path), *words]) == (0 if name == "own" else 1)
    finally:
        unregister("metric", "largest_s")
        unregister("metric", "largest_t")
    said = capsys.readouterr().err
    assert "failed: kind largest_t of bad.py, line 9: KeyError: 'x'" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_killed_worker_is_replaced(cluster, tmp_path):
    one = simulate(tmp_path / "1", workers=1)
    with killing(2, "ray::_Worker") as killed:
        two = simulate(tmp_path / "2", ray=cluster, workers=2)
    assert len(killed) == 2
    assert_same(one.folder, two.folder)


@pytest.mark.slow
def test_a_gpu_that_is_none_is_said(tmp_path, monkeypatch):
    """A worker that was given a share of a GPU computes on it, or not at all."""
    from ray.cluster_utils import Cluster

    from linksim.kinds.schemes.linear_analog import LinearAnalogSpec

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setattr(LinearAnalogSpec, "gpu_share", 0.5)
    if torch.cuda.is_available():
        pytest.skip("there is one")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 1})
    try:
        with pytest.raises(linksim.RunError, match="workers: cannot begin: workers: no CUDA"):
            simulate(tmp_path / "run", ray=made.address)
        alone = simulate(tmp_path / "run", {"sweep.trials": 1}, ray=made.address, device="cpu")
        assert alone.summary.units_run == 32
    finally:
        made.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize("gracefully", [True, False])
def test_a_node_that_is_lost_loses_nothing(gracefully, tmp_path):
    """Two nodes, one is removed when both are at work; the run ends as one that nobody disturbed."""
    from ray.cluster_utils import Cluster

    changes = {"sweep.trials": 6, "batch_size": 1}
    one = simulate(tmp_path / "1", changes, workers=1)
    words = ["--set", "sweep.trials=6", "--set", "batch_size=1", "--no-report", "--out", str(tmp_path / "2")]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 1 << 28})
        try:
            node = made.add_node(num_cpus=1, object_store_memory=1 << 28)
            driver = subprocess.Popen(
                [sys.executable, "-m", "linksim", "simulate", write(tmp_path), *words, "--ray", made.address],
                env=environment,
                stderr=subprocess.PIPE,
                text=True,
            )
            end = time.monotonic() + 200
            at_work: list[psutil.Process] = []
            while len(at_work) < 2 and time.monotonic() < end:
                time.sleep(0.1)
                found = workers_of(os.getpid(), "ray::_Worker")
                at_work = [p for p in found if p.cpu_times().user > 1.5]
            assert len(at_work) >= 2
            made.remove_node(node, allow_graceful=gracefully)
            said = driver.communicate(timeout=300)[1]
            assert driver.returncode == 0, said
        finally:
            driver.kill()
            made.shutdown()
    assert_same(one.folder, tmp_path / "2")
    keys = [record.key for record in ResultStore(tmp_path / "2").records()]
    assert len(keys) == len(set(keys)) == 192


@pytest.mark.slow
def test_nothing_of_the_working_directory_runs_and_no_process_stays(tmp_path):
    """A cluster of its own, in a folder with files that Ray and Python would import."""
    folder = foreign(tmp_path / "here")
    for name in ("ray", "psutil", "redis", "grpc", "colorama", "aiohttp"):
        (folder / f"{name}.py").write_text(f"open({str(folder / 'marks')!r} + '/{name}', 'w').close()\n")
    words = ["--ray", "local", "--workers", "2", "--set", "sweep.trials=1", "--no-report"]
    done = console(folder, "simulate", write(folder), *words, LINKSIM_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (folder / "marks").iterdir()) == []
    assert "ray" not in done.stderr.lower().replace("rayleigh", "")  # its log does not flood the terminal
    left = [p for p in psutil.process_iter(["cmdline", "environ"]) if p.info["environ"]]
    assert [
        p.info["cmdline"] for p in left if p.info["environ"].get("LINKSIM_CACHE") == str(tmp_path / "cache")
    ] == []


@pytest.mark.slow
def test_a_session_that_is_connected_is_used_and_stays(cluster, tmp_path):
    import ray

    ray.init(address=cluster, log_to_driver=False)
    try:
        run = simulate(tmp_path / "run", {"sweep.trials": 1}, ray="auto")
        assert run.summary.units_run == 32
        assert ray.is_initialized()
        with pytest.raises(linksim.ScenarioError, match="ray: local, got connected already"):
            simulate(tmp_path / "other", {"sweep.trials": 1}, ray="local")
    finally:
        ray.shutdown()


SRUN = """#!/bin/bash
# one machine is all nodes
while [[ "$1" == --* ]]; do shift; done
exec "$@"
"""


@pytest.mark.slow
def test_the_script_for_slurm_makes_a_cluster_and_ends_it(tmp_path):
    """With a stand-in for Slurm's two commands: two "nodes" of this machine."""
    place = tmp_path / "bin"
    place.mkdir()
    (place / "srun").write_text(SRUN)
    (place / "scontrol").write_text("#!/bin/sh\necho localhost; echo other\n")
    (place / "linksim").write_text(f'#!/bin/sh\nexec {sys.executable} -m linksim "$@"\n')
    (place / "ray").write_text(f'#!/bin/sh\nexec {sys.executable} -m ray.scripts.scripts "$@"\n')
    for program in place.iterdir():
        program.chmod(0o755)
    job = str(os.getpid())
    environment = {**os.environ, "PATH": f"{place}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment |= {"SLURM_JOB_ID": job, "SLURM_JOB_NODELIST": "x", "SLURM_JOB_NUM_NODES": "2"}
    environment |= {"PYTHONPATH": str(ROOT), "SLURM_CPUS_PER_TASK": "1"}
    words = [write(tmp_path), "--set", "sweep.trials=1", "--no-report", "--out", str(tmp_path / "run")]
    script = str(ROOT / "docs" / "examples" / "slurm_ray.sh")
    done = subprocess.run(
        ["bash", script, *words], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "32 units" in done.stdout
    end = time.monotonic() + 30
    while any(f"ray-{job}" in " ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])):
        assert time.monotonic() < end, "the cluster is still there"
        time.sleep(0.5)
