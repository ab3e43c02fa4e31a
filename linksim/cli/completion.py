"""linksim completion: a script for a shell, made of the parser, the library and the registry of kinds."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from typing import Any

from linksim.cli.output import emit

__all__ = ["Command", "commands", "complete", "script"]

FILES = "files"  # what a value is, where it is no list of words
_SCENARIOS = ("simulate", "check", "train", "calibrate")  # take a file, or a name of the library


@dataclass(frozen=True)
class Command:
    """What can stand behind a command.

    Args:
        help: in one line.
        options: words that a value may be, or :data:`FILES`; None for an option without a value.
        positional: words that arguments without a name may be.
        takes_files: whether such an argument may be a file or folder.
    """

    help: str
    options: dict[str, tuple[str, ...] | str | None] = field(default_factory=dict)
    positional: tuple[str, ...] = ()
    takes_files: bool = False


def complete(args: argparse.Namespace) -> int:
    """Print the script for ``args.shell``."""
    emit(script(args.shell))
    return 0


def script(shell: str) -> str:
    """The script.

    Args:
        shell: bash, zsh or fish.
    """
    found = commands()
    if shell == "fish":
        return _fish(found)
    head = f'# for {shell}, in its start-up file: eval "$(linksim completion {shell})"\n'
    if shell == "zsh":
        head += "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"
    return head + _bash(found)


# --------------------------------------------------------------------------------------- what there is


def commands() -> dict[str, Command]:
    """Commands with their options and arguments, as the parser has them; "" is linksim itself."""
    from linksim.cli.parser import make_parser

    parser, words = make_parser(), _words()
    found = {"": Command("", _options(parser.arguments, words), tuple(parser.commands))}
    for name, sub in parser.commands.items():
        values = [_value_words(action, words) for action in sub.arguments if not action.option_strings]
        positional = tuple(word for value in values if value != FILES for word in value)
        takes_files = FILES in values or name in _SCENARIOS
        options = _options(sub.arguments, words)
        found[name] = Command(sub.description or "", options, positional, takes_files)
    return found


def _options(arguments: list[argparse.Action], words: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for action in arguments:
        for name in (n for n in action.option_strings if n.startswith("--")):
            found[name] = None if action.nargs == 0 else _value_words(action, words)
    return found


def _value_words(action: argparse.Action, words: dict[str, tuple[str, ...]]) -> tuple[str, ...] | str:
    """What a value may be."""
    if action.choices is not None:
        return tuple(map(str, action.choices))
    return words.get(action.dest, FILES)


def _words() -> dict[str, tuple[str, ...]]:
    """Words for values, by the names of arguments."""
    from linksim.files.places import scenario_dir
    from linksim.kinds import names
    from linksim.scenario.starting.themes import THEMES

    metrics = tuple(names("metric"))
    library = sorted(
        str(path.relative_to(scenario_dir()).with_suffix(""))
        for path in scenario_dir().rglob("*.yaml")
        if path.parent.name != "base"
    )
    return {
        "scenario": tuple(library),
        "overrides": tuple(_paths()),
        "metric": metrics,
        "metrics": metrics,
        "theme": tuple(THEMES),
        "device": ("auto", "cpu", "cuda"),
        "host": ("127.0.0.1", "0.0.0.0"),  # noqa: S104 (a word that is offered)
        **dict.fromkeys(("limit", "workers", "seed", "frames", "every", "quality_limit", "port"), ()),
        "ray": ("local", "auto"),
        "overlay": ("channels",),
        "size": ("column", "page", "slide"),
        **dict.fromkeys(("shard", "budget", "pictures_memory", "against", "x", "unit"), ()),
        **dict.fromkeys(("keep_failures", "ylim", "title", "label"), ()),
    }


def _paths() -> list[str]:
    """What --set may begin with: fields of a scenario, and kinds of channels, schemes and pictures."""
    from linksim.kinds import names
    from linksim.kinds.fields import Spec
    from linksim.scenario.schema import Scenario

    found = []
    for name, info in Scenario.model_fields.items():
        block = info.annotation
        if isinstance(block, type) and issubclass(block, Spec) and name != "images":
            found += [f"{name}.{part}=" for part in block.model_fields if part != "fields"]
        elif name not in ("images", "channels", "schemes"):
            found.append(f"{name}=")
    kinds = {"channel.kind": "channel", "channel.model.kind": "delay_model", "channel.csi.kind": "estimator"}
    found += [f"{path}={kind}" for path, family in kinds.items() for kind in names(family)]
    return [*found, "images.limit=", "images.path=", "images.crop=", "channel."]


# ------------------------------------------------------------------------------------------- the scripts


def _bash(found: dict[str, Command]) -> str:
    """For bash, and for zsh with bashcompinit."""
    cases = []
    for name, command in found.items():
        lines = [f'    "{name}")', f'      options="{" ".join(command.options)}"']
        lines.append(f'      arguments="{" ".join(command.positional)}"')
        lines.append(f'      takes_files="{"yes" if command.takes_files else ""}"')
        lines.append('      case "$last" in')
        for option, words in command.options.items():
            if words is None:
                continue
            value = "files=1" if words == FILES else f'values="{" ".join(words)}"'
            lines.append(f"        {option}) has_value=1; {value} ;;")
        cases += [*lines, "      esac ;;"]
    return _BASH.replace("@COMMANDS@", " ".join(name for name in found if name)).replace(
        "@CASES@", "\n".join(cases)
    )


_BASH = """\
_linksim_add() {  # words that begin as what was typed; what ends in = or . goes on
  local word
  for word in $1; do
    case "$word" in
      "$current"*)
        COMPREPLY+=("${word#"$cut"}")
        case "$word" in *=|*.) type compopt >/dev/null 2>&1 && compopt -o nospace 2>/dev/null ;; esac ;;
    esac
  done
}
_linksim() {
  local current last command options arguments takes_files values files has_value cut word i path
  COMPREPLY=()
  current="${COMP_WORDS[COMP_CWORD]}"
  last="${COMP_WORDS[COMP_CWORD-1]}"
  cut=""
  # bash takes = and : for words of their own: a=b is put together again
  i=$((COMP_CWORD - 1))
  [ "$current" = "=" ] && { current=""; last="="; i=$COMP_CWORD; }
  if [ "$last" = "=" ] && [ "$i" -ge 2 ]; then
    word="${COMP_WORDS[i-1]}"
    case "$word" in
      --*) last="$word" ;;
      *) cut="$word="; current="$cut$current"; last="${COMP_WORDS[i-2]}" ;;
    esac
  fi
  command=""
  for ((i = 1; i < COMP_CWORD; i++)); do
    for word in @COMMANDS@; do
      [ "${COMP_WORDS[i]}" = "$word" ] && { command="$word"; break 2; }
    done
  done
  options=""; arguments=""; takes_files=""; values=""; files=""; has_value=""
  case "$command" in
