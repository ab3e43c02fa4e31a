"""Codecs behind command lines: what they may do, what becomes of those that fail, and that nothing is started unasked."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from linksim.cli.commands import main
from linksim.kinds import names
from linksim.results.store import ResultStore
from linksim.source.command.codec import CommandCodec
from linksim.source.command.program import CommandError, CommandLost
from linksim.source.hevc import CodecError
from tests.contracts import kind_checks
from tests.linksim.tiny import write

# JPEG by Pillow in a process of its own; "fault" names what it does wrong.
PROGRAM = f"""#!{sys.executable} -IS
import os, sys, time
what, fault, source, target = sys.argv[1:5]
open(os.path.join(os.path.dirname(os.path.realpath(__file__)), "started"), "a").write(what + "\\n")
if fault == what + "-hangs":
    if os.fork() == 0:
        open(os.path.join(os.path.dirname(os.path.realpath(__file__)), "child"), "w").write(str(os.getpid()))
    time.sleep(60)
if fault == what + "-breaks":
    print("thinking")
    sys.exit("no license for pictures of this \\x1b[31m colour")
if fault == what + "-silent":
    sys.exit(0)
if fault == what + "-links":
    os.symlink("/etc/hostname", target)
    sys.exit(0)
if fault == what + "-floods":
    try:
        with open(target, "wb") as file:
            while True:
                file.write(bytes(1 << 20))
    except OSError as problem:
        sys.exit(str(problem))
if fault == what + "-tells":
    sys.exit(" ".join(sorted(os.environ)) + " in " + os.getcwd() + " with " + repr(sys.stdin.read()))
sys.path += {[p for p in sys.path if "site-packages" in p]!r}
from PIL import Image
picture = Image.open(source)
if fault == what + "-grows":
    picture = picture.resize((picture.width + 1, picture.height))
if fault == what + "-rounds":
    picture = picture.convert("RGBA")
if what == "enc":
    if fault == "enc-dark" and max(picture.tobytes()) < 40:
        sys.exit("too dark")
    picture.convert("RGB").save(target, "JPEG", quality=int(sys.argv[5]))
else:
    picture.save(target, "PNG")
"""

SCENARIO = """
name: command
images: {{kind: folder, path: {pictures}}}
bandwidth: {{data_ratio: 1/4}}
channel: {{kind: awgn}}
sweep: {{snr_db: [20], trials: 1}}
schemes:
  - kind: separation
    name: mine
    mcs: 20
    source:
      codec: command
      encode: [{program}, enc, {fault}, "{{input}}", "{{output}}", "{{quality}}"]
      decode: [{program}, dec, {fault}, "{{input}}", "{{output}}"]
      qualities: [80, 40, 10]
      resolutions: full
      timeout_s: {timeout_s}
