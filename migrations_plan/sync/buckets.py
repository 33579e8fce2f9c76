"""Buckets as the router counts them: the one thing that sync shares with it."""

from router.buckets import BUCKETS, Vendor, bucket, bucket_sql
from router.routes import Key

__all__ = ["BUCKETS", "Key", "Vendor", "bucket", "bucket_sql"]
