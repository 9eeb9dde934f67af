"""Building a mirror from a hub: what is fetched, that it is checked, and that an interrupted run is completed."""

import errno
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from xstilts import hub as hub_module
from xstilts.data import Sources, load_examples
from xstilts.data.fetch import fetch_tasks, to_supply
from xstilts.data.layout import read_checksums
from xstilts.errors import XstiltsError, fail
from xstilts.hub import Listing
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

    sources = Sources(tmp_path / "mirror")
    assert load_examples(SIB, "test", ("sw",), sources)[0].fields.first == "a test sentence in swh_Latn"

    damaged = folder / "tur_Latn" / "test-00000-of-00001.parquet"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    with pytest.raises(XstiltsError, match=r"tur_Latn.*: the file is damaged or changed: its checksum is not the one"):
        load_examples(SIB, "test", ("sw", "tr"), sources)

    hub.asked.clear()
    code, shown, _ = fetch("--tasks", "sib200")
    assert code == 0 and shown.rstrip().endswith(f"{files} of {files} files are there")
    assert [Path(path).parent.name for path in downloaded(hub)] == ["tur_Latn"]
    assert len(load_examples(SIB, "test", ("tr", "sw"), sources)) == 2 * 204


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
    code, shown, errors = fetch("--backbone", "org/pickled")
    assert code == 2 and "no such file; given 'model.safetensors'" in errors
    assert "is read with" not in shown
    code, shown, errors = fetch("--backbone", "org/nothing@v1")
    assert (
        code == 2
        and shown == ""
        and errors.startswith("error: hub: org/nothing at v1: cannot be listed: no such repository")
    )
    code, _, errors = fetch("--tasks", "xnly")
    assert code == 2 and errors.startswith("error: --tasks: unknown task; given 'xnly'") and errors.count("\n") == 1


def test_without_a_network_it_says_what_to_do(hub, against_hub, tmp_path):
    """Both where nothing answers and where the user has forbidden to ask."""
    command = ("experiments/fetch.py", "--tasks", "sib200", "--backbone", "mini/foo", "--out", str(tmp_path / "mirror"))
    for offline, reason in (
        (
            False,
            "no connection to the hub; run the same command where the hub can be reached, and copy --out from there",
        ),
        (True, "not in the cache, and HF_HUB_OFFLINE forbids to ask the hub; unset it, and run the same command again"),
    ):
        with socket.socket() as taken:  # bound, but nobody listens
            taken.bind(("127.0.0.1", 0))
            hub.address = f"http://127.0.0.1:{taken.getsockname()[1]}"
            process = against_hub(*command, offline=offline)
            shown, errors = process.communicate(timeout=60)
        assert (process.returncode, shown) == (2, "")
        assert errors.splitlines() == [
            f"error: hub: {REPO} at {SIB.data.parts[0].revision}: cannot be listed: {reason}",
            f"error: hub: mini/foo at main: cannot be listed: {reason}",
        ]


def test_a_file_name_that_leads_out_of_the_mirror_is_refused(hub, fetch, tmp_path):
    hub.add("model", "org/evil", {"config.json": b"{}", "../../model.safetensors": b"x"})
    code, _, errors = fetch("--backbone", "org/evil")
    assert code == 2 and "leads out of the repository; given '../../model.safetensors'" in errors
    assert not (tmp_path / "mirror").exists()


def test_files_of_the_users_are_described(tmp_path):
    data = UserData((UserPart("train", "en", "ccg/*.auto"),), "Buy the corpus and put it into ccg/.", lambda *_: ())
    tasks, told = [replace(SIB, name="ccg", data=data), load_task("mini_mnli")], []
    assert fetch_tasks(tasks, tmp_path / "out", told.append) == ()
    assert told == ["mini_mnli: nothing to fetch, its rows are generated"]
    assert [str(problem) for problem in to_supply(tasks)] == [
        "task ccg: its files cannot be fetched; put them into a directory of yours, which --files then names. "
        "Buy the corpus and put it into ccg/."
    ]
    assert not (tmp_path / "out").exists()


