"""What a run leaves behind for people: its writers, its account of time, profiles, and the page that shows them."""
