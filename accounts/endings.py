"""Waiting for the end of a user's grants, in what stays open: live pages and consoles."""

import asyncio
import logging

from channels.db import database_sync_to_async
from django.db import DatabaseError
from django.utils import timezone

from accounts.managers import next_end
from accounts.models import User

log = logging.getLogger(__name__)

LONGEST_SECONDS = 30.0  # after which the database is asked again: a message about a change may have been lost
MARGIN_SECONDS = 0.05


async def ended(user: User, changed: asyncio.Event) -> bool:
    """Waits until the next grant ends: True. False when the grants changed, or after a while: call again."""
    try:
        end = await database_sync_to_async(next_end)(user)
    except DatabaseError as error:
        log.warning("the end of %s's grants is unknown while the database is away: %s", user.pk, error)
        end = None
    left = (end - timezone.now()).total_seconds() + MARGIN_SECONDS if end else LONGEST_SECONDS
    try:
        async with asyncio.timeout(max(0.0, min(left, LONGEST_SECONDS))):
            await changed.wait()
    except TimeoutError:
        return end is not None and end <= timezone.now()
    return False
