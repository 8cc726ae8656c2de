"""Assertions that are really signed by the trusted key, and still good for nothing: for somebody else, or of another time."""

import copy

import pytest

from accounts.models import User
from tests.saml_provider import assertion_of, confirmation, moment
from tests.unit.signin.saml import UNCONFIRMED, refused, sign_in

pytestmark = pytest.mark.django_db


def everywhere(response, **values):
    """The same in the conditions and in the confirmation, as providers write it."""
    for name, value in values.items():
        setattr(assertion_of(response).conditions, name, value)
        setattr(confirmation(response), name, value)


def other_audience(response):
    assertion_of(response).conditions.audience_restriction[0].audience[0].text = "https://other.example.org/"


def no_audience(response):
    assertion_of(response).conditions.audience_restriction = []


def no_conditions(response):
    assertion_of(response).conditions = None


def other_destination(response):
    response.destination = "https://other.example.org/answer/"


def other_recipient(response):
    confirmation(response).recipient = "https://other.example.org/answer/"


def no_recipient(response):
    confirmation(response).recipient = None


def not_confirmed(response):
    assertion_of(response).subject.subject_confirmation = []


def confirmed_by_a_key(response):
    assertion_of(response).subject.subject_confirmation[0].method = "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"


def another_question_inside(response):
    confirmation(response).in_response_to = "_another"


def no_question_inside(response):
    confirmation(response).in_response_to = None


def expired(response):
    everywhere(response, not_on_or_after=moment(-2))


def conditions_expired(response):
    assertion_of(response).conditions.not_on_or_after = moment(-2)


def confirmation_expired(response):
    confirmation(response).not_on_or_after = moment(-2)


def not_yet_valid(response):
    assertion_of(response).conditions.not_before = moment(2)


def confirmation_not_yet_valid(response):
    confirmation(response).not_before = moment(2)


def no_end(response):
    confirmation(response).not_on_or_after = None


def good_for_years(response):
    everywhere(response, not_on_or_after=moment(60 * 24 * 400))


def good_for_years_beside_another(response):
    """The first confirmation ends soon, the second does not."""
    subject = assertion_of(response).subject
    second = copy.deepcopy(subject.subject_confirmation[0])
    second.subject_confirmation_data.not_on_or_after = moment(60 * 24 * 400)
    subject.subject_confirmation = [subject.subject_confirmation[0], second]


def session_is_over(response):
    statements = assertion_of(response).authn_statement
    (statements[0] if isinstance(statements, list) else statements).session_not_on_or_after = moment(-2)


def made_long_ago(response):
    response.issue_instant = moment(-60 * 24 * 2)


def not_signed_in_there(response):
    assertion_of(response).authn_statement = []


def refused_there(response):
    response.status.status_code.value = "urn:oasis:names:tc:SAML:2.0:status:Responder"


CHANGES = {
    other_audience: "AudienceRestrictions conditions not satisfied",
    no_audience: "not meant for Vireo",
    no_conditions: "not meant for Vireo",
    other_destination: "for somebody else",
    other_recipient: "not confirmed for this sign-in",
    no_recipient: "No valid recipient",
    not_confirmed: "No valid attesting",
    confirmed_by_a_key: "No valid subject confirmation",
    another_question_inside: "Unsolicited",
    no_question_inside: "Unsolicited",
    expired: "Condition not OK",
    conditions_expired: "Condition not OK",
    confirmation_expired: "too old",
    not_yet_valid: "Can't use response yet",
    confirmation_not_yet_valid: "Can't use response yet",
    no_end: "not confirmed for this sign-in",
    good_for_years: "good for too long",
    good_for_years_beside_another: "good for too long",
    session_is_over: "too old",
    made_long_ago: "of another time",
    not_signed_in_there: "number of AuthnStatement",
    refused_there: "status:Responder",
}


@pytest.mark.parametrize("change, why", CHANGES.items(), ids=[each.__name__ for each in CHANGES])
def test_signed_and_not_good(client, idp, saml, caplog, change, why):
    """Really signed by the trusted key: only what it says is wrong."""
    assert refused(client, sign_in(client, idp, saml, change=change), UNCONFIRMED)
    assert why in caplog.text
    assert not User.objects.filter(source=saml).exists()
