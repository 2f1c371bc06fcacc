"""An evaluation to read: report.json (`record`), report.html (`page` and its sections), and a comparison of reports."""
