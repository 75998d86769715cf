from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archwright.errors import TraceError
from archwright.serving.trace import read_trace
from serving.traces import FILES, reference_trace

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
BURST = "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"  # noqa: E501
PLAIN = "time_s,input_tokens,output_tokens\n"


def _file(folder: Path, text: str) -> Path:
    path = folder / "trace.txt"
    path.write_text(text)
    return path


def _mooncake(*rows: tuple[float, int, int]) -> str:
    return "\n".join(
        json.dumps(
            {
                "timestamp": when,
                "input_length": size,
                "output_length": out,
                "hash_ids": list(range(-(-size // 512))),
            }
        )
        for when, size, out in rows
    )


@pytest.mark.parametrize("name", FILES)
def test_reference_traces(name: str) -> None:
    trace = read_trace(reference_trace(name))
    assert len(trace) == FILES[name][1]
    assert (np.diff(trace.time_s) >= 0).all() and trace.time_s[0] == 0
    assert 3400 < trace.duration_s < 3600


def test_azure(tmp_path: Path) -> None:
    text = AZURE + "2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:48.1805900,396,109\n"
    trace = read_trace(_file(tmp_path, text))
    np.testing.assert_allclose(trace.time_s, [0.0, 1.5])
    assert trace.input_tokens.tolist() == [374, 396]
    zoned = text.replace("00,", "00+00:00,")
    np.testing.assert_allclose(read_trace(_file(tmp_path, zoned)).time_s, [0.0, 1.5])


def test_mooncake_is_in_milliseconds(tmp_path: Path) -> None:
    path = _file(tmp_path, _mooncake((0, 600, 5), (3000, 512, 7)) + "\n")
    assert read_trace(path).time_s.tolist() == [0.0, 3.0]
    assert read_trace(path, time_unit="s").time_s.tolist() == [0.0, 3000.0]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ((0, 1, 2, 3), r"4 requests in 0.003 s are 1000 a second, expected at most 200 .*'s'"),
        ((0, 2.5), r":2: timestamp: 2.5, expected whole milliseconds; pass time_unit='s'"),
        ((0, 10**12), r"spans 11574 days .*pass time_unit='us'"),
    ],
)
def test_mooncake_in_another_unit(tmp_path: Path, times: tuple[float, ...], message: str) -> None:
    path = _file(tmp_path, _mooncake(*((when, 10, 1) for when in times)))
    with pytest.raises(TraceError, match=message):
        read_trace(path)
    assert len(read_trace(path, time_unit="s")) == len(times)


def test_burstgpt_drops_failures_and_says_so(tmp_path: Path) -> None:
    rows = (
        "5,7,0.9,ChatGPT,472,18,490,Conversation log\n45,,,ChatGPT,1087,0,1087,API log\n"
        "118,,,GPT-4,417,276,693,API log\n"
    )
    trace = read_trace(_file(tmp_path, BURST + rows))
    assert trace.time_s.tolist() == [0.0, 113.0]
    assert trace.output_tokens.tolist() == [18, 276]
    assert trace.notes == ("1 failed requests without response were dropped",)
    short = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
    assert len(read_trace(_file(tmp_path, short + "5,ChatGPT,472,18,490,API log\n"))) == 1


def test_plain_columns_in_any_order(tmp_path: Path) -> None:
    text = "user,output_tokens,time_s,input_tokens\na,3,2.0,10\nb,4,1.0,20\n\n"
    trace = read_trace(_file(tmp_path, text))
    assert trace.time_s.tolist() == [0.0, 1.0]
    assert trace.input_tokens.tolist() == [20, 10]
    assert trace.notes == ("1 of 2 rows came before the row above and were sorted",)
    milli = read_trace(_file(tmp_path, text), time_unit="ms")
    assert milli.time_s.tolist() == [0.0, 0.001]


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**5), st.integers(0, 10**4))))
def test_layouts_agree(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:  # type: ignore[type-arg]
    if not rows:
        return
    folder = tmp_path_factory.mktemp("layouts")
    plain = PLAIN + "".join(f"{when},{a},{b}\n" for when, a, b in rows)
    first = read_trace(_file(folder, plain))
    second = read_trace(_file(folder, _mooncake(*rows)), time_unit="s")
    for name in ("time_s", "input_tokens", "output_tokens"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"is empty, expected requests"),
        (AZURE, r"no requests, expected at least one"),
        (AZURE + "2023-11-16 18:15:46,374\n", r":2: 2 fields, expected 3 fields"),
        (PLAIN + "1,2,3\n\n2,3,4\n", r":3: an empty row, expected 3 fields"),
        (AZURE + "yesterday,374,44\n", r":2: TIMESTAMP: 'yesterday', expected a date and time"),
        (AZURE + ",374,44\n", r":2: TIMESTAMP: NaT, expected a date and time"),
        (PLAIN + "0,1,2\n1,-5,2\n", r":3: input_tokens: -5, expected a token count from 0 up"),
        (PLAIN + "0,1,2\n1,5,-2\n", r":3: output_tokens: -2, expected a token count from 0"),
        (PLAIN + "0,1,2\n1,5.5,2\n", r":3: input_tokens: '5.5', expected a whole number"),
        (PLAIN + "0,1,2\nnan,5,2\n", r":3: time_s: nan, expected a finite time"),
        (PLAIN + "0,1,2\ninf,5,2\n", r":3: time_s: inf, expected a finite time"),
        (PLAIN + "0,1,2\nsoon,5,2\n", r":3: time_s: 'soon', expected a number of seconds"),
        (PLAIN + "0,1,99999999999999999999\n", r":2: output_tokens: '9+', expected a whole"),
        (
            "time_s,input_token,output_tokens\n0,1,2\n",
            r":1: missing column 'input_tokens' \(nearest: 'input_token'\)",
        ),
        (
            "time,prompt,answer\n0,1,2\n",
            r":1: unknown columns time,prompt,answer \(nearest: 'time_s'\), expected one of Azure",
        ),
        (
            AZURE.replace("\n", ",Extra\n") + "2023-11-16 18:15:46,1,2,3\n",
            r":1: unknown column 'Extra', expected TIMESTAMP",
        ),
        (BURST + "5,7,0.9,ChatGPT,472,0,472,API log\n", r"no requests \(1 failed requests"),
        (_mooncake((0, 5, 1)) + "\nnot json\n", r":2: 'not json', expected one JSON object"),
        (_mooncake((0, 5, 1)) + "\n\n" + _mooncake((9, 5, 1)), r":2: '', expected one JSON"),
        (_mooncake((0, 5, 1)) + "\n[1]\n", r":2: '\[1\]', expected a JSON object"),
        (
            '{"timestamp": 0, "input_length": 513, "output_length": 1, "hash_ids": [1]}',
            r":1: hash_ids: 1 ids, expected 2 for input_length 513",
        ),
        (
            '{"timestamp": 0, "input_len": 513, "output_length": 1, "hash_ids": [1]}',
            r":1: missing key 'input_length' \(nearest: 'input_len'\)",
        ),
        (
            '{"timestamp": "0", "input_length": 5, "output_length": 1, "hash_ids": [1]}',
            r":1: timestamp: '0', expected a number of ms",
        ),
        (
            '{"timestamp": 0, "input_length": 5, "output_length": null, "hash_ids": [1]}',
            r":1: output_length: None, expected a whole number",
        ),
        (
            '{"timestamp": 0, "input_length": 5, "output_length": -1, "hash_ids": [1]}',
            r":1: output_length: -1, expected a token count from 0 up",
        ),
        (
            '{"timestamp": NaN, "input_length": 5, "output_length": 1, "hash_ids": [1]}',
            r":1: timestamp: nan, expected a finite time",
        ),
    ],
)
def test_bad_traces(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TraceError, match=r"trace\.txt" + ".*" + message) as caught:
        read_trace(_file(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"none\.csv: cannot be read: No such file"):
        read_trace(tmp_path / "none.csv")
    with pytest.raises(TraceError, match="time_unit 'sec', expected one of s, ms, us"):
        read_trace(_file(tmp_path, PLAIN + "0,1,2\n"), time_unit="sec")
    with pytest.raises(TraceError, match="time_unit 's' with dates, expected none"):
        read_trace(_file(tmp_path, AZURE + "2023-11-16 18:15:46,1,2\n"), time_unit="s")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TraceError, match="is not UTF-8 text"):
        read_trace(tmp_path / "binary")
