"""What a letter says itself, where it looks like a quotation or a file, or passes one on."""

from __future__ import annotations

import pytest

from tests.costs import cpu_seconds
from webhooks import mail
from webhooks.mail.quotations import new_text
from webhooks.model import Inbound

PASSED_ON = (
    "From: Bob <bob@example.org>\nDate: Mon\nSubject: Invoice\nTo: <eve@example.org>\n\n12 EUR"
)


@pytest.mark.parametrize(
    "text",
    [
        f"Please pay:\n\n---------- Forwarded message ---------\n{PASSED_ON}",
        f"Begin forwarded message:\n\n{PASSED_ON}",
        f"Anfang der weitergeleiteten Nachricht:\n\n{PASSED_ON}",
        f"-------- Weitergeleitete Nachricht --------\n{PASSED_ON}",
    ],
)
def test_passed_on(text: str) -> None:
    """What somebody passes on is what they want to say: it is no quotation."""
    assert (text, "") == new_text(text)


def test_words_about_what_was_passed_on() -> None:
    """Whoever answers what somebody has passed on may say so."""
    quoted = "On 1 Jan 2026 at 10:00, Shop <shop@example.com> wrote:\n> a"
    new = "I got the forwarded message."
    assert (new, quoted) == new_text(f"{new}\n\n{quoted}")


@pytest.mark.parametrize(
    ("subject", "is_whole"),
    [
        ("FW: Invoice", True),
        ("Wg: Rechnung", True),
        ("RE: FW: Invoice", False),
        ("Fwd\nIn-Reply-To: <1@b.example>", False),
    ],
)
def test_passed_on_by_outlook(subject: str, *, is_whole: bool) -> None:
    """Outlook marks what is passed on in the subject alone, which an answer has behind its own."""
    raw = f"From: a@b.example\nSubject: {subject}\n\nSee:\n\n{PASSED_ON}"
    [found] = mail.events(raw.encode(), provider="test")
    assert isinstance(found, Inbound)
    assert found.body == (f"See:\n\n{PASSED_ON}" if is_whole else "See:")


@pytest.mark.parametrize(
    "text",
    [
        "Hello,\n\nOn Monday your colleague wrote:\nIt is paid.\nIs that so?\n\nAnn",
        "Hallo,\nam Montag schrieb mir Ihr Kollege:\nEs ist bezahlt.\nStimmt das?",
        "Hallo,\nVon: Berlin\nAn: Paris\nDatum: 5.05.2026\nBitte buchen Sie das.",
        "Please book:\nFrom: Berlin\nTo: Paris\nDate: 5 May\nCost: 1.500 EUR\nThanks",
        "I moved.\nFrom: Main Street 1\nTo: Side Street 2\nDate: 5 May\nSubject: my flat\nThanks",
    ],
)
def test_words_like_those_before_a_quotation(text: str) -> None:
    """Words that mail programs write before a quotation are a person's where they name neither an
    address nor a time, and nothing quoted follows."""
    assert (text, "") == new_text(text)


