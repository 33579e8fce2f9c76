"""Headers by which the router tells a service what kind of request this is."""

SHADOW_HEADER = "X-Strangler-Shadow"
"""``1`` on a copy whose answer is only compared."""
REFUSED_HEADER = "X-Strangler-Refused"
"""On a refusal that is about the router, not about its client: ``identity`` if its token was not believed."""
NOT_OWNER_HEADER = "X-Strangler-Not-Owner"
"""On a 409: the aggregate whose fence refused the request's work, so that nothing of it was done."""
