"""The monolith's tables as this service needs them; it owns none of them, so Django manages none of them.

Columns are mirrored exactly; `tests/extracted/test_legacy_store_drift.py` compares them with the real tables. Foreign
keys to tables that the service does not need are plain integers.
"""

import uuid

from django.db import models


class Product(models.Model):
    """A product of the catalogue, read for its name and price."""

    category_id = models.BigIntegerField()
    sku = models.CharField(max_length=40, unique=True)
    slug = models.SlugField(max_length=120, unique=True)
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    price = models.DecimalField(max_digits=10, decimal_places=2)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "catalog_product"

    def __str__(self) -> str:
        return self.name


class Stock(models.Model):
    """How many pieces of a product are on hand; orders take and give back."""

    product = models.OneToOneField(Product, on_delete=models.DO_NOTHING, primary_key=True, related_name="stock")
    on_hand = models.IntegerField(default=0)

    class Meta:
        managed = False
        db_table = "catalog_stock"

    def __str__(self) -> str:
        return f"{self.on_hand} of {self.product_id}"


class CustomerAddress(models.Model):
    """An entry of a customer's address book, read when an order names one."""

    user_id = models.IntegerField()
    name = models.CharField(max_length=120)
    street = models.CharField(max_length=200)
    city = models.CharField(max_length=100)
    postcode = models.CharField(max_length=20)
    country = models.CharField(max_length=2, default="US")
    is_default = models.BooleanField(default=False)

    class Meta:
        managed = False
        db_table = "accounts_address"

    def __str__(self) -> str:
        return f"{self.name}, {self.street}, {self.postcode} {self.city}"


class Cart(models.Model):
    """The one open basket of a customer."""

    user_id = models.IntegerField(unique=True)
    updated_at = models.DateTimeField()

    class Meta:
        managed = False
        db_table = "cart_cart"

    def __str__(self) -> str:
        return f"cart of {self.user_id}"


class CartLine(models.Model):
    """A product in a basket; ordering the basket removes it."""

    cart = models.ForeignKey(Cart, on_delete=models.DO_NOTHING, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.DO_NOTHING, related_name="+")
    quantity = models.PositiveIntegerField(default=1)

    class Meta:
        managed = False
        db_table = "cart_cartline"

    def __str__(self) -> str:
        return f"{self.quantity} of {self.product_id}"


class Order(models.Model):
    """An order, its state as the number that the monolith's reports know."""

    number = models.CharField(max_length=20, unique=True)
    customer_id = models.IntegerField()
    status = models.PositiveSmallIntegerField()
    shipping_address_id = models.BigIntegerField(null=True, blank=True)
    ship_name = models.CharField(max_length=120)
    ship_street = models.CharField(max_length=200)
    ship_city = models.CharField(max_length=100)
    ship_postcode = models.CharField(max_length=20)
    ship_country = models.CharField(max_length=2, default="US")
    currency = models.CharField(max_length=3, default="USD")
    total = models.DecimalField(max_digits=12, decimal_places=2)
    note = models.CharField(max_length=500, blank=True)
    placed_at = models.DateTimeField()
    paid_at = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        managed = False
        db_table = "orders_order"
        ordering = ("-placed_at", "-id")

    def __str__(self) -> str:
        return self.number


class OrderLine(models.Model):
    """One product of an order, with name and price as they were."""

    order = models.ForeignKey(Order, on_delete=models.DO_NOTHING, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.DO_NOTHING, related_name="+")
    sku = models.CharField(max_length=40)
    name = models.CharField(max_length=200)
    quantity = models.PositiveIntegerField()
    unit_price = models.DecimalField(max_digits=10, decimal_places=2)
    amount = models.DecimalField(max_digits=12, decimal_places=2)

    class Meta:
        managed = False
        db_table = "orders_orderline"
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.quantity} x {self.sku}"


class PaymentAttempt(models.Model):
    """One charge or refund; this service only ever inserts open ones, the monolith runs and settles them."""

    order = models.ForeignKey(Order, on_delete=models.DO_NOTHING, related_name="payment_attempts")
    kind = models.CharField(max_length=10)
    state = models.CharField(max_length=10)
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    currency = models.CharField(max_length=3, default="USD")
    card = models.CharField(max_length=64, blank=True)
    provider_key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    provider_reference = models.CharField(max_length=64, blank=True)
    failure = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField()
    settled_at = models.DateTimeField(null=True, blank=True)
    told_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        managed = False
        db_table = "payments_paymentattempt"
        ordering = ("id",)

    def __str__(self) -> str:
        return f"{self.kind} {self.amount} {self.currency} for order {self.order_id}: {self.state}"