@pytest.mark.parametrize(
    "said",
    [
        "am 27.11. um 10:00 schrieb Herr Maier:",
        "On Monday at 10:00 your colleague wrote:",
        "Le lundi 27 à 10h00, votre collègue a écrit :",
        "On 3 May at 10:00 the 2 of you wrote:",
        "On 3 May at 10:00 about invoice 4711 you wrote:",
        "El 27/11/26 a las 10:00, mi médico escribió:",
        "El 27/11/26 a las 10:00, Usted me escribió:",
        "Según el informe del 27/11/26 a las 10:00, Pediatría escribió:",
        "El 27 de noviembre de 2026 a las 10:00, la Dra. Gómez escribió:",
        "El 27/11/26 a las 10:00, como le dije, María me escribió:",
        "Em 27/11/2026 às 10:00, Você escreveu:",
        "Na receita de 27/11/2026, 10:00, Ela escreveu:",
        "Op 27-11-2026 om 10:00 schreef ik u het volgende:",
        "Op 27-11-2026 om 10:00 schreef U:",
        "Op 27-11-2026 om 10:00 schreef Jan mij het volgende:",
        "De huisarts schreef op 3 mei 2026 een recept voor, af te halen om 10:00:",
        "Mijn moeder schreef op 27-11-2026 om 10:00 deze klachten op:",
        "Ik schreef op 27-11-2026 om 10:00:",
        "W dniu 27.11.2026 o 10:00, Pan napisał:",
        "Wizyta 27.11.2026, 10:00, Pani Kowalska pisze:",
        "Dnia 27.11.2026 o 10:00, Pani doktor pisze:",
    ],
)
def test_such_words_in_an_answer(said: str) -> None:
    """A time without a full date is a person's, in an answer, too; and so is who has no name."""
    text = f"Hello,\n{said}\nIt is paid.\nIs that so?\n\nAnn"
    assert (text, "") == new_text(text, "Re: Invoice")
    assert ("Hello,", f"{said}\n> It is paid.") == new_text(f"Hello,\n{said}\n> It is paid.")


@pytest.mark.parametrize(
    "said",
    [
        "On Mon, Nov 27, 2026 at 10:00 AM Shop wrote:",
        "On 27 November 2026 at 10:00, Shop wrote:",
        "Am 27.11.26 um 10:00 schrieb Shop:",
        "Am Fr., 27. Nov. 2026 um 10:00 Uhr schrieb Shop:",
        "Le lun. 27 nov. 2026 à 10:00, Shop a écrit :",
        "Il giorno lun 27 nov 2026 alle ore 10:00 Shop ha scritto:",
        "On 2026-11-27 10:00, Shop wrote:",
        "On 11/27/26 10:00, Shop wrote:",
        "On 27 Nov 2569 at 10:00, Shop wrote:",
        "On Mon, Nov 27, 2026\nat 10:00 AM Shop wrote:",
        # Thunderbird's and Roundcube's
        "El 27/11/26 a las 10:00, Shop escribió:",
        "El 27/11/26 a las 10:00, shop@example.com escribió:",
        "El 27/11/26 a las 10:00, Shop of a Name that Is Long\nescribió:",
        "El 27/11/2026 a las 10:00 a. m., Ann de la Cruz escribió:",
        "Em 27/11/2026 10:00, Shop escreveu:",
        "A 2026-11-27 10:00, Shop escreveu:",
        "Às 10:00 de 27/11/2026, Shop escreveu:",
        "Op 27-11-2026 om 10:00 schreef Shop:",
        "Shop schreef op 27-11-2026 om 10:00:",
        "Shop schreef op 2026-11-27 10:00:",
        "W dniu 27.11.2026 o 10:00, Shop pisze:",
        "W dniu 2026-11-27 10:00, Łucja napisał(a):",
    ],
)
def test_introductions_without_an_address(said: str) -> None:
    """What names day, month, year and time in an answer introduces what is below."""
    quoted = f"{said}\n\nold"
    assert ("Yes.", quoted) == new_text(f"Yes.\n\n{quoted}", "Re: Invoice")


def test_such_words_before_a_quotation() -> None:
    """A person's own such words do not hide the introduction of what is quoted below."""
    new = "On Monday your colleague wrote:\nIt is paid.\n\nIs that so?"
    quoted = "On 1 Jan 2026 at 10:00, Shop <shop@example.com> wrote:\n> a"
    assert (new, quoted) == new_text(f"{new}\n\n{quoted}")


