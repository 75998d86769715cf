"""The commands as a user meets them: output, exit codes, one line a mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from archwright.cli import main
from archwright.search.store import read_trials

STUDY = """
format = 1
seed = 3
[environment]
name = "toys:toy"
[goal]
minimize = ["cost", "time"]
[searcher]
name = "random"
[budget]
evaluations = 40
"""

TOY = """
from archwright.testing import toy_environment

def toy(noise=0.0, limit=None):
    return toy_environment(noise=noise, limit=limit)
"""


LOUD = """
import os
from archwright.testing import ToyEnvironment
print("on import")

class Loud(ToyEnvironment):
    def evaluate(self, designs, **options):
        print("python")
        os.system("echo child")
        return super().evaluate(designs, **options)
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study file beside the module that holds its environment."""
    monkeypatch.delitem(sys.modules, "toys", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "toys.py").write_text(TOY)
    path = tmp_path / "my.toml"
    path.write_text(STUDY)
    return path


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that must exit 2 with one line; return the line."""
    code = main(words)
    output = capsys.readouterr()

    assert code == 2
    assert output.out == ""
    lines = output.err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_run_ends_with_the_answer_and_the_report(study: Path, capsys) -> None:
    """The last lines are the answer, the counts and the report's path."""
    assert main(["run", str(study)]) == 0

    out = capsys.readouterr().out.splitlines()
    folder = study.parent / "runs" / "my"
    assert out[-2].startswith("Best of 40 designs: ")
    assert out[-1] == f"report: {folder / 'report.html'}"
    assert (folder / "report.html").stat().st_size < 5_000_000
    assert json.loads((folder / "summary.json").read_text())["evaluations"] == 40
    assert (folder / "front.csv").read_text().startswith("trial,param.family,")


def test_run_again_continues_to_the_same_trials(study: Path) -> None:
    """The same command on a finished study changes nothing."""
    main(["run", str(study), "--no-report"])
    before = read_trials(study.parent / "runs" / "my")
    main(["run", str(study), "--no-report"])

    assert read_trials(study.parent / "runs" / "my").equals(before)


def test_a_changed_study_is_refused_with_the_difference(study: Path, capsys) -> None:
    """The stored study is not silently mixed with another."""
    main(["run", str(study), "--no-report"])
    capsys.readouterr()
    line = refused(capsys, "run", str(study), "--set", "seed=60")

    assert "is 60" in line
    assert "name another --output-dir" in line


def test_a_budget_that_has_grown_continues(study: Path) -> None:
    """More evaluations are no other study."""
    folder = study.parent / "runs" / "my"
    main(["run", str(study), "--no-report"])
    assert main(["run", str(study), "--set", "budget.evaluations=60", "--no-report"]) == 0
    assert len(read_trials(folder)) == 60
    assert "evaluations = 60" in (folder / "study.toml").read_text()


def test_what_a_simulator_prints_goes_to_a_log(study: Path) -> None:
    """Standard output is for the command's own data."""
    (study.parent / "loud.py").write_text(LOUD)
    (study.parent / "loud.toml").write_text(study.read_text().replace("toys:toy", "loud:Loud"))
    command = "import sys; from archwright.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", command, "run", str(study.parent / "loud.toml"), "--json",
         "--no-report", "-q"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["evaluations"] == 40
    log = (study.parent / "runs" / "loud" / "output.log").read_text()
    assert {"on import", "python", "child"} <= set(log.split("\n"))


def test_set_overrides_and_is_saved(study: Path) -> None:
    """``--set`` reaches the study, and the resolved file stands beside the results."""
    folder = study.parent / "other"
    main(["run", str(study), "-o", str(folder), "--set", "budget.evaluations=10", "--no-report"])

    assert len(read_trials(folder)) == 10
    assert "evaluations = 10" in (folder / "study.toml").read_text()


def test_dry_run_shows_the_plan_and_writes_nothing(study: Path, capsys) -> None:
    """The plan has the size of the space and the cost of the budget."""
    assert main(["run", str(study), "--dry-run"]) == 0

    out = capsys.readouterr().out
    assert "minimize     cost, time" in out
    assert "budget       40 evaluations" in out
    assert not (study.parent / "runs").exists()


