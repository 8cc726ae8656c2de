"""Triggers by which the database itself refuses to change or remove entries, whoever asks.

Entries up to the one that Head names as removed may go: retention moves that mark first, and tells so in the chain.
On SQLite a migration that alters the table makes it anew, without triggers: such a migration ends with `install`.
"""

from typing import Any

_WHY = "the audit log is only ever added to"
_HEAD_BACK = "NEW.last_id < OLD.last_id OR NEW.removed_to_id < OLD.removed_to_id"
_TOO_NEW = "OLD.id > COALESCE((SELECT removed_to_id FROM audit_head WHERE id = 1), 0)"
# name -> (when, table, condition)
TRIGGERS = {
    "audit_entry_no_update": ("UPDATE", "audit_entry", ""),
    "audit_entry_no_delete": ("DELETE", "audit_entry", _TOO_NEW),
    "audit_waiting_no_update": ("UPDATE", "audit_waiting", ""),
    "audit_head_no_delete": ("DELETE", "audit_head", ""),
    "audit_head_no_return": ("UPDATE", "audit_head", _HEAD_BACK),
}
_TRUNCATE = "audit_entry_no_truncate"


def install(connection: Any) -> None:
    """Makes those that are not there."""
    with connection.cursor() as cursor:
        for statement in _sqlite() if connection.vendor == "sqlite" else _postgresql():
            cursor.execute(statement)


def remove(connection: Any) -> None:
    """For a migration that goes back, and for tests that empty the database."""
    with connection.cursor() as cursor:
        for name, (_when, table, _condition) in TRIGGERS.items():
            cursor.execute(f"DROP TRIGGER IF EXISTS {name}" + ("" if connection.vendor == "sqlite" else f" ON {table}"))
        if connection.vendor == "postgresql":
            cursor.execute(f"DROP TRIGGER IF EXISTS {_TRUNCATE} ON audit_entry")


def missing(connection: Any) -> list[str]:
    """A sentence for each that somebody took away."""
    sqlite = connection.vendor == "sqlite"
    wanted = {*TRIGGERS} if sqlite else {*TRIGGERS, _TRUNCATE}
    query = (
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        if sqlite
        else "SELECT tgname FROM pg_trigger WHERE tgenabled IN ('O', 'A') AND NOT tgisinternal"
    )
    with connection.cursor() as cursor:
        cursor.execute(query)
        found = {row[0] for row in cursor.fetchall()}
    return [f"the database's guard {name} is not there: entries can be changed" for name in sorted(wanted - found)]


def _sqlite() -> list[str]:
    return [
        f"CREATE TRIGGER IF NOT EXISTS {name} BEFORE {when} ON {table} FOR EACH ROW "
        + (f"WHEN {condition} " if condition else "")
        + f"BEGIN SELECT RAISE(ABORT, '{_WHY}'); END"
        for name, (when, table, condition) in TRIGGERS.items()
    ]


def _postgresql() -> list[str]:
    """A trigger's WHEN may hold no subquery, so the condition is in its function."""
    statements = []
    for name, (when, table, condition) in TRIGGERS.items():
        row = "OLD" if when == "DELETE" else "NEW"
        raises = f"RAISE EXCEPTION '{_WHY}';"
        body = f"IF {condition} THEN {raises} END IF; RETURN {row};" if condition else raises
        statements += [
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$",
            f"DROP TRIGGER IF EXISTS {name} ON {table}",
            f"CREATE TRIGGER {name} BEFORE {when} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()",
        ]
    return [
        *statements,
        f"DROP TRIGGER IF EXISTS {_TRUNCATE} ON audit_entry",
        f"CREATE TRIGGER {_TRUNCATE} BEFORE TRUNCATE ON audit_entry FOR EACH STATEMENT EXECUTE FUNCTION audit_entry_no_update()",
    ]
