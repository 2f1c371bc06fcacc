"""The sections of a report: a part of `figures` of report.json → HTML, empty where that part is missing."""
