"""Words that a command line should not have: options of other programs, names without an option, options twice."""

import re
from collections.abc import Sequence

import click

OTHER_NAMES = {  # what other programs call the options, without dashes
    "gpus": "--processes",
    "num_gpus": "--processes",
    "nproc_per_node": "--processes",
    "num_processes": "--processes",
    "devices": "--processes",
    "output": "--runs",
    "output_dir": "--runs",
    "out": "--runs",
    "save_dir": "--runs",
    "log_dir": "--runs",
    "logdir": "--runs",
    "work_dir": "--runs",
    "store": "--tracking-uri",
    "mechanism": "--attn",
    "model": "--backbone",
    "gpu": "--device",
    "cuda": "--device",
    "cpu": "--device",
    "data": "--data-root",
    "restart": "--fresh",
    "overwrite": "--fresh",
    "force": "--fresh",
    "seed": "--seeds",
    "seeds": "--seed",
}
OTHER_COMMANDS = {  # what other programs call the commands
    **dict.fromkeys(("train", "fit", "start", "resume"), "run"),
    **dict.fromkeys(("grid", "batch", "ablate", "ablation", "tune"), "sweep"),
    **dict.fromkeys(("test", "evaluate", "validate", "val"), "eval"),
    **dict.fromkeys(("infer", "inference", "classify"), "predict"),
    **dict.fromkeys(("profile", "flops", "params", "count", "speed"), "measure"),
    **dict.fromkeys(("list", "runs"), "ls"),
    **dict.fromkeys(("info", "summary", "inspect", "describe", "model"), "show"),
    **dict.fromkeys(("gradcam", "visualize", "explain", "attention"), "look"),
    **dict.fromkeys(("plot", "table", "diff", "stats"), "compare"),
    **dict.fromkeys(("onnx", "save", "convert"), "export"),
    **dict.fromkeys(("delete", "remove", "clean"), "rm"),
    **dict.fromkeys(("mlflow", "dashboard", "serve", "view"), "ui"),
    **dict.fromkeys(("init", "new", "config", "recipes"), "recipe"),
    **dict.fromkeys(("html", "page"), "report"),
    **dict.fromkeys(("claim", "survey", "verify"), "claims"),
    **dict.fromkeys(("dataset", "datasets"), "data"),
    **dict.fromkeys(("env", "devices", "gpus"), "doctor"),
}
HINTS = {  # for what other programs have options, and this one has none
    ("recipe", "config", "config_file", "cfg", "yaml"): "a recipe is named without an option: `attncli run FILE`",
    ("workers", "num_workers", "n_worker", "j"): "leave it out: images are read by as many threads as there are cores",
    ("evaluate", "eval", "test_only", "eval_only"): "`attncli eval RUN` tests a finished run",
    ("dry_run", "check", "plan"): "`attncli check` checks a recipe and its images without training",
    ("wandb", "tensorboard", "logger"): "leave it out: runs are recorded in MLflow, and `attncli ui` shows them",
    ("name", "run_name", "exp_name"): "runs are named by their recipe; --set experiment=NAME names their experiment",
}


def suggest_option(error: click.NoSuchOption) -> str:
    """Return the hint for an unknown option: the command's own option, or the recipe key that it sets, or nothing."""
    from difflib import get_close_matches

    from attncli.recipe import find_recipe_key
    from attncli.recipe.key_names import LEAST_SIMILARITY

    command = error.ctx.command if error.ctx else None
    options = {name: param for param in (command.params if command else ()) for name in param.opts}
    word = error.option_name.strip("-").replace("-", "_").lower()
    if OTHER_NAMES.get(word) in options:
        return f"did you mean {OTHER_NAMES[word]}?"
    hint = next((hint for words, hint in HINTS.items() if word in words), None)
    if hint and "--set" in options:
        return hint
    key = find_recipe_key(word)
    if key and "--set" in options:
        option = _find_option_of_key(key)
        return f"did you mean {option}?" if option in options else f"a key of the recipe: --set {key}=VALUE"
    if error.possibilities:
        nearest, *others = error.possibilities
        near = [nearest, *get_close_matches(error.option_name, others, n=1, cutoff=LEAST_SIMILARITY)]
        return f"did you mean {' or '.join(near)}?"
    return _suggest_subcommand(error.option_name, error.ctx)


