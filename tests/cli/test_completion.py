"""What the Tab key offers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from archwright.cli import _COMMANDS, main


def offered(line: str, tmp_path: Path) -> list[str]:
    """Return what is offered at the end of a line, as a shell asks for it."""
    answer = tmp_path / "answer"
    asking = {
        "_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": line, "COMP_POINT": str(len(line)),
    }  # fmt: skip
    subprocess.run(
        [sys.executable, "-c", "from archwright.cli import main; main()"],
        env={**os.environ, **asking}, check=True,
    )  # fmt: skip
    return [word.strip() for word in answer.read_text().split("\n")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("archwright ", set(_COMMANDS)),
        ("archwright com", {"compare", "completion"}),
        ("archwright devices h1", {"H100-SXM", "H100-PCIe", "H100-NVL"}),
        ("archwright models llama-3.3", {"Llama-3.3-70B"}),
        ("archwright environments serv", {"serving/fleet"}),
        ("archwright searchers gen", {"genetic", "genetic_gray"}),
        ("archwright reproduce mel", {"melange"}),
        ("archwright run --out", {"--output-dir"}),
        ("archwright export --format p", {"parquet"}),
        ("archwright simulate llm/infer --outp", {"--output"}),
        ("archwright calibrate device x.csv --device l40", {"L40S"}),
    ],
)
def test_words_are_offered(line: str, words: set[str], tmp_path: Path) -> None:
    """Commands, options, choices, and names of the catalogues and the registry."""
    found = set(offered(line, tmp_path))
    assert words <= found
    if line.split()[-1] != "archwright":
        assert found == words


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_names_the_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "archwright" in script and "_ARGCOMPLETE" in script
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=script, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr


def test_bash_completes(tmp_path: Path) -> None:
    """The printed script, loaded into a real bash, fills in a name."""
    if not shutil.which("bash"):
        pytest.skip("no bash")
    command = tmp_path / "archwright"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m archwright "$@"\n')
    command.chmod(0o755)
    script = (
        'eval "$(archwright completion bash)"\n'
        "COMP_LINE='archwright devices L40'; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9\n"
        "COMP_WORDS=(archwright devices L40); COMP_CWORD=2\n"
        '_python_argcomplete archwright L40 devices; echo "${COMPREPLY[@]}"\n'
    )
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, "PATH": path}, text=True, capture_output=True
    )
    assert done.stdout.split() == ["L40S"], done.stderr


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bsh"]) == 2
    error = capsys.readouterr().err
    assert "unknown value 'bsh' (nearest: 'bash'); known: bash, zsh, fish" in error
    assert len(error.splitlines()) == 1
