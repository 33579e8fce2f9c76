"""Reading purchase histories line by line, and loading them whole or not at all."""

import gzip
import os
import signal
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from rest_framework.authtoken.models import Token

from legacy_shop.accounts.models import Address, Profile
from legacy_shop.backoffice import history_loader
from legacy_shop.backoffice.history import BadLine, HistoryError, Purchase, parse_line, read
from legacy_shop.catalog.models import Product
from legacy_shop.orders.models import Order, OrderLine
from legacy_shop.payments.models import PaymentAttempt
from tests.processes import ROOT, database_url

HEADER = " customer_id  date number_of_cds  dollar_value\r\n"
GOOD = (
    " 00001 19970101  1   11.77\r\n"
    " 00002 19970112  1   12.00\r\n"
    " 00002 19970112  5   77.00\r\n"
    " 00003 19970102  2    0.00\r\n"
)
KILL_SECONDS = 60


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Return a good history: three customers, two purchases on one day, one for nothing."""
    path = tmp_path / "history.txt"
    path.write_text(HEADER + GOOD)
    return path


def load(path: Path, *options: str) -> tuple[str, str]:
    """Run the command and return what it said and what it complained about."""
    out, err = StringIO(), StringIO()
    call_command("load_history", str(path), *options, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def rows_loaded() -> tuple[int, ...]:
    """Count what a load would leave behind."""
    return tuple(model.objects.count() for model in (Order, OrderLine, User, Address, Profile, Token, Product))


NOTHING = (0,) * 7


class TestParseLine:
    def test_a_purchase(self) -> None:
        """Every column means what it says, and money is exact."""
        assert parse_line(2, b" 00042 19980630  3   51.12\r\n") == Purchase(
            line=2, customer=42, day=date(1998, 6, 30), quantity=3, amount=Decimal("51.12")
        )

    @pytest.mark.parametrize("amount", ["0", "0.0", "7", "7.5", "99999999.99"])
    def test_amounts_are_kept_to_the_cent(self, amount: str) -> None:
        """Fewer decimals are fine."""
        purchase = parse_line(2, f"1 19970101 1 {amount}".encode())
        assert isinstance(purchase, Purchase)
        assert purchase.amount == Decimal(amount)
        assert purchase.amount.as_tuple().exponent == -2

    @pytest.mark.parametrize(
        ("number", "raw"),
        [(1, HEADER.encode()), (1, b"\xef\xbb\xbfcustomer_id date n d\n"), (5, b"\n"), (6, b" \t\r\n"), (7, b"")],
        ids=["header", "header with a byte order mark", "empty", "blanks", "no line end"],
    )
    def test_nothing_was_meant(self, number: int, raw: bytes) -> None:
        """A header in the first line and blank lines anywhere are no purchases and no errors."""
        assert parse_line(number, raw) is None

    def test_a_byte_order_mark_does_not_spoil_the_first_line(self) -> None:
        """A file without a header may begin with one too."""
        assert isinstance(parse_line(1, b"\xef\xbb\xbf00001 19970101 1 11.77"), Purchase)

    @pytest.mark.parametrize(
        ("raw", "reason"),
        [
            (b"00001 19970101 1", "3 columns"),
            (b"00001 19970101 1 11.77 x", "5 columns"),
            (b"customer_id date number_of_cds dollar_value", "customer_id 'customer_id'"),
            (b"0000x 19970101 1 11.77", "customer_id '0000x'"),
            (b"-1 19970101 1 11.77", "customer_id '-1'"),
            (b"1234567890123456789 19970101 1 11.77", "18 digits"),
            ("\u0661 19970101 1 11.77".encode(), "customer_id '\u0661'"),
            (b"00001 1997-01-01 1 11.77", "not of the form YYYYMMDD"),
            (b"00001 970101 1 11.77", "not of the form YYYYMMDD"),
            (b"00001 19970230 1 11.77", "'19970230' does not exist"),
            (b"00001 19971301 1 11.77", "'19971301' does not exist"),
            (b"00001 00000101 1 11.77", "'00000101' does not exist"),
            (b"00001 19970101 -2 11.77", "number_of_cds '-2'"),
            (b"00001 19970101 0 11.77", "not between 1 and"),
            (b"00001 19970101 1.5 11.77", "number_of_cds '1.5'"),
            (b"00001 19970101 2147483648 11.77", "not between 1 and"),
            (b"00001 19970101 1 -11.77", "dollar_value '-11.77'"),
            (b"00001 19970101 1 11.777", "dollar_value '11.777'"),
            (b"00001 19970101 1 nan", "dollar_value 'nan'"),
            (b"00001 19970101 1 1e3", "dollar_value '1e3'"),
            (b"00001 19970101 1 100000000.00", "dollar_value '100000000.00'"),
            (b"00001 19970101 1 \xff", "not UTF-8 text (byte 0xff at column 18)"),
        ],
    )
    def test_a_bad_line_says_why(self, raw: bytes, reason: str) -> None:
        """The reason names the column and shows the value."""
        bad = parse_line(9, raw)
        assert isinstance(bad, BadLine)
        assert bad.line == 9
        assert reason in bad.reason

    def test_a_long_bad_line_is_shown_in_part(self) -> None:
        """A binary file must not flood the terminal."""
        bad = parse_line(2, b"x" * 10_000)
        assert isinstance(bad, BadLine)
        assert len(bad.reason) < 250


class TestRead:
    def test_gzip_is_known_by_its_content(self, tmp_path: Path) -> None:
        """The name does not matter where the bytes are clear."""
        path = tmp_path / "history.dat"
        path.write_bytes(gzip.compress((HEADER + GOOD).encode()))
        assert [item.line for item in read(path) if isinstance(item, Purchase)] == [2, 3, 4, 5]

    def test_truncated_gzip(self, tmp_path: Path) -> None:
        """A file that was cut short is an error of the whole file."""
        path = tmp_path / "history.txt.gz"
        path.write_bytes(gzip.compress((HEADER + GOOD * 500).encode())[:-20])
        with pytest.raises(HistoryError, match="cut short or damaged"):
            list(read(path))

    def test_damaged_gzip(self, tmp_path: Path) -> None:
        """A wrong byte in the middle is found as well."""
        packed = bytearray(gzip.compress((HEADER + GOOD * 500).encode()))
        packed[len(packed) // 2] ^= 0xFF
        path = tmp_path / "history.txt.gz"
        path.write_bytes(packed)
        with pytest.raises(HistoryError, match="cut short or damaged"):
            list(read(path))

    def test_text_that_is_named_gz(self, tmp_path: Path) -> None:
        """A download that returned a web page is told apart."""
        path = tmp_path / "history.txt.gz"
        path.write_text("<html>not found</html>")
        with pytest.raises(HistoryError, match="no gzip file"):
            list(read(path))

    @pytest.mark.parametrize("name", ["missing.txt", "."], ids=["missing", "a directory"])
    def test_what_cannot_be_opened(self, tmp_path: Path, name: str) -> None:
        """The error names the path."""
        with pytest.raises(HistoryError, match="cannot be opened"):
            list(read(tmp_path / name))


@pytest.mark.django_db
class TestCommand:
    def test_each_line_becomes_a_completed_order(self, history: Path) -> None:
        """Two purchases on one day stay two; the number is the line's."""
        out, err = load(history)
        assert "Loaded 4 orders of 3 customers, $100.77." in out
        assert err == ""
        assert list(Order.objects.order_by("number").values_list("number", "customer__username", "total")) == [
            ("H0000002", "cdnow00001", Decimal("11.77")),
            ("H0000003", "cdnow00002", Decimal("12.00")),
            ("H0000004", "cdnow00002", Decimal("77.00")),
            ("H0000005", "cdnow00003", Decimal("0.00")),
        ]
        order = Order.objects.get(number="H0000004")
        noon = datetime(1997, 1, 12, 12, tzinfo=UTC)
        assert (order.status, order.placed_at, order.paid_at, order.closed_at) == (40, noon, noon, noon)
        assert order.shipping_address is not None
        assert order.ship_street == order.shipping_address.street
        line = order.lines.get()
        assert (line.sku, line.quantity, line.unit_price, line.amount) == ("CD", 5, Decimal("15.40"), Decimal("77.00"))
        assert not PaymentAttempt.objects.exists()

    def test_customers_can_come_back(self, history: Path) -> None:
        """Each has a profile, an address, a token of their own and the known password."""
        load(history)
        user = User.objects.get(username="cdnow00002")
        assert user.check_password("demo-password")
        assert user.date_joined == datetime(1997, 1, 12, 12, tzinfo=UTC)
        assert user.addresses.get().is_default
        assert user.profile.loyalty_points == 0
        assert Token.objects.count() == len(set(Token.objects.values_list("key", flat=True))) == 3

    def test_unit_prices_are_rounded_to_the_cent(self, tmp_path: Path) -> None:
        """The amount stays what was paid."""
        path = tmp_path / "history.txt"
        path.write_text("1 19970101 3 10.00\n1 19970101 8 0.20\n")
        load(path)
        assert sorted(OrderLine.objects.values_list("unit_price", "amount")) == [
            (Decimal("0.03"), Decimal("0.20")),
            (Decimal("3.33"), Decimal("10.00")),
        ]

    def test_bad_lines_are_fatal_unless_told(self, history: Path) -> None:
        """One bad line and nothing is loaded; file, line and reason are said."""
        history.write_text(HEADER + GOOD + "00009 19970101 one 5.00\n")
        err = StringIO()
        with pytest.raises(CommandError, match="4 purchases, 1 bad lines: nothing was loaded"):
            call_command("load_history", str(history), stderr=err)
        assert err.getvalue() == f"{history}:6: number_of_cds 'one' is not a whole number above 0\n"
        assert rows_loaded() == NOTHING

    def test_bad_lines_can_be_skipped(self, history: Path) -> None:
        """The good ones keep the numbers of their lines."""
        history.write_text(HEADER + "broken\n" + GOOD)
        out, err = load(history, "--on-error", "skip")
        assert "4 purchases, 1 bad lines" in out
        assert f"{history}:2: 1 columns" in err
        assert sorted(Order.objects.values_list("number", flat=True))[0] == "H0000003"

    def test_a_damaged_file_is_fatal_even_when_skipping(self, tmp_path: Path) -> None:
        """Nobody can tell what the missing part would have said."""
        path = tmp_path / "history.txt.gz"
        path.write_bytes(gzip.compress((HEADER + GOOD * 500).encode())[:-20])
        with pytest.raises(CommandError, match=r"cut short.*Nothing was loaded"):
            load(path, "--on-error", "skip")
        assert rows_loaded() == NOTHING

    @pytest.mark.parametrize("text", ["", HEADER, "\n\n"], ids=["empty", "header only", "blank"])
    def test_a_file_without_purchases_is_refused(self, tmp_path: Path, text: str) -> None:
        """Zero purchases loaded would look like success."""
        path = tmp_path / "history.txt"
        path.write_text(text)
        with pytest.raises(CommandError, match="no purchase in it"):
            load(path)

    def test_twice_is_refused(self, history: Path) -> None:
        """The refusal says what to do, and nothing changes."""
        load(history)
        before = rows_loaded()
        with pytest.raises(CommandError, match=r"already \(order H0000002 exists\).*SHOP_DATABASE_URL"):
            load(history)
        assert rows_loaded() == before

    def test_a_dry_run_changes_nothing(self, history: Path) -> None:
        """It says what it found."""
        out, _ = load(history, "--dry-run")
        assert out == "4 purchases, 0 bad lines. Dry run: nothing was loaded.\n"
        assert rows_loaded() == NOTHING

    def test_a_dry_run_refuses_what_a_load_would_refuse(self, history: Path) -> None:
        """Or it would promise too much."""
        load(history)
        with pytest.raises(CommandError, match="already"):
            load(history, "--dry-run")

    def test_limit(self, history: Path) -> None:
        """Only the first purchases, and bad lines after them do not matter."""
        history.write_text(HEADER + GOOD + "broken\n")
        assert "Loaded 2 orders of 2 customers" in load(history, "--limit", "2")[0]

    @pytest.mark.parametrize("value", ["0", "-1", "many"])
    def test_a_limit_is_a_number_above_zero(self, history: Path, value: str) -> None:
        """Anything else is a wrong call."""
        with pytest.raises(CommandError, match="not a whole number"):
            load(history, f"--limit={value}")


