"""Run `salon doctor`: report on the machine, on Salon's choices for it, and whether it works (exit code 1 if not).

The report goes on after a failure: each part that fails says so in `problems`.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import __version__
from ..engine.errors import SalonError, printable
from ..plugins import folder
from ..system import explain
from . import machine
from .commands.flags_make import parts_of
from .commands.parsing import UsageError

WORDLESS = "salon imagine and salon serve need its text encoders and tokenizers too (--text-encoder)"


def doctor(options: argparse.Namespace) -> int:
    """Run the command with the namespace of `arguments.parse`. Print the report, and return 0 or 1.

    UsageError: the model is named twice.
    """
    if options.place is not None:
        if options.model is not None:
            raise UsageError("--model: got it beside MODEL, allowed one of them; drop one")
        options.model = options.place
    report = examine(options)
    print(json.dumps(report) if options.json else describe(report))
    return 1 if report["problems"] else 0


def examine(options: argparse.Namespace) -> dict[str, Any]:
    """Return everything that the report says, as plain data."""
    report: dict[str, Any] = {
        "salon": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": machine.cpu(),
        "memory": machine.memory(),
        "gpus": machine.gpus(),
        "versions": machine.versions(machine.REQUIRED),
        "optional": machine.versions(machine.OPTIONAL),
        "problems": [],
    }
    missing = [name for name, found in report["versions"].items() if found is None]
    if missing:
        report["problems"].append(f"not installed: {', '.join(missing)}; install Salon again: pip install .")

    def part(name: str, look: Callable[[], Any]) -> Any:
        try:
            report[name] = look()
        except (SalonError, ImportError, ValueError, MemoryError, OSError) as error:
            report[name] = None
            text = str(error)
            if isinstance(error, OSError):
                got, _, remedy = explain(error)
                text = f"{got}: {error.filename}; {remedy}" if error.filename is not None else f"{got}; {remedy}"
            report["problems"].append(f"{name}: {' '.join(text.split())}")
        return report[name]

    part("knows", _known)
    if part("isa_levels", _isa_levels) is None and options.backend == "cpu":
        return report
    engine = None

    def load() -> dict[str, Any]:
        nonlocal engine
        from ..engine.engine import Engine

        started = time.perf_counter()
        engine = Engine.load(
            options.model, **parts_of(options), backend=options.backend,
            isa=options.isa, dtype=options.dtype, threads=options.threads, device=options.device,
        )  # fmt: skip
        return {**_model(engine), "load_seconds": round(time.perf_counter() - started, 3)}

    known = part("files", lambda: _files(options))
    if known is None or not known["problem"]:
        part("model", load)
    elif known["problem"] not in " ".join(report["problems"]):
        report["problems"].append(f"model: {known['problem']}")
    if engine is not None:
        part("backend", lambda: _backend(engine))
        from . import selftest

        part("parity", lambda: selftest.parity(engine.ops))
        part("picture", lambda: selftest.picture(engine))
        if engine.recorded is not None:
            part("graphs", lambda: _graphs(engine))
    return report


def _isa_levels() -> list[str]:
    from ..kernels.cpu import isa_levels

    return list(isa_levels())


def _backend(engine: Any) -> dict[str, Any]:
    return {
        "name": engine.ops.name,
        "dtype": engine.ops.compute,
        "threads": getattr(engine.ops, "threads", 1),
        "notes": list(getattr(engine.ops, "notes", ())),
    }


def _graphs(engine: Any) -> dict[str, Any]:
    """Return what the picture above left in the folder for temporary files, on a backend that runs graphs."""
    steps = engine.recorded
    return {"count": steps.num_graphs, "bytes": steps.num_bytes, "folder": printable(tempfile.gettempdir())}


def _known() -> dict[str, dict[str, str]]:
    """Return what this build knows of each kind of thing that is one file: name -> what it is."""
    folders = {
        "backends": "salon.kernels.backends",
        "families": "salon.engine.families",
        "codecs": "salon.engine.codecs",
        "prompts": "salon.engine.text.pipelines",
        "solvers": "salon.engine.solvers",
        "job kinds": "salon.studio.jobs",
    }
    found = {what: folder(what, package) for what, package in folders.items()}
    return {what: {name: each.constant(name, "HELP") for name in each.names()} for what, each in found.items()}


def _files(options: argparse.Namespace) -> dict[str, Any]:
    """Return what the model's files are, and whether they can be loaded here. Nothing of their weights is read."""
    from ..engine.files.opening import ModelPath
    from ..engine.survey import survey
    from ..kernels import backends

    model = ModelPath.of(options.model, **parts_of(options))
    found = survey(
        model,
        options.dtype or backends.usual_dtype(options.backend),
        on_host=backends.uses_cores(options.backend),
        linear=backends.linear_bytes(options.backend),
        backend=options.backend,
    )
    return {**asdict(found), "path": printable(str(found.path))}


def _model(engine: Any) -> dict[str, Any]:
    identity = engine.model.identity
    path: Path = engine.model.checkpoint.path
    parts = engine.model.components
    return {
        "name": identity.name,
        "version": identity.version,
        "path": printable(str(path.resolve())),
        "digest": identity.digest,
        "text": None if engine.model.text is None else str(engine.model.salon.mapping("text")["pipeline"]),
        "architecture_digest": engine.model.architecture_digest,
        "references": None if (rule := engine.model.references) is None else [rule.fewest, rule.most],
        "bytes": sum(file.stat().st_size for file in {file for part in parts.values() for file in part.files}),
        "components": {
            name: {"digest": digest, "bytes": sum(file.stat().st_size for file in parts[name].files)}
            for name, digest in identity.components.items()
        },
    }


