"""django-oscar as it comes from PyPI, with the toolkit added by settings and one strangler.py."""
