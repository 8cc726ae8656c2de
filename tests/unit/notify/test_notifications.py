"""Who is told what: on the page, by a real mail server, at a real webhook; and what happens when these are away."""

import hashlib
import hmac
import json
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.permissions import grant
from events.log import record
from events.models import Event
from events.notify import fan_out as fan_out_module
from events.notify import send, services
from events.notify.fan_out import fan_out
from events.notify.models import Delivery, DeliveryStatus, Notification, NotificationChoice
from events.notify.tasks import notify
from portal.errors import FieldError, NotPossible
from tests.build import make_user, make_vm
from tests.http_server import says, serving
from tests.smtp_server import receiving

pytestmark = pytest.mark.django_db
HOSTILE = "web\r\nBcc: thief@example.org"


@pytest.fixture
def vm():
    return make_vm(name="web-01")


@pytest.fixture
def eve(vm):
    user = make_user("eve", role="UserRole", on=vm)
    user.email = "eve@example.org"
    user.save()
    return user


@pytest.fixture
def mailbox(settings):
    with receiving(settings) as server:
        yield server


@pytest.fixture
def hook(settings):
    settings.OUTBOUND_ALLOWED = ["127.0.0.0/8"]
    with serving() as server:
        yield server


def trouble(vm, message="web-01 stopped by itself"):
    return record("vm.crashed", message, obj=vm, severity="error")


def due_now():
    Delivery.objects.update(due_at=timezone.now())


def test_a_user_is_told_on_the_page_what_they_chose(client, vm, eve):
    services.save_choice(eve, {"vm": ["page"]}, "")
    trouble(vm)
    record("vm.started", "web-01 runs", obj=vm)
    notify()
    assert [row.event.kind for row in Notification.objects.filter(user=eve)] == ["vm.crashed"]
    client.force_login(eve)
    assert 'data-unread="1"' in client.get("/me/notifications/").content.decode()
    client.post("/me/notifications/read/")
    assert 'data-unread="0"' in client.get("/").content.decode()
    notify()
    assert Notification.objects.count() == 1 and not Event.objects.filter(to_tell=True).exists()


def test_nobody_is_told_of_what_they_may_not_see(vm, eve):
    stranger, other = make_user("stranger"), make_vm(name="secret")
    for user in (eve, stranger):
        services.save_choice(user, {"everything": ["page"]}, "")
    trouble(other)
    trouble(vm)
    fan_out()
    assert [(row.user, row.event.object_name) for row in Notification.objects.all()] == [(eve, "web-01")]


def test_of_jobs_and_accounts_each_hears_of_their_own(eve):
    other = make_user("other", role="SuperUser")
    for user in (eve, other):
        services.save_choice(user, {"job": ["page"], "signin": ["page"]}, "")
    record("job.failed", "Create web failed", severity="error", user=eve)
    record("session.opened", "eve signed in", obj=eve, user=eve)
    fan_out()
    assert {row.user for row in Notification.objects.all()} == {eve}
    assert Notification.objects.count() == 2


def test_who_chose_nothing_is_told_what_the_settings_page_shows_as_chosen(client, vm, eve):
    shown = services.choice_of(eve).channels
    record("job.failed", "Create web failed", severity="error", user=eve)
    record("vm.expires_soon", "web-01 ends tomorrow", obj=vm, severity="warning")
    record("token.made", "a token was made", obj=eve, user=eve)
    trouble(vm)  # "vm" is not among them
    fan_out()
    assert set(shown) == {"job", "expiry", "account"}
    told = Notification.objects.filter(user=eve).values_list("event__kind", flat=True)
    assert sorted(told) == ["job.failed", "token.made", "vm.expires_soon"]


def test_a_service_account_is_told_nothing_by_default(vm):
    make_user("robot", role="SuperUser", is_service=True)
    record("vm.expires_soon", "web-01 ends tomorrow", obj=vm, severity="warning")
    fan_out()
    assert not Notification.objects.filter(user__username="robot").exists()


def test_an_event_that_cannot_be_told_holds_up_no_other(vm, eve, monkeypatch):
    services.save_choice(eve, {"vm": ["page"]}, "")
    broken, fine = trouble(vm, "broken"), trouble(vm, "fine")
    real = fan_out_module.may_be_told

    def fails_on_one(user, event):
        if event.pk == broken.pk:
            raise ValueError("a row that nobody foresaw")
        return real(user, event)

    monkeypatch.setattr(fan_out_module, "may_be_told", fails_on_one)
    fan_out()
    assert [row.event for row in Notification.objects.all()] == [fine]
    assert not Event.objects.filter(to_tell=True).exists()


