"""What other apps may hang on to. Sent after the commit, with ``order``; rows changed by raw SQL send nothing."""

from django.dispatch import Signal

order_placed = Signal()
order_paid = Signal()
order_cancelled = Signal()
