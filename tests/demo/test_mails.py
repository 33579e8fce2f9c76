"""The mails of the shop are read from the files that its mail server leaves."""

from email.message import EmailMessage
from pathlib import Path

from demo import mails
from demo.mails import Mail


def write(directory: Path, name: str, **headers: str) -> None:
    message = EmailMessage()
    for header, value in headers.items():
        message[header.replace("_", "-")] = value
    message.set_content("Dear customer,\n\nthank you.\n")
    (directory / f"{name}.eml").write_bytes(bytes(message))


def test_mails_are_read_by_their_headers(tmp_path: Path) -> None:
    write(tmp_path, "b", X_Shop_Order="N2", X_Shop_Mail="paid", To="c@example.com")
    write(tmp_path, "a", X_Shop_Order="N1", X_Shop_Mail="placed", To="c@example.com")
    assert mails.delivered(tmp_path) == [
        Mail(order="N1", kind="placed", to="c@example.com"),
        Mail(order="N2", kind="paid", to="c@example.com"),
    ]


def test_mail_about_nothing_is_a_mail(tmp_path: Path) -> None:
    write(tmp_path, "a", To="c@example.com")
    assert mails.delivered(tmp_path) == [Mail(order="", kind="", to="c@example.com")]


def test_second_deliveries_are_counted_by_line(tmp_path: Path) -> None:
    write(tmp_path, "a", X_Shop_Order="N1", X_Shop_Mail="placed", To="c@example.com")
    (tmp_path / "a.again").write_text("first\nsecond\n")
    (tmp_path / "b.eml.again").write_text("once\n")
    assert mails.suppressed(tmp_path) == 3
    assert len(mails.delivered(tmp_path)) == 1


def test_no_mail_no_directory(tmp_path: Path) -> None:
    assert (mails.delivered(tmp_path / "none"), mails.suppressed(tmp_path / "none")) == ([], 0)
