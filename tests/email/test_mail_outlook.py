"""What Outlook quotes stands apart from what is new, whichever language Outlook speaks."""

from __future__ import annotations

import pytest

from tests.costs import cpu_seconds
from webhooks.mail.quotations import new_text

OUTLOOKS = {
    "English": ("From", "Sent", "Monday, May 5, 2025 10:00 AM", "To", "Subject"),
    "Spanish": ("De", "Enviado el", "lunes, 5 de mayo de 2025 10:00", "Para", "Asunto"),
    "Portuguese": ("De", "Enviada em", "segunda-feira, 5 de maio de 2025 10:00", "Para", "Assunto"),
    "French": ("De ", "Envoyé ", "lundi 5 mai 2025 10:00", "À ", "Objet "),
    "Russian": ("От", "Отправлено", "5 мая 2025 г. 10:00", "Кому", "Тема"),
    "Turkish": ("Kimden", "Gönderildi", "5 Mayıs 2025 Pazartesi 10:00", "Kime", "Konu"),
    "Hungarian": ("Feladó", "Elküldve", "2025. május 5., hétfő 10:00", "Címzett", "Tárgy"),
    "Finnish": ("Lähettäjä", "Lähetetty", "5. toukokuuta 2025 10.00", "Vastaanottaja", "Aihe"),
    "Greek": ("Από", "Στάλθηκε", "Δευτέρα, 5 Μαΐου 2025 10:00 πμ", "Προς", "Θέμα"),
    "Hebrew": ("\u200fמאת", "נשלח", "יום שני 05 מאי 2025 10:00", "אל", "נושא"),
    "Japanese": ("差出人", "送信日時", "2025年5月5日 10:00", "宛先", "件名"),
    "Chinese": ("发件人", "发送时间", "2025年5月5日 10:00", "收件人", "主题"),
}
WHO = ["Shop <desk@clinic.example>", "Shop [mailto:desk@clinic.example]"]
RULES = ["", "_" * 32 + "\n", "-----Mensaje original-----\n"]


@pytest.mark.parametrize("rule", RULES, ids=["plain", "line", "words"])
@pytest.mark.parametrize("language", OUTLOOKS)
def test_answers_of_outlook(language: str, rule: str) -> None:
    """The header, and the rule above it, begin what is quoted."""
    of, sent, when, to, about = OUTLOOKS[language]
    for who in WHO:
        quoted = f"{rule}{of}: {who}\n{sent}: {when}\n{to}: Ann\n{about}: x\n\nold"
        assert new_text(f"Yes.\n\n{quoted}", "RE: x") == ("Yes.", quoted)


ANN = '"Ann" <ann@example.org>'
WHO_LINES = {
    "Outlook": ("Von: Shop <desk@clinic.example>", "Gesendet: 5. Mai 2025 10:00", "An: Ann"),
    "Samsung": (
        "De: Shop <desk@clinic.example>",
        "Data: 05/05/25 10:00 (GMT-03:00)",
        f"Para: {ANN}",
    ),
    "GMX": ("Envoyé: lundi 5 mai 2025 à 10:00", 'De: "Shop" <desk@clinic.example>', f"À: {ANN}"),
    "Zimbra": (f"De: {ANN}", f"À: {ANN}", "Envoyé: Lundi 5 Mai 2025 10:00:00"),
}


@pytest.mark.parametrize("rule", ["", "-----Original-Nachricht-----\n"], ids=["plain", "words"])
@pytest.mark.parametrize("program", WHO_LINES)
def test_headers_of_other_programs(program: str, rule: str) -> None:
    """They say the same, be it in another order, and of the year its last digits."""
    quoted = "\n".join([rule + WHO_LINES[program][0], *WHO_LINES[program][1:], "x: x", "", "old"])
    assert new_text(f"Oui.\n\n{quoted}", "Re: x") == ("Oui.", quoted)


@pytest.mark.parametrize(
    "said",
    [
        "E-mail: ana@x.example <mailto:ana@x.example>\nTeléfono: 600 123\nCita: 27/11/2026 10:00",
        "Termin: 27.11.2026, 10:00\nE-mail: jan@x.example<mailto:jan@x.example>\nTelefon: 600 123",
        "Mail: jan@x.example<mailto:jan@x.example>\nAfspraak: 27-11-26 10:00\nTelefoon: 06-123",
        "_____\nMail: m@x.example<mailto:m@x.example>\nTél: 06 12\nRendez-vous: 27/11/26 10:00",
        "Session: 3 May 2026, 10:00\nZoom: <https://zoom.example/u@x>\nCode: 123",
    ],
)
def test_who_asks_for_an_appointment(said: str) -> None:
    """How somebody is reached, and when they would come, is no header; to whom it went lacks."""
    text = f"Hello,\n\n{said}\n\nIs that free?"
    assert new_text(text, "Re: x") == (text, "")


def test_the_first_header() -> None:
    """Of headers in several languages the first begins the quotation."""
    first, second = (
        f"{of}: Shop <desk@clinic.example>\n{sent}: {when}\n{to}: Ann\n{about}: x\n\nold"
        for of, sent, when, to, about in (OUTLOOKS["Turkish"], OUTLOOKS["English"])
    )
    for quoted in (f"{first}\n\n{second}", f"{second}\n\n{first}"):
        assert new_text(f"Yes.\n\n{quoted}", "RE: x") == ("Yes.", quoted)


HEADER = "Kimden: Shop <desk@clinic.example>\nGönderildi: 5 Mayıs 2025 10:00\nKime: Ann\n\nold"


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("Merhaba", HEADER),
        ("FW: Merhaba", HEADER),
        ("RE: x", HEADER.replace("<desk@clinic.example>", "desk@clinic.example")),
        ("RE: x", HEADER.replace("10:00", "")),
        ("RE: x", HEADER.replace("2025", "")),
        ("RE: x", HEADER.replace("Kime:", "")),
        ("RE: x", HEADER.replace("\nGönderildi", "\n\nGönderildi")),
    ],
)
def test_lines_that_are_no_header(subject: str, text: str) -> None:
    """What is no answer has none; nor are lines one that lack the mailbox, the time or a label."""
    assert new_text(f"Merhaba:\n\n{text}", subject) == (f"Merhaba:\n\n{text}", "")


@pytest.mark.parametrize("line", ["a:" + "<" * 160, "a: " + "[a" * 80, "(" * 160, "a" * 160])
def test_lines_without_end(line: str) -> None:
    """Lines that are made to be slow to search for headers are searched within a moment."""
    assert cpu_seconds(lambda: new_text(f"{line}\n{line[:3]} 2025 10:0\n" * 1000, "RE: x")) < 0.3