def test_a_delivery_that_cannot_be_sent_holds_up_no_other(vm, eve, mailbox, monkeypatch):
    services.save_choice(eve, {"vm": ["mail"]}, "")
    broken, _ = trouble(vm, "broken"), trouble(vm, "fine")
    real = send.may_be_told

    def fails_on_one(user, event):
        if event.pk == broken.pk:
            raise ValueError("a row that nobody foresaw")
        return real(user, event)

    fan_out()
    monkeypatch.setattr(send, "may_be_told", fails_on_one)
    send.send_due()
    assert [mail["Subject"] for mail in mailbox.mails] == ["[Vireo] fine"]
    assert Delivery.objects.get(event=broken).status == DeliveryStatus.QUEUED


@pytest.mark.parametrize(("answer", "status"), [("450 greylisted", DeliveryStatus.QUEUED), ("550 no such user", DeliveryStatus.FAILED)])
def test_a_recipient_refused_for_now_is_tried_again_and_one_refused_for_good_is_not(vm, eve, mailbox, answer, status):
    services.save_choice(eve, {"vm": ["mail"]}, "")
    mailbox.refuses_recipient = answer
    trouble(vm)
    notify()
    assert Delivery.objects.get().status == status


def test_a_mail_says_it_in_plain_text(vm, eve, mailbox):
    services.save_choice(eve, {"vm": ["mail"]}, "")
    trouble(vm)
    notify()
    (mail,) = mailbox.mails
    assert (mail["To"], mail["Subject"]) == ("eve@example.org", "[Vireo] web-01 stopped by itself")
    assert mail.get_content_type() == "text/plain" and "About: vm web-01" in mail.get_content()
    assert Delivery.objects.get().status == DeliveryStatus.SENT
    notify()
    assert len(mailbox.mails) == 1


def test_a_hostile_name_adds_no_header(vm, eve, mailbox):
    services.save_choice(eve, {"vm": ["mail"]}, "")
    trouble(vm, f"{HOSTILE} stopped")
    notify()
    (mail,) = mailbox.mails
    assert mail["Bcc"] is None and mail["Subject"] == "[Vireo] web Bcc: thief@example.org stopped"


def test_a_mail_server_that_is_away_is_tried_again_with_growing_waits(vm, eve, mailbox):
    services.save_choice(eve, {"vm": ["mail"]}, "")
    mailbox.refuses = "451 try later"
    trouble(vm)
    notify()
    row = Delivery.objects.get()
    assert (row.status, row.tries) == (DeliveryStatus.QUEUED, 1) and "did not take it" in row.error
    assert row.due_at > timezone.now() + timedelta(seconds=50)
    notify()
    assert Delivery.objects.get().tries == 1
    mailbox.refuses = ""
    due_now()
    notify()
    assert len(mailbox.mails) == 1 and Delivery.objects.get().status == DeliveryStatus.SENT


def test_in_the_end_it_is_given_up(vm, eve, mailbox):
    services.save_choice(eve, {"vm": ["mail"]}, "")
    mailbox.refuses = "451 try later"
    trouble(vm)
    for _ in range(len(send.WAITS) + 2):
        notify()
        due_now()
    row = Delivery.objects.get()
    assert (row.status, row.tries) == (DeliveryStatus.FAILED, len(send.WAITS) + 1)


def test_what_a_dead_worker_had_claimed_is_sent_once_its_claim_lapses(vm, eve, mailbox):
    services.save_choice(eve, {"vm": ["mail"]}, "")
    trouble(vm)
    fan_out()
    Delivery.objects.update(status=DeliveryStatus.SENDING, tries=1, due_at=timezone.now() + send.CLAIM)
    assert send.send_due() == 0 and mailbox.mails == []
    due_now()
    assert send.send_due() == 1 and len(mailbox.mails) == 1


def test_a_webhook_gets_json_with_a_signature(vm, eve, hook):
    choice = services.save_choice(eve, {"vm": ["webhook"]}, hook.url("/in?x"))
    trouble(vm)
    notify()
    (got,) = hook.received
    body = json.loads(got.body)
    assert (got.path, body["kind"], body["object_name"]) == ("/in?x", "vm.crashed", "web-01") and "details" not in body
    wanted = hmac.new(choice.webhook_secret.encode(), got.body, hashlib.sha256).hexdigest()
    assert got.headers["X-Vireo-Signature"] == f"sha256={wanted}" and got.headers["X-Vireo-Delivery"] == str(Delivery.objects.get().pk)


