"""The mail with a link to sign in.

Composed anew when it is sent: colleagues can change a stored message, and could have the link sent
to themselves, or leaked by a picture that they add.
"""

from __future__ import annotations

from channels import email
from channels.model import Content
from gateway.parts import SIGN_IN

# Seconds for which a link works.
LINK_SECONDS = 900
SUBJECT = "Your link to sign in"

_TEXT = """Somebody asked to sign in to the inbox of {organization} as {mailbox}.

Open this link and press the button there:

{link}

It works once, within {minutes} minutes. If you did not ask for it, do nothing.
"""


def text(organization: str, mailbox: str, link: str = SIGN_IN) -> str:
    """The text of the mail; without a link, the text that is stored."""
    return _TEXT.format(
        organization=organization, mailbox=mailbox, link=link, minutes=LINK_SECONDS // 60
    )


def content(organization: str, mailbox: str, link: str) -> Content:
    """The content that is sent; raises `ContentError`."""
    return email.compose(subject=SUBJECT, body=text(organization, mailbox, link))
