"""How a router is run on episodes, and the rows and statistics that come of it."""