def test_what_only_the_user_can_supply_is_no_success(hub, fetch, sib200, tmp_path):
    """Alone, beside what is fetched, and beside what is not."""
    code, shown, errors = fetch("--tasks", "ccg", "mini_mnli")
    assert (code, shown.count("\n")) == (1, 1) and not hub.asked and not (tmp_path / "mirror").exists()
    assert errors.startswith("error: task ccg: its files cannot be fetched; put them into a directory of yours")
    assert "Copy its directory data/AUTO to ccg/AUTO" in errors and errors.count("\n") == 1
    code, shown, errors = fetch("--tasks", "ccg", "sib200")
    assert code == 1 and shown.rstrip().endswith("files are there") and errors.count("\n") == 1
    sib200.fault = "down"
    code, _, errors = fetch("--tasks", "ccg", "sib200", "--backbone", "org/nothing")
    assert code == 2
    assert [line.partition(" at ")[0].partition(": its")[0] for line in errors.splitlines()] == [
        f"error: hub: {REPO}",
        "error: hub: org/nothing",
        "error: task ccg",
    ]


def test_two_revisions_do_not_fit_into_one_mirror(tmp_path):
    other = replace(SIB, data=replace(SIB.data, parts=(replace(SIB.data.parts[0], revision="main"),)))
    (problem,) = fetch_tasks([SIB, other], tmp_path / "out", lambda line: None)
    assert "the tasks read different revisions of it" in str(problem) and not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------------------- mirrors that are not ours

TOPICS = "org/topics"
HEADER = "---\nconfigs:\n- config_name: {}\n  data_files:\n  - split: test\n    path: {}\n---\n"
ON_HUB = {"README.md": HEADER.format("en", "en/x.tsv").encode(), "en/x.tsv": b"id\ttext\n1\ta\n", "fr/x.tsv": b"id\n"}


@pytest.fixture
def served(monkeypatch):
    """The files of ``org/topics`` on a hub whose downloads always arrive; what is in it may be changed."""
    files = dict(ON_HUB)

    def listing(kind, repo, revision):
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        return Listing("c0ffee" * 6 + "abcd", sums)

    def download(kind, repo, commit, name, folder):
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(files[name])
        except OSError as error:
            raise fail(f"hub: {repo}", f"{name} cannot be downloaded: {error}") from error

    monkeypatch.setattr(hub_module, "listing", listing)
    monkeypatch.setattr(hub_module, "download", download)
    return files


@pytest.fixture
def fetch_topics(topics, part, tmp_path, served):
    """Fetches the English test set of ``org/topics`` into a mirror; gives what could not be had."""

    def run(out=tmp_path / "mirror"):
        return [str(problem) for problem in fetch_tasks([topics(part("en"))], out, lambda line: None)]

    return run


def write(folder, files):
    for name, content in files.items():
        path = folder / TOPICS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def content_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


OWN = {"README.md": HEADER.format("offline_split", "own/x.tsv").encode(), "own/x.tsv": b"id\n"}


def sha256sum(files):
    return "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items()).encode()


NOT_OURS = [
    (OWN, (), "it holds README.md; it is not the hub's, was not fetched by this command, and would be replaced"),
    (OWN, ("README.md",), "it holds README.md; the hub's copy has none, and this one would be taken for its header"),
    (
        {"README.md": OWN["README.md"], "SHA256SUMS": sha256sum(OWN)},
        (),
        "it holds SHA256SUMS; it was not written by this command, and would be replaced",
    ),
    ({"en/x.tsv": b"mine"}, (), "it holds en/x.tsv; it is not the hub's"),
    ({"own/test.tsv": b"mine"}, (), "it holds own/test.tsv; the hub's header does not list it"),
]


@pytest.mark.parametrize(("own", "lacking", "message"), NOT_OURS)
def test_a_mirror_that_was_made_otherwise_is_left_as_it_is(fetch_topics, served, tmp_path, own, lacking, message):
    for name in lacking:
        del served[name]
    write(tmp_path / "mirror", own)
    before = content_of(tmp_path / "mirror")
    (told,) = fetch_topics()
    assert told.startswith(f"{tmp_path / 'mirror' / TOPICS}: is not a mirror that can be completed: ")
    assert message in told and told.endswith("nothing is changed; name an empty directory with --out")
    assert content_of(tmp_path / "mirror") == before