@pytest.mark.django_db(transaction=True)
class TestAllOrNothing:
    def test_an_error_on_the_way_leaves_nothing(self, history: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Customers, product and the first chunk of orders go with it."""
        monkeypatch.setattr(history_loader, "CHUNK", 2)
        good = [item for item in read(history) if isinstance(item, Purchase)]
        done: list[int] = []

        def stumble(count: int) -> None:
            done.append(count)
            assert Order.objects.count() == sum(done)
            if len(done) == 2:
                raise RuntimeError("stumbled")

        with pytest.raises(RuntimeError, match="stumbled"):
            history_loader.load(good, progress=stumble)
        assert rows_loaded() == NOTHING

    def test_a_killed_load_leaves_nothing_and_can_be_repeated(self, history: Path) -> None:
        """SIGKILL in the middle of the inserts is like a power cut."""
        script = (
            "import django, os, signal, sys, pathlib; django.setup()\n"
            "from legacy_shop.backoffice import history, history_loader\n"
            "history_loader.CHUNK = 2\n"
            "good = [item for item in history.read(pathlib.Path(sys.argv[1])) if isinstance(item, history.Purchase)]\n"
            "history_loader.load(good, progress=lambda count: os.kill(os.getpid(), signal.SIGKILL))\n"
        )
        killed = subprocess.run(
            [sys.executable, "-c", script, str(history)],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "legacy_shop.settings",
                "PYTHONPATH": str(ROOT),
                "SHOP_DATABASE_URL": database_url(),
            },
            timeout=KILL_SECONDS,
            check=False,
        )
        assert killed.returncode == -signal.SIGKILL
        assert rows_loaded() == NOTHING
        assert "Loaded 4 orders" in load(history)[0]
