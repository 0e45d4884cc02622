"""Downloads from a server that truncates, stalls, lies, refuses ranges and dies: whole and verified, or absent."""

import gzip
import hashlib
import json
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from allelegro.cli.fetch_data import MANIFEST
from allelegro.errors import DataError
from allelegro.inputs.datasets import read_manifest, unpack_procap, write_study
from allelegro.inputs.download import Policy, RemoteFile, fetch_all

CONTENT = bytes(range(256)) * 2000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FAST = Policy(attempts=4, stall_seconds=0.3, first_pause=0.01)


class Bad(BaseHTTPRequestHandler):
    """Behaves as the first part of the path says; ``seen`` counts requests by path."""

    seen: dict[str, int] = {}  # noqa: RUF012
    ranges: list[str] = []  # noqa: RUF012

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        mode = self.path.strip("/").split("/")[0]
        count = self.seen[self.path] = self.seen.get(self.path, 0) + 1
        if mode == "missing":
            self.send_error(404)
        elif mode == "busy" and count < 3:
            self.send_error(503)
        else:
            self.answer(mode, count)

    def answer(self, mode: str, count: int) -> None:
        tag = f'"{count if mode == "changing" else 1}"'
        wanted = self.headers.get("Range") if self.headers.get("If-Range") == tag else None
        if wanted:
            self.ranges.append(wanted)
        start = int(wanted.split("=")[1].rstrip("-")) if wanted and mode != "norange" else 0
        body = CONTENT[start:] if mode != "wrong" else b"x" * len(CONTENT)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("ETag", tag)
        if mode != "nolength":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = mode == "dies" or (mode in ("truncate", "norange", "changing", "stall") and count < 3)
        self.wfile.write(body[: len(body) // 3] if cut else body)
        if mode == "stall" and cut:
            self.wfile.flush()
            time.sleep(0.6)


@pytest.fixture
def server() -> Iterator[str]:
    Bad.seen.clear()
    Bad.ranges.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Bad) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


@pytest.mark.parametrize("mode", ["fine", "truncate", "norange", "busy", "stall", "changing"])
def test_ends_whole_and_verified(server: str, tmp_path: Path, mode: str) -> None:
    file = RemoteFile("a/b.bin", f"{server}/{mode}/b.bin", len(CONTENT), DIGEST)
    assert fetch_all([file], tmp_path, policy=FAST) == []
    assert (tmp_path / "a/b.bin").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.bin"]


def test_a_broken_transfer_is_continued_not_restarted(server: str, tmp_path: Path) -> None:
    file = RemoteFile("b.bin", f"{server}/truncate/b.bin", None, DIGEST)
    assert fetch_all([file], tmp_path, policy=FAST) == []
    assert Bad.ranges and Bad.ranges[0] == f"bytes={len(CONTENT) // 3}-"


@pytest.mark.parametrize(
    ("mode", "message"),
    [("wrong", "SHA-256"), ("missing", "HTTP 404"), ("dies", "run again to continue")],
)
def test_absent_with_one_line(server: str, tmp_path: Path, mode: str, message: str) -> None:
    file = RemoteFile("b.bin", f"{server}/{mode}/b.bin", None, DIGEST)
    (problem,) = fetch_all([file], tmp_path, policy=FAST)
    assert message in problem and "b.bin" in problem and "\n" not in problem
    assert not (tmp_path / "b.bin").exists()


def test_interrupted_fetch_continues_in_the_next_run(server: str, tmp_path: Path) -> None:
    file = RemoteFile("b.bin", f"{server}/truncate/b.bin", None, DIGEST)
    once = Policy(attempts=1, stall_seconds=1, first_pause=0)
    assert len(fetch_all([file], tmp_path, policy=once)) == 1
    kept = (tmp_path / "b.bin.partial").stat().st_size
    assert kept == len(CONTENT) // 3
    assert fetch_all([file], tmp_path, policy=FAST) == []
    assert f"bytes={kept}-" in Bad.ranges


def test_unknown_checksum_is_recorded_and_then_held_to(server: str, tmp_path: Path) -> None:
    file = RemoteFile("b.bin", f"{server}/fine/b.bin")
    assert fetch_all([file], tmp_path, policy=FAST) == []
    assert json.loads((tmp_path / "checksums.json").read_text())["b.bin"]["sha256"] == DIGEST
    (tmp_path / "b.bin").write_bytes(b"tampered")
    (problem,) = fetch_all([file], tmp_path, policy=FAST)
    assert "SHA-256" in problem


@pytest.mark.parametrize("scheme", ["file://", "data:text/plain,", "ftp://", ""])
def test_only_the_web_is_fetched_from(tmp_path: Path, scheme: str) -> None:
    (tmp_path / "secret").write_bytes(CONTENT)
    file = RemoteFile("b.bin", f"{scheme}{tmp_path}/secret", len(CONTENT), DIGEST)
    (problem,) = fetch_all([file], tmp_path / "out", policy=FAST)
    assert "is not a web address" in problem and not (tmp_path / "out" / "b.bin").exists()


def test_without_length_or_checksum_nothing_is_trusted(server: str, tmp_path: Path) -> None:
    (problem,) = fetch_all([RemoteFile("b.bin", f"{server}/nolength/b.bin")], tmp_path, policy=FAST)
    assert "cannot be verified" in problem
    assert not (tmp_path / "b.bin").exists()


def test_mirror_is_used_first_and_verified(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "b.bin").write_bytes(CONTENT)
    (mirror / "c.bin").write_bytes(b"old")
    unreachable = "http://127.0.0.1:9/"
    files = [RemoteFile("b.bin", unreachable, None, DIGEST), RemoteFile("c.bin", unreachable, None, DIGEST)]
    (problem,) = fetch_all(files, tmp_path / "out", mirror=mirror, policy=FAST)
    assert "c.bin" in problem
    assert (tmp_path / "out/b.bin").read_bytes() == CONTENT
    assert not (tmp_path / "out/c.bin").exists()


def test_manifest_refuses_paths_that_lead_outside(tmp_path: Path) -> None:
    entry = {
        "title": "t",
        "accession": "a",
        "licence": "l",
        "citation": "c",
        "files": [{"path": "../x", "url": "http://h/x"}],
    }
    (tmp_path / "m.json").write_text(json.dumps({"datasets": {"d": entry}}))
    with pytest.raises(DataError, match="leads outside"):
        read_manifest(tmp_path / "m.json")


def test_no_confirmed_location_is_named_and_a_mirror_helps(tmp_path: Path) -> None:
    file = RemoteFile("t.tsv", None, note="ask the authors")
    (problem,) = fetch_all([file], tmp_path / "out", policy=FAST)
    assert "no confirmed public location (ask the authors)" in problem
    (tmp_path / "t.tsv").write_text("x")
    assert fetch_all([file], tmp_path / "out", mirror=tmp_path, policy=FAST) == []


def test_the_shipped_manifest_names_sixty_seven_libraries_of_fifty_eight_donors() -> None:
    assert read_manifest(MANIFEST)["procap"].files[0].path == "procap/GSE110638_RAW.tar"
    libraries = pd.read_csv(MANIFEST.with_name("gse110638_libraries.tsv"), sep="\t")
    assert len(libraries) == libraries["library"].nunique() == libraries["prefix"].nunique() == 67
    assert libraries["donor"].nunique() == 58


def test_procap_archive_becomes_a_library_sheet(tmp_path: Path) -> None:
    table = tmp_path / "table.tsv"
    table.write_text("library\tgsm\tdonor\tprefix\nD1_1\tGSM1\tD1\tGSM1_a\n")
    with tarfile.open(tmp_path / "raw.tar", "w") as tar:
        for short in ("pl", "mn"):
            name = f"GSM1_a.hs37d5.bwa.uniqueUMI.{short}.bedgraph.gz"
            (tmp_path / "member").write_bytes(gzip.compress(b"1\t10\t11\t3\n"))
            tar.add(tmp_path / "member", name)
    sheet = pd.read_csv(unpack_procap(tmp_path / "raw.tar", table), sep="\t")
    assert sheet.loc[0, "donor"] == "D1"
    assert (tmp_path / sheet.loc[0, "minus"]).is_file()
    table.write_text("library\tgsm\tdonor\tprefix\nD2_1\tGSM2\tD2\tGSM2_a\n")
    with pytest.raises(DataError, match="lacks 2 files"):
        unpack_procap(tmp_path / "raw.tar", table)


def test_what_was_fetched_becomes_sheets_and_parameters(tmp_path: Path) -> None:
    """With the shipped manifest: the tables that are there, and no others."""
    (tmp_path / "genome").mkdir()
    (tmp_path / "genome/hg38.fa.gz").write_bytes(gzip.compress(b">1\nACGT\n"))
    index = b"\x00\x00\x00\x01 of another tool, as 1000 Genomes serves its genome"
    (tmp_path / "genome/hs37d5.fa.gz").write_bytes(gzip.compress(b">1\nACGT\n") + index)
    for path in (
        "lentimpra/K562.tsv",
        "udacha/K562__myelogenous_leukemia_.atac.tsv",
        "genotypes/1.vcf.gz",
        "procap/libraries.tsv",
    ):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("x\n")
    (study,) = write_study(tmp_path, read_manifest(MANIFEST))
    given = json.loads(study.read_text())
    assert set(given) == {"libraries", "genome", "variants", "mpra", "variant_sets"}
    assert given["variants"] == str(tmp_path / "genotypes" / "*.vcf.gz")
    assert Path(given["genome"] + ".fai").is_file()
    assert Path(given["genome"]).read_text() == ">1\nACGT\n"
    assert pd.read_csv(given["mpra"], sep="\t")["name"].tolist() == ["K562"]
    sets = pd.read_csv(given["variant_sets"], sep="\t")
    assert sets[["name", "genome"]].values.tolist() == [["udacha_K562_atac", "genome/hg38.fa"]]
    (tmp_path / "genome" / "hg38.fa.gz").write_bytes(gzip.compress(b">1\nACGT\n" * 99)[:-9])
    (tmp_path / "genome" / "hg38.fa").unlink()
    with pytest.raises(DataError, match=r"hg38.fa.gz: the gzip stream ends early"):
        write_study(tmp_path, {})
    assert not (tmp_path / "genome" / "hg38.fa").exists()
