"""A PostgreSQL server for the tests alone: made in a temporary folder, reached by a socket there, gone at the end.

It never listens on the network. Its role needs a password, as a real server's does; the tests find it in the
environment (PGPASSWORD) while the server runs. A test's ledger gets a schema of its own, cheaper than a database.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, create_engine, make_url

__all__ = ["PostgresServer", "postgres_binaries", "running_postgres"]

_WAIT_S = 60.0
# A test's data need not outlive a loss of power.
_SETTINGS = ("fsync=off", "full_page_writes=off", "shared_buffers=16MB", "max_connections=40", "listen_addresses=")


def postgres_binaries() -> Path | None:
    """The folder of `initdb` and `postgres`: on the path, or the newest where Debian puts them; or None."""
    on_path = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=lambda found: float(found.parent.name))
    folders = [Path(on_path).resolve().parent, *debian[::-1]] if on_path else debian[::-1]
    return next((one for one in folders if (one / "initdb").exists() and (one / "postgres").exists()), None)


class PostgresServer:
    """A running server; `stop` it. `crash` and `start` show a client what it sees of that."""

    def __init__(self, binaries: Path, folder: Path, *settings: str) -> None:
        self.folder, self.password = folder, secrets.token_urlsafe(24)
        self._binaries, self._settings = binaries, (*_SETTINGS, *settings)
        self._process: subprocess.Popen[bytes] | None = None
        self._schemas = 0
        self.give(folder)
        self._make_data()
        self.start()

    @property
    def url(self) -> str:
        """Of the server's database, without a password."""
        place = URL.create("postgresql", "tester", database="postgres", query={"host": str(self.folder)})
        return place.render_as_string()

    def new_ledger(self) -> str:
        """The URL of a ledger that is not made yet: an empty schema."""
        self._schemas += 1
        self.execute(f"CREATE SCHEMA ledger_{self._schemas}")
        return self.with_options(self.url, f"-csearch_path=ledger_{self._schemas}")

    def with_options(self, url: str, options: str) -> str:
        """The URL with settings of the session."""
        known = str(make_url(url).query.get("options", ""))
        return make_url(url).update_query_dict({"options": f"{known} {options}".strip()}).render_as_string()

    def execute(self, statement: str, url: str | None = None) -> list[Any]:
        """The rows of one statement, in a connection of its own, without a transaction."""
        place = make_url(url or self.url).set(drivername="postgresql+psycopg", password=self.password)
        engine = create_engine(place, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                result = connection.exec_driver_sql(statement)
                return list(result) if result.returns_rows else []
        finally:
            engine.dispose()

    def give(self, path: Path) -> None:
        """Makes the server's user the owner."""
        if os.geteuid() == 0:
            os.chown(path, self._user.pw_uid, self._user.pw_gid)

    def start(self) -> None:
        """Returns when the server takes connections."""
        settings = [word for setting in self._settings for word in ("-c", setting)]
        command = self._command("postgres", "-D", "data", "-k", str(self.folder), *settings)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=_clean())
        deadline = time.monotonic() + _WAIT_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text(errors='replace')}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends every connection and the server, and waits for it."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """Ends the server as a crash would: what was not committed is lost."""
        self._end(signal.SIGQUIT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_WAIT_S)
            self._process = None

    def _is_ready(self) -> bool:
        try:
            return "ready" in (self.folder / "data" / "postmaster.pid").read_text().splitlines()[-1]
        except (OSError, IndexError):
            return False

    def _make_data(self) -> None:
        password = self.folder / "password"
        password.write_text(self.password + "\n")
        self.give(password)
        known = subprocess.run([self._binaries / "initdb", "--help"], capture_output=True, text=True, check=True).stdout
        # An order of text that is not that of its bytes, where the server can have one: nothing may depend on it.
        locale = ["--locale-provider=icu", "--icu-locale=en-US"] if "--icu-locale" in known else []
        options = [
            "-U",
            "tester",
            "-E",
            "UTF8",
            "-N",
            "-A",
            "scram-sha-256",
            "--pwfile=password",
            "--locale=C",
            *locale,
        ]
        command = self._command("initdb", "-D", "data", *options)
        subprocess.run(command, cwd=self.folder, check=True, stdout=subprocess.DEVNULL, env=_clean())
        password.unlink()

    @property
    def _user(self) -> pwd.struct_passwd:
        """The user in whose place root runs the server, which refuses to run as root."""
        users = {one.pw_name: one for one in pwd.getpwall()}
        return users.get("postgres") or users["nobody"]

    def _command(self, program: str, *arguments: str) -> list[str]:
        """Ended with the tests, even where those are killed."""
        user = [f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--clear-groups"]
        change = user if os.geteuid() == 0 else []
        return ["setpriv", *change, "--pdeathsig=INT", str(self._binaries / program), *arguments]


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


@contextmanager
def running_postgres(binaries: Path, *settings: str) -> Iterator[PostgresServer]:
    """A server that is gone at the end, its folder too. settings: of the server, for instance "fsync=on"."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        server = PostgresServer(binaries, folder, *settings)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
