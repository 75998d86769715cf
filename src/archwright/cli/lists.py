"""``archwright environments``, ``searchers``, ``devices`` and ``models``."""

from __future__ import annotations

import argparse
import inspect
import sys
from typing import Any

from archwright.cli.completion import names
from archwright.cli.options import command
from archwright.cli.tables import print_table

_GUIDE = ["losses", "evaluations", "parameters", "own", "wins", "take_for"]


def add(name: str, commands: Any, line: str) -> None:
    """Add one of the four commands."""
    execute = {
        "environments": _registered,
        "searchers": _registered,
        "devices": _devices,
        "models": _models,
    }[name]
    example = {
        "environments": "archwright environments serving/fleet",
        "searchers": "archwright searchers nsga2",
        "devices": "archwright devices H100-SXM",
        "models": "archwright models Llama-3.1-8B",
    }[name]
    parser = command(commands, name, line, execute, example)
    parser.set_defaults(group=name)
    named = parser.add_argument("name", nargs="?", metavar="NAME", help="describe this one")
    named.completer = names(name)  # type: ignore[attr-defined]
    parser.add_argument("--json", action="store_true", help="print as JSON")


def _registered(options: argparse.Namespace) -> int:
    from archwright.registry import entries, resolve

    if options.name is not None:
        _describe(resolve(options.group, options.name), options)
        return 0
    rows = []
    for entry in entries(options.group).values():
        try:
            summary = _first_line(entry.load())
        except Exception as error:  # noqa: BLE001 - a stranger's broken package is named and skipped
            print(f"{entry.name} of {entry.package} is broken: {error}", file=sys.stderr)
            continue
        rows.append([entry.name, entry.package, summary])
    columns = ["name", "package", "what"]
    if options.group == "searchers":
        guide = _guide()
        columns += _GUIDE
        rows = [[*row, *(guide.get(row[0], {}).get(key) for key in _GUIDE)] for row in rows]
        if not options.json:  # what each is stands in its own page; the line must stay readable
            columns = ["name", *_GUIDE]
            rows = [[row[0], *row[3:]] for row in rows]
    print_table(columns, rows, as_json=options.json)
    return 0


def _guide() -> dict[str, Any]:
    """Return which searcher suits which study."""
    from archwright.hardware.tables import catalogue_toml

    guide: dict[str, Any] = catalogue_toml("archwright.search", "searchers.toml")["searchers"]
    return guide


def _describe(target: Any, options: argparse.Namespace) -> None:
    from archwright.specification import describe

    if not options.json:
        print(inspect.getdoc(target) or "")
        print()
    specification = getattr(target, "specification", None)
    if specification is not None:
        rows: list[Any] = [list(row) for row in describe(specification)]
        varied = getattr(target, "parameters", None)
        if varied is not None:
            rows += [[f"vary.{n}", "parameter", str(p), ""] for n, p in varied().items()]
        print_table(["key", "type", "default", "meaning"], rows, as_json=options.json)
        return
    rows = [
        [p.name, str(p.annotation), "required" if p.default is p.empty else repr(p.default)]
        for p in inspect.signature(target).parameters.values()
        if p.kind is not p.VAR_KEYWORD
    ]
    print_table(["key", "type", "default"], rows, as_json=options.json)


def _devices(options: argparse.Namespace) -> int:
    from archwright.hardware import cheapest, device
    from archwright.hardware.devices import devices

    if options.name is not None:
        one = device(options.name)
        rows: list[list[Any]] = [
            [f"peak {k}", v, "operations/s"] for k, v in one.peak_ops_s.items()
        ]
        fields = (
            "memory_bytes",
            "memory_bandwidth_bytes_s",
            "link_bytes_s_per_direction",
            "tdp_w",
        )
        rows += [[name, getattr(one, name), one.origin(name)] for name in fields]
        price = cheapest(one.name)
        if price is not None:
            where = f"{price.cloud} {price.region}, {price.source}"
            rows.append(["usd_per_hour", price.usd_per_hour, where])
        rows.append(["source", str(one.source), ""])
        print_table(["fact", "value", "unit or origin"], rows, as_json=options.json)
        return 0
    rows = [
        [d.name, d.kind, _giga(d.memory_bytes), _giga(d.memory_bandwidth_bytes_s), d.tdp_w,
         d.source.flag]
        for d in devices()
    ]  # fmt: skip
    columns = ["name", "kind", "memory_gb", "bandwidth_gb_s", "tdp_w", "flag"]
    print_table(columns, rows, as_json=options.json)
    return 0


def _models(options: argparse.Namespace) -> int:
    from archwright.llm import score
    from archwright.llm.transformers import transformer, transformers

    chosen = transformers() if options.name is None else [transformer(options.name)]
    rows = []
    for model in chosen:
        found = score(model.name)
        rows.append([
            model.name, round(model.parameters / 1e9, 2), round(model.active_parameters / 1e9, 2),
            model.layers, model.kv_bytes_per_token(16), None if found is None else found.value,
            model.source.flag,
        ])  # fmt: skip
    columns = ["name", "params_b", "active_b", "layers", "kv_bytes_token", "mmlu_pro", "flag"]
    print_table(columns, rows, as_json=options.json)
    return 0


def _giga(value: float | None) -> float | None:
    return None if value is None else round(value / 1e9, 1)


def _first_line(target: Any) -> str:
    return (inspect.getdoc(target) or "").partition("\n")[0]