def suggest_choice(error: click.BadParameter) -> str:
    """Return the hint for a value that an option with fixed values has not: the most similar one, or nothing."""
    from attncli.errors import suggest_name

    value = re.match(r"'(.*)' is not one of ", error.message)
    if value is None or error.param is None or not isinstance(error.param.type, click.Choice):
        return ""
    hint = suggest_name(value[1], map(str, error.param.type.choices))
    return hint if hint.startswith("did you mean") else ""


def _suggest_subcommand(option: str, context: click.Context | None) -> str:
    """Return the hint for an option of a command that belongs to this one, or nothing if none has it."""
    if context is None or not isinstance(context.command, click.Group):
        return ""
    commands = {name: context.command.get_command(context, name) for name in context.command.list_commands(context)}
    names = [name for name, command in commands.items() if command and any(option in p.opts for p in command.params)]
    if not names:
        return ""
    name = "ls" if "ls" in names else names[0]
    return f"{option} follows a command: `{context.command_path} {name} {option}`"


def suggest_option_of_name(word: str, command: click.Command) -> str:
    """Return the hint for a name that stands without its option, such as `eca`, or nothing if the command has none."""
    from attncli import attention, backbones
    from attncli.dataset_catalog import list_datasets
    from attncli.system.code_reference import is_code_reference

    known = {
        "--attn": ("mechanisms", attention.mechanism_names()),
        "--backbone": ("backbones", backbones.backbone_names()),
        "--dataset": ("datasets", list_datasets()),
    }
    options = [option for option in known if any(option in param.opts for param in command.params)]
    if is_code_reference(word):
        places = [f"{option} {word}" for option in options if option != "--dataset"]
        return f"code of your own follows an option: {' or '.join(places)}" if places else ""
    for option in options:
        kind, names = known[option]
        if all(part in names for part in re.split("[,+]", word)):
            return f"{kind} follow {option}: {option} {word}"
    return ""


def suggest_command_of_name(word: str, *, is_near_command: bool) -> str:
    """Return the hint for the name of a mechanism, network, dataset or recipe in place of a command, or nothing.

    Other names of mechanisms, and beginnings of them, count only if the word is near no command.
    """
    from attncli import attention, backbones
    from attncli.dataset_catalog import list_datasets
    from attncli.errors import suggest_name
    from attncli.recipe import list_recipe_files

    kinds = (
        ("mechanism", "run --attn", attention.mechanism_names()),
        ("backbone", "run --backbone", backbones.backbone_names()),
        ("dataset", "run --dataset", list_datasets()),
        ("recipe", "run", list_recipe_files("recipe")),
        ("sweep", "sweep", list_recipe_files("sweep")),
    )
    for kind, command, names in kinds:
        if word in names:
            more = f" trains it, `attncli show {word}` says what it is" if kind == "mechanism" else ""
            return f"a {kind}: `attncli {command} {word}`{more}"
    hint = suggest_name(word, attention.mechanism_names(), attention.list_mechanism_aliases())
    is_mechanism = hint.startswith("did you mean") and not is_near_command
    return f"{hint} A mechanism follows --attn: `attncli run --attn NAME`" if is_mechanism else ""


def _find_option_of_key(key: str) -> str:
    from attncli.shortcuts import SHORTCUT_KEYS

    return next((f"--{name.replace('_', '-')}" for name, target in SHORTCUT_KEYS.items() if target == key), "")


def refuse_repeated_options(command: click.Command, words: Sequence[str]) -> None:
    """Raise UserError if an option that takes one value stands twice: click would drop the first without a word."""
    from attncli.errors import UserError

    if isinstance(command, click.Group):
        return
    context = click.Context(command, resilient_parsing=True)
    order = command.make_parser(context).parse_args(list(words))[2]
    for param in order:
        is_single = isinstance(param, click.Option) and not (param.is_flag or param.multiple or param.count)
        if is_single and order.count(param) > 1:
            takes_list = param.type.name in ("names", "seeds")
            hint = f"names follow once, with commas: {param.opts[0]} A,B" if takes_list else "give it once"
            if param.opts == ["--attn"] and not takes_list:
                hint = "give it once; `attncli measure` and `attncli sweep --attn` take several"
            raise UserError(f"{param.opts[0]} stands {order.count(param)} times", hint)
