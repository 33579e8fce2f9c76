"""The mail server of the demo: a folder that takes each message once, by its Message-ID."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.message import EmailMessage

UNSAFE = re.compile(r"[^A-Za-z0-9.@_-]+")


class MailboxBackend(BaseEmailBackend):
    """Files messages in ``EMAIL_FILE_PATH``; a second one with the same Message-ID is dropped, as good servers do."""

    def __init__(self, fail_silently: bool = False, **kwargs: Any) -> None:
        super().__init__(fail_silently=fail_silently, **kwargs)
        self.folder = Path(settings.EMAIL_FILE_PATH)
        self.folder.mkdir(parents=True, exist_ok=True)

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """File the messages and return how many were new."""
        return sum(self._file(message) for message in email_messages)

    def _file(self, email: EmailMessage) -> bool:
        message = email.message()
        target = self.folder / f"{UNSAFE.sub('_', message['Message-ID'].strip('<> '))}.eml"
        draft = target.with_suffix(f".{os.getpid()}-{id(message)}.draft")
        draft.write_bytes(message.as_bytes())
        try:
            os.link(draft, target)  # whole or not at all, and once
        except FileExistsError:
            with target.with_suffix(".again").open("a") as again:
                again.write("dropped a second delivery\n")
            return False
        finally:
            draft.unlink()
        return True