@pytest.mark.parametrize(
    "introduction",
    [
        "El lun, 5 may 2026 a las 10:00, Shop (<shop@example.com>) escribió:",
        "Le lun. 5 mai 2026 à 10:00, Shop <shop@example.com> a\xa0écrit\xa0:",
        "Em seg., 5 de mai. de 2026 às 10:00, Shop of a long name <\nshop@example.com> escreveu:",
        "пн, 5 мая 2026 г. в 10:00, Shop <shop@example.com>:\n",
        "5.05.2026 Shop <shop@example.com>:",
        "Ср, 5 мая 2026 г. в 10.00, Shop of a long name\n<shop@example.com>:",
        "Shop <shop@example.com> 于2026年5月5日周一 10:00写道：",
        "pon., 4 maj 2026 o 10:00 Shop of a long name <shop@example.com>\nnapisał(a):",
        "\u202bבתאריך יום ב׳, 4 במאי 2026 ב-10:00 מאת Shop <shop@example.com>:\u202c",
        "El 4/5/26 a las 10:00, Shop escribió:",
        "Shop of a long name 4. 5. v 10:00\n<shop@example.com> napsal:",
    ],
)
def test_introductions(introduction: str) -> None:
    """What stands above a quotation in whatever language belongs to it, if it says when and who."""
    quoted = f"{introduction}\n> old"
    assert ("Sí.", quoted) == new_text(f"Sí.\n\n{quoted}")


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ("They said on 5 May at 10:00:", "> ERROR 5"),
        ("I asked shop@example.com:", "> hello"),
        ("shop@example.com at 10:00 said", "> hello"),
        ("Hi,\nI am at ann@x.example, call at 10:30.\nTo your question:", "> When?"),
        ("I spoke to ann@x.example at 10:30,\nand that is what she said:", "> When?"),
        ("Call me at 10:30!\nYou asked ann@x.example:", "> When?"),
        ("Mails from ann@x.example cost 1.500 EUR:", "> ERROR 5"),
    ],
)
def test_no_introductions(above: str, below: str) -> None:
    """A person's own words above a quotation are theirs."""
    assert (above, below) == new_text(f"{above}\n{below}")


@pytest.mark.parametrize(
    "introduction",
    [
        "El lun, 4 may 2026 a las 10:00, Shop (<shop@example.com>) escribió:",
        "Wiadomość napisana przez Shop <shop@example.com> w dniu 4 maj 2026, o godz. 10:00:",
        "2026年5月4日 10:00，Shop <shop@example.com> 写道：",
        "În lun., 4 mai 2026 la 10:00, Shop <shop@example.com>\na scris:",
        "---- On Mon, 04 May 2026 10:00:00 +0200 Shop <shop@example.com> wrote ---",
        "---- Am Mo., 04 Mai 2026 10:00:00 +0200 Shop schrieb ----",
    ],
)
def test_introductions_of_what_is_not_marked(introduction: str) -> None:
    """Who answers in HTML alone leaves no > : what names a mailbox, a day and a time introduces."""
    quoted = f"{introduction}\n\nold"
    assert ("Sí.", quoted) == new_text(f"Sí.\n\n{quoted}", "Re: Hi")
    text = f"Hi.\n\n{quoted}"
    assert (text, "") == new_text(text, "Something else")


@pytest.mark.parametrize(
    "said",
    [
        "I can come @ the Park on 4 May 2026 at 10:00:",
        "Write to ann@x.example before 4 May 2026, 10:00.",
        "Until 4 May 2026 at 10:00 I have two questions:",
        "I am at ann@x.example until May 2026, 10:00:",
        "Please move it to 4 May 2026 at 10:00.\nOr to ann@x.example:",
        "It is on 4 May 2026 at 10:00, and I told my mother,\nthat is ann@x.example, she said:",
        "> Write to ann@x.example before 4 May 2026, 10:00:",
        "Please send it to ann@x.example by 4 May 2026, 10:00:",
        "My husband (bob@x.example) was there on 4 May 2026 at 10:00\nand said:",
        "Ann <ann@x.example> came on 4 May 2026 at 10:00!\nAnd she said:",
        "Ann <ann@x.example> came on 4 May 2026 at 10:00\nand this is what she said:",
        "--- 4 May 2026, 10:00 ---",
        "Ann <ann@x.example> came on 4 May 2026 at 10:00 ".ljust(159, "x") + ": that was too late.",
    ],
)
def test_no_introductions_of_what_is_not_marked(said: str) -> None:
    """What a person says of a day, a time or an address is no introduction."""
    text = f"Hello.\n{said}\n- the bill\n- the shoes"
    assert (text, "") == new_text(text, "Re: Hi")


