"""What is sold, and how much of it is left."""

from django.db import models


class Category(models.Model):
    """A shelf of the shop."""

    name = models.CharField(max_length=100)
    slug = models.SlugField(unique=True)

    class Meta:
        verbose_name_plural = "categories"
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Product(models.Model):
    """One thing that can be bought."""

    category = models.ForeignKey(Category, on_delete=models.PROTECT, related_name="products")
    sku = models.CharField(max_length=40, unique=True)
    slug = models.SlugField(max_length=120, unique=True)
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    price = models.DecimalField(max_digits=10, decimal_places=2)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name", "id")

    def __str__(self) -> str:
        return self.name


class Stock(models.Model):
    """How many pieces of a product are on hand."""

    product = models.OneToOneField(Product, on_delete=models.CASCADE, primary_key=True, related_name="stock")
    on_hand = models.IntegerField(default=0)

    class Meta:
        verbose_name_plural = "stock"
        constraints = (models.CheckConstraint(condition=models.Q(on_hand__gte=0), name="stock_never_negative"),)

    def __str__(self) -> str:
        return f"{self.on_hand} of {self.product_id}"
