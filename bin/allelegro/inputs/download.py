"""Downloads: every file ends whole under its name, or is absent with one line that says why.

A transfer goes to ``<name>.partial`` alongside the target and is continued from there after a broken connection or a
kill. The name is given only when length and checksum agree. A file whose checksum the manifest does not know is
recorded in ``checksums.json`` at its first download and held to that afterwards: only then it is verified. Addresses
are https or http, a redirection never leads from https to http, and no more is taken than the size that is known.

Pooch does less than the tests of bad servers ask: it begins every transfer at byte 0, so that a broken connection costs
the whole of a large file, and it takes a file whose checksum is not known as it comes.
"""

import errno
import hashlib
import http.client
import json
import logging
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allelegro import __version__
from allelegro.errors import DataError, said_by_system
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

    def size(self, path: str) -> int | None:
        """The recorded size in bytes, if any."""
        return self._known.get(path, {}).get("bytes")

    def add(self, file: RemoteFile, sha256: str, size: int) -> None:
        """Remember what a file is."""
        with self._lock:
            self._known[file.path] = {"sha256": sha256, "bytes": size, "url": file.url}
            with atomic_path(self._path, at_once=True) as partial:
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

    ``mirror`` is a folder with the same relative paths; what it holds is copied instead of downloaded. The log says how
    many files were verified, and how many had nothing to be compared with. On Ctrl-C everything stops at once; what had
    come is continued by the next call.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = Record(folder)
    problems: dict[int, str] = {}
    verified: list[bool] = []
    waiting = iter(enumerate(files))
    taking, stop = threading.Lock(), threading.Event()

    def work() -> None:
        while not stop.is_set():
            with taking:
                number, file = next(waiting, (0, None))
            if file is None:
                return
            try:
                verified.append(fetch(file, folder, record, mirror, policy, advance, stop))
            except DataError as error:
                problems[number] = str(error)
            except OSError as error:
                problems[number] = f"{file.path}: {said_by_system(error)}"
            except ValueError as error:
                problems[number] = f"{file.path}: {file.url} is no address ({error}); correct the manifest"

    # Daemons: a thread that waits for a silent server would hold up the end of the process.
    workers = [threading.Thread(target=work, daemon=True) for _ in range(min(jobs, len(files)))]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        stop.set()
    log.info("%d files verified, %d recorded (nothing to compare with)", sum(verified), len(verified) - sum(verified))
    return [problems[number] for number in sorted(problems)]


def fetch(
    file: RemoteFile,
    folder: Path,
    record: Record,
    mirror: Path | None,
    policy: Policy,
    advance: Advance,
    stop: threading.Event | None = None,
) -> bool:
    """Bring one file to ``folder / file.path``; whether there was a checksum to compare it with.

    Raises DataError when it cannot be had whole.
    """
    target = folder / file.path
    known = bool(file.sha256 or file.md5 or record.sha256(file.path))
    if target.is_file():
        digest = _verify(file, target, record)
        if not record.sha256(file.path):
            record.add(file, digest, target.stat().st_size)
        advance(target.stat().st_size)
        return known
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
        _Transfer(file, file.url, partial, policy, advance, record, stop or threading.Event()).run()
    try:
        digest = _verify(file, partial, record)
    except DataError:
        partial.unlink()
        raise
    record.add(file, digest, partial.stat().st_size)
    partial.replace(target)
    return known


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


class _OnlyToHttps(urllib.request.HTTPRedirectHandler):
    """Redirections of https stay on https."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.full_url.startswith("https://") and not newurl.startswith("https://"):
            raise DataError(f"{req.full_url}: redirects to {newurl[:60]}, which is not https; check the manifest")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_opener = urllib.request.build_opener(_OnlyToHttps)


@dataclass
class _Transfer:
    """One file from its address into ``partial``, in as many attempts as the policy allows."""

    file: RemoteFile
    url: str
    partial: Path
    policy: Policy
    advance: Advance
    record: Record
    stop: threading.Event

    def run(self) -> None:
        """Every attempt; raises DataError when none succeeds, or when it is stopped."""
        reason = ""
        for attempt in range(self.policy.attempts):
            if attempt:
                self.stop.wait(self.policy.first_pause * 2 ** (attempt - 1))
                log.info("%s: %s; attempt %d of %d", self.file.path, reason, attempt + 1, self.policy.attempts)
            self._check_stop()
            try:
                return self._request()
            except _Retry as error:
                reason = str(error)
        raise DataError(
            f"{self.file.path}: {reason} ({self.policy.attempts} attempts, {self.url}); run again to continue"
        )

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise DataError(f"{self.file.path}: stopped; run again to continue")

    @property
    def _size(self) -> int | None:
        """Bytes of the whole file by the manifest or by its first download."""
        return self.file.bytes or self.record.size(self.file.path)

    def _request(self) -> None:
        """One request, continuing ``partial`` when the server allows it."""
        path, partial = self.file.path, self.partial
        done = partial.stat().st_size if partial.is_file() else 0
        tag_path = partial.with_name(partial.name + ".tag")
        headers = {"User-Agent": f"allelegro/{__version__}", "Accept-Encoding": "identity"}
        if done and tag_path.is_file():
            # If-Range: continue only when it is still the same file on the server.
            headers |= {"Range": f"bytes={done}-", "If-Range": tag_path.read_text(encoding="utf-8")}
        try:
            request = urllib.request.Request(self.url, headers=headers)
            with _opener.open(request, timeout=self.policy.stall_seconds) as response:
                continued = response.status == 206 and response.headers.get("Content-Range", "").startswith(
                    f"bytes {done}-"
                )
                tag = response.headers.get("ETag") or response.headers.get("Last-Modified")
                if tag and not tag.startswith("W/"):
                    tag_path.write_text(tag, encoding="utf-8")
                else:
                    tag_path.unlink(missing_ok=True)
                length = response.headers.get("Content-Length")
                checksum = self.file.sha256 or self.file.md5 or self.record.sha256(path)
                if length is None and not checksum and self._size is None:
                    raise DataError(
                        f"{path}: the server gives no length and no checksum is known; it cannot be verified"
                    )
                received = self._receive(response, done if continued else 0)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the partial file is longer than the real one
                partial.unlink(missing_ok=True)
                raise _Retry("the server refused to continue the partial file") from None
            if error.code in TRANSIENT:
                raise _Retry(f"HTTP {error.code}") from None
            raise DataError(f"{path}: HTTP {error.code} {error.reason} ({self.url}); check the manifest") from None
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
                raise  # the disk's fault, which no other attempt will cure
            raise _Retry(f"connection failed ({error})") from None
        if length is not None and received < int(length):
            raise _Retry(f"connection closed after {received} of {length} bytes")
        tag_path.unlink(missing_ok=True)

    def _receive(self, response: Any, start: int) -> int:
        """What comes, after ``start`` bytes that are there; raises DataError beyond the size that is known."""
        received = 0
        with self.partial.open("ab" if start else "wb") as handle:
            while block := response.read(CHUNK):
                if self._size is not None and start + received + len(block) > self._size:
                    handle.truncate(0)
                    raise DataError(
                        f"{self.file.path}: the server sends more than the {self._size} bytes expected; check the manifest"
                    )
                handle.write(block)
                received += len(block)
                self.advance(len(block))
                self._check_stop()
        return received