def test_json_prints_the_summary(study: Path, capsys) -> None:
    """Data goes to standard output, as JSON."""
    main(["run", str(study), "--json", "--no-report"])

    assert json.loads(capsys.readouterr().out)["trials"] == 40


def test_report_compare_and_export_read_a_study(study: Path, capsys) -> None:
    """The three readers work on a finished folder."""
    main(["run", str(study), "--no-report"])
    folder = str(study.parent / "runs" / "my")
    capsys.readouterr()

    assert main(["compare", folder, folder, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["designs"] == 40
    assert rows[0]["hypervolume"] == rows[1]["hypervolume"] > 0
    assert main(["export", folder, "-o", str(study.parent / "t.csv")]) == 0
    assert len((study.parent / "t.csv").read_text().splitlines()) == 41


def test_report_of_a_study_is_written_anew(study: Path, capsys) -> None:
    """``report`` needs the study file's environment again."""
    main(["run", str(study), "-o", str(study.parent / "kept"), "--no-report"])
    capsys.readouterr()
    assert main(["report", str(study.parent / "kept")]) == 0
    assert (study.parent / "kept" / "report.html").exists()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("minimise=1", "my.toml: unknown key 'minimise'"),
        ("goal.minimise=['cost']", "[goal]: unknown key 'minimise' (nearest: 'minimize')"),
        ("goal.minimize=['coast']", "[goal]: unknown metric 'coast' (nearest: 'cost')"),
        ("goal.subject_to=['cost < tim']", "unknown name 'tim' (nearest: 'time')"),
        ("environment.nois=0.1", "[environment]: unknown key 'nois' (nearest: 'noise')"),
        ("searcher.name=nsg2", "unknown searcher 'nsg2' (nearest: 'nsga2')"),
        ("searcher.populaton=4", "[searcher]: unknown key 'populaton'"),
        ("budget.evaluations=-1", "[budget].evaluations: expected more than 0, found -1"),
        ("budget.evaluations=many", "[budget].evaluations: expected a number, found 'many'"),
        ("run={window=64, chunk=7}", "window (64) must be a multiple of chunk (7)"),
        ("run.executor=cluster", "unknown executor 'cluster'"),
        ("run.replicates=2", "2 seeds of a deterministic environment measure the same"),
        ("format=2", "format: 2 is not known; this version reads format = 1"),
        ("seed=-1", "seed: expected a whole number from 0, found -1"),
        ("environment.name=toys:tow", "has no attribute 'tow'"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(
    study: Path, capsys, change: str, expected: str
) -> None:
    """File, key, value and nearest choice are named; nothing is written."""
    line = refused(capsys, "run", str(study), "--set", change)

    assert line.startswith(f"archwright: {study}: ")
    assert expected in line
    assert not (study.parent / "runs").exists()


def test_a_missing_file_names_the_nearest(study: Path, capsys) -> None:
    """A typing slip in the file's name is met with the right one."""
    line = refused(capsys, "run", str(study.with_name("may.toml")))

    assert "no such file" in line
    assert "(nearest: 'my.toml')" in line


def test_broken_toml_names_the_place(study: Path, capsys) -> None:
    """The parser's line and column reach the user."""
    study.write_text("format = 1\n[goal\n")
    line = refused(capsys, "run", str(study))

    assert "is no TOML" in line
    assert "line 2" in line


def test_a_folder_that_is_no_study_is_refused(study: Path, capsys) -> None:
    """A foreign folder is left alone."""
    (study.parent / "photos").mkdir()
    (study.parent / "photos" / "cat.jpg").write_text("meow")
    line = refused(capsys, "run", str(study), "-o", str(study.parent / "photos"))

    assert "is no study folder (it holds 'cat.jpg')" in line
    assert sorted(p.name for p in (study.parent / "photos").iterdir()) == ["cat.jpg"]


def test_limits_and_subject_to_must_agree(tmp_path: Path, capsys) -> None:
    """Two numbers for one limit are a mistake, not a choice of ours."""
    path = tmp_path / "fleet.toml"
    path.write_text(
        'format = 1\n[environment]\nname = "serving/fleet"\nrate_per_s = 1.0\n'
        "limits.ttft_p99_s = 0.5\n[goal]\nminimize = ['cost_usd_per_hour']\n"
        "subject_to = ['ttft_p99_s <= 0.4']\n[budget]\nevaluations = 1\n"
    )
    line = refused(capsys, "run", str(path))

    assert "'ttft_p99_s <= 0.4' disagrees with environment.limits.ttft_p99_s = 0.5" in line


def test_an_unknown_command_names_ours(capsys) -> None:
    """Verbs of other tools are answered with ours."""
    assert "(nearest: 'report')" in refused(capsys, "reprot")
    assert "unknown command 'simulate'" not in refused(capsys, "optimise")


@pytest.mark.parametrize("command", ["searchers", "environments", "devices", "models", "papers"])
def test_lists_print_tables_and_json(command: str, capsys) -> None:
    """Each list has rows, and the same rows as JSON."""
    assert main([command]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 1
    assert main([command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def test_new_writes_a_study_that_loads(tmp_path: Path, capsys) -> None:
    """The template is a working study file."""
    from archwright.search.study_file import load_study_file

    assert main(["new", "serving/fleet"]) == 0
    path = tmp_path / "my.toml"
    path.write_text(capsys.readouterr().out)

    assert load_study_file(path).study.environment.space.size > 10


def test_simulate_takes_its_flags_from_the_specification(capsys) -> None:
    """One configuration goes through one simulator."""
    words = ["--model", "Llama-3.1-8B", "--rate_per_s", "5", "--limits.ttft-p99-s", "1.0"]

    assert main(["simulate", "serving/fleet", *words, "--json"]) == 0
    rows = {r["quantity"]: r["value"] for r in json.loads(capsys.readouterr().out)}
    assert rows["cost_usd_per_hour"] > 0
    assert rows["ttft_p99_s"] <= 1.0


def test_doctor_is_green(capsys) -> None:
    """A working installation passes its own checks."""
    assert main(["doctor"]) == 0
    assert "FAILS" not in capsys.readouterr().out


@pytest.mark.parametrize("word", ["--help", "--version", "run --help"])
def test_help_needs_no_heavy_import(word: str) -> None:
    """Help must come at once, so nothing numerical may be imported for it."""
    code = (
        "import sys; from archwright.cli import main; main(sys.argv[1:]); "
        "heavy = {'numpy', 'pyarrow', 'scipy', 'pymoo', 'plotly', 'rich'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *word.split()], capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_nothing_numerical() -> None:
    """``import archwright`` is light."""
    code = "import archwright, sys; sys.exit('numpy' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_version_is_printed(capsys) -> None:
    """The name and the number, alone."""
    from archwright import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"archwright {__version__}\n"


def test_the_package_runs_as_a_module() -> None:
    """``python -m archwright`` is the command line, exit code included."""
    words = [sys.executable, "-m", "archwright"]
    done = subprocess.run([*words, "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[0]) == (0, "archwright")
    assert subprocess.run([*words, "nonsense"], capture_output=True).returncode == 2


@pytest.mark.parametrize(
    "words",
    [
        ["report", "RUN", "-o", "OUT.html"],
        ["compare", "RUN", "--report", "OUT.html"],
        ["export", "RUN", "-o", "OUT.csv"],
        ["export", "RUN", "--format", "parquet", "-o", "OUT.parquet"],
        ["export", "RUN", "--format", "optuna", "-o", "OUT.log"],
        ["simulate", "llm/infer", "--report", "OUT.html"],
    ],
)
def test_a_file_is_written_where_no_folder_is_yet(study: Path, capsys, words: list[str]) -> None:
    """Missing folders are made; what cannot be a file is refused in a line."""
    main(["run", str(study), "--no-report"])
    run = str(study.parent / "runs" / "my")
    target = study.parent / "new" / "folder" / "out"
    capsys.readouterr()

    def filled(out: Path) -> list[str]:
        return [w.replace("RUN", run).replace("OUT", str(out)) for w in words]

    assert main(filled(target)) == 0
    assert next(target.parent.iterdir()).stat().st_size > 0
    for blocked, reason in ((study / "out", "cannot be written"), (None, "is a folder")):
        changed = filled(blocked or target)
        if blocked is None:
            changed[-1] = str(study.parent)
        capsys.readouterr()
        assert main(changed) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert reason in lines[-1] and "Traceback" not in "".join(lines)
        assert lines[-1].startswith(("archwright: --output: ", "archwright: --report: "))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run"], "the following arguments are required: STUDY.toml"),
        (["run", "x", "--ouput-dir=y"], "unknown option '--ouput-dir' (nearest: '--output-dir')"),
        (["export", "r", "--format", "cvs"], "unknown value 'cvs' (nearest: 'csv')"),
        (["devices", "a", "b"], "'b' is one argument too many"),
        (["--verbos"], "unknown option '--verbos' (nearest: '--version')"),
        (["accuracy", "kernals"], "unknown value 'kernals' (nearest: 'kernels')"),
        (["sweep", "x", "--seeds", "two"], "argument --seeds: invalid int value: 'two'"),
    ],
)
def test_a_mistake_in_the_words_is_one_line(capsys, words: list[str], expected: str) -> None:
    """Not the whole usage: the word, and the nearest one."""
    assert expected in refused(capsys, *words)


def test_models_by_their_file(tmp_path: Path, capsys) -> None:
    """``models`` takes what a study takes."""
    folder = tmp_path / "Mine-1B"
    folder.mkdir()
    config = {
        "model_type": "llama", "hidden_size": 2048, "num_hidden_layers": 16, "vocab_size": 32000,
        "num_attention_heads": 32, "intermediate_size": 8192,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    assert main(["models", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "Mine-1B"
    assert "nearest: 'Llama-3.3-70B'" in refused(capsys, "models", "llama-3.3")
    assert "nearest: 'H100-SXM'" in refused(capsys, "devices", "H10")


def test_repeat_it_names_the_folder(study: Path) -> None:
    """The command in the report has the folder, and quotes what a shell would take apart."""
    folder = study.parent / "a folder"
    words = ["run", str(study), "-o", str(folder), "--set", "budget.evaluations=20"]
    assert main(words) == 0
    page = (folder / "report.html").read_text()
    assert "--output-dir &#39;" in page or "--output-dir '" in page
    assert "budget.evaluations=20" in page


def test_an_unsuitable_searcher_is_refused_before_the_first_study(study: Path, capsys) -> None:
    """One line that names it and why; nothing was run, in memory or on disk."""
    study.write_text(STUDY.replace(', "time"', ""))
    for searcher, reason in (
        ("nsga3", "takes two losses or more"),
        ("hyperband", "needs two fidelities or more"),
        ("exhaustive", "cannot be enumerated"),
    ):
        line = refused(capsys, "sweep", str(study), "--searchers", f"local,{searcher}")
        assert f"[sweep.searchers.{searcher}]: " in line and reason in line
        assert not (study.parent / "runs").exists()


def test_a_sweep_into_what_is_no_folder_is_one_line(study: Path, capsys) -> None:
    words = ["sweep", str(study), "--searchers", "nsga2", "--seeds", "1", "-q"]
    assert "cannot be made" in refused(capsys, *words, "-o", str(study / "inside"))


def test_compare_takes_whatever_runs_hold(study: Path, capsys) -> None:
    """Runs without a feasible design or any trial, and one named twice."""
    runs = []
    for name, change in (
        ("whole", "seed=3"),
        ("nothing", 'goal.subject_to=["cost <= -1"]'),
        ("empty", "budget={seconds=1e-9}"),
    ):
        runs.append(str(study.parent / name))
        main(["run", str(study), "-o", runs[-1], "--no-report", "--set", change])
    capsys.readouterr()
    assert main(["compare", *runs, runs[0], "--report", str(study.parent / "c.html")]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 5
    assert "no study folder" in refused(capsys, "compare", runs[0], str(study.parent))
