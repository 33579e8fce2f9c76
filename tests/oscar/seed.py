"""Make the tables of a shop, put in a product, a review and some customers; print what there is as JSON."""

import json
import os
import sys
from decimal import Decimal

import django
from django.core.management import call_command

CUSTOMERS = 24
PASSWORD = "a-password-of-the-sandbox"


def main() -> None:
    """Make everything, by oscar's own models."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.oscar.project.settings"
    django.setup()
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
    print(json.dumps({"path": product.get_absolute_url(), "review": review.pk, "users": [user.pk for user in users]}))


def count() -> None:
    """Print how many reviews and votes each customer has."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.oscar.project.settings"
    django.setup()
    from oscar.apps.catalogue.reviews.models import ProductReview, Vote

    reviews = list(ProductReview.objects.values_list("user_id", "title"))
    votes = list(Vote.objects.values_list("user_id", "review_id", "delta"))
    print(json.dumps({"reviews": reviews, "votes": votes}))


if __name__ == "__main__":
    {"seed": main, "count": count}[sys.argv[1]]()
