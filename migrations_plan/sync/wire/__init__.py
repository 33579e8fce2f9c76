"""The wire between the two sides: five verbs over HTTP, for whoever serves them and whoever calls them."""
