"""The article's claims, tested: arms that differ in one thing, trained, measured, and set side by side."""
