"""deploy/postgresql-audit.sql on a PostgreSQL of our own: what is left to the application, by the application's own role."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import errors, sql

ROOT = Path(__file__).resolve().parents[3]


class Server:
    """A cluster that listens on a Unix socket alone."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.bin = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        self.begin: tuple[str, ...] = ("runuser", "-u", "postgres", "--") if os.getuid() == 0 else ()

    def run(self, program: str, *arguments: str) -> None:
        subprocess.run([*self.begin, str(self.bin / program), *arguments], check=True, stdout=subprocess.DEVNULL, cwd=self.directory)

    def connect(self, user: str, database: str = "vireo") -> psycopg.Connection:
        return psycopg.connect(host=str(self.directory), user=user, dbname=database, autocommit=True)

    def manage(self, *arguments: str, **environment: str) -> str:
        known = (
            os.environ
            | {
                "DATABASE_URL": "postgres:///vireo",
                "PGHOST": str(self.directory),
                "PGUSER": "vireo",
                "VIREO_VAR": str(self.directory / "var"),
            }
            | environment
        )
        done = subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, env=known, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="vireo-pg-", dir="/tmp") as name:
        made = Server(Path(name))
        made.directory.chmod(0o777)
        data = str(made.directory / "data")
        made.run("initdb", "-D", data, "-A", "trust", "-U", "root", "-E", "UTF8", "--no-sync")
        made.run("pg_ctl", "-D", data, "-s", "-w", "-l", f"{name}/log", "-o", f"-c listen_addresses= -k {name} -F", "start")
        try:
            with made.connect("root", "postgres") as connection:
                connection.execute("CREATE ROLE vireo LOGIN")
                connection.execute("CREATE DATABASE vireo OWNER vireo")
            made.manage("migrate", "-v0")
            made.manage("bootstrap", VIREO_ADMIN_PASSWORD="a long enough password")
            for _ in range(2):  # it may be run again
                psql = [
                    "psql",
                    "-q",
                    "-h",
                    name,
                    "-U",
                    "root",
                    "-d",
                    "vireo",
                    "-v",
                    "app=vireo",
                    "-f",
                    str(ROOT / "deploy/postgresql-audit.sql"),
                ]
                subprocess.run(psql, check=True)
            yield made
        finally:
            made.run("pg_ctl", "-D", data, "-s", "-m", "immediate", "stop")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET message = 'x'",
        "DELETE FROM audit_entry",
        "TRUNCATE audit_entry",
        "DROP TABLE audit_entry",
        "ALTER TABLE audit_entry DISABLE TRIGGER ALL",
        "DROP TRIGGER audit_entry_no_update ON audit_entry",
        "CREATE OR REPLACE FUNCTION audit_entry_no_update() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
        "DELETE FROM audit_head",
        "UPDATE audit_waiting SET fields = '{}'",
        "SET session_replication_role = replica",
        "ALTER SCHEMA public RENAME TO other",
        "GRANT ALL ON audit_entry TO vireo",
    ],
)
def test_the_application_can_change_nothing(server: Server, statement: str) -> None:
    with server.connect("vireo") as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement)  # type: ignore[arg-type]
        if statement.startswith("GRANT"):  # PostgreSQL only warns that nothing was granted
            connection.execute("DELETE FROM audit_entry")


def test_it_still_writes_reads_verifies_and_migrates(server: Server) -> None:
    server.manage("shell", "-v0", "-c", "from audit import log; log.append('vm.edited', 'as the application')")
    assert "is sound" in server.manage("audit", "verify")
    assert "as the application" in server.manage("audit", "export")
    server.manage("migrate", "-v0")
    with server.connect("vireo") as connection:
        connection.execute("CREATE TABLE a_later_migration (id int)")


def test_even_the_owner_is_refused_by_the_triggers(server: Server) -> None:
    server.manage("shell", "-v0", "-c", "from audit import log; log.append('vm.edited', 'one')")
    with server.connect("root") as connection:
        for statement in ("UPDATE audit_entry SET message = 'x'", "DELETE FROM audit_entry", "TRUNCATE audit_entry"):
            with pytest.raises(errors.RaiseException, match="only ever added to"):
                connection.execute(sql.SQL(statement))


def test_retention_works_by_the_function_alone_and_spares_what_is_young(server: Server) -> None:
    with server.connect("root") as connection:
        connection.execute("ALTER TABLE audit_entry DISABLE TRIGGER ALL")
        connection.execute("UPDATE audit_entry SET at = at - interval '400 days'")
        connection.execute("ALTER TABLE audit_entry ENABLE TRIGGER ALL")
        [old] = connection.execute("SELECT max(id) FROM audit_entry").fetchone() or (0,)
    server.manage("shell", "-v0", "-c", "from audit import log; log.append('vm.edited', 'a young one')")
    assert server.manage("audit", "trim", VIREO_AUDIT_DAYS="365") == f"{old} entries were removed.\n"
    with server.connect("vireo") as connection:
        found = connection.execute("SELECT id, action FROM audit_entry ORDER BY id").fetchall()
        assert found == [(old + 1, "vm.edited"), (old + 2, "audit.trimmed")]
        assert connection.execute("SELECT audit_trim()").fetchone() == (0,)
        with pytest.raises(errors.RaiseException, match="only ever added to"):
            connection.execute("UPDATE audit_head SET removed_to_id = 0")
        connection.execute("UPDATE audit_head SET removed_to_id = %s", [old + 2])
        assert connection.execute("SELECT audit_trim()").fetchone() == (0,)  # too young to go, whatever the application says
