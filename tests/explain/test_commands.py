"""``compare`` and ``export`` as a user meets them."""

from __future__ import annotations

import json
import sys

import pytest

from archwright.cli import main
from archwright.search.study import load_result

STUDY = """
format = 1
seed = {seed}
[environment]
name = "explained:toy"
[goal]
minimize = ["cost"]
maximize = ["time"]
[searcher]
name = "random"
[budget]
evaluations = 40
"""


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "explained", raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "explained.py").write_text(
        "import archwright.testing\ndef toy():\n    return archwright.testing.toy_environment()\n"
    )
    folders = []
    for seed in (1, 2):
        path = tmp_path / f"s{seed}.toml"
        path.write_text(STUDY.format(seed=seed))
        assert main(["run", str(path), "--no-report", "--quiet"]) == 0
        folders.append(tmp_path / "runs" / f"s{seed}")
    return folders


def test_compare_prints_metrics_in_their_own_sign(runs, capsys, tmp_path):
    page = tmp_path / "page.html"
    capsys.readouterr()
    assert main(["compare", *map(str, runs), "--json", "--report", str(page)]) == 0
    rows = json.loads(capsys.readouterr().out)
    for row, folder in zip(rows, runs, strict=True):
        time = load_result(folder).metric("time")
        assert row["greatest time"] == time.max() > 0
        assert row["curve"][-1] == [40, pytest.approx(row["hypervolume"])]
    assert "The fronts" in page.read_text()
    assert main(["compare", *map(str, runs)]) == 0
    assert "greatest time" in capsys.readouterr().out


def test_export_to_an_optuna_journal(runs, capsys, tmp_path):
    optuna = pytest.importorskip("optuna")
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    assert main(["export", str(runs[0]), "--format", "optuna"]) == 2
    assert "needs --output FILE" in capsys.readouterr().err
    path = tmp_path / "trials.log"
    assert main(["export", str(runs[0]), "--format", "optuna", "-o", str(path)]) == 0
    assert "optuna-dashboard" in capsys.readouterr().err
    storage = JournalStorage(JournalFileBackend(str(path)))
    study = optuna.load_study(study_name="s1", storage=storage)
    assert len(study.trials) == 40
    # without the environment the ranges are those of the trials, and it says so
    (tmp_path / "explained.py").unlink()
    sys.modules.pop("explained")
    assert main(["export", str(runs[0]), "--format", "optuna", "-o", str(path)]) == 0
    assert "ranges are those of the trials" in capsys.readouterr().err
