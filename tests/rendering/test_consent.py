"""Which messages stop ours, want them again, or ask for help."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels.consent import HELPS, STARTS, STOPS, Consent, read
from channels.model import Channel

BOTH = (Channel.SMS, Channel.WHATSAPP)


@pytest.mark.parametrize(
    ("text", "sms", "whatsapp"),
    [
        ("STOP", Consent.STOP, Consent.STOP),
        (" stop\n", Consent.STOP, Consent.STOP),
        ("Stop.", Consent.STOP, Consent.STOP),
        ('"STOP"', Consent.STOP, Consent.STOP),
        ("„Stop!“", Consent.STOP, Consent.STOP),
        ("ＳＴＯＰ", Consent.STOP, Consent.STOP),
        ("StopAll", Consent.STOP, Consent.STOP),
        ("stop \u00a0 all", Consent.STOP, Consent.STOP),
        ("*STOP*", Consent.STOP, Consent.STOP),
        ("_(Stop)_…", Consent.STOP, Consent.STOP),
        ("STOP\u200b", Consent.STOP, Consent.STOP),
        ("\u200estop\ufeff all", Consent.STOP, Consent.STOP),
        ("*start*", None, None),
        ("UNSUBSCRIBE", Consent.STOP, Consent.STOP),
        ("OptOut", Consent.STOP, Consent.STOP),
        ("opt out", Consent.STOP, Consent.STOP),
        ("OPT-OUT", Consent.STOP, Consent.STOP),
        ("CANCEL", Consent.STOP, None),
        ("end", Consent.STOP, None),
        ("Quit", Consent.STOP, None),
        ("REVOKE", Consent.STOP, None),
        ("ARRET", Consent.STOP, None),
        ("Arrêt", Consent.STOP, None),
        ("Arre\u0302t", Consent.STOP, None),
        ("Stop promotions", None, Consent.STOP),
        ("Detener promociones", None, Consent.STOP),
        ("Parar promoc\u0327o\u0303es", None, Consent.STOP),
        ("Stop promotions of others", None, None),
        ("START", Consent.START, Consent.START),
        ("unstop ", Consent.START, Consent.START),
        ("Yes", Consent.START, None),
        ("SUBSCRIBE", None, Consent.START),
        ("Start!", None, None),
        ("HELP", Consent.HELP, None),
        ("info", Consent.HELP, None),
        ("STOP PLEASE", None, None),
        ("please stop", None, None),
        ("STOPP", None, None),
        ("Yes please", None, None),
        ("", None, None),
        ("...", None, None),
        ("stop" + " " * 100, None, None),
    ],
)
def test_words(text: str, sms: Consent | None, whatsapp: Consent | None) -> None:
    """Only a whole message is a word, in any case; WhatsApp knows fewer of them."""
    assert read(text, Channel.SMS) == sms
    assert read(text, Channel.WHATSAPP) == whatsapp


@pytest.mark.parametrize("channel", [Channel.EMAIL, Channel.CALL])
def test_other_channels(channel: Channel) -> None:
    """A mail or a call that says STOP is a message like any other."""
    assert read("STOP", channel) is None


@given(st.text(max_size=80), st.sampled_from(Channel))
def test_any_text_is_read(text: str, channel: Channel) -> None:
    """No text makes the reading fail, and what is read depends on no case of its letters."""
    assert read(text, channel) in {None, *Consent}


@pytest.mark.parametrize("channel", BOTH)
def test_no_word_has_two_meanings(channel: Channel) -> None:
    """A word stops, starts or asks, never two of them."""
    sets = [STOPS[channel], STARTS[channel], HELPS.get(channel, frozenset())]
    assert len(frozenset().union(*sets)) == sum(len(words) for words in sets)
