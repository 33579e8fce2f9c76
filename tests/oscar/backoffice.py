"""Whoever operates the shop: a process beside it that reads commands, a JSON list a line, and tells what each said."""

import json
import os
import sys
from collections.abc import Callable
from decimal import Decimal
from io import StringIO
from typing import Any

import django
from django.core.management import CommandError, call_command

CUSTOMERS = 24
PASSWORD = "a-password-of-the-sandbox"


def seed() -> dict[str, Any]:
    """Make the tables, and a product, a review and some customers by oscar's own models; return what there is."""
    for app in ("sites", "auth"):  # tables made as the models say refer to these, and come before all migrations
        call_command("migrate", app, verbosity=0)
    call_command("migrate", run_syncdb=True, verbosity=0)
    from django.contrib.auth.models import User
    from oscar.apps.catalogue.reviews.models import ProductReview
    from oscar.test.factories import create_product

    product = create_product(title="A book about figs", price=Decimal("12.50"), num_in_stock=100)
    critic = User.objects.create_user("critic", "critic@example.com", PASSWORD, first_name="Crit")
    review = ProductReview.objects.create(
        product=product, user=critic, score=4, title="Figs!", body="All about <figs> & more.", status=1
    )
    users = [
        User.objects.create_user(f"reader{number}", f"reader{number}@example.com", PASSWORD)
        for number in range(CUSTOMERS)
    ]
    return {"path": product.get_absolute_url(), "review": review.pk, "users": [user.pk for user in users]}


def count() -> dict[str, Any]:
    """Return the reviews and votes in oscar's own tables."""
    from oscar.apps.catalogue.reviews.models import ProductReview, Vote

    reviews = list(ProductReview.objects.values_list("user_id", "title"))
    return {"reviews": reviews, "votes": list(Vote.objects.values_list("user_id", "review_id", "delta"))}


OF_ITS_OWN: dict[str, Callable[[], dict[str, Any]]] = {"seed": seed, "count": count}


def carry_out(name: str, *arguments: str) -> tuple[int, str]:
    """Run one command, of the shop's or of our own; return its exit code and what it said."""
    said = StringIO()
    try:
        if name in OF_ITS_OWN:
            said.write(json.dumps(OF_ITS_OWN[name]()))
        else:
            call_command(name, *arguments, stdout=said, stderr=said)
    except CommandError as error:
        return error.returncode, f"{said.getvalue()}{error}"
    return 0, said.getvalue()


def main() -> None:
    """Carry out commands until there are no more."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.oscar.project.settings"
    django.setup()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(carry_out(*json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
