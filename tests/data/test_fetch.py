"""Building a mirror from a hub: what is fetched, that it is checked, and that an interrupted run is completed."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from xstilts.data import Sources, load_examples
from xstilts.data.fetch import fetch_tasks
from xstilts.data.layout import read_checksums
from xstilts.errors import XstiltsError
from xstilts.spec import UserData, UserPart
from xstilts.tasks import load_task

ROOT = Path(__file__).parents[2]
SIB = load_task("sib200")
REPO = "Davlan/sib200"


@pytest.fixture
def fetch(against_hub, tmp_path):
    """Runs the command; gives its exit code and what it printed."""

    def run(*arguments):
        process = against_hub("experiments/fetch.py", *arguments, "--out", str(tmp_path / "mirror"))
        shown, errors = process.communicate(timeout=60)
        assert "Traceback" not in errors, errors
        return process.returncode, shown, errors

    return run


def downloaded(hub):
    return [path for method, path, _ in hub.asked if method == "GET" and not path.startswith("api/")]


def test_a_mirror_holds_what_the_task_reads_and_is_checked_when_it_is_read(hub, fetch, sib200, tmp_path):
    code, shown, errors = fetch("--tasks", "sib200", "mini_mnli")
    assert (code, errors) == (0, "")
    commit = SIB.data.parts[0].revision
    files = len(SIB.data.parts) + 1
    assert shown.splitlines() == [
        "mini_mnli: nothing to fetch, its rows are generated",
        f"{REPO} at {commit[:8]}: {files} of {files} files are there",
    ]
    folder = tmp_path / "mirror" / REPO
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == sib200.files.keys() - {"xxx_Latn/test-00000-of-00001.parquet"} | {"SHA256SUMS"}
    sums = read_checksums(folder)
    assert sums.keys() == found - {"SHA256SUMS"}
    for name, checksum in sums.items():
        content = (folder / name).read_bytes()
        assert content == sib200.files[name] and hashlib.sha256(content).hexdigest() == checksum

    sources = Sources(tmp_path / "mirror", subsets=frozenset({"sib200"}))
    assert load_examples(SIB, "test", ("sw",), sources)[0].fields.first == "a test sentence in swh_Latn"

    damaged = folder / "tur_Latn" / "test-00000-of-00001.parquet"
    damaged.write_bytes(damaged.read_bytes().replace(b"sentence", b"sentense"))
    with pytest.raises(XstiltsError, match=r"tur_Latn.*: the file is damaged or changed: its checksum is not the one"):
        load_examples(SIB, "test", ("sw", "tr"), sources)

    hub.asked.clear()
    code, shown, _ = fetch("--tasks", "sib200")
    assert code == 0 and shown.rstrip().endswith(f"{files} of {files} files are there")
    assert [Path(path).parent.name for path in downloaded(hub)] == ["tur_Latn"]
    assert len(load_examples(SIB, "test", ("tr", "sw"), sources)) == 2


def test_what_the_hub_lacks_is_told_and_the_rest_is_fetched(fetch, sib200, tmp_path):
    del sib200.files["swh_Latn/test-00000-of-00001.parquet"]
    code, _, errors = fetch("--tasks", "sib200")
    assert code == 2 and errors.count("\n") == 1
    assert "no file of config 'swh_Latn', split 'test'" in errors
    assert len(list((tmp_path / "mirror" / REPO).rglob("*.parquet"))) == len(SIB.data.parts) - 1


def test_wrong_content_is_not_kept(fetch, sib200, tmp_path):
    sib200.fault = "altered"
    code, _, errors = fetch("--tasks", "sib200")
    told = errors.splitlines()
    assert code == 2 and len(told) == len(SIB.data.parts)
    assert all("is not what the hub says it is (wrong checksum) and is deleted" in line for line in told)
    assert not list((tmp_path / "mirror").rglob("*.parquet"))
    sib200.fault = ""
    assert fetch("--tasks", "sib200")[0] == 0
    assert len(list((tmp_path / "mirror" / REPO).rglob("*.parquet"))) == len(SIB.data.parts)


def test_a_killed_run_is_completed(hub, fetch, against_hub, tmp_path):
    """The client writes ten MiB at a time: of 24 MiB, stopped at nine tenths, twenty are on disk."""
    weights = bytes(range(256)) * 98304
    files = {"config.json": b"{}", "tokenizer.json": b"{ }", "model.safetensors": weights, "pytorch_model.bin": b"x"}
    served = hub.add("model", "org/tiny", files, fault="stall")
    folder = tmp_path / "mirror" / "org" / "tiny"
    process = against_hub("experiments/fetch.py", "--backbone", "org/tiny", "--out", str(tmp_path / "mirror"))
    assert hub.stalled.wait(30)
    deadline = time.monotonic() + 30
    while sum(path.stat().st_size for path in folder.rglob("*.incomplete")) < 20 << 20:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (folder / "model.safetensors").exists()
    served.fault = ""
    hub.release.set()
    hub.asked.clear()
    code, shown, errors = fetch("--backbone", "org/tiny")
    assert code == 0, errors
    assert shown.splitlines()[-1] == f"the backbone is read with --backbone {folder}"
    assert (folder / "model.safetensors").read_bytes() == weights
    assert hub.asked_for("GET", "model.safetensors")[-1] == f"bytes={20 << 20}-"
    assert not hub.asked_for("GET", "config.json")
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == files.keys() - {"pytorch_model.bin"} | {"SHA256SUMS"}


def test_what_cannot_be_fetched_says_so(hub, fetch):
    hub.add("model", "org/pickled", {"config.json": b"{}", "tokenizer.json": b"{}", "pytorch_model.bin": b"x"})
    code, _, errors = fetch("--backbone", "org/pickled")
    assert code == 2 and "no such file; given 'model.safetensors'" in errors
    code, _, errors = fetch("--backbone", "org/nothing@v1")
    assert code == 2 and errors.startswith("error: hub: org/nothing at v1: cannot be listed: no such repository")
    code, _, errors = fetch("--tasks", "xnly")
    assert code == 2 and errors.startswith("error: --tasks: unknown task; given 'xnly'") and errors.count("\n") == 1


def test_a_file_name_that_leads_out_of_the_mirror_is_refused(hub, fetch, tmp_path):
    hub.add("model", "org/evil", {"config.json": b"{}", "../../model.safetensors": b"x"})
    code, _, errors = fetch("--backbone", "org/evil")
    assert code == 2 and "leads out of the repository; given '../../model.safetensors'" in errors
    assert not (tmp_path / "mirror").exists()


def test_files_of_the_users_are_described(tmp_path):
    data = UserData((UserPart("train", "en", "ccg/*.auto"),), "Buy the corpus and put it into ccg/.", lambda *_: ())
    told = []
    assert fetch_tasks([replace(SIB, name="ccg", data=data)], tmp_path / "out", told.append) == ()
    assert told == [
        "ccg: cannot be fetched; --files DIR names the directory of its files. Buy the corpus and put it into ccg/."
    ]
    assert not (tmp_path / "out").exists()


def test_two_revisions_do_not_fit_into_one_mirror(tmp_path):
    other = replace(SIB, data=replace(SIB.data, parts=(replace(SIB.data.parts[0], revision="main"),)))
    (problem,) = fetch_tasks([SIB, other], tmp_path / "out", lambda line: None)
    assert "the tasks read different revisions of it" in str(problem) and not (tmp_path / "out").exists()


def test_help_is_fast_and_never_imports_torch():
    program = (
        "import sys, runpy\nsys.argv = ['fetch.py', '--help']\n"
        "try:\n    runpy.run_path('experiments/fetch.py', run_name='__main__')\n"
        "except SystemExit:\n    print({'torch', 'pyarrow', 'huggingface_hub'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert shown.stdout.splitlines()[-1] == "set()"