def test_a_mirror_of_ours_is_brought_to_another_commit(fetch_topics, served, tmp_path):
    assert fetch_topics() == []
    folder = tmp_path / "mirror" / TOPICS
    assert content_of(folder).keys() == {"README.md", "en/x.tsv", "SHA256SUMS"}
    served["README.md"] = HEADER.format("en", "en/y.tsv").encode()
    served["en/y.tsv"] = b"id\ttext\n2\tb\n"
    assert fetch_topics() == []
    found = content_of(folder)
    del found["SHA256SUMS"]
    assert found == {name: served[name] for name in ("README.md", "en/x.tsv", "en/y.tsv")}
    assert read_checksums(folder).keys() == found.keys()

    (folder / "README.md").write_bytes(OWN["README.md"])
    served["README.md"] += b"# more\n"
    before = content_of(folder)
    (told,) = fetch_topics()
    assert "it holds README.md; it was edited since it was fetched, and would be replaced" in told
    assert content_of(folder) == before


def test_the_header_of_the_hub_alone_decides_what_is_fetched(fetch_topics, served, tmp_path):
    """Without one the conventional names apply, in an empty directory too."""
    del served["README.md"]
    served["en/test.parquet"] = b"x"
    assert fetch_topics() == []
    assert content_of(tmp_path / "mirror" / TOPICS).keys() == {"en/test.parquet", "SHA256SUMS"}
    served["README.md"] = b"---\nconfigs: 3\n---\n"
    (told,) = fetch_topics(tmp_path / "other")
    assert told.startswith("hub: org/topics at c0ffeec0ffee") and "README.md: the header cannot be read" in told
    assert not (tmp_path / "other").exists()


# ------------------------------------------------------------------------------------------------------ file systems


def test_a_file_where_the_mirror_should_be(fetch_topics, tmp_path):
    (tmp_path / "mirror").write_text("")
    (told,) = fetch_topics()
    assert told == f"--out: {tmp_path / 'mirror' / TOPICS}: cannot be read or written (Not a directory)"


def test_a_directory_where_a_file_should_be(fetch_topics, tmp_path):
    (tmp_path / "mirror" / TOPICS / "en" / "x.tsv").mkdir(parents=True)
    (told,) = fetch_topics()
    assert "it holds en/x.tsv; it is not the hub's" in told


def test_a_file_where_a_directory_should_be(fetch_topics, tmp_path):
    write(tmp_path / "mirror", {"README.md": ON_HUB["README.md"], "en": b""})
    (told,) = fetch_topics()
    assert told.startswith("--out: ") and told.endswith("en/x.tsv: cannot be read or written (Not a directory)")


@pytest.mark.parametrize("refused", ["mkdir", "unlink", "replace", "write_bytes"])
def test_a_disk_that_refuses_is_one_clear_error(fetch_topics, served, tmp_path, monkeypatch, refused):
    """Also if it refuses every one of many files; what was there is completed by the next run."""
    served["README.md"] = HEADER.format("en", "en/*.tsv").encode()
    served |= {f"en/{number}.tsv": b"id\n" for number in range(9)}
    if refused != "mkdir":
        assert fetch_topics() == []
        served |= {name: content + b"1\n" for name, content in served.items()}

    def refuse(path, *_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    original = getattr(Path, refused)
    at = tmp_path / "mirror"
    with monkeypatch.context() as patch:
        patch.setattr(Path, refused, lambda path, *a, **k: (refuse if at in path.parents else original)(path, *a, **k))
        (told,) = fetch_topics()
    assert "No space left on device" in told and str(at) in told
    assert fetch_topics() == []
    found = content_of(at / TOPICS)
    assert all(found[name] == content for name, content in served.items() if name != "fr/x.tsv")
    assert {name: hashlib.sha256(found[name]).hexdigest() for name in found if name != "SHA256SUMS"} == read_checksums(
        at / TOPICS
    )


def test_the_command_says_so_with_its_exit_code(hub, fetch, sib200, tmp_path):
    (tmp_path / "mirror").write_text("")
    code, _, errors = fetch("--tasks", "sib200")
    assert code == 2 and errors.count("\n") == 1 and errors.startswith("error: --out: ")


def test_help_is_fast_and_never_imports_torch():
    program = (
        "import sys, runpy\nsys.argv = ['fetch.py', '--help']\n"
        "try:\n    runpy.run_path('experiments/fetch.py', run_name='__main__')\n"
        "except SystemExit:\n    print({'torch', 'pyarrow', 'huggingface_hub'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert shown.stdout.splitlines()[-1] == "set()"
