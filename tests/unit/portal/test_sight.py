"""Pages that hear of a change in the same moment ask the database together."""

import asyncio
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.sight import sees
from tests.build import make_user, make_vm

pytestmark = pytest.mark.django_db(transaction=True)


async def test_many_pages_are_one_question_and_each_has_its_own_answer():
    vm = await sync_to_async(make_vm)()
    may = [await sync_to_async(make_user)(role="UserRole", on=vm) for _ in range(5)]
    may_not = [await sync_to_async(make_user)() for _ in range(5)]
    queries = CaptureQueriesContext(connection)  # of the thread that asks
    await sync_to_async(queries.__enter__)()
    answers = await asyncio.gather(*(sees(user, "vm", str(vm.pk)) for user in may + may_not))
    await sync_to_async(queries.__exit__)(None, None, None)
    assert answers == [True] * 5 + [False] * 5
    asked = await sync_to_async(lambda: [each["sql"] for each in queries.captured_queries if each["sql"].startswith("SELECT")])()
    assert len(asked) == 3, asked


async def test_the_next_question_is_asked_anew():
    user = await sync_to_async(make_user)()
    assert not await sees(user, "vm", str(uuid4()))
    vm = await sync_to_async(make_vm)()
    assert not await sees(user, "vm", str(vm.pk))
    await sync_to_async(make_user)(role="SuperUser")
    admin = await sync_to_async(make_user)(role="SuperUser")
    assert await asyncio.gather(sees(user, "vm", str(vm.pk)), sees(admin, "vm", str(vm.pk))) == [False, True]


async def test_who_stops_waiting_takes_nobody_along_and_a_failure_reaches_all():
    vm = await sync_to_async(make_vm)()
    admin = await sync_to_async(make_user)(role="SuperUser")
    gone, waits = asyncio.create_task(sees(admin, "vm", str(vm.pk))), asyncio.create_task(sees(admin, "vm", str(vm.pk)))
    await asyncio.sleep(0)
    gone.cancel()
    assert await waits
    failed = await asyncio.gather(*(sees(admin, "no such type", str(vm.pk)) for _ in range(2)), return_exceptions=True)
    assert [type(each) for each in failed] == [KeyError, KeyError]
