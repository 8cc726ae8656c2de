"""The job engine: Job, Step, locks, undo, recovery. The jobs table is the queue of record; Celery delivers ids.

May be called by: services of every app. May call: events, portal.live. It knows no kind of job by itself: apps register theirs.
"""
