"""Verified downloads: every file ends whole under its name, or is absent with one line that says why.

A transfer goes to ``<name>.partial`` alongside the target and is continued from there after a broken connection or a
kill. The name is given only when length and checksum agree. A file whose checksum the manifest does not know is
recorded in ``checksums.json`` at its first download and held to that afterwards.

Pooch does less than the tests of bad servers ask: it begins every transfer at byte 0, so that a broken connection costs
the whole of a large file, and it takes a file whose checksum is not known as it comes.
"""

import hashlib
import http.client
import json
import logging
import shutil
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allelegro import __version__
from allelegro.errors import DataError
from allelegro.io.atomic import atomic_path

log = logging.getLogger(__name__)

CHUNK = 1 << 20
RECORD = "checksums.json"
# Worth another try: the connection or the server failed; anything else (404, 403) will fail again.
TRANSIENT = {408, 425, 429, 500, 502, 503, 504}

Advance = Callable[[int], None]


@dataclass(frozen=True)
class RemoteFile:
    """One file of a dataset; ``bytes``, ``sha256`` and ``md5`` are None when unknown.

    ``url`` is None where no public location could be confirmed: then only a mirror has it, and ``note`` says more.
    """

    path: str
    url: str | None
    bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Policy:
    """How hard to try: attempts a file, seconds without a byte before giving up, first pause (doubled each time)."""

    attempts: int = 6
    stall_seconds: float = 60.0
    first_pause: float = 1.0


class _Retry(Exception):
    """A failure that another attempt may fix."""


class Record:
    """``checksums.json``: what each file was when it was first fetched; safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / RECORD
        self._lock = threading.Lock()
        self._known: dict[str, dict[str, Any]] = {}
        if self._path.is_file():
            try:
                self._known = json.loads(self._path.read_text(encoding="utf-8"))
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{self._path} line {error.lineno}: damaged; delete it to record checksums again"
                ) from None

    def sha256(self, path: str) -> str | None:
        """The recorded checksum, if any."""
        return self._known.get(path, {}).get("sha256")

    def add(self, file: RemoteFile, sha256: str, size: int) -> None:
        """Remember a verified file."""
        with self._lock:
            self._known[file.path] = {"sha256": sha256, "bytes": size, "url": file.url}
            with atomic_path(self._path) as partial:
                partial.write_text(json.dumps(dict(sorted(self._known.items())), indent=1) + "\n", encoding="utf-8")


def fetch_all(
    files: Sequence[RemoteFile],
    folder: Path,
    *,
    mirror: Path | None = None,
    jobs: int = 4,
    policy: Policy = Policy(),
    advance: Advance = lambda n: None,
) -> list[str]:
    """Fetch ``files`` into ``folder``, ``jobs`` at a time; returns one line for each file that could not be had.

    ``mirror`` is a folder with the same relative paths; what it holds is copied and verified instead of downloaded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = Record(folder)

    def one(file: RemoteFile) -> str | None:
        try:
            fetch(file, folder, record, mirror, policy, advance)
        except DataError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(jobs) as pool:
        return [problem for problem in pool.map(one, files) if problem]


def fetch(
    file: RemoteFile, folder: Path, record: Record, mirror: Path | None, policy: Policy, advance: Advance
) -> None:
    """Bring one file to ``folder / file.path``; raises DataError when it cannot be had whole."""
    target = folder / file.path
    if target.is_file():
        _verify(file, target, record)
        advance(target.stat().st_size)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    if mirror is not None and (mirror / file.path).is_file():
        shutil.copyfile(mirror / file.path, partial)
        advance(partial.stat().st_size)
    elif file.url is None:
        raise DataError(f"{file.path}: no confirmed public location ({file.note})")
    elif not file.url.startswith(("https://", "http://")):
        raise DataError(
            f"{file.path}: {file.url[:60]} is not a web address (https:// or http://); correct the manifest"
        )
    else:
        _download(file, file.url, partial, policy, advance, expected=_expected(file, record))
    try:
        digest = _verify(file, partial, record)
    except DataError:
        partial.unlink()
        raise
    record.add(file, digest, partial.stat().st_size)
    partial.replace(target)


