"""Asks who may see an object once for all pages that hear of it in the same moment, not once for each.

A change of a VM comes to every open list of VMs; with hundreds of pages a question each would keep the database's thread busy
for longer than the changes take to come.
"""

import asyncio
from uuid import UUID

from channels.db import database_sync_to_async

from accounts.audience import seers
from accounts.models import User
from jobs.visible import seers_of_job

_Key = tuple[asyncio.AbstractEventLoop, str, str]
_Question = tuple[list[User], "asyncio.Task[set[UUID]]"]  # of whom it is asked, and its answer
_open: dict[_Key, _Question] = {}  # to which others may still add themselves


async def sees(user: User, object_type: str, object_id: str) -> bool:
    """True when the object is visible to the user now."""
    loop = asyncio.get_running_loop()
    key = (loop, object_type, object_id)
    if key not in _open:
        users: list[User] = []
        _open[key] = users, loop.create_task(_ask(key, users))
    users, answer = _open[key]
    users.append(user)
    return user.pk in await asyncio.shield(answer)  # one page's end is not that of the question


async def _ask(key: _Key, users: list[User]) -> set[UUID]:
    """The queries begin after the last user was added, so that a grant withdrawn before is no longer seen by any of them."""
    await asyncio.sleep(0)
    del _open[key]
    return await _seers(key[1], key[2], users)


@database_sync_to_async
def _seers(object_type: str, object_id: str, users: list[User]) -> set[UUID]:
    if object_type == "job":
        return seers_of_job(object_id, users)
    if object_type == "event":
        return {user.pk for user in users}  # carries ids alone; the page decides what it shows
    return seers(object_type, object_id, users)
