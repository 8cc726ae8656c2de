"""Settings of Vireo, read from the environment; embedded SQLite and a private Redis are the defaults.

Everything that the product writes lies under VAR (`VIREO_VAR`, by default `var/` beside manage.py).
"""

from datetime import timedelta
from pathlib import Path

import environ
from csp.constants import NONE, SELF

from portal.secrets import load_or_create_key

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent
VAR = Path(env("VIREO_VAR", default=str(BASE_DIR / "var"))).resolve()
RUN_DIR, LOG_DIR, PKI_DIR, CACHE_DIR = VAR / "run", VAR / "log", VAR / "pki", VAR / "cache"
UPLOAD_DIR = VAR / "uploads"
for directory in (VAR, RUN_DIR, LOG_DIR, PKI_DIR, CACHE_DIR, UPLOAD_DIR, VAR / "static"):
    directory.mkdir(parents=True, exist_ok=True)

# One key outside the database: it signs sessions and encrypts stored passwords.
SECRET_KEY = env("VIREO_SECRET_KEY", default="") or load_or_create_key(VAR / "secret.key")
DEBUG = env.bool("VIREO_DEBUG", default=False)
ALLOWED_HOSTS = env.list("VIREO_ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
BEHIND_TLS = env.bool("VIREO_BEHIND_TLS", default=False)

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.forms",
    "channels",
    "csp",
    "django_celery_beat",
    "portal",
    "accounts",
    "hosts",
    "storage",
    "networks",
    "vms",
    "jobs",
    "events",
    "audit",
    "metrics",
    "watcher",
    "api",
    "lab",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "portal.middleware.RefuseNul",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "audit.middleware.AuditTrail",  # knows the user, and sees every answer of what follows
    "accounts.sessions.middleware.KeepSession",
    "accounts.middleware.RequireSignIn",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "accounts.looking_middleware.LookAs",  # the last: only the view sees another user
]
ROOT_URLCONF = "portal.urls"
ASGI_APPLICATION = "portal.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.context.shell",
            ],
        },
    }
]

DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{VAR / 'db.sqlite3'}")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # Several processes write: WAL lets readers go on, IMMEDIATE takes the write lock at the start of
    # a transaction (no upgrade deadlock), and a writer waits for the lock instead of failing.
    DATABASES["default"]["TEST"] = {"NAME": VAR / "test.sqlite3"}  # a file, so that threads and processes share it
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-16000; PRAGMA foreign_keys=ON;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env("REDIS_URL", default=f"unix://{RUN_DIR / 'redis.sock'}")
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "vireo-live"},
    }
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL, "KEY_PREFIX": "vireo"}}

# Celery spells a Unix socket in its own way.
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = False  # the jobs table is the queue of record; its sweep sends again what was lost
CELERY_WORKER_PREFETCH_MULTIPLIER = 1  # a job waits where any worker can take it, not behind a busy one's long jobs
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 3600,
    # A request never waits for a broker that is away (6 s by default): the job waits in its table, for the sweep.
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.1,
    "socket_connect_timeout": 2,
}
CELERY_BEAT_SCHEDULER = "celery.beat:PersistentScheduler"
CELERY_BEAT_SCHEDULE = {
    "jobs-sweep": {"task": "jobs.sweep", "schedule": timedelta(seconds=10)},
    "metrics-rollup": {"task": "metrics.rollup", "schedule": timedelta(minutes=5)},
    "vm-expiry": {"task": "vms.expiry", "schedule": timedelta(minutes=1)},
    "pools": {"task": "vms.pools", "schedule": timedelta(seconds=15), "options": {"expires": 15}},
    "high-availability": {"task": "vms.ha", "schedule": timedelta(seconds=3), "options": {"expires": 3}},
    "vm-records": {"task": "vms.records", "schedule": timedelta(minutes=1), "options": {"expires": 60}},
    "balancing": {"task": "vms.balance", "schedule": timedelta(minutes=1), "options": {"expires": 60}},
    "ha-reserve": {"task": "vms.reserve", "schedule": timedelta(minutes=1), "options": {"expires": 60}},
    "fencing": {"task": "hosts.fencing", "schedule": timedelta(seconds=5), "options": {"expires": 5}},
    "guest-thaw": {"task": "vms.thaw", "schedule": timedelta(seconds=5), "options": {"expires": 5}},
    "sessions": {"task": "accounts.sessions", "schedule": timedelta(minutes=5)},
    "notify": {"task": "events.notify", "schedule": timedelta(seconds=5), "options": {"expires": 5}},
    "uploads": {"task": "storage.uploads", "schedule": timedelta(minutes=1), "options": {"expires": 60}},
    "retention": {"task": "events.retention", "schedule": timedelta(hours=1)},
}