def _expected(file: RemoteFile, record: Record) -> bool:
    """Whether the content can be checked by more than the server's word."""
    return bool(file.sha256 or file.md5 or file.bytes or record.sha256(file.path))


def _verify(file: RemoteFile, path: Path, record: Record) -> str:
    """The SHA-256 of ``path``; raises DataError when it is not the expected file."""
    if file.bytes is not None and path.stat().st_size != file.bytes:
        raise DataError(f"{file.path}: {path.stat().st_size} bytes, expected {file.bytes}; delete it and fetch again")
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as handle:
        while block := handle.read(CHUNK):
            sha256.update(block)
            md5.update(block)
    digest = sha256.hexdigest()
    wanted = file.sha256 or record.sha256(file.path)
    if wanted and digest != wanted:
        raise DataError(
            f"{file.path}: SHA-256 {digest[:12]}… is not the expected {wanted[:12]}…; delete it and fetch again"
        )
    if file.md5 and md5.hexdigest() != file.md5:
        raise DataError(f"{file.path}: MD5 {md5.hexdigest()} is not the expected {file.md5}; delete it and fetch again")
    return digest


def _download(file: RemoteFile, url: str, partial: Path, policy: Policy, advance: Advance, *, expected: bool) -> None:
    reason = ""
    for attempt in range(policy.attempts):
        if attempt:
            time.sleep(policy.first_pause * 2 ** (attempt - 1))
            log.info("%s: %s; attempt %d of %d", file.path, reason, attempt + 1, policy.attempts)
        try:
            return _transfer(file, url, partial, policy, advance, expected=expected)
        except _Retry as error:
            reason = str(error)
    raise DataError(f"{file.path}: {reason} ({policy.attempts} attempts, {url}); run again to continue")


def _transfer(file: RemoteFile, url: str, partial: Path, policy: Policy, advance: Advance, *, expected: bool) -> None:
    """One request, continuing ``partial`` when the server allows it."""
    done = partial.stat().st_size if partial.is_file() else 0
    tag_path = partial.with_name(partial.name + ".tag")
    headers = {"User-Agent": f"allelegro/{__version__}", "Accept-Encoding": "identity"}
    if done and tag_path.is_file():
        # If-Range: continue only when it is still the same file on the server.
        headers |= {"Range": f"bytes={done}-", "If-Range": tag_path.read_text(encoding="utf-8")}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=policy.stall_seconds
        ) as response:
            continued = response.status == 206 and response.headers.get("Content-Range", "").startswith(
                f"bytes {done}-"
            )
            tag = response.headers.get("ETag") or response.headers.get("Last-Modified")
            if tag and not tag.startswith("W/"):
                tag_path.write_text(tag, encoding="utf-8")
            else:
                tag_path.unlink(missing_ok=True)
            length = response.headers.get("Content-Length")
            if length is None and not expected:
                raise DataError(
                    f"{file.path}: the server gives no length and no checksum is known; it cannot be verified"
                )
            received = _receive(response, partial, advance, "ab" if continued else "wb")
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the partial file is longer than the real one
            partial.unlink(missing_ok=True)
            raise _Retry("the server refused to continue the partial file") from None
        if error.code in TRANSIENT:
            raise _Retry(f"HTTP {error.code}") from None
        raise DataError(f"{file.path}: HTTP {error.code} {error.reason} ({url}); check the manifest") from None
    except (OSError, http.client.HTTPException) as error:
        raise _Retry(f"connection failed ({error})") from None
    if length is not None and received < int(length):
        raise _Retry(f"connection closed after {received} of {length} bytes")
    tag_path.unlink(missing_ok=True)


def _receive(response: Any, partial: Path, advance: Advance, mode: str) -> int:
    received = 0
    with partial.open(mode) as handle:
        while block := response.read(CHUNK):
            handle.write(block)
            received += len(block)
            advance(len(block))
    return received