def describe(report: dict[str, Any]) -> str:
    """Return the report as text for people."""
    cpu, memory = report["cpu"], report["memory"]
    limit = f", {_gigabytes(memory['limit'])} allowed here" if memory["limit"] else ""
    rows = [
        ("salon", f"{report['salon']}, python {report['python']}, {report['system']}"),
        ("cpu", f"{cpu['model']} ({cpu['architecture']}), cores: {cpu['cores']}"),
        ("features", " ".join(cpu["features"]) or "none that the kernels use"),
        ("memory", f"{_gigabytes(memory['total'])}, {_gigabytes(memory['available'])} free{limit}"),
        *_gpus(report["gpus"]),
        ("packages", _packages(report["versions"])),
        ("optional", _packages(report["optional"])),
    ]
    if report.get("isa_levels"):
        rows.append(("isa", ", ".join(report["isa_levels"]) + " (best first)"))
    if report.get("backend"):
        backend = report["backend"]
        rows.append(("backend", f"{backend['name']}, {backend['dtype']}, threads: {backend['threads']}"))
        rows += [("note", note) for note in backend["notes"]]
    if report.get("files"):
        rows += [("files" if at == 0 else "", line) for at, line in enumerate(_told(report["files"]))]
    if report.get("model"):
        model = report["model"]
        named = f"{model['name']} {model['version']}".rstrip()  # others' models have no version
        rows.append(("model", f"{named}, {_megabytes(model['bytes'])}, {model['path']}"))
        digests = f"digest {model['digest'][:16]}, of its architecture alone {model['architecture_digest'][:16]}"
        rows.append(("", f"{digests}, loaded in {model['load_seconds']:.2f} s"))
        if model["text"] is not None:
            rows.append(("", f"reads prompts by its text pipeline, {model['text']}"))
        else:
            rows.append(("", f"no text pipeline: a program encodes the text and passes it to Engine.open; {WORDLESS}"))
        if model["references"] is not None:
            fewest, most = model["references"]
            want = f"{fewest} to {most}, and draws nothing without" if fewest else f"up to {most}"
            rows.append(("", f"looks at reference pictures (--oref): {want}"))
        for name, part in model["components"].items():
            rows.append(("", f"{name}: {_megabytes(part['bytes'])}, {part['digest'][:16]}"))
    for what, things in (report.get("knows") or {}).items():
        rows.append((what, "; ".join(f"{name} ({text})" for name, text in things.items())))
    if report.get("parity"):
        errors = ", ".join(f"{name} {error:.1e}" for name, error in report["parity"].items())
        rows.append(("parity", f"largest error against the reference, relative to its largest value: {errors}"))
    if report.get("picture"):
        picture = report["picture"]
        rows.append(("picture", f"{picture['steps']} steps and a decoding in {picture['seconds']:.2f} s"))
    if report.get("graphs"):
        graphs = report["graphs"]
        size = _megabytes(graphs["bytes"])
        rows.append(("graphs", f"{graphs['count']}, whose weights took {size} of {graphs['folder']} (TMPDIR)"))
    rows += [("PROBLEM", problem) for problem in report["problems"]]
    rows.append(("verdict", "something is broken, see above" if report["problems"] else "all is well"))
    return "\n".join(f"{name:<10}{text}" for name, text in rows)


def _gpus(found: machine.Gpus) -> list[tuple[str, str]]:
    rows = []
    for gpu in found["found"]:
        lacks = "" if gpu["bfloat16"] else ", without bfloat16"
        text = f"{gpu['device']}, {gpu['name']}, {_gigabytes(gpu['memory'])}, compute capability {gpu['capability']}"
        rows.append(("gpu", text + lacks))
    return rows or [("gpu", found["reason"])]


def _told(files: dict[str, Any]) -> list[str]:
    """Return lines about a model's files."""
    family = f"of Salon's family {files['family']}" if files["family"] else "of no family that Salon has"
    lines = [f"{files['path']}: {files['what']}, {family}"]
    for part in files["parts"]:
        size = f"{part['parameters'] / 1e6:,.1f} million weights, " if part["parameters"] else ""
        read = "" if part["read"] else f", not read: {part['reason']}"
        lines.append(f"{part['name']}: {size}{part['kind']}{read}")
        for each in part["quantised"]:
            packed = each["numbers"] * (2 if files["dtype"] == "bfloat16" else 4)
            sizes = f"{_megabytes(each['stored'])} in the file, {_megabytes(packed)} packed as {files['dtype']}"
            lines.append(f"  quantised as {each['name']}: arrays: {each['arrays']}, {sizes}")
    lines += files["notes"]
    if files["needed"]:
        free = "" if files["free"] is None else f", {_gigabytes(files['free'])} free"
        more = f", while they are loaded at most {_megabytes(files['loading'])} more" if files["loading"] else ""
        dtype = (
            files["dtype"]
            if files["linear"] is None
            else f"{files['dtype']} and, in blocks, {8 * files['linear']} bits"
        )
        lines.append(f"weights take {_gigabytes(files['needed'])} of memory as {dtype}{more}{free}")
    return lines


def _packages(found: dict[str, str | None]) -> str:
    return ", ".join(f"{name} {version or 'missing'}" for name, version in found.items())


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