AUTH_USER_MODEL = "accounts.User"
SILENCED_SYSTEM_CHECKS = ["auth.W004"]  # user names are unique whatever their case, by a constraint on lower(username)
AUTHENTICATION_BACKENDS = ["accounts.backends.LocalBackend", "accounts.directory.backend.DirectoryBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "accounts:sign-in"
LOGIN_REDIRECT_URL = "portal:dashboard"
SESSION_COOKIE_NAME = "vireo_session"
# Seconds. A session ends when nobody has used it for the one, and in any case after the other.
SESSION_IDLE_SECONDS = env.int("VIREO_SESSION_IDLE_SECONDS", default=2 * 3600)
SESSION_COOKIE_AGE = env.int("VIREO_SESSION_SECONDS", default=12 * 3600)
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
CSRF_COOKIE_HTTPONLY = False  # the bundle reads it to send X-CSRFToken
CSRF_FAILURE_VIEW = "portal.pages.errors.bad_csrf"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if BEHIND_TLS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 31536000

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "font-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

# Bytes of a body that is read into memory, and how many fields and files it may have: files of their own go to disk.
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 2**20
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2000  # a selection of 1,000 rows with what goes with it
DATA_UPLOAD_MAX_NUMBER_FILES = 1

FILE_UPLOAD_TEMP_DIR = UPLOAD_DIR  # a large ISO must not fill /tmp
# GiB that images on their way may take in UPLOAD_DIR together; 0: what its file system has.
SPOOL_BYTES = env.int("VIREO_SPOOL_GIB", default=0) * 2**30

FORM_RENDERER = "django.forms.renderers.TemplatesSetting"  # our own widget templates lie in templates/

STATIC_URL = "/static/"
STATIC_ROOT = VAR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

# Seconds. How often the watcher asks each host for statistics, and how long things may be silent.
WATCHER_STATS_SECONDS = env.float("VIREO_STATS_SECONDS", default=2.0)
# Longer than a storage server keeps the locks of a client that is gone (NFS: 90 s): only then does a free lock mean a dead VM.
HA_LEASE_SECONDS = env.float("VIREO_HA_LEASE_SECONDS", default=120.0)
WATCHER_LEASE_SECONDS = env.float("VIREO_LEASE_SECONDS", default=6.0)
WATCHER_SWEEP_SECONDS = env.float("VIREO_SWEEP_SECONDS", default=30.0)
JOB_HEARTBEAT_SECONDS = env.float("VIREO_JOB_HEARTBEAT_SECONDS", default=2.0)
JOB_STALE_SECONDS = env.float("VIREO_JOB_STALE_SECONDS", default=10.0)

# So many snapshots a VM may have: each makes every read of an old block pass through one file more.
SNAPSHOTS_PER_VM = env.int("VIREO_SNAPSHOTS_PER_VM", default=32)

# Days. Machines that users of the portal make are lent for so long (0: without an end); when they are told of the end, and
# how long a machine that ended is kept before it is removed.
PORTAL_VM_DAYS = env.int("VIREO_PORTAL_VM_DAYS", default=0)
EXPIRY_NOTICE_DAYS = env.int("VIREO_EXPIRY_NOTICE_DAYS", default=3)
EXPIRY_GRACE_DAYS = env.int("VIREO_EXPIRY_GRACE_DAYS", default=7)

# Days after which entries leave the audit log; 0: never.
AUDIT_DAYS = env.int("VIREO_AUDIT_DAYS", default=0)
# Mail: EMAIL_URL such as smtp+tls://user:password@mail.example.org:587; without it nobody is told by mail.
MAIL_IS_SET_UP = bool(env("EMAIL_URL", default=""))
vars().update(env.email_url("EMAIL_URL", default="dummymail://"))
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env("VIREO_MAIL_FROM", default="vireo@localhost")

# Where requests that users ask for (webhooks, images) may go beside the public Internet: networks, e.g. 10.1.2.0/24.
OUTBOUND_ALLOWED = env.list("VIREO_OUTBOUND_ALLOWED", default=[])

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "portal.logs.OneLine", "format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env("VIREO_LOG_LEVEL", default="INFO")},
    "loggers": {"uvicorn.access": {"level": "WARNING"}},
}

# Where Debian's package fence-agents puts its programs.
FENCE_AGENTS_DIR = env("VIREO_FENCE_AGENTS_DIR", default="/usr/sbin")