def test_an_introduction_within_what_is_marked() -> None:
    """What is quoted may itself quote something: it is all one quotation."""
    quoted = "> Hi.\n> Ann <ann@x.example>, 4 May 2026, 10:00:\n> old"
    assert ("Yes.", quoted) == new_text(f"Yes.\n\n{quoted}", "Re: Hi")


def test_rules_above_introductions() -> None:
    """The line that Outlook draws above what it quotes is no text of the person's."""
    mail_of = "Von: Shop\nGesendet: Montag\nAn: Ann\nBetreff: Hallo\n\nold"
    for rule in ("_" * 32, "-----Ursprüngliche Nachricht-----"):
        assert ("Ja.", f"{rule}\n{mail_of}") == new_text(f"Ja.\n\n{rule}\n{mail_of}")


FORMS = [
    f"You have a new submission:\n\n{PASSED_ON}",
    "Neue Anfrage:\n\nVon: Ann <ann@x.example>\nBetreff: Termin\n\nNachricht: Bitte um Rückruf.",
    "A car, please:\nFrom: Clinic\nTo: Park 1\nDate: 5 May 2026 10:00\nSubject to change.\n\nAnn",
    "Hello,\n\nOn 5 May 2026 at 10:00 my doctor wrote:\nTake two pills.\nIs that right?\n\nAnn",
]


def letter(text: str, *head: str) -> Inbound:
    """The message of a letter with these headers."""
    raw = "\n".join(["From: a@b.example", *head, "", text])
    [found] = mail.events(raw.encode(), provider="test")
    assert isinstance(found, Inbound)
    return found


@pytest.mark.parametrize("subject", ["New message", "Anfrage: Termin", "Lead 5: a car"])
@pytest.mark.parametrize("text", FORMS)
def test_letters_that_answer_nothing(text: str, subject: str) -> None:
    """What a form on a web site sends, or who writes first, quotes nothing in words like those
    before a quotation: all of it is what they want to say."""
    found = letter(text, f"Subject: {subject}")
    assert (found.body, found.detail.get("quoted_text")) == (text, None)


@pytest.mark.parametrize(
    "head",
    [
        "Subject: Invoice\nIn-Reply-To: <1@shop.example>",
        "Subject: Invoice\nReferences: <1@shop.example>",
        "Subject: Re: Invoice",
        "Subject: Réf. : Invoice",
        "Subject: AW[2]: Invoice",
        "Subject: 回复：Invoice",
        "X-Subject: none",
    ],
)
def test_letters_that_answer(head: str) -> None:
    """They do in an answer: that names the mail, or says so in its subject, if it has one."""
    for text in FORMS[:3]:
        assert letter(text, head).body == text.partition("\n")[0]


@pytest.mark.parametrize(
    "quoted",
    [
        f"-----Original Message-----\n{PASSED_ON}",
        f"{'_' * 32}\n{PASSED_ON}",
        "On 5 May 2026 at 10:00 Bob <bob@example.org> wrote:\n> 12 EUR",
    ],
)
def test_what_only_mail_programs_write(quoted: str) -> None:
    """A mail program's rule, and >, begin a quotation in any letter."""
    found = letter(f"Thanks.\n\n{quoted}", "Subject: Something else")
    assert (found.body, found.detail["quoted_text"]) == ("Thanks.", quoted)


