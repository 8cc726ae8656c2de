"""When guests' agents are asked."""

import pytest

from hypervisor.guests import AgentInfo
from watcher import agents
from watcher.agents import AgentRounds

WEB = AgentInfo("web", "Linux", ("192.0.2.9",))


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(agents, "time", clock)
    return clock


@pytest.fixture
def guest(clock):
    """One guest's side of it: what it answers, how often it was asked, what was told."""

    class Guest:
        info: AgentInfo | None = WEB
        asked = 0
        told: list[AgentInfo] = []

        def answer(self, uuid):
            self.asked += 1
            return self.info

    guest = Guest()
    guest.told = []
    guest.rounds = AgentRounds(guest.answer, lambda uuid, info: guest.told.append(info))
    guest.rounds.running(["web"])
    return guest


def ask_for(clock, guest, seconds):
    """Rounds as the watcher makes them, for so long."""
    for _ in range(int(seconds)):
        clock.now += 1
        guest.rounds.running(["web"])
        if guest.rounds.is_due():
            guest.rounds.round()


def test_a_guest_is_asked_often_at_first_then_every_half_minute_and_told_about_when_it_says_something_new(clock, guest):
    ask_for(clock, guest, 10)
    assert guest.asked == 3
    ask_for(clock, guest, 90)
    assert guest.asked == 6 + 1 and guest.told == [WEB]
    guest.info = AgentInfo("web", "Linux", ("192.0.2.10",))
    ask_for(clock, guest, 30)
    assert guest.told == [WEB, guest.info]


def test_what_does_not_change_is_told_again_now_and_then(clock, guest):
    ask_for(clock, guest, 200)
    assert guest.told == [WEB, WEB]


def test_a_guest_without_an_agent_is_asked_ever_more_rarely(clock, guest):
    guest.info = None
    ask_for(clock, guest, 3600)
    assert 12 < guest.asked < 20 and not guest.told


def test_an_agent_that_connects_is_asked_at_once(clock, guest):
    guest.info = None
    ask_for(clock, guest, 600)
    before = guest.asked
    guest.info = WEB
    guest.rounds.connected("web")
    guest.rounds.round()
    assert guest.asked == before + 1 and guest.told == [WEB]


def test_a_guest_that_ended_is_not_asked(clock, guest):
    guest.rounds.running([])
    clock.now += 1000
    assert not guest.rounds.is_due()


def test_an_answer_of_a_guest_that_ended_meanwhile_is_not_told(clock, guest):
    def end_and_answer(uuid):
        guest.rounds.running([])
        return WEB

    guest.rounds._ask = end_and_answer
    clock.now += 10
    guest.rounds.round()
    assert not guest.told


def test_after_a_lost_connection_everything_is_told_again(clock, guest):
    ask_for(clock, guest, 10)
    guest.rounds.restart()
    ask_for(clock, guest, 10)
    assert guest.told == [WEB, WEB]
