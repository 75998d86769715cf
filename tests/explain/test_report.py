"""The report: self-contained, safe with hostile names, and really drawn by a browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from archwright.errors import SpecificationError
from archwright.explain import (
    Front,
    ReportContent,
    Section,
    Unranked,
    render,
    write_report,
)
from archwright.explain.figures import bars
from archwright.search.panels import Bars, Facts, Headline, Table

HOSTILE = "</script><script>alert(1)</script><!-- & \u2028"


class Page(HTMLParser):
    """Elements and their attributes, and the content of each script."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] == "script":
            self.scripts[-1] += data


def test_it_is_one_small_file_that_asks_for_nothing(content):
    text = render(content)
    assert len(text.encode()) <= 5_000_000
    for _, attributes in Page(text).elements:
        assert not {"src", "href", "srcset", "data", "action"} & set(attributes)
    own = re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    assert not re.search(r"https?:|@import|url\(|//[a-z]+\.", own)
    outside = set(re.findall(r"https?://([\w.-]+)", text))
    # What is left are XML namespaces and the authors in license comments.
    assert outside <= {
        "www.w3.org",
        "github.com",
        "feross.org",
        "syntheti.cc",
        "getify.mit-license.org",
    }
    assert "content=\"default-src 'none';" in text


def test_the_answer_comes_first_and_every_part_is_there(content):
    text = render(content)
    order = [
        content.title + "</h1>",
        "3 × H100-SXM and 2 × L4 serve",
        "$12.40 / hour",
        "The front",
        "The fleet",
        "What binds",
        "Next steps",
        "Runner-up",
        "Best for each metric",
        "37 designs",
        "What the answer stands on",
        "How the search went",
        "archwright run chat_fleet.toml",
        "highspy 1.12.0",
    ]
    body = text[text.index("<body>") :]
    places = [body.index(part) for part in order]
    assert places == sorted(places)
    assert 'class="chip assumed"' in body
    assert body.count("<details>") >= 4  # a table for each figure, and the unranked designs
    assert "182 designs: 12 on the front" in body


def test_equal_content_gives_an_equal_page(content):
    assert render(content) == render(content)


def test_hostile_names_stay_text(content):
    n = 3
    hostile = ReportContent(
        title=HOSTILE,
        answer=HOSTILE,
        subtitle=HOSTILE,
        meta=[(HOSTILE, HOSTILE)],
        front=Front(
            x=[1, 2, 3],
            y=[1, 2, 3],
            x_axis=HOSTILE,
            y_axis=HOSTILE,
            feasible=[True] * n,
            on_front=[True] * n,
            chosen=0,
            labels=[HOSTILE] * n,
            hover=[HOSTILE] * n,
        ),
        panels=[
            Bars(title=HOSTILE, labels=[HOSTILE], series={HOSTILE: [1.0]}, unit=HOSTILE),
            Table(title=HOSTILE, columns=[HOSTILE], rows=[[HOSTILE]], note=HOSTILE),
            Facts(title=HOSTILE, items=[HOSTILE]),
        ],
        trade_offs=[HOSTILE],
        runner_up=HOSTILE,
        unranked=[Unranked(reason=HOSTILE, count=1, designs=[HOSTILE])],
        command=HOSTILE,
        versions={HOSTILE: HOSTILE},
    )
    text = render(hostile)
    assert "<script>alert" not in text
    assert "<!-- &" not in text

    def scripts(page):
        return [attributes for tag, attributes in Page(page).elements if tag == "script"]

    assert len(scripts(text)) == 4  # two figures, the library, the drawing


def test_the_least_content_is_a_page():
    text = render(ReportContent(title="t", answer="Nothing meets the limits."))
    assert "Nothing meets the limits." in text
    assert "<script" not in text
    assert len(text) < 20_000


def test_many_designs_are_thinned_but_never_the_front():
    n = 20_000
    rng = np.random.default_rng(0)
    x, y = rng.random(n), rng.random(n)
    front = np.zeros(n, bool)
    front[[5, 19_999]] = True
    view = Front(
        x=x,
        y=y,
        x_axis="x",
        y_axis="y",
        feasible=np.ones(n, bool),
        on_front=front,
        chosen=19_998,
        hover=[f"design {row}" for row in range(n)],
    )
    text = render(ReportContent(title="t", answer="a", front=view))
    assert len(text.encode()) < 3_000_000
    assert "1,500 of the 19,997 off the front are drawn" in text
    assert all(f"design {row}" in text for row in (5, 19_998, 19_999))
    with pytest.raises(SpecificationError, match="20000 of each"):
        render(ReportContent(title="t", answer="a", front=replace(view, hover=["one"])))
    with pytest.raises(SpecificationError, match="chosen row -1"):
        render(ReportContent(title="t", answer="a", front=replace(view, chosen=-1)))


