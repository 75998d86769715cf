"""``run``, ``report`` and ``compare`` as a user meets them: one answer, wherever the study is."""

from __future__ import annotations

import json
import shlex
import shutil
import sys

import pytest

from archwright.cli import main
from archwright.explain import answers
from archwright.explain.stored import reopen
from archwright.search.study import load_result

STUDY = """
format = 1
seed = 1
[environment]
name = "renting:toy"
trace = "trace.csv"
[goal]
minimize = ["cost"]
maximize = ["time"]
[searcher]
name = "random"
[budget]
evaluations = 30
"""

MODULE = """
from pathlib import Path

import archwright.testing
from archwright.errors import SpecificationError
from archwright.search import Bars, Facts
from archwright.search.environments import digests
from archwright.search.panels import Headline, Table


class Factory:
    def __call__(self, *, vary=None, folder=None, **options):
        raise NotImplementedError

    def configure(self, options, *, vary, folder):
        environment = archwright.testing.toy_environment()
        path = Path(folder) / options["trace"]
        if not path.exists():
            raise SpecificationError(f"environment.trace: no file {path}")
        files = digests({"trace": path})
        environment.identity = lambda: {"files": files}
        rate = len(path.read_text().splitlines())
        environment.describe = lambda design: f"Rent {rate} × A.\\nIt holds 1 s."
        environment.answer = lambda design: {
            "design": {"model": "M"}, "metrics": {"quality": None, "power_w": 1304.9},
            "offers": {"p5.4xlarge": rate}, "instances": {"H100": rate},
            "cloud": "aws", "region": "us-east-1",
            "usd_per_hour": 6.88 * rate, "usd_per_month": 5022.4 * rate, "safe": None,
            "limits": [{"name": "ttft_p99_s", "limit": 1.0, "value": 0.8641763, "low": 0.5667,
                        "high": None, "chance": 0.5559}],
        }
        environment.headline = lambda design: Headline(
            figures=[("An hour", "$10.60")],
            table=Table(title="Limits", columns=["limit", "chance"], rows=[["P99 TTFT", "56 %"]]),
            lines=["A long line.", "The safe plan."], brief=["The safe plan."],
            subject="serving a trace",
        )
        environment.panels = lambda design: [
            Bars(title="Load", labels=["A", "B"], series={"used": [0.5, float("nan")]}),
            Facts(title="What binds", items=["memory"]),
        ]
        return environment


toy = Factory()
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "renting", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "renting.py").write_text(MODULE)
    (folder / "trace.csv").write_text("1\n2\n")
    (folder / "my study.toml").write_text(STUDY)
    return folder


def start(home, capsys, *words):
    capsys.readouterr()
    assert main(["run", str(home / "my study.toml"), *words]) == 0
    return capsys.readouterr().out.splitlines()


def body(path):
    text = path.read_text("utf-8")
    return text[text.index("<body>") :]


def test_the_terminal_has_sentence_limits_safe_plan_and_path(home, capsys) -> None:
    """In this order, within 80 columns; each line of the answer stands in the report."""
    out = start(home, capsys)
    report = home / "runs" / "my study" / "report.html"
    assert out[0].startswith("30 designs, ")
    assert out[1:3] == ["Rent 2 × A.", "It holds 1 s."]
    assert out[4:6] == ["limit     chance", "P99 TTFT  56 %"]
    assert out[-2:] == ["The safe plan.", f"report: {report}"]
    assert all(len(line) <= 80 for line in out[:-1])
    page = body(report)
    for text in (*out[1:3], "P99 TTFT", "A long line.", "The safe plan."):
        assert text in page
    assert "<h1>my study: cost and time of serving a trace</h1>" in page


def test_report_says_the_same_when_the_files_moved(home, capsys, tmp_path) -> None:
    """The same lines from the folder alone: moved with its files, then without them."""
    out = start(home, capsys)
    first = body(home / "runs" / "my study" / "report.html")
    moved = tmp_path / "elsewhere"
    shutil.move(home, moved)
    run = moved / "runs" / "my study"
    sys.modules.pop("renting", None)
    assert not reopen(run, load_result(run)).note
    for change in (lambda: None, (moved / "trace.csv").unlink, (moved / "renting.py").unlink):
        change()
        sys.modules.pop("renting", None)
        (run / "report.html").unlink()
        capsys.readouterr()
        assert main(["report", str(run)]) == 0
        printed = capsys.readouterr()
        assert printed.out.splitlines()[1:-1] == out[1:-1]
        again = body(run / "report.html")
        assert again == first
    assert "what the environment said when the study ran" in printed.err


def test_a_changed_file_is_not_taken_for_the_study(home, capsys) -> None:
    """The answer stays that of the trials, and a note says so."""
    out = start(home, capsys)
    (home / "trace.csv").write_text("1\n2\n3\n4\n")
    assert main(["report", str(home / "runs" / "my study")]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1:3] == out[1:3]
    assert "have changed" in printed.err


def test_what_is_kept_is_json_without_nan(home, capsys) -> None:
    """``report.json`` is read by any program; what is unknown is null."""
    start(home, capsys)

    def refuse(text):
        raise AssertionError(text)

    kept = json.loads(
        (home / "runs" / "my study" / "report.json").read_text(), parse_constant=refuse
    )
    assert kept["described"]["panels"][0]["series"]["used"] == [0.5, None]


def test_repeat_it_repeats_exactly(home, capsys, tmp_path) -> None:
    """Every ``--set`` and the folder, quoted for a shell; ``report`` keeps the command."""
    folder = tmp_path / "it's a folder"
    words = ["--output-dir", str(folder), "--set", "budget.evaluations=20", "--set", "seed = 7"]
    start(home, capsys, *words)
    assert main(["report", str(folder)]) == 0
    command = json.loads((folder / "report.json").read_text())["command"]
    page = body(folder / "report.html")
    assert command.replace("'", "&#39;").replace('"', "&#34;") in page
    again = shlex.split(command)
    assert again[:3] == ["archwright", "run", str(home / "my study.toml")]
    assert sorted(again[3:]) == sorted(words)
    before = load_result(folder).table
    shutil.rmtree(folder)
    assert main(again[1:]) == 0
    after = load_result(folder).table
    assert after.drop_columns("seconds").equals(before.drop_columns("seconds"))


def test_two_fleets_stand_side_by_side(home, capsys, tmp_path) -> None:
    """In terminal, JSON and page: offers, cloud, dollars, limits, quality."""
    start(home, capsys, "-o", str(tmp_path / "a"))
    (home / "trace.csv").write_text("1\n2\n3\n")
    start(home, capsys, "-o", str(tmp_path / "b"))
    runs = [str(tmp_path / name) for name in "ab"]
    page = tmp_path / "both.html"
    assert main(["compare", *runs, "--json", "--report", str(page)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["answer"]["offers"] for row in rows] == [{"p5.4xlarge": 2}, {"p5.4xlarge": 3}]
    assert rows[0]["answer"]["limits"][0]["high"] is None
    assert main(["compare", *runs]) == 0
    out = capsys.readouterr().out
    wanted = ["2 × p5.4xlarge", "3 × p5.4xlarge", "aws us-east-1", "$13.76", "$20.64", "$10,045",
              " ms of 1 s (",
              f"{runs[0]} costs least: $13.76 an hour; {runs[1]} $6.88 more."]  # fmt: skip
    first = rows[0]["answer"]["limits"][0]
    low = f"{first['low'] * 1e3:.3g} ms to overload"
    for text in wanted:
        assert text in out, text
        assert text in body(page), text
    assert f"{first['value'] * 1e3:.3g} ms of 1 s ({low}" in body(page)
    assert "<h1>a and b compared</h1>" in body(page)
    assert "nan" not in out


def test_a_run_without_an_answer_has_an_empty_column() -> None:
    """Two fleets are needed; a third run may have none."""
    fleet = {"design": {}, "offers": {"n": 1}, "usd_per_hour": 2.0, "metrics": {}, "limits": []}
    assert answers.side_by_side({"a": fleet, "b": None}) is None
    table = answers.side_by_side({"a": fleet, "b": None, "c": fleet})
    assert table is not None
    assert table.rows[0] == ["rent", "1 × n", None, "1 × n"]
    assert answers.cheapest_words({"a": fleet, "c": fleet}).startswith("The fleets cost the same")
