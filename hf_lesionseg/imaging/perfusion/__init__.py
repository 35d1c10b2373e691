"""CT perfusion: the series and its times, its first pass and arterial input, and the maps made of them."""
