"""A study of mining and of a trained dual encoder, from the user's files to the report."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from xstilts.session import Request, run_study
from xstilts.tasks import lareqa

ROOT = Path(__file__).parents[1]
STUDY = """
name = "s"
title = "T"
seeds = [1]
targets = ["bucc_mining", "lareqa"]
languages = ["de", "zh"]
recipe = { common = { epochs = 1, lr = 1e-3, max_length = 64 } }
system = [{ name = "direct", label = "d", mode = "adapter", adapter = "pfeiffer_r16", start = "cold" }]
"""


def test_mining_and_a_dual_encoder_run_to_the_report(tmp_path, capsys, monkeypatch):
    parts = tuple(replace(part, rows=None) for part in lareqa.TASK.data.parts)  # the fixture is no whole test set
    monkeypatch.setattr(lareqa, "TASK", replace(lareqa.TASK, data=replace(lareqa.TASK.data, parts=parts)))
    for name in ("bucc_mining", "lareqa"):
        fixture = json.loads((ROOT / "tests" / "tasks" / "fixtures" / f"{name}.json").read_text(encoding="utf-8"))
        for path, text in fixture["user"].items():
            (tmp_path / "files" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "files" / path).write_text(text, encoding="utf-8")
    (tmp_path / "s.toml").write_text(STUDY)
    request = Request(
        study=str(tmp_path / "s.toml"),
        mode="both",
        store=tmp_path / "store",
        reports=tmp_path / "reports",
        device="cpu",
        backbone="mini",
        files=tmp_path / "files",
        workers=1,
    )
    assert run_study(request, tmp_path, ROOT / "adapter_configs") == 0, capsys.readouterr().out
    found = {}
    for path in (tmp_path / "store" / "steps").glob("*/predictions.parquet"):
        step = json.loads((path.parent / "step.json").read_text(encoding="utf-8"))["step"]
        found[step["task"]["name"]] = (step, pq.read_table(path).to_pylist())
    mining, rows = found["bucc_mining"]
    assert mining["calibration"] == "dev" and mining["layer"] == 3
    assert [row["item_id"][:2] for row in rows] == ["de"] * 4 + ["zh"] * 2
    ranking, rows = found["lareqa"]
    assert "layer" not in ranking and "calibration" not in ranking
    assert [row["language"] for row in rows] == ["de"] * 3 + ["zh"] * 3
    assert all(len(json.loads(row["pred"])) == 14 for row in rows), "the pool of three languages, all of it"
    (report,) = (tmp_path / "reports").glob("*/report.html")
    assert "bucc_mining" in report.read_text(encoding="utf-8")
