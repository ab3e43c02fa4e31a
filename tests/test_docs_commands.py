"""Every shell command of the documents: run in a scratch folder at small sizes, or listed with why it is not."""

from __future__ import annotations

import re

import pytest

from tests.shell_blocks import BASH, DOCUMENTS, NOT_RUN, ROOT, Scratch, commands, why_not
from tests.small_linksim import smaller

RUN = {path: [c for c in commands(path) if not why_not(c)] for path in DOCUMENTS}


def test_commands_are_found_in_blocks_lists_and_loops(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\nlinksim list kinds   # all\n\n# nothing\nfor i in 1 2; do\n  linksim check \\\n    x.yaml\ndone\n```\n"
        "    linksim report runs/a\n\n1. **A step.**\n\n   ```sh\n   linksim schema\n   ```\n\n"
        "```sh\n#!/bin/sh\nexec nothing\n```\n    not a command\n"
    )
    loop = "for i in 1 2; do\n  linksim check  x.yaml\ndone"
    assert commands(page) == ["linksim list kinds   # all", loop, "linksim report runs/a", "linksim schema"]


def test_every_command_is_run_or_has_a_reason():
    """A reason that no command needs any more is one too many."""
    found = [command for path in DOCUMENTS for command in commands(path)]
    assert len(found) > 100
    assert sum(map(len, RUN.values())) > 55
    assert [pattern for pattern in NOT_RUN if not any(re.search(pattern, c) for c in found)] == []


def test_sizes_are_reduced_and_nothing_else():
    words = ["simulate", "quickstart", "--set", "sweep.trials=16", "--workers", "8"]
    small = smaller(words)
    assert small[:6] == ["simulate", "quickstart", "--set", "sweep.trials=2", "--workers", "2"]
    assert smaller(["results", "runs/a"]) == ["results", "runs/a"]
    assert "train.steps=3" in smaller(["train", "train/lean-awgn-1-96-start", "--budget", "200m"])


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return Scratch(tmp_path_factory.mktemp("documents"))


@pytest.mark.slow
@pytest.mark.skipif(BASH is None, reason="no bash")
@pytest.mark.parametrize("path", [p for p in RUN if RUN[p]], ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_of_a_page_run_one_after_the_other(path, scratch, tmp_path):
    here = scratch.of_page(path, tmp_path / "here")
    for command in RUN[path]:
        done = here.run(command)
        assert done.returncode == 0, f"{command}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}"
