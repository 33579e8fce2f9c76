"""What an operator fills in before a service is moved."""

from typing import Any

from django import forms

from migrations_plan.moves import Move


class MoveForm(forms.Form):
    """A reason, and the gates to be overridden, which need one."""

    reason = forms.CharField(
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60}),
        help_text="Kept in history with your name. Needed to override a gate.",
    )
    overrides = forms.MultipleChoiceField(
        required=False,
        label="Override gates",
        widget=forms.CheckboxSelectMultiple,
        help_text="Go on although these do not hold. Recorded in history as overridden.",
    )

    def __init__(self, *args: Any, moves: tuple[Move, ...], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = dict.fromkeys(gate.name for move in moves for gate in move.gates)
        if names:
            self.fields["overrides"].choices = [(name, name) for name in names]  # type: ignore[attr-defined]
        else:
            del self.fields["overrides"]

    def clean(self) -> dict[str, Any]:
        """Require a reason for overridden gates."""
        cleaned: dict[str, Any] = super().clean() or {}
        cleaned.setdefault("overrides", [])
        if cleaned["overrides"] and not cleaned.get("reason", "").strip():
            self.add_error("reason", "An overridden gate needs a reason, which history keeps.")
        return cleaned