def test_writing_is_atomic(content, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    assert write_report(content, path) == path
    assert path.read_text("utf-8") == render(content)
    broken = replace(content, front=replace(content.front, hover=["one"]))
    with pytest.raises(SpecificationError):
        write_report(broken, path)
    assert path.read_text("utf-8") == render(content)
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_a_browser_draws_it(content, tmp_path):
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    path = write_report(content, tmp_path / "report.html")
    dom = _browse(path, tmp_path / "profile")
    assert "3 × H100-SXM and 2 × L4 serve 20 requests/s" in dom
    assert dom.count('class="main-svg"') >= 4  # each of the four figures
    assert dom.count("js-plotly-plot") >= 4


@pytest.mark.parametrize("width", [420, 1400])
def test_a_browser_cuts_nothing(content, tmp_path, width):
    """The page is as wide as the screen; what is wider scrolls inside; no text lies on another."""
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    long = "from aws us-east-1 and 12 × g6e.48xlarge, " * 3
    panels = [
        *content.panels,
        Table(title="wide", columns=[f"column {i}" for i in range(14)], rows=[["1,234 ms"] * 14]),
        Table(title="long", columns=["rent", "cost"], rows=[[long, "$1,234.56/h"]] * 3),
    ]
    headline = Headline(
        figures=content.meta,
        table=Table(
            title="Limits",
            columns=["limit", "at most", "planned", "90 % interval", "chance to hold"],
            rows=[["P99 TTFT", "1.50 s", "864 ms", "567 ms to overload", "56 %"]],
        ),
        lines=[f"Safe plan: {long}"],
    )
    stands = replace(content.assumptions[0], value=long, source=long.replace(" ", "/"))
    made = replace(
        content,
        assumptions=[*content.assumptions, stands],
        headline=headline,
        panels=panels,
        answer=f"Rent {long}.\nIt holds.",
    )
    path = write_report(made, tmp_path / "report.html")
    measure = """<script>setTimeout(() => {
      const page = document.documentElement;
      const over = (a, b) => a.left < b.right - 1 && b.left < a.right - 1
        && a.top < b.bottom - 1 && b.top < a.bottom - 1;
      const parts = [...document.querySelectorAll("h1, h2, .answer, .more-answer, dt, dd, pre, "
        + "td, th, li, figcaption, .plot, .note")].filter((e) => !e.closest("details"));
      const boxes = parts.map((e) => e.getBoundingClientRect());
      const wrong = [];
      for (let i = 0; i < parts.length; i++) {
        const stacked = innerWidth < 640 && parts[i].closest(".stack");
        const scrolls = !stacked && parts[i].closest(".scroll");
        if (!scrolls && boxes[i].right > innerWidth + 1) wrong.push("cut: " + parts[i].innerText);
        for (let j = 0; j < i; j++) {
          if (parts[i].contains(parts[j]) || parts[j].contains(parts[i])) continue;
          if (parts[i].closest(".scroll") || parts[j].closest(".scroll")) continue;
          const texts = parts[j].innerText + " | " + parts[i].innerText;
          if (over(boxes[i], boxes[j])) wrong.push(texts);
        }
      }
      document.body.innerHTML = "";
      document.body.dataset.found = JSON.stringify(
        { screen: innerWidth, page: page.scrollWidth, wrong });
    }, 3000)</script></body>"""
    path.write_text(path.read_text("utf-8").replace("</body>", measure), "utf-8")
    frame = tmp_path / "frame.html"
    source = html.escape(path.read_text("utf-8"))
    frame.write_text(
        f'<iframe srcdoc="{source}" style="border:0;width:{width}px;height:9000px"></iframe>'
        "<script>setTimeout(() => { document.body.dataset.found = document.querySelector('iframe')"
        ".contentDocument.body.dataset.found; }, 6000)</script>",
        "utf-8",
    )
    dom = _browse(frame, tmp_path / "profile")
    found = json.loads(html.unescape(re.search(r'<body data-found="(.*?)"', dom)[1]))
    assert found["screen"] == width
    assert found["page"] <= width
    assert found["wrong"] == []


def test_a_browser_draws_folded_figures_when_they_are_opened(tmp_path):
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    figure = bars(Bars(title="b", labels=["a"], series={"s": [1.0]}))
    parts = [Section(title=t, figure=figure, details=t == "folded") for t in ("plain", "folded")]
    path = write_report(ReportContent(title="t", answer="a", sections=parts), tmp_path / "r.html")
    closed = _browse(path, tmp_path / "profile")
    opening = "<script>document.querySelectorAll('details.more')[0].open = true</script></body>"
    path.write_text(path.read_text("utf-8").replace("</body>", opening), "utf-8")
    opened = _browse(path, tmp_path / "profile")
    # each drawn figure has the same number of these
    assert opened.count('class="main-svg"') == 2 * closed.count('class="main-svg"') > 0


def _browse(path: Path, profile: Path) -> str:
    flags = "headless no-sandbox disable-gpu disable-quic no-first-run hide-scrollbars"
    flags += " disable-background-networking disable-component-update disable-sync"
    return subprocess.run(
        [
            "chromium",
            *(f"--{flag}" for flag in flags.split()),
            f"--user-data-dir={profile}",
            "--virtual-time-budget=10000",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=True,
    ).stdout