@CASES@
  esac
  if [ -n "$has_value" ]; then
    [ -n "$files" ] || _linksim_add "$values"
    return 0
  fi
  case "$current" in
    -*) _linksim_add "$options" ;;
    *)
      _linksim_add "$arguments"
      [ -n "$takes_files" ] && [ -n "$current" ] && [ -z "${ZSH_VERSION:-}" ] || return 0
      if [ "${#COMPREPLY[@]}" -gt 0 ]; then
        while IFS= read -r path; do COMPREPLY+=("$path"); done < <(compgen -f -- "$current")
      fi ;;
  esac
  return 0
}
complete -o default -F _linksim linksim
"""


def _fish(found: dict[str, Command]) -> str:
    """For fish: a line per command and option."""
    lines = ["# for fish: linksim completion fish > ~/.config/fish/completions/linksim.fish"]
    for name, command in found.items():
        when = "__fish_use_subcommand" if not name else f"__fish_seen_subcommand_from {name}"
        head = f"complete -c linksim -n '{when}'"
        if not name:
            lines += [f"{head} -f -a {word} -d {_quoted(found[word].help)}" for word in command.positional]
        elif command.positional:
            alone = "" if command.takes_files else " -f"
            lines.append(f"{head}{alone} -a {_quoted(' '.join(command.positional))}")
        for option, words in command.options.items():
            value = "" if words is None else " -r"
            if words is not None and words != FILES:
                value = f" -x -a {_quoted(' '.join(words))}"
            lines.append(f"{head} -l {option.removeprefix('--')}{value}")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """In single quotes of fish."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
