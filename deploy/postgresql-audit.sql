-- Takes the audit log out of the hands of the application: its role can add entries and read them, nothing else.
--
-- Run it once after the first `manage.py migrate`, and again after an upgrade that names it, as a superuser of PostgreSQL:
--
--     psql -v ON_ERROR_STOP=1 -v app=vireo -d vireo -f deploy/postgresql-audit.sql
--
-- `app` is the role in DATABASE_URL; it must be no superuser. Afterwards the log belongs to vireo_audit, which nobody signs in as,
-- and so does the database itself, for who owns a database could drop the log and make it anew. The application keeps what it
-- needs to work and to migrate its own tables.
--
-- A migration that alters the log's tables has to run as their owner: grant vireo_audit to the application's role for that upgrade
-- (GRANT vireo_audit TO vireo), revoke it afterwards, and run this file again.

\set ON_ERROR_STOP on
\if :{?app}
\else
  \set app vireo
\endif
BEGIN;

SELECT 'CREATE ROLE vireo_audit NOLOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'vireo_audit') \gexec
SELECT format('ALTER DATABASE %I OWNER TO vireo_audit', current_database()) \gexec
SELECT format('GRANT ALL ON DATABASE %I TO %I', current_database(), :'app') \gexec
GRANT USAGE, CREATE ON SCHEMA public TO :"app";
GRANT USAGE, CREATE ON SCHEMA public TO vireo_audit;

-- The tables, and the functions of their triggers: who owns a function can replace it.
ALTER TABLE audit_entry OWNER TO vireo_audit;
ALTER TABLE audit_waiting OWNER TO vireo_audit;
ALTER TABLE audit_head OWNER TO vireo_audit;
ALTER FUNCTION audit_entry_no_update() OWNER TO vireo_audit;
ALTER FUNCTION audit_entry_no_delete() OWNER TO vireo_audit;
ALTER FUNCTION audit_waiting_no_update() OWNER TO vireo_audit;
ALTER FUNCTION audit_head_no_delete() OWNER TO vireo_audit;
ALTER FUNCTION audit_head_no_return() OWNER TO vireo_audit;

REVOKE ALL ON audit_entry, audit_waiting, audit_head FROM PUBLIC, :"app";
GRANT SELECT, INSERT ON audit_entry TO :"app";
-- What is written waits here until its transaction has committed, and moves into the chain then.
GRANT SELECT, INSERT, DELETE ON audit_waiting TO :"app";
-- Where the chain ends; a trigger keeps it from going back.
GRANT SELECT, INSERT, UPDATE ON audit_head TO :"app";

-- Retention (VIREO_AUDIT_DAYS) asks for this. It removes what the chain says is gone, and never what is younger than 30 days.
CREATE OR REPLACE FUNCTION audit_trim() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    removed bigint;
BEGIN
    DELETE FROM public.audit_entry
    WHERE id <= (SELECT removed_to_id FROM public.audit_head WHERE id = 1) AND at < now() - interval '30 days';
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END
$$;
ALTER FUNCTION audit_trim() OWNER TO vireo_audit;
REVOKE ALL ON FUNCTION audit_trim() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_trim() TO :"app";

COMMIT;