metrics: [psnr, bler]
batch_size: 1
"""


@pytest.fixture
def program(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "bin" / "toy"
    path.parent.mkdir()
    path.write_text(PROGRAM)
    path.chmod(0o755)
    monkeypatch.setenv("LINKSIM_ALLOW_COMMANDS", f"/nonexistent/x:{path}")
    return path


def codec(program: Path, fault: str = "none", **fields) -> CommandCodec:
    encode = (str(program), "enc", fault, "{input}", "{output}", "{quality}")
    decode = (str(program), "dec", fault, "{input}", "{output}")
    return CommandCodec(encode, decode, (80, 10), **fields)


def scenario(tmp_path: Path, program: Path, fault: str = "none", timeout_s: float = 30) -> str:
    pictures = tmp_path / "pictures"
    pictures.mkdir(exist_ok=True)
    for i, brightness in enumerate((1.0, 0.1)):
        shade = (kind_checks.picture(64, i) * brightness).astype(np.uint8)
        Image.fromarray(shade).save(pictures / f"{i}.png")
    fields = {"pictures": pictures, "program": program, "fault": fault, "timeout_s": timeout_s}
    return write(tmp_path, SCENARIO.format(**fields))


def test_it_keeps_the_contract_of_source_codecs(program):
    kind_checks.check_source_codec(codec(program))
    assert "command" in names("source_codec")


def test_a_run_sends_its_bytes_and_nothing_else(tmp_path, program):
    assert main(["simulate", scenario(tmp_path, program), "--out", str(tmp_path / "run"), "--no-report"]) == 0
    records = list(ResultStore(tmp_path / "run").records())
    assert [r.state for r in records] == ["ok", "ok"]
    made = codec(program)
    for record in records:
        info = record.info
        picture = np.asarray(Image.open(tmp_path / "pictures" / record.key.image))
        stream = made.encode(picture, info["quality"])
        assert info["bytes"] == len(stream)
        assert 8 * len(stream) + info["header_bits"] + info["padding_bits"] == info["payload_bits"]
        error = np.square(made.decode(stream, (64, 64)).astype(float) - picture).mean()
        assert record.values["psnr"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-4)


def test_nothing_is_started_without_leave(tmp_path, program, monkeypatch, capsys):
    monkeypatch.delenv("LINKSIM_ALLOW_COMMANDS")
    path = scenario(tmp_path, program)
    for command in (["check", path], ["simulate", path, "--out", str(tmp_path / "run")]):
        assert main(command) == 2
        message = capsys.readouterr().err.splitlines()[-1]
        assert message.startswith(
            f"schemes.mine.source.encode: program that is not allowed, got {program}, expected"
        )
        assert f"export LINKSIM_ALLOW_COMMANDS={program}" in message
    assert not (tmp_path / "run").exists()
    assert not (program.parent / "started").exists()


def test_a_check_starts_nothing_even_with_leave(tmp_path, program):
    assert main(["check", scenario(tmp_path, program)]) == 0
    assert not (program.parent / "started").exists()


def test_leave_is_for_the_name_that_is_called(program, monkeypatch):
    """A link to an allowed program is another one: many programs do what they are called."""
    other = program.with_name("other")
    other.symlink_to(program)
    with pytest.raises(ValueError, match=r"not allowed, got .*other"):
        codec(other)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    assert codec(Path("toy")).name.startswith("command-toy-")
    monkeypatch.setenv("LINKSIM_ALLOW_COMMANDS", "toy")
    assert codec(program).name.startswith("command-toy-")


def test_programs_in_folders_with_spaces_are_allowed_by_what_is_said(program, monkeypatch):
    """The command of the message, pasted into a shell; and a script that nobody made executable."""
    other = program.parent / "my codec ß"
    other.write_text(PROGRAM)
    with pytest.raises(ValueError, match=rf"not executable, got {other}.* chmod \+x '{other}'"):
        codec(other)
    other.chmod(0o755)
    with pytest.raises(ValueError, match="not allowed") as problem:
        codec(other)
    line = str(problem.value).partition("this scenario: ")[2]
    shown = subprocess.run(["sh", "-c", f"{line}; env"], capture_output=True, text=True, check=True).stdout
    (value,) = [t.partition("=")[2] for t in shown.splitlines() if t.startswith("LINKSIM_ALLOW_COMMANDS=")]
    monkeypatch.setenv("LINKSIM_ALLOW_COMMANDS", value)
    assert codec(other).name.startswith("command-my codec")


def test_leave_that_was_taken_back_holds_for_what_was_built(program, monkeypatch):
    made = pickle.loads(pickle.dumps(codec(program)))
    monkeypatch.delenv("LINKSIM_ALLOW_COMMANDS")
    with pytest.raises(ValueError, match="not allowed"):
        made.encode(kind_checks.picture(), 80)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("enc-breaks", r"unit \(.*image 0.png.*source.encode: 64 x 64 at quality 10: toy: exit code 1: thinking no license"),
        ("enc-dark", r"unit \(.*image 1.png.*source.encode: 64 x 64 at quality 10: toy: exit code 1: too dark"),
        ("enc-silent", r"source.encode: 64 x 64 at quality 10: wrote no output.bin"),
        ("enc-floods", r"quality 10: toy: exit code 1: \[Errno 27\] a file longer than \d+ bytes, which is not allowed"),
        ("dec-breaks", r"source.decode: its own stream of 64 x 64 at quality 10: toy: exit code 1: thinking no license"),
        ("dec-grows", r"source.decode: its own stream of 64 x 64 at quality 10: output.png is 65 x 64, expected 64 x 64"),
        ("dec-rounds", r"output.png is RGBA, expected RGB with 8 bits"),
    ],
)  # fmt: skip
def test_what_fails_ends_the_run_in_one_message(tmp_path, program, fault, message, capsys):
    command = [
        "simulate",
        scenario(tmp_path, program, fault),
        "--out",
        str(tmp_path / "run"),
        "--workers",
        "1",
    ]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "\x1b" not in said
    assert "Make room" not in said, "a file that a program may not write is no full disk"
    lines = [line for line in said.splitlines() if "source." in line]
    assert len(lines) == 1
    assert re.search(message, lines[0]), lines[0]
    kept = list(ResultStore(tmp_path / "run").records())
    assert len(kept) == (1 if fault == "enc-dark" else 0)  # what was done before is not lost


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_what_hangs_is_killed_with_its_children(program):
    made = codec(program, "enc-hangs", timeout_s=1.0)
    began = time.monotonic()
    with pytest.raises(
        CommandLost, match=r"toy: no end after 1 s \(timeout_s\); it was killed, without a word"
    ):
        made.encode(kind_checks.picture(), 80)
    assert time.monotonic() - began < 10
    child = int((program.parent / "child").read_text())
    for _ in range(50):
        if not alive(child):
            break
        time.sleep(0.05)
    assert not alive(child)


def test_a_decoder_that_hangs_is_no_damaged_stream(program):
    stream = codec(program).encode(kind_checks.picture(), 80)
    with pytest.raises(CommandLost):
        codec(program, "dec-hangs", timeout_s=1.0).decode(stream, (64, 64))
    with pytest.raises(CodecError, match="exit code 1"):
        codec(program, "dec-breaks").decode(stream, (64, 64))


def test_output_has_a_limit_and_is_no_link(program):
    picture = kind_checks.picture()
    with pytest.raises(CodecError, match="more than size_limit_bytes, 100"):
        codec(program, size_limit_bytes=100).encode(picture, 80)
    with pytest.raises(CommandError, match=r"SIGXFSZ|a file longer than \d+ bytes"):
        codec(program, "enc-floods", size_limit_bytes=1000).encode(picture, 80)
    with pytest.raises(CommandError, match=r"wrote no output.bin \(a link in its place\)"):
        codec(program, "enc-links").encode(picture, 80)


def test_it_sees_little_of_the_environment(program, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    with pytest.raises(CommandError) as problem:
        codec(program, "enc-tells").encode(kind_checks.picture(), 80)
    said = str(problem.value)
    assert "PATH" in said
    assert "SECRET_TOKEN" not in said
    assert "in /tmp" in said or "linksim-command-" in said
    assert "with ''" in said
    assert str(Path.cwd()) not in said


def test_shells_see_nothing(tmp_path, program):
    """Arguments are given as they are."""
    mark = tmp_path / "mark"
    made = CommandCodec(
        (str(program), "enc", f"$(touch {mark}); touch {mark}", "{input}", "{output}", "{quality}"),
        (str(program), "dec", "none", "{input}", "{output}"),
        (80, 10),
    )
    assert made.encode(kind_checks.picture(), 80)
    assert not mark.exists()


def test_another_program_under_the_same_name_is_another_version(program):
    before = codec(program).version
    program.write_text(PROGRAM + "# changed\n")
    os.utime(program, ns=(1, 1))
    assert codec(program).version != before
    assert codec(program, suffix=".jpg").version != codec(program).version
    assert codec(program, suffix=".jpg").name != codec(program).name
    assert codec(program, timeout_s=1.0).version == codec(program).version


@pytest.mark.parametrize(
    ("encode", "decode", "fields", "message"),
    [
        ((), None, {}, "source.encode: no command"),
        (("toy", "{input}", "{output}"), None, {}, r"source.encode: not usable.* without \{quality\}"),
        (("toy", "{input}", "{output}", "{quality}", "{seed}"), None, {}, r"with \{seed\}"),
        (None, ("toy", "{input}", "{output}", "{width}"), {}, r"source.decode: not usable.* with \{width\}"),
        (("./toy", "{input}", "{output}", "{quality}"), None, {}, "source.encode: relative path, got ./toy"),
        (("toy-of-nobody", "{input}", "{output}", "{quality}"), None, {}, "no such program"),
        (None, None, {"qualities": (1, 1)}, "source.qualities: not usable"),
        (None, None, {"qualities": ()}, "source.qualities: not usable"),
        (None, None, {"suffix": "/../x"}, "source.suffix: not allowed"),
        (None, None, {"timeout_s": 0.0}, "timeout_s"),
    ],
)
def test_bad_command_lines_are_refused(program, encode, decode, fields, message):
    encode = (str(program), "{input}", "{output}", "{quality}") if encode is None else encode
    decode = (str(program), "{input}", "{output}") if decode is None else decode
    with pytest.raises(ValueError, match=message):
        CommandCodec(encode, decode, **{"qualities": (3, 2, 1), **fields})
