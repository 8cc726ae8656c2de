"""The Celery application. It only delivers job ids; the queue of record is the jobs table."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("vireo")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
