"""What keeps both sides consistent: for now, integration events. Imports neither the router nor the plan."""