def test_a_webhook_that_fails_is_tried_again_and_one_that_is_gone_is_not(vm, eve, hook):
    services.save_choice(eve, {"vm": ["webhook"]}, hook.url())
    hook.answer = says(503)
    trouble(vm)
    notify()
    assert "status 503" in Delivery.objects.get().error
    hook.answer = says(410)
    due_now()
    notify()
    assert Delivery.objects.get().status == DeliveryStatus.FAILED


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://169.254.169.254/latest", "http://[::1]/", "ftp://x/", "javascript:alert(1)", "http://u:p@x/"]
)
def test_a_webhook_into_our_own_network_is_refused(eve, url):
    with pytest.raises(FieldError) as error:
        services.save_choice(eve, {"vm": ["webhook"]}, url)
    assert error.value.field == "webhook_url" and not NotificationChoice.objects.exists()


def test_a_name_that_leads_into_our_own_network_is_refused_when_it_is_used(vm, eve):
    services.save_choice(eve, {"vm": ["webhook"]}, "http://localhost:9/")
    trouble(vm)
    notify()
    row = Delivery.objects.get()
    assert row.status == DeliveryStatus.FAILED and "must not reach" in row.error


def test_another_webhook_gets_another_secret(eve):
    first = services.save_choice(eve, {}, "https://one.example/").webhook_secret
    assert services.save_choice(eve, {}, "https://one.example/").webhook_secret == first
    assert services.save_choice(eve, {}, "https://two.example/").webhook_secret != first
    assert first not in NotificationChoice.objects.get().encrypted_webhook_secret


def test_who_lost_the_grant_meanwhile_is_not_told(client, vm, eve, mailbox):
    services.save_choice(eve, {"vm": ["mail", "page"]}, "")
    trouble(vm)
    fan_out()
    eve.grants.all().delete()
    send.send_due()
    assert mailbox.mails == [] and Delivery.objects.get().status == DeliveryStatus.FAILED
    client.force_login(eve)
    assert "stopped by itself" not in client.get("/me/notifications/").content.decode()


def test_a_test_says_what_is_wrong(client, eve, mailbox, settings):
    services.send_test(eve, "mail")
    assert mailbox.mails[0]["Subject"] == "[Vireo] A test"
    with pytest.raises(NotPossible, match="no webhook address"):
        services.send_test(eve, "webhook")
    settings.EMAIL_PORT = 9
    with pytest.raises(NotPossible, match="did not take it"):
        services.send_test(eve, "mail")
    settings.MAIL_IS_SET_UP = False
    client.force_login(eve)
    assert "Mail is not set up" in client.post("/me/notifications/test/", {"channel": "mail"}, follow=True).content.decode()


def test_the_settings_page_keeps_what_was_typed_and_says_what_is_wrong(client, eve):
    client.force_login(eve)
    answer = client.post("/me/notifications/settings/", {"vm": ["page", "webhook"], "webhook_url": "http://10.0.0.1/x"})
    page = answer.content.decode()
    assert answer.status_code == 422 and "http://10.0.0.1/x" in page and "must not reach" in page
    assert client.post("/me/notifications/settings/", {"vm": "fax", "webhook_url": ""}).status_code == 422
    assert client.post("/me/notifications/settings/", {"vm": "page", "webhook_url": ""}).status_code == 302
    assert NotificationChoice.objects.get(user=eve).channels == {"vm": ["page"]}


def test_nobody_reads_anothers(client, vm, eve):
    services.save_choice(eve, {"vm": ["page"]}, "")
    trouble(vm)
    fan_out()
    row = Notification.objects.get()
    client.force_login(make_user("mallory"))
    client.post(f"/me/notifications/{row.pk}/read/")
    client.post("/me/notifications/read/")
    row.refresh_from_db()
    assert row.read_at is None


def test_an_administrator_is_told_of_a_host(vm):
    root = make_user("root")
    grant("SuperUser", user=root)
    services.save_choice(root, {"host": ["page"]}, "")
    record("host.non_responsive", "Host node1 does not answer", obj=None, severity="error")
    Event.objects.filter(kind="host.non_responsive").update(object_type="host", to_tell=True)
    fan_out()
    assert Notification.objects.get(user=root).event.kind == "host.non_responsive"
