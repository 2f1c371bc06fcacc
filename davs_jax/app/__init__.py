"""A page in the browser that generates talking-face videos."""
