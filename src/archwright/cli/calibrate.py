"""``archwright calibrate``: fit a device or an engine to measurements of one's own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from archwright.cli.completion import names
from archwright.cli.options import command, written
from archwright.cli.tables import print_table


def add(name: str, commands: Any, line: str) -> None:
    """Add the command."""
    parser = command(
        commands,
        name,
        line,
        _calibrate,
        "archwright calibrate device kernels.csv --device H100-SXM --output my-h100.toml\n"
        "  archwright calibrate engine bench.json --device H100-SXM --model Llama-3.1-8B "
        "--output my-engine.toml",
    )
    parser.add_argument("what", choices=("device", "engine"), metavar="device|engine")
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="CSV of kernel times (device), or JSON of a serving benchmark (engine)",
    )
    device = parser.add_argument("--device", required=True, help="what was measured on")
    device.completer = names("devices")  # type: ignore[attr-defined]
    parser.add_argument("--output", type=Path, metavar="TOML", help="where the profile goes")
    served = parser.add_argument_group("what was served, for an engine")
    model = served.add_argument("--model", help="name, Hugging Face id, or path of a config.json")
    model.completer = names("models")  # type: ignore[attr-defined]
    served.add_argument("--tp", type=int, help="tensor-parallel width; default 1")
    served.add_argument("--weights", help="weight format; default bf16")
    served.add_argument("--kv", help="KV-cache format; default bf16")
    parser.add_argument("--json", action="store_true", help="print as JSON")


def _calibrate(options: argparse.Namespace) -> int:
    from archwright.errors import SpecificationError

    found: Any
    names = ("model", "tp", "weights", "kv")
    served = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.what == "device":
        if served:
            raise SpecificationError(
                f"--{next(iter(served))}: says what an engine served, expected none for a device"
            )
        from archwright.hardware.fitting import calibrate_device

        found = calibrate_device(options.device, options.file)
    else:
        from archwright.llm.calibration import calibrate_engine
        from archwright.llm.inference import InferenceSpecification

        if options.model is None:
            raise SpecificationError("--model: an engine is fitted to what it served; name it")
        specification = InferenceSpecification(device=options.device, **served)
        found = calibrate_engine(options.file, specification.cost())
    output = options.output or options.file.with_suffix(".toml")
    with written(output, "--output"):
        found.write_profile(output)
    rows = [
        ["measurements", found.rows],
        ["mean error before", found.error_before],
        ["mean error after", found.error_after],
        ["bias before", found.bias_before],
        ["bias after", found.bias_after],
    ]
    if options.what == "engine":
        rows += [
            ["host seconds a step", found.engine.host_step_s],
            ["host seconds a sequence", found.engine.host_sequence_s],
        ]
    print_table(["quantity", "value"], [*rows, ["profile", str(output)]], as_json=options.json)
    return 0