@pytest.mark.parametrize(
    ("parts", "body", "files"),
    [
        ("Content-Type: text/plain; name=a.txt\n\nHi", "Hi", 0),
        ("Content-Type: text/plain; name=a.txt\nContent-Disposition: attachment\n\nHi", "", 1),
        (
            (
                "Content-Type: multipart/alternative; boundary=b\n\n"
                "--b\nContent-Type: text/plain; name=a.txt\n\nHi\n"
                "--b\nContent-Type: text/html; name=a.html\n\n<p>Hi\n--b--"
            ),
            "Hi",
            0,
        ),
        (
            (
                "Content-Type: multipart/mixed; boundary=b\n\n"
                "--b\nContent-Type: text/plain\n\nHi\n"
                "--b\nContent-Type: text/plain; name=a.txt\n\nlog\n--b--"
            ),
            "Hi",
            1,
        ),
        (
            (
                "Content-Type: multipart/mixed; boundary=b\n\n"
                "--b\nContent-Type: text/plain; name=a.txt\nContent-Disposition: inline\n\nHi\n"
                "--b\nContent-Type: text/plain; name=b.txt\n\nlog\n--b--"
            ),
            "Hi",
            1,
        ),
        (
            (
                "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n"
                "Content-Disposition: inline; filename=a.txt\n\nlog\n--b--"
            ),
            "",
            1,
        ),
    ],
)
def test_named_texts(parts: str, body: str, files: int) -> None:
    """What is written in a mail is its text also where a program gave it a file's name."""
    [found] = mail.events(f"From: a@b.example\n{parts}".encode(), provider="test")
    assert isinstance(found, Inbound)
    assert (body, files) == (found.body, len(found.attachments))


def test_text_without_end() -> None:
    """Of many texts no more are read than are kept, and it is said that there was more."""
    part = "--b\nContent-Type: text/plain\n\n" + "word " * 300_000 + "\n"
    raw = "From: a@b.example\nContent-Type: multipart/mixed; boundary=b\n\n" + part * 3 + "--b--"
    [found] = mail.events(raw.encode(), provider="test")
    assert isinstance(found, Inbound)
    assert 2**20 - 10 < len(found.body) <= 2**20
    assert "more than 1048576 characters" in found.detail["left_out"]


@pytest.mark.parametrize("kind", ["plain", "html"])
def test_a_file_that_is_all_of_a_mail(kind: str) -> None:
    """What is longer than a text may be is a file, too, if it has the name of one."""
    log = "line of a log\n" * 150_000 + "last"
    head = f"From: a@b.example\nContent-Type: text/{kind}\n"
    name = "Content-Disposition: inline; filename=log.txt\n"
    [found] = mail.events(f"{head}{name}\n{log}".encode(), provider="test")
    assert isinstance(found, Inbound)
    assert [("log.txt", log.encode())] == [(f.filename, f.content) for f in found.attachments]
    assert found.body.startswith("line of a log")
    [unnamed] = mail.events(f"{head}\n{log}".encode(), provider="test")
    assert isinstance(unnamed, Inbound)
    assert not unnamed.attachments


def test_a_subject_without_end() -> None:
    """Of a subject no more is read than is kept."""
    letter = mail.Letter(from_address="a@b.example", subject=" " * 2**22 + "Hi", text="Hello")
    assert cpu_seconds(lambda: mail.inbound(letter)) < 0.15
    passed_on = mail.Letter(from_address="a@b.example", subject=" FW:\n a", text=f"!\n{PASSED_ON}")
    assert mail.inbound(passed_on).body == passed_on.text


@pytest.mark.parametrize("lines", range(24, 36))
def test_an_introduction_wherever_it_stands(lines: int) -> None:
    """It is found though a letter is looked through some lines at a time."""
    new = "\n".join(f"Line {number}" for number in range(lines))
    for said in (
        "On Mon, Nov 2, 2026 at 10:00 AM Ann <ann@x.example>\nwrote:\n\n> Hello",
        "From: Ann <ann@x.example>\nSent: Monday 10:00\nTo: Ben\nSubject: Visit\n\nHello",
    ):
        assert new == new_text(f"{new}\n\n{said}")[0]
