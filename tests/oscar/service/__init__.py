"""The reviews service: cut out of oscar's own code, run by itself, on the shop's database."""
