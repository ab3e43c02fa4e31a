"""linksim completion: shells complete what the parser, the library and the registry have."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from linksim.cli.commands import main
from linksim.cli.completion import commands, script
from linksim.cli.parser import COMMANDS, LISTS, OPTIONS, SHELLS
from linksim.kinds import names
from linksim.scenario.starting.themes import THEMES

BASH, ZSH, FISH = (shutil.which(shell) for shell in SHELLS)


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scripts")
    for shell in SHELLS:
        (folder / shell).write_text(script(shell), encoding="utf-8")
    return folder


@pytest.mark.skipif(BASH is None, reason="no bash")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["sim"], ["simulate"]),
        ([""], list(COMMANDS)),
        (["simulate", "quick"], ["quickstart"]),
        (["simulate", "mimo/a"], ["mimo/alamouti"]),
        (["simulate", "x", "--no"], ["--no-report"]),
        (["simulate", "x", "--device", ""], ["auto", "cpu", "cuda"]),
        (["list", ""], list(LISTS)),
        (["list", "kinds", "--j"], ["--json"]),
        (["plot", "r", "--metric", "lpips"], ["lpips", "lpips_alex", "lpips_vgg", "lpips_squeeze"]),
        (["plot", "r", "--metric", "=", "psn"], ["psnr"]),
        (["plot", "r", "--ledger", "--a"], ["--against"]),
        (["check", "x", "--set", "sweep.s"], ["sweep.snr_db="]),
        (["check", "x", "--set", "channel.kind", "=", "r"], ["rayleigh", "rician"]),
        (["check", "x", "--set", "channel.kind", "="], names("channel")),
        (["check", "x", "--set", "channel.kind=r"], ["channel.kind=rayleigh", "channel.kind=rician"]),
        (["new", "m"], ["mimo", "mobility"]),
        (["new", ""], list(THEMES)),
        (["completion", ""], list(SHELLS)),
        (["--ver"], ["--version", "--verbose"]),
        (["results", "--metric", "psnr", "--m"], ["--metric"]),
        (["simulate", "x", "--out", ""], []),  # a file: left to bash
    ],
)
def test_bash_completes(words, found, scripts, tmp_path):
    code = (
        'source "$1"; shift; COMP_WORDS=(linksim "$@"); COMP_CWORD=$#; _linksim; '
        '[ ${#COMPREPLY[@]} -eq 0 ] || printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        [BASH, "--norc", "-c", code, "bash", str(scripts / "bash"), *words],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout.splitlines() == found
    assert done.stderr == ""


@pytest.mark.skipif(BASH is None, reason="no bash")
def test_files_stand_beside_scenarios_of_the_library(scripts, tmp_path):
    (tmp_path / "quick.yaml").write_text("")
    code = 'source "$1"; COMP_WORDS=(linksim check quick); COMP_CWORD=2; _linksim; echo "${COMPREPLY[@]}"'
    command = [BASH, "--norc", "-c", code, "bash", str(scripts / "bash")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == ["quickstart", "quick.yaml"]


@pytest.mark.skipif(FISH is None, reason="no fish")
def test_fish_completes(scripts, tmp_path):
    code = f'source {scripts / "fish"}; complete -C "linksim simulate quick"; complete -C "linksim list "'
    done = subprocess.run(
        [FISH, "--no-config", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.split() == ["quickstart", *sorted(LISTS)]


@pytest.mark.skipif(ZSH is None, reason="no zsh")
def test_zsh_completes(scripts, tmp_path):
    code = (
        f"autoload -U +X compinit && compinit -u; source {scripts / 'zsh'}; emulate ksh; "
        'COMP_WORDS=(linksim simulate quick); COMP_CWORD=2; _linksim; print -r -- "${COMPREPLY[@]}"'
    )
    done = subprocess.run([ZSH, "-f", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == ["quickstart"]


def test_every_command_and_option_is_known():
    found = commands()
    assert set(found) == {"", *COMMANDS}
    assert {option for command in found.values() for option in command.options} == set(OPTIONS)
    for shell in SHELLS:
        text = script(shell)
        assert all(option.removeprefix("--") in text for option in OPTIONS)
        assert "own-method" in text


def test_the_command_prints_the_script(capsys):
    assert main(["completion", "bash"]) == 0
    assert capsys.readouterr().out.strip() == script("bash").strip()
    assert main(["completion", "tcsh"]) == 2
    assert "invalid choice" in capsys.readouterr().err
